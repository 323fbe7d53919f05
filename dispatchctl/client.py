"""The control socket's client: HTTP over a Unix socket, typed by the wire module."""

import http.client
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar
from urllib.parse import quote

import msgspec

from dispatchctl.access import remedy
from dispatchd import wire

T = TypeVar("T", bound=msgspec.Struct)
SYSTEM_SOCKET = Path("/run/dispatchd/control.sock")
#: Seconds to wait for an answer: loading copies a directory's files before it answers.
TIMEOUT = 600.0
#: Bytes of a download read at a time.
CHUNK = 1024 * 1024


class Failure(Exception):
    """What ends a command: the message, the remedy, and the exit status."""

    status = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Rejected(Failure):
    """The daemon said no. ``kind`` is the control API's."""

    def __init__(self, problem: wire.Problem) -> None:
        super().__init__(problem.message, hint=problem.hint)
        self.kind = problem.kind


class Misused(Failure):
    """The command line says nothing that can be done."""

    status = 2


class Unreachable(Failure):
    """Nobody answers on the socket."""

    status = 3


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("dispatchd", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(os.fspath(self._path))


class Client:
    """Asks the daemon. Raises Rejected for its refusals and Unreachable where it is not there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, path: str, shape: type[T]) -> T:
        return _typed(self.fetch("GET", path), shape)

    def send(self, method: str, path: str, body: msgspec.Struct | None, shape: type[T]) -> T:
        return _typed(self.fetch(method, path, body), shape)

    def fetch(self, method: str, path: str, body: msgspec.Struct | None = None) -> bytes:
        """The answer's JSON as it came."""
        with self._answer(method, path, body) as answer:
            return answer.read()

    def download(self, path: str, file: BinaryIO) -> None:
        """Write the answer's bytes to a file, all of them."""
        with self._answer("GET", path, None) as answer:
            announced = answer.length
            while chunk := answer.read(CHUNK):
                try:
                    file.write(chunk)
                except OSError as error:
                    raise Failure(f"cannot write {file.name}: {error.strerror}") from error
            if file.tell() != announced:
                raise http.client.IncompleteRead(b"", announced)

    @contextmanager
    def _answer(
        self, method: str, path: str, body: msgspec.Struct | None
    ) -> Iterator[http.client.HTTPResponse]:
        """The answer, to be read meanwhile."""
        content = None if body is None else msgspec.json.encode(body)
        connection = _Connection(self.path)
        try:
            connection.request(method, path, content, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            if answer.status >= 400:
                raise Rejected(_problem(answer.read(), answer.status))
            yield answer
        except PermissionError as error:
            raise Unreachable(
                f"cannot reach dispatchd at {self.path}: {error.strerror}", hint=remedy()
            ) from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise Unreachable(
                f"cannot reach dispatchd at {self.path}: {reason}",
                hint="systemctl status dispatchd",
            ) from error
        finally:
            connection.close()


def find_socket(named: str | None) -> Path:
    """--socket, DISPATCHD_SOCKET, the user's own daemon if one listens, else the system's."""
    word = named or os.environ.get("DISPATCHD_SOCKET")
    if word:
        return Path(word)
    if os.environ.get("XDG_RUNTIME_DIR"):
        own = Path(os.environ["XDG_RUNTIME_DIR"]) / "dispatchd/control.sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            if probe.connect_ex(os.fspath(own)) == 0:
                return own
    return SYSTEM_SOCKET


def segment(word: str) -> str:
    """A word as one segment of a path."""
    return quote(word, safe="")


def _typed(data: bytes, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=shape)
    except msgspec.MsgspecError as error:
        raise Failure(
            f"cannot read dispatchd's answer: {error}",
            hint="dispatchctl and dispatchd must be of one version",
        ) from error


def _problem(data: bytes, status: int) -> wire.Problem:
    try:
        return msgspec.json.decode(data, type=wire.ErrorAnswer).error
    except msgspec.MsgspecError:
        return wire.Problem(kind="internal", message=f"dispatchd answered {status}")

"""The control socket's client: HTTP over a Unix socket, typed by the wire module.

HTTP in so many words, one request to a connection of a server that is ours, and paths as plain
text: with http.client and pathlib `dispatchctl status` would take half as long again.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, TypeVar

import msgspec

from dispatchctl.access import remedy
from dispatchd import wire

T = TypeVar("T", bound=msgspec.Struct)
SYSTEM_SOCKET = "/run/dispatchd/control.sock"
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


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came back: its status, the length that it announced, and a stream of its body."""

    status: int
    length: int
    stream: BinaryIO

    @classmethod
    def begun(cls, stream: BinaryIO) -> "_Answer":
        """The head of an answer that arrives; ``stream`` is then at its body."""
        words = stream.readline().split()
        if len(words) < 2:
            raise EOFError("the connection was closed without an answer")
        length = 0
        while line := stream.readline().strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return cls(status=int(words[1]), length=length, stream=stream)

    def body(self) -> bytes:
        """All of it; raises EOFError where the answer ends early."""
        data = self.stream.read(self.length)
        if len(data) < self.length:
            raise EOFError("the answer ended early")
        return data


class Client:
    """Asks the daemon. Raises Rejected for its refusals and Unreachable where it is not there."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)

    def get(self, path: str, shape: type[T]) -> T:
        return _typed(self.fetch("GET", path), shape)

    def send(self, method: str, path: str, body: msgspec.Struct | None, shape: type[T]) -> T:
        return _typed(self.fetch(method, path, body), shape)

    def fetch(self, method: str, path: str, body: msgspec.Struct | None = None) -> bytes:
        """The answer's JSON as it came."""
        with self._answer(method, path, body) as answer:
            return answer.body()

    def download(self, path: str, file: BinaryIO) -> None:
        """Write the answer's bytes to a file, all of them."""
        with self._answer("GET", path, None) as answer:
            while chunk := answer.stream.read(CHUNK):
                try:
                    file.write(chunk)
                except OSError as error:
                    raise Failure(f"cannot write {file.name}: {error.strerror}") from error
            if file.tell() != answer.length:
                raise EOFError("the answer ended early")

    @contextmanager
    def _answer(self, method: str, path: str, body: msgspec.Struct | None) -> Iterator[_Answer]:
        """The answer, to be read meanwhile."""
        content = b"" if body is None else msgspec.json.encode(body)
        request = (
            f"{method} {path} HTTP/1.0\r\nHost: dispatchd\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\n\r\n"
        )
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(TIMEOUT)
                connection.connect(self.path)
                connection.sendall(request.encode() + content)
                with connection.makefile("rb") as stream:
                    answer = _Answer.begun(stream)
                    if answer.status >= 400:
                        raise Rejected(_problem(answer.body(), answer.status))
                    yield answer
        except PermissionError as error:
            raise Unreachable(
                f"cannot reach dispatchd at {self.path}: {error.strerror}", hint=remedy()
            ) from error
        except (OSError, EOFError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise Unreachable(
                f"cannot reach dispatchd at {self.path}: {reason}",
                hint="systemctl status dispatchd",
            ) from error


def find_socket(named: str | None) -> str:
    """--socket, DISPATCHD_SOCKET, the user's own daemon if one listens, else the system's."""
    word = named or os.environ.get("DISPATCHD_SOCKET")
    if word:
        return word
    if os.environ.get("XDG_RUNTIME_DIR"):
        own = os.path.join(os.environ["XDG_RUNTIME_DIR"], "dispatchd/control.sock")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            if probe.connect_ex(own) == 0:
                return own
    return SYSTEM_SOCKET


def segment(word: str) -> str:
    """A word as one segment of a path."""
    from urllib.parse import quote

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

"""Where the token comes from: systemd's credential, the environment, or `dispatchctl login`."""

import ctypes
import os
import threading
from collections.abc import Mapping
from pathlib import Path

from dispatchd.crashpoints import reach
from dispatchd.disk import synced
from dispatchd.errors import BadRequest, Conflict, StoreError
from dispatchd.services.github import Token

#: prctl(2).
_PR_SET_DUMPABLE = 4


def forbid_dumps() -> None:
    """Have no core dump made of this process, since the token is in its memory.

    A limit of size 0 does not do: the kernel does not look at it where a program takes the dumps.
    Others of our user cannot read our memory or environment any more either.
    """
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


class TokenStore:
    """Finds the token afresh at each use, so that a new one counts at once.

    Raises nothing when there is none: reports then wait.
    """

    def __init__(self, state_dir: Path, environ: Mapping[str, str]) -> None:
        self._file = state_dir / "github-token"
        self._environ = environ
        self._lock = threading.Lock()

    def current(self) -> Token | None:
        """The token that counts, or None."""
        given = self._given()
        if given is not None:
            return given
        stored = _read(self._file)
        return Token(value=stored, source="login") if stored else None

    def offered(self, value: str) -> Token:
        """What a person gives, as the token that it would be when it is stored.

        Raises Conflict where another source would win, and BadRequest for what cannot be a token.
        """
        given = self._given()
        if given is not None:
            raise Conflict(
                f"cannot log in: the token from {given.source} is used before a stored one",
                hint=f"change the {given.source}, or remove it and restart dispatchd",
            )
        value = value.strip()
        if not value or not value.isascii() or not value.isprintable() or " " in value:
            raise BadRequest(
                "cannot log in: that is no GitHub token",
                hint="create one with Issues: read and write, Contents: read",
            )
        return Token(value=value, source="login")

    def store(self, value: str) -> None:
        """Keep a token in the state directory, readable by dispatchd only; raises as `offered`."""
        token = self.offered(value)
        with self._lock:
            self._write(token.value)

    def _given(self) -> Token | None:
        directory = self._environ.get("CREDENTIALS_DIRECTORY")
        credential = _read(Path(directory) / "github-token") if directory else ""
        if credential:
            return Token(value=credential, source="systemd credential")
        variable = self._environ.get("GITHUB_TOKEN", "").strip()
        return Token(value=variable, source="GITHUB_TOKEN") if variable else None

    def _write(self, value: str) -> None:
        fresh = self._file.with_suffix(".new")
        try:
            # What a crash left there may be readable by others: the mode counts for new files only.
            fresh.unlink(missing_ok=True)
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w") as file:
                file.write(value + "\n")
                file.flush()
                os.fsync(file.fileno())
            reach("token-before-rename")
            fresh.replace(self._file)
            reach("token-after-rename")
            synced(self._file.parent)
        except OSError as error:
            raise StoreError(f"cannot keep the token in {self._file}: {error.strerror}") from error


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""

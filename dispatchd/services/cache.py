"""The bytes of assets, by digest. A file is here whole and verified, or it is not here.

What arrives is appended to a partial file that is named by what it is part of, so that it is taken
up again after any break, a kill and a restart included: its hash is computed anew from the bytes on
disk. When the digest is right it is synced and renamed.
"""

import errno
import fcntl
import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Set
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from dispatchd.crashpoints import reach
from dispatchd.disk import synced
from dispatchd.errors import Corrupt, NoRoom, StoreError, Unavailable

#: Bytes read from the disk at a time.
CHUNK = 1024 * 1024
_DIGEST = re.compile(r"[0-9a-f]{64}")
_PARTIAL, _LEAVING = ".partial-", ".leaving-"


class Stream(Protocol):
    """Bytes on their way, from ``offset`` on; ``total`` is the whole size where it is known."""

    @property
    def chunks(self) -> Iterator[bytes]: ...
    @property
    def offset(self) -> int: ...
    @property
    def total(self) -> int | None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A whole file. ``since`` is when it came, in seconds since 1970."""

    sha256: str
    size: int
    since: float


class Cache:
    """A directory of files named by their sha256."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=directory):
                pass
            self.remove_leaving()
        except OSError as error:
            raise _unusable(error, directory) from error

    def path(self, sha256: str) -> Path | None:
        """Where the bytes are, if they are here whole."""
        path = self.directory / sha256
        return path if sha256 and path.is_file() else None

    def open(self, sha256: str, *, size: int | None = None) -> BinaryIO:
        """The bytes, or OSError. While the file is open, in whatever process, it stays here.

        One that has not ``size`` bytes any more is damaged: it goes, to be fetched again.
        """
        path = self.directory / sha256
        file = path.open("rb")
        here = os.fstat(file.fileno()).st_size
        if size not in (None, here):
            file.close()
            path.unlink(missing_ok=True)
            raise OSError(
                errno.EIO, f"{here} of its {size} bytes are left, it is removed", str(path)
            )
        with suppress(OSError):
            # Refused where the file is just leaving: what is open can be read to its end anyway.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return file

    def is_open(self, sha256: str) -> bool:
        """Whether somebody has the file open for sending."""
        try:
            with (self.directory / sha256).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def entries(self) -> list[Entry]:
        """Every whole file."""
        return [
            Entry(sha256=name, size=stat.st_size, since=stat.st_mtime)
            for name, stat in self._files()
            if _DIGEST.fullmatch(name)
        ]

    def partials(self) -> dict[str, int]:
        """How much is here of everything that is not whole, by key."""
        return {
            name.removeprefix(_PARTIAL): stat.st_size
            for name, stat in self._files()
            if name.startswith(_PARTIAL)
        }

    def arrived(self, key: str) -> int:
        """How much is here of what is not whole yet."""
        try:
            return self._partial(key).stat().st_size
        except OSError:
            return 0

    def keep_partials(self, keys: Set[str]) -> None:
        """Remove what is partial and not of these."""
        for key in self.partials().keys() - keys:
            try:
                self._partial(key).unlink(missing_ok=True)
            except OSError as error:
                raise _unusable(error, self.directory) from error

    def set_aside(self, sha256: str) -> None:
        """From now on the bytes are not here; ``remove_leaving`` then gives their room back."""
        with suppress(FileNotFoundError):
            (self.directory / sha256).rename(self.directory / f"{_LEAVING}{sha256}")

    def remove_leaving(self) -> None:
        """Remove what was set aside."""
        for path in self.directory.glob(f"{_LEAVING}*"):
            path.unlink(missing_ok=True)

    def fill(
        self,
        key: str,
        open_from: Callable[[int], AbstractContextManager[Stream]],
        *,
        size: int,
        sha256: str,
        on_progress: Callable[[int], None] = lambda _arrived: None,
    ) -> str:
        """Bring in what is missing of ``size`` bytes, and return the digest of the whole.

        Raises Unavailable where they end early, NoRoom where the disk is full, what ``open_from``
        raises, and what ``on_progress`` does, which is told how many bytes are here: what came is
        kept then. Raises Corrupt where they are not what was announced, and keeps nothing.
        """
        path = self._partial(key)
        try:
            with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640), "r+b") as file:
                filling = _Filling(file, size, on_progress)
                filling.take_up()
                if filling.arrived < size:
                    with open_from(filling.arrived) as stream:
                        filling.take(stream)
                reach("cache-before-sync")
                os.fsync(file.fileno())
            digest = filling.digest(sha256)
            path.chmod(0o444)
            reach("cache-before-rename")
            path.rename(self.directory / digest)
            reach("cache-after-rename")
            synced(self.directory)
        except Corrupt:
            path.unlink(missing_ok=True)
            raise
        except OSError as error:
            raise _not_kept(error, self.directory) from error
        return digest

    def _partial(self, key: str) -> Path:
        return self.directory / f"{_PARTIAL}{key}"

    def _files(self) -> Iterator[tuple[str, os.stat_result]]:
        try:
            # Somebody who clears the cache may remove the directory, too.
            self.directory.mkdir(parents=True, exist_ok=True)
            with os.scandir(self.directory) as files:
                for file in files:
                    with suppress(FileNotFoundError):
                        yield file.name, file.stat(follow_symlinks=False)
        except OSError as error:
            raise _unusable(error, self.directory) from error


class _Filling:
    """A partial file and the hash of what is in it."""

    def __init__(self, file: BinaryIO, size: int, on_progress: Callable[[int], None]) -> None:
        self._file = file
        self._size = size
        self._on_progress = on_progress
        self._hash = hashlib.sha256()
        self.arrived = 0

    def take_up(self) -> None:
        """Hash what is on disk already."""
        here = os.fstat(self._file.fileno()).st_size
        if here > self._size:
            self._start_over()
        while chunk := self._file.read(CHUNK):
            self._count(chunk)
            self._on_progress(here)

    def take(self, stream: Stream) -> None:
        """Append what comes; a source that begins anew is followed."""
        if stream.total not in (None, self._size):
            raise Corrupt(
                f"its bytes are wrong: {stream.total} come where {self._size} were announced"
            )
        if stream.offset != self.arrived:
            self._start_over()
        for chunk in stream.chunks:
            if self.arrived + len(chunk) > self._size:
                raise Corrupt(
                    f"its bytes are wrong: more come than the {self._size} that were announced"
                )
            self._file.write(chunk)
            self._count(chunk)
            self._on_progress(self.arrived)
        self._file.flush()
        if self.arrived < self._size:
            raise Unavailable(f"the download ended after {self.arrived} of {self._size} bytes")

    def digest(self, announced: str) -> str:
        """What all the bytes have; raises Corrupt where that is not what was announced."""
        digest = self._hash.hexdigest()
        if announced and digest != announced:
            raise Corrupt(
                f"its bytes are wrong: their sha256 is {digest}, announced was {announced}"
            )
        return digest

    def _start_over(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._hash = hashlib.sha256()
        self.arrived = 0

    def _count(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self.arrived += len(chunk)


def _unusable(error: OSError, directory: Path) -> StoreError:
    return StoreError(
        f"cannot use the cache {directory}: {error.strerror}",
        hint="the user that runs dispatchd must be able to write there",
    )


def _not_kept(error: OSError, directory: Path) -> StoreError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoRoom(
            f"the disk of {directory} is full", hint=f"free space on the disk of {directory}"
        )
    return StoreError(
        f"cannot keep the bytes: {error.strerror}", hint=f"look at {directory} and its disk"
    )

"""The bytes of assets, by digest. A file is here whole and verified, or it is not here.

It is written beside its place, hashed on the way, synced, and renamed: a crash at any point leaves
either nothing or all of it, and what is partial carries another name.
"""

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from dispatchd.crashpoints import reach
from dispatchd.errors import Refused, StoreError

#: Bytes copied at a time from a directory.
CHUNK = 1024 * 1024
_PARTIAL = ".partial-"


class Cache:
    """A directory of files named by their sha256. ``min_free`` bytes of the disk stay free."""

    def __init__(self, directory: Path, *, min_free: int, max_size: int) -> None:
        self._directory = directory
        self._min_free = min_free
        self._max_size = max_size
        try:
            directory.mkdir(parents=True, exist_ok=True)
            # What a crash left half written.
            for partial in directory.glob(f"{_PARTIAL}*"):
                partial.unlink()
            with tempfile.TemporaryFile(dir=directory):
                pass
        except OSError as error:
            raise StoreError(
                f"cannot use the cache {directory}: {error.strerror}",
                hint="the user that runs dispatchd must be able to write there",
            ) from error

    def path(self, sha256: str) -> Path | None:
        """Where the bytes are, if they are here whole."""
        path = self._directory / sha256
        return path if sha256 and path.is_file() else None

    def open(self, sha256: str) -> BinaryIO:
        """The bytes, or OSError."""
        return (self._directory / sha256).open("rb")

    def put(
        self,
        chunks: Iterable[bytes],
        *,
        size: int,
        sha256: str,
        on_progress: Callable[[int], None] = lambda _arrived: None,
    ) -> str:
        """Keep a stream of ``size`` bytes and return its digest.

        Raises Refused where size or digest (if not empty) are not what was announced, and
        StoreError where there is no room; nothing is kept then.
        """
        self._make_sure_of_room(size)
        hasher = hashlib.sha256()
        arrived = 0
        descriptor, name = tempfile.mkstemp(prefix=_PARTIAL, dir=self._directory)
        partial = Path(name)
        try:
            with open(descriptor, "wb") as file:
                for chunk in chunks:
                    file.write(chunk)
                    hasher.update(chunk)
                    arrived += len(chunk)
                    if arrived > size:
                        break
                    on_progress(arrived)
                file.flush()
                reach("cache-before-sync")
                os.fsync(file.fileno())
            digest = hasher.hexdigest()
            _check(arrived, size, digest, sha256)
            partial.chmod(0o444)
            reach("cache-before-rename")
            partial.rename(self._directory / digest)
            reach("cache-after-rename")
            _sync_directory(self._directory)
        except OSError as error:
            raise _no_room(error, self._directory) from error
        finally:
            with suppress(FileNotFoundError):
                partial.unlink()
        return digest

    def put_file(self, source: Path) -> tuple[str, int]:
        """Copy a file into the cache; returns its digest and size. Raises OSError."""
        with source.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest = self.put(iter(lambda: file.read(CHUNK), b""), size=size, sha256="")
        return digest, size

    def _make_sure_of_room(self, size: int) -> None:
        free = shutil.disk_usage(self._directory).free
        used = sum(file.stat().st_size for file in self._directory.iterdir())
        if free - size < self._min_free:
            raise StoreError(
                f"cannot keep {size} bytes: {free} are free, and {self._min_free} are to stay so",
                hint=f"free space under {self._directory}, or lower [cache] min_free",
            )
        if used + size > self._max_size:
            raise StoreError(
                f"cannot keep {size} bytes: {used} of {self._max_size} are used",
                hint=f"remove old files from {self._directory}, or raise [cache] max_size",
            )


def _check(arrived: int, size: int, digest: str, sha256: str) -> None:
    if arrived != size:
        raise Refused(f"cannot keep the bytes: {arrived} came where {size} were announced")
    if sha256 and digest != sha256:
        raise Refused(f"cannot keep the bytes: their sha256 is {digest}, announced was {sha256}")


def _no_room(error: OSError, directory: Path) -> StoreError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    hint = f"free space under {directory}" if full else f"look at {directory} and its disk"
    return StoreError(f"cannot keep the bytes: {error.strerror}", hint=hint)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

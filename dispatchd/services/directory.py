"""A directory as a release: what is in it, and its files as a source of bytes."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dispatchd import wire
from dispatchd.domain.media import EXTENSION, boot_type
from dispatchd.domain.model import Asset, Source
from dispatchd.errors import BadRequest, Gone, Refused, Unavailable
from dispatchd.services.cache import CHUNK
from dispatchd.services.sources import Found, FoundAsset, check_target

_READABLE = (
    "the user that runs dispatchd must be able to read it; under systemd it sees no /home and no "
    "/tmp of yours"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class FileStream:
    """A file's bytes from ``offset`` on."""

    chunks: Iterator[bytes]
    offset: int
    total: int


def find_in_directory(request: wire.LoadRequest) -> Found:
    """List a directory's bootable files, every one of which can be read; nothing is copied yet."""
    directory = Path(request.directory or "")
    if not directory.is_absolute():
        raise BadRequest(f"cannot load {directory}: that is no absolute path")
    if request.report_to:
        check_target(request.report_to)
    try:
        names = sorted(name for name in os.listdir(directory) if EXTENSION.search(name))
        assets = tuple(
            _found(directory / name)
            for name in names
            if not request.filters or any(word in name for word in request.filters)
        )
    except OSError as error:
        raise Refused(
            f"cannot load {directory}: {error.filename}: {error.strerror}", hint=_READABLE
        ) from error
    if not assets:
        said = f" whose name has {' or '.join(request.filters)}" if request.filters else ""
        raise Refused(
            f"cannot load {directory}: it has no *.efi, *.iso or *.img{said}",
            hint="directories in it are not looked into",
        )
    return Found(
        source=Source.DIRECTORY,
        name=str(directory),
        directory=str(directory),
        report_to=request.report_to or "" if request.file else "",
        assets=assets,
    )


def _found(path: Path) -> FoundAsset:
    if not path.name.isprintable():
        raise Refused(f"cannot load {path.parent}: the name {path.name!a} cannot be shown")
    descriptor = _open(path)
    status = os.fstat(descriptor)
    os.close(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise Refused(f"cannot load {path.parent}: {path.name} is no file")
    if status.st_size == 0:
        raise Refused(f"cannot load {path.parent}: {path.name} is empty")
    return FoundAsset(
        name=path.name,
        size=status.st_size,
        sha256="",
        content_type="",
        media_type=boot_type(path.name, "") or "",
        remote_id=status.st_ino,
        updated_at=str(status.st_mtime_ns),
    )


@contextmanager
def open_file(path: Path, asset: Asset, *, offset: int) -> Iterator[FileStream]:
    """Open a file of a loaded directory.

    Raises Gone where it is no longer there or is not what was loaded, also in the middle, and
    Unavailable where it cannot be read now.
    """
    try:
        descriptor = _open(path)
    except FileNotFoundError as error:
        raise Gone(f"{path} is no longer there", hint="load the directory again") from error
    except OSError as error:
        raise _unreadable(path, error) from error
    with open(descriptor, "rb", buffering=0) as file:
        _check(path, asset, descriptor)
        file.seek(offset)
        yield FileStream(chunks=_chunks(path, asset, file), offset=offset, total=asset.size)


def _chunks(path: Path, asset: Asset, file: BinaryIO) -> Iterator[bytes]:
    try:
        while chunk := file.read(CHUNK):
            yield chunk
    except OSError as error:
        raise _unreadable(path, error) from error
    _check(path, asset, file.fileno())


def _open(path: Path) -> int:
    # O_NONBLOCK: opening a pipe would wait for somebody to write to it.
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)


def _check(path: Path, asset: Asset, descriptor: int) -> None:
    status = os.fstat(descriptor)
    # With a digest the bytes themselves will tell.
    same = bool(asset.sha256) or str(status.st_mtime_ns) == asset.updated_at
    if status.st_size != asset.size or not same:
        raise Gone(f"{path} changed since it was loaded", hint="load the directory again")


def _unreadable(path: Path, error: OSError) -> Unavailable:
    return Unavailable(f"cannot read {path}: {error.strerror}", hint=_READABLE)

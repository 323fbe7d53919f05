"""`backup`: a copy of everything that dispatchd knows, into a file of the caller's."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

import click

from dispatchctl import render
from dispatchctl.cli import Session, dispatchctl, pass_session
from dispatchctl.client import Failure
from dispatchd import wire


@dispatchctl.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@pass_session
def backup(session: Session, file: Path) -> None:
    """Copy the database into FILE while dispatchd runs: queue, reports, machines, history."""
    try:
        size = _receive(session, file.absolute())
    except OSError as error:
        raise Failure(f"cannot write {file}: {error.strerror}") from error
    answer = wire.BackupAnswer(file=str(file.absolute()), size=size)
    session.show(
        answer, lambda: f"{render.size(size)} in {file}; to restore it: dispatchd --restore {file}"
    )


def _receive(session: Session, file: Path) -> int:
    """Write the copy under its name once it is whole and on disk; returns its size."""
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    partial = Path(name)
    try:
        with open(descriptor, "wb") as copy:
            session.client.download("/v1/backup", copy)
            copy.flush()
            os.fsync(copy.fileno())
            size = copy.tell()
        partial.rename(file)
        directory = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    finally:
        with suppress(FileNotFoundError):
            partial.unlink()
    return size

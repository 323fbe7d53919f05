"""Copies of the database: whole and consistent, whatever is written to it meanwhile."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path

from dispatchd.crashpoints import reach
from dispatchd.disk import synced
from dispatchd.errors import StoreError

#: Pages copied between two calls of ``on_progress``.
STEP = 2048
#: Snapshots kept beside the database; the oldest goes first.
KEPT = 5


def copy(source: Path, target: Path, *, on_progress: Callable[[], None] = lambda: None) -> None:
    """Copy a database that may be in use, by SQLite's backup API, into one synced file of ours.

    Raises StoreError, leaving nothing behind.
    """
    partial = target.with_name(f".{target.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        # Ours alone before there is anything in it.
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with closing(sqlite3.connect(source)) as here, closing(sqlite3.connect(partial)) as there:
            # One state of the database to the end, though others go on writing.
            here.execute("BEGIN")
            here.execute("SELECT 1 FROM sqlite_master").fetchone()
            here.backup(there, pages=STEP, progress=lambda *_: on_progress())
            # One file: a copy that is carried away leaves nothing beside it.
            there.execute("PRAGMA journal_mode = DELETE")
        synced(partial)
        reach("copy-before-rename")
        partial.rename(target)
        reach("copy-after-rename")
        synced(target.parent)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(
            f"cannot copy the database to {target}: {getattr(error, 'strerror', None) or error}",
            hint="free disk space and its permissions are the usual reasons",
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def take_snapshot(
    database: Path, *, schema: str, now: datetime, on_progress: Callable[[], None]
) -> Path:
    """Keep the database as it is before a migration; returns where."""
    directory = database.parent / "snapshots"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        for half in directory.glob(".dispatchd-*"):
            # A crash left it; as the names have the time in them, nobody would write over it.
            half.unlink()
    except OSError as error:
        raise StoreError(f"cannot keep snapshots in {directory}: {error.strerror}") from error
    path = directory / f"dispatchd-{schema}-{now:%Y%m%dT%H%M%SZ}.db"
    copy(database, path, on_progress=on_progress)
    for old in snapshots(database)[KEPT:]:
        with suppress(OSError):
            old.unlink()
    return path


def snapshots(database: Path) -> list[Path]:
    """The snapshots of a database, newest first."""
    found = (database.parent / "snapshots").glob("dispatchd-*-*.db")
    return sorted(found, key=lambda path: path.name.rpartition("-")[2], reverse=True)

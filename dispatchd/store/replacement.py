"""Putting another database in the place of the one that is there, which is kept."""

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from dispatchd.disk import synced
from dispatchd.errors import StoreError

#: What SQLite keeps beside a database that is, or was, in use.
BESIDE = ("-wal", "-shm")
#: Finds a row that makes a database worth asking before it is replaced.
_WORTH = (
    "SELECT 1 FROM workloads UNION ALL SELECT 1 FROM reports "
    "UNION ALL SELECT 1 FROM unclaimed UNION ALL SELECT 1 FROM machines LIMIT 1"
)


def is_worth_something(database: Path) -> bool:
    """Whether a database holds more than a new one does, or cannot be read to tell."""
    if not database.exists():
        return False
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as it:
            return it.execute(_WORTH).fetchone() is not None
    except sqlite3.Error:
        return True


def prepare(file: BinaryIO, name: str, database: Path) -> Path:
    """A sound copy of a backup, beside the database; raises StoreError for what is none."""
    prepared = database.with_name(f".{database.name}.restoring")
    try:
        for suffix in ("", *BESIDE):
            Path(f"{prepared}{suffix}").unlink(missing_ok=True)
        descriptor = os.open(prepared, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with open(descriptor, "wb") as copy:
            shutil.copyfileobj(file, copy)
        with closing(sqlite3.connect(prepared)) as it:
            found = it.execute("PRAGMA integrity_check(1)").fetchone()[0]
            it.execute("SELECT version_num FROM alembic_version").fetchone()
    except OSError as error:
        raise StoreError(f"cannot copy {name} to {prepared}: {error.strerror}") from error
    except sqlite3.Error as error:
        raise StoreError(f"cannot restore {name}: it is no database of dispatchd's") from error
    if found != "ok":
        raise StoreError(f"cannot restore {name}: it is damaged: {found}")
    return prepared


def put_in_place(prepared: Path, database: Path, *, now: datetime) -> Path | None:
    """Make the prepared database the one; returns where the one before is kept, if there was one.

    At any instant one of them is in its place, whole.
    """
    kept = database.with_name(f"{database.name}.replaced-{now:%Y%m%dT%H%M%SZ}")
    try:
        _fold(prepared)
        synced(prepared)
        if database.exists():
            with suppress(sqlite3.Error):
                _fold(database)
            # What could not be folded is of the old one, and must never meet the new one.
            for suffix in BESIDE:
                with suppress(FileNotFoundError):
                    Path(f"{database}{suffix}").rename(f"{kept}{suffix}")
            os.link(database, kept)
        prepared.rename(database)
        synced(database.parent)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"cannot replace the database {database}: {error}") from error
    return kept if kept.exists() else None


def _fold(database: Path) -> None:
    """Make it one file: what is still in its log becomes part of it."""
    with closing(sqlite3.connect(database)) as it:
        it.execute("PRAGMA journal_mode = DELETE")

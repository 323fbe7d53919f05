"""The engine: SQLite as this program needs it, and what its failures mean.

Writing transactions BEGIN IMMEDIATE, so that two of them queue up instead of one failing half-way;
reading ones plain BEGIN, so that a slow status never keeps a machine waiting. The driver's own
transaction handling is switched off: it would commit half a migration.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from dispatchd.errors import Stale, StoreError

#: Execution option: seconds to wait for the write lock; absent in reading transactions.
WRITE = "dispatchd_write"


def create_engine(url: str) -> sa.Engine:
    """Open the database of a SQLAlchemy URL. Nothing is read or written yet."""
    engine = sa.create_engine(
        url,
        connect_args={"isolation_level": None, "check_same_thread": False, "timeout": 10},
        pool_size=16,
        max_overflow=32,
    )
    sa.event.listen(engine, "connect", _prepare)
    sa.event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: sqlite3.Connection, _record: Any) -> None:
    for pragma in (
        "journal_mode = WAL",
        # Acknowledged means on disk: FULL syncs the log at each commit.
        "synchronous = FULL",
        "foreign_keys = ON",
        "temp_store = MEMORY",
        # In pages: a bound only. Checkpoints are made beside all requests, long before.
        "wal_autocheckpoint = 16384",
        "journal_size_limit = 67108864",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: sa.Connection) -> None:
    wait = connection.get_execution_options().get(WRITE)
    if wait is None:
        connection.exec_driver_sql("BEGIN")
        return
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(wait * 1000)}")
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def checkpoint(engine: sa.Engine) -> None:
    """Move what was committed from the log into the database, as far as readers allow. Neither
    readers nor writers wait for it."""
    # Not in a transaction, which the engine would begin.
    connection = engine.raw_connection()
    try:
        connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)")
    except sqlite3.Error as error:
        raise StoreError(f"cannot move the database's log into it: {error}") from error
    finally:
        connection.close()


def insert(connection: sa.Connection, table: sa.Table, **values: Any) -> int:
    """Insert a row and return its integer key."""
    # Values that are not part of the statement spare SQLAlchemy building it anew for each row.
    key = connection.execute(sa.insert(table), values).inserted_primary_key
    assert key is not None  # noqa: S101 - every table that this is used on has one
    return int(key[0])


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the driver's exceptions into ours; ``what`` follows "cannot"."""
    try:
        yield
    except sa.exc.IntegrityError as error:
        raise Stale(f"cannot {what}: {error.orig}") from error
    except sa.exc.TimeoutError as error:
        raise StoreError(f"cannot {what}: every database connection is in use") from error
    except sa.exc.DBAPIError as error:
        code = getattr(error.orig, "sqlite_errorcode", None)
        hint = "free disk space and its permissions are the usual reasons"
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            hint = "put a backup or a snapshot in its place: dispatchd --restore FILE --force"
        raise StoreError(f"cannot {what}: {error.orig}", hint=hint) from error

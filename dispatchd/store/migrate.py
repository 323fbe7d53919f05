"""Bring the database to the schema of this program, or leave it exactly as it was."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from dispatchd.crashpoints import reach
from dispatchd.errors import StoreError
from dispatchd.store.copies import snapshots, take_snapshot
from dispatchd.store.engine import WRITE
from dispatchd.store.revision import MIGRATIONS

log = logging.getLogger(__name__)

#: Steps of SQLite's machine between two calls of ``on_progress``: some tens of milliseconds.
STEPS = 1_000_000


def configuration(migrations: Path = MIGRATIONS) -> Config:
    """Alembic's configuration, without a file of its own."""
    config = Config()
    config.set_main_option("script_location", str(migrations))
    return config


def upgrade(
    engine: sa.Engine, migrations: Path, *, on_progress: Callable[[], None] = lambda: None
) -> None:
    """Apply what is missing, after a snapshot, in one transaction on a connection of its own.

    Foreign keys are off meanwhile, since rebuilding a table would delete what refers to it, and are
    checked before the commit. ``on_progress`` is called all the way. Raises StoreError for a
    database that is newer than this program, damaged, or not writable; it is then unchanged.
    """
    config = configuration(migrations)
    database = Path(engine.url.database or "")
    known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    with engine.connect().execution_options(**{WRITE: 10.0}) as connection:
        schema = MigrationContext.configure(connection).get_current_revision()
        connection.rollback()
        if schema == known[0]:
            return
        if schema is not None:
            if schema not in known:
                raise _too_new(database, schema, known)
            now = datetime.now(UTC)
            kept = take_snapshot(database, schema=schema, now=now, on_progress=on_progress)
            log.info("database: from schema %s to %s; snapshot in %s", schema, known[0], kept)
        try:
            _watch(connection, on_progress)
            _apply(connection, config)
        finally:
            if not connection.closed:
                connection.invalidate()


def _apply(connection: sa.Connection, config: Config) -> None:
    connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
    connection.commit()
    config.attributes["connection"] = connection
    with connection.begin():
        command.upgrade(config, "head")
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
        if broken is not None:
            raise StoreError(f"cannot migrate the database: {broken[0]} refers to nothing")
        reach("migration-before-commit")
    reach("migration-after-commit")


def _watch(connection: sa.Connection, on_progress: Callable[[], None]) -> None:
    """Have SQLite show that it gets on: a large table takes its time."""
    driver = connection.connection.driver_connection
    assert driver is not None  # noqa: S101 - the connection is open

    def go_on() -> int:
        on_progress()
        return 0

    driver.set_progress_handler(go_on, STEPS)


def _too_new(database: Path, schema: str, known: list[str]) -> StoreError:
    """What a newer dispatchd has migrated; the remedy names the snapshot of before, if any."""
    before = [path for path in snapshots(database) if path.name.split("-")[1] in known]
    back = f"go back to before it: dispatchd --restore {before[0]} --force" if before else ""
    return StoreError(
        f"cannot use the database {database}: its schema {schema} is newer than this dispatchd "
        f"(which knows up to {known[0]})",
        hint=", or ".join(filter(None, ("install the newer dispatchd again", back))),
    )

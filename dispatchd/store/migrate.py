"""Bring the database to the schema of this program, or leave it exactly as it was."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from dispatchd.crashpoints import reach
from dispatchd.errors import StoreError
from dispatchd.store.engine import WRITE

PACKAGED = Path(__file__).parents[1] / "migrations"
CHECKED_OUT = Path(__file__).parents[2] / "migrations"


def migrations() -> Path:
    """Where the migrations are: inside the installed package, or beside it in a checkout."""
    return PACKAGED if PACKAGED.is_dir() else CHECKED_OUT


def configuration() -> Config:
    """Alembic's configuration, without a file of its own."""
    config = Config()
    config.set_main_option("script_location", str(migrations()))
    return config


def upgrade(engine: sa.Engine) -> None:
    """Apply what is missing, in one transaction on a connection of its own.

    Foreign keys are off meanwhile, since rebuilding a table would delete what refers to it, and are
    checked before the commit. Raises StoreError for a database that is newer than this program,
    damaged, or not writable; it is then unchanged.
    """
    with engine.connect().execution_options(**{WRITE: 10.0}) as connection:
        config = configuration()
        heads = ScriptDirectory.from_config(config).get_heads()
        try:
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
        except CommandError as error:
            raise StoreError(
                f"cannot use the database {engine.url.database}: it is newer than this dispatchd "
                f"(which knows up to {', '.join(heads)})",
                hint="install the newer dispatchd again, or restore the snapshot of before",
            ) from error
        finally:
            if not connection.closed:
                connection.invalidate()

"""Which schema this program has, and whether a database has it: told without alembic, whose import
takes longer than all else that opening a database does.
"""

from pathlib import Path

import sqlalchemy as sa

_PACKAGED = Path(__file__).parents[1] / "migrations"
_CHECKED_OUT = Path(__file__).parents[2] / "migrations"
#: Where the migrations are: inside the installed package, or beside it in a checkout.
MIGRATIONS = _PACKAGED if _PACKAGED.is_dir() else _CHECKED_OUT


def newest(migrations: Path = MIGRATIONS) -> str:
    """The revision of the last migration: the files begin with theirs, which go up."""
    names = (path.name for path in migrations.glob("versions/[0-9]*.py"))
    return max(names).partition("_")[0]


def is_current(engine: sa.Engine, migrations: Path) -> bool:
    """Whether the database has the last migration's schema. One that cannot be read has not."""
    with engine.connect() as connection:
        try:
            found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars()
            return found.all() == [newest(migrations)]
        except sa.exc.DBAPIError:
            return False

"""Copies, snapshots before a migration, and a backup in the database's place."""

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dispatchd.errors import StoreError
from dispatchd.store import revision
from dispatchd.store.copies import KEPT, copy, snapshots, take_snapshot
from dispatchd.store.replacement import is_worth_something, prepare, put_in_place
from dispatchd.store.store import Store

NOW = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "state" / "dispatchd.db"
    path.parent.mkdir()
    return path


@pytest.fixture
def store(database: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{database}")
    yield store
    store.close()


def add_machine(store: Store, name: str) -> None:
    with store.writing() as tx:
        tx.machines.insert(name=name, at=NOW)


def machines(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as it:
        return [name for (name,) in it.execute("SELECT name FROM machines ORDER BY id")]


def test_a_copy_is_one_file_of_one_moment_while_others_write(store: Store, tmp_path: Path) -> None:
    go_on = threading.Event()
    go_on.set()
    written: list[int] = []

    def write() -> None:
        while go_on.is_set():
            add_machine(store, f"epyc-{len(written)}")
            written.append(1)

    writer = threading.Thread(target=write)
    writer.start()
    copies = [tmp_path / f"copy-{number}.db" for number in range(3)]
    for target in copies:
        store.copy(target)
    go_on.clear()
    writer.join(20)
    counts = [machines(target) for target in copies]
    assert all(names == [f"epyc-{n}" for n in range(len(names))] for names in counts)
    assert len(counts[0]) <= len(counts[1]) <= len(counts[2]) <= len(written)
    assert all(target.stat().st_mode & 0o777 == 0o600 for target in copies)
    assert {path.name for path in tmp_path.iterdir()} == {"state", *(c.name for c in copies)}


def test_a_copy_that_fails_leaves_nothing_behind(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot copy the database to .*nowhere"):
        store.copy(tmp_path / "nowhere" / "copy.db")
    (tmp_path / "broken.db").write_bytes(b"this is no database" * 1000)
    with pytest.raises(StoreError, match="not a database"):
        copy(tmp_path / "broken.db", tmp_path / "copy.db")
    assert {path.name for path in tmp_path.iterdir()} == {"state", "broken.db"}


def with_another_migration(tmp_path: Path) -> Path:
    """The migrations of a later version: one more than there are."""
    later = tmp_path / "migrations"
    shutil.copytree(revision.MIGRATIONS, later)
    (later / "versions" / "9999_later.py").write_text(
        f'from alembic import op\nrevision = "9999"\ndown_revision = "{revision.newest()}"\n'
        'def upgrade():\n    op.execute("CREATE TABLE later (id INTEGER)")\n'
    )
    return later


def test_a_migration_keeps_a_snapshot_and_going_back_names_it(
    tmp_path: Path, database: Path, store: Store
) -> None:
    add_machine(store, "epyc-07")
    assert snapshots(database) == []
    steps: list[int] = []
    later = with_another_migration(tmp_path)
    url = f"sqlite:///{database}"
    Store(url, migrations=later, on_progress=lambda: steps.append(1)).close()
    assert steps
    (kept,) = snapshots(database)
    assert kept.parent == database.parent / "snapshots"
    assert kept.name.startswith(f"dispatchd-{revision.newest()}-20")
    assert machines(kept) == ["epyc-07"]
    with pytest.raises(StoreError, match="its schema 9999 is newer") as refused:
        Store(f"sqlite:///{database}")
    assert f"dispatchd --restore {kept} --force" in refused.value.hint


def test_a_start_without_a_migration_keeps_no_snapshot(database: Path, store: Store) -> None:
    Store(f"sqlite:///{database}").close()
    assert not (database.parent / "snapshots").exists()


def test_only_the_latest_snapshots_are_kept(database: Path, store: Store) -> None:
    taken = [
        take_snapshot(
            database, schema="0001", now=NOW + timedelta(days=day), on_progress=lambda: None
        )
        for day in range(KEPT + 3)
    ]
    assert snapshots(database) == taken[: -KEPT - 1 : -1]


def test_a_snapshot_that_a_crash_left_half_made_goes_with_the_next(database: Path) -> None:
    half = database.parent / "snapshots" / ".dispatchd-0001-20261122T070000Z.db.partial"
    half.parent.mkdir()
    half.write_bytes(b"half")
    Store(f"sqlite:///{database}").close()
    kept = take_snapshot(database, schema="0001", now=NOW, on_progress=lambda: None)
    assert list(half.parent.iterdir()) == [kept]


def test_what_is_worth_something_is_told_from_a_new_database(
    tmp_path: Path, database: Path, store: Store
) -> None:
    assert not is_worth_something(tmp_path / "none.db")
    assert not is_worth_something(database)
    add_machine(store, "epyc-07")
    assert is_worth_something(database)
    (tmp_path / "broken.db").write_bytes(b"this is no database" * 1000)
    assert is_worth_something(tmp_path / "broken.db")


def test_a_backup_takes_the_place_of_a_database_that_is_kept(
    tmp_path: Path, database: Path, store: Store
) -> None:
    add_machine(store, "before")
    store.copy(tmp_path / "backup.db")
    add_machine(store, "after")
    with (tmp_path / "backup.db").open("rb") as file:
        prepared = prepare(file, "backup.db", database)
    # It was killed: what is in its log counts as well.
    crashed = tmp_path / "crashed.db"
    for suffix in ("", "-wal"):
        shutil.copy(f"{database}{suffix}", f"{crashed}{suffix}")
    kept = put_in_place(prepared, crashed, now=NOW)
    assert kept is not None
    assert (machines(crashed), machines(kept)) == (["before"], ["before", "after"])
    assert not Path(f"{crashed}-wal").exists()


@pytest.mark.parametrize("content", [b"this is no database" * 1000, b"", b"SQLite format 3\0"])
def test_what_is_no_backup_is_refused(database: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with (
        (tmp_path / "file").open("rb") as file,
        pytest.raises(StoreError, match="no database of dispatchd's"),
    ):
        prepare(file, "file", database)


def test_a_damaged_backup_is_refused(store: Store, tmp_path: Path, database: Path) -> None:
    for number in range(200):
        add_machine(store, f"epyc-{number}" + "x" * 50)
    store.copy(tmp_path / "backup.db")
    content = bytearray((tmp_path / "backup.db").read_bytes())
    content[-4096:] = bytes(4096)
    (tmp_path / "backup.db").write_bytes(content)
    with (
        (tmp_path / "backup.db").open("rb") as file,
        pytest.raises(StoreError, match=r"cannot restore backup\.db: it is"),
    ):
        prepare(file, "backup.db", database)

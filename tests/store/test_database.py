"""The database: migrations, transactions, and the promises that the schema itself keeps."""

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from dispatchd.domain.model import Unclaimed
from dispatchd.errors import Stale, StoreError
from dispatchd.store import migrate, revision
from dispatchd.store.engine import WRITE, create_engine
from dispatchd.store.reports import UNCLAIMED_BYTES, UNCLAIMED_ROWS
from dispatchd.store.schema import metadata
from dispatchd.store.store import Store
from tests.dispatcher.lab import Lab

NOW = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/dispatchd.db"


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    Store(url).close()
    engine = create_engine(url)
    yield engine
    engine.dispose()


def head() -> str:
    (newest,) = ScriptDirectory.from_config(migrate.configuration()).get_heads()
    return newest


def test_the_newest_migration_is_known_by_its_file() -> None:
    assert revision.newest() == head()


def test_the_migrations_make_the_schema(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_migration_that_fails_leaves_nothing_behind(
    url: str, engine: sa.Engine, tmp_path: Path
) -> None:
    copy = tmp_path / "migrations"
    shutil.copytree(revision.MIGRATIONS, copy)
    (copy / "versions" / "9999_broken.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n"
        f'revision = "9999"\ndown_revision = "{head()}"\n'
        "def upgrade():\n"
        '    op.create_table("half", sa.Column("id", sa.Integer))\n'
        '    op.execute("INSERT INTO nowhere VALUES (1)")\n'
    )
    with pytest.raises(StoreError, match="nowhere"):
        Store(url, migrations=copy)
    assert "half" not in sa.inspect(engine).get_table_names()
    Store(url).close()


def test_a_newer_database_is_refused_and_left_alone(url: str, engine: sa.Engine) -> None:
    with engine.connect().execution_options(**{WRITE: 1.0}) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(StoreError, match=rf"newer than this dispatchd .*{head()}"):
        Store(url)


def test_a_damaged_database_is_told(tmp_path: Path, url: str) -> None:
    (tmp_path / "dispatchd.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreError, match="cannot open the database") as told:
        Store(url)
    assert "--restore" in told.value.hint


def test_every_acknowledged_write_is_synced(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_a_slow_reader_keeps_no_writer_waiting(url: str) -> None:
    store = Store(url)
    with store.reading() as slow:
        assert slow.machines.all() == []
        with store.writing(wait=0) as tx:
            tx.machines.insert(name="epyc", at=NOW)
        assert slow.machines.all() == []
    store.close()


def test_a_checkpoint_moves_the_log_into_the_database_beside_a_reader_and_a_writer(
    url: str, tmp_path: Path
) -> None:
    store = Store(url)
    with store.writing() as tx:
        tx.machines.insert(name="epyc", at=NOW)
    with store.reading() as reader, store.writing() as writer:
        assert [machine.name for machine in reader.machines.all()] == ["epyc"]
        writer.machines.insert(name="xeon", at=NOW)
        assert _names_without_log(url, tmp_path) == []
        store.checkpoint()
        assert _names_without_log(url, tmp_path) == ["epyc"]
    store.checkpoint()
    assert _names_without_log(url, tmp_path) == ["epyc", "xeon"]
    store.close()


def test_two_writers_queue_up_and_neither_loses_what_the_other_wrote(url: str) -> None:
    store = Store(url)
    begun = threading.Event()

    def write_second() -> list[str]:
        begun.set()
        with store.writing() as tx:
            tx.machines.insert(name="second", at=NOW)
            return [machine.name for machine in tx.machines.all()]

    with ThreadPoolExecutor() as pool:
        with store.writing() as tx:
            assert tx.machines.all() == []
            second = pool.submit(write_second)
            assert begun.wait(10)
            with pytest.raises(TimeoutError):
                second.result(timeout=0.2)
            tx.machines.insert(name="first", at=NOW)
        assert sorted(second.result(timeout=10)) == ["first", "second"]
    store.close()


def test_a_second_writer_waits_its_turn_and_no_longer(url: str) -> None:
    store, other = Store(url), Store(url)
    with store.writing():
        with pytest.raises(StoreError, match="another writer is slow"), store.writing(wait=0.01):
            pass
        with pytest.raises(StoreError, match="locked"), other.writing(wait=0.01):
            pass
    store.close()
    other.close()


def test_a_transaction_that_fails_changes_nothing(url: str) -> None:
    store = Store(url)
    with pytest.raises(ZeroDivisionError), store.writing() as tx:
        tx.machines.insert(name="epyc", at=NOW)
        raise ZeroDivisionError
    with store.reading() as tx:
        assert tx.machines.all() == []
    store.close()


def test_the_schema_allows_one_open_attempt_per_workload_and_machine(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    first, second = lab.load("a.efi", "b.efi")
    with lab.store.writing() as tx:
        one, two = tx.machines.insert(at=NOW), tx.machines.insert(at=NOW)
        tx.attempts.insert(workload=tx.workloads.get(first), machine_id=one.id, at=NOW)
    for workload_id, machine in ((first, two), (second, one)):
        with pytest.raises(Stale), lab.store.writing() as tx:
            workload = tx.workloads.get(workload_id)
            tx.attempts.insert(workload=workload, machine_id=machine.id, at=NOW)
    lab.store.close()


def test_a_lost_race_is_an_exception(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    (only,) = lab.load("a.efi")
    before = lab.workload(only)
    lab.operator.cancel(only, by="alice")
    with pytest.raises(Stale, match="no longer unassigned"), lab.store.writing() as tx:
        tx.workloads.swap(before, reason="overwritten")
    lab.store.close()


def test_unclaimed_bodies_are_bounded(url: str) -> None:
    store = Store(url)
    with store.writing() as tx:
        for number in range(UNCLAIMED_ROWS + 5):
            tx.unclaimed.insert(
                Unclaimed(
                    id=f"{number:036}",
                    received_at=NOW.replace(minute=number // 60, second=number % 60),
                    address="10.0.0.7",
                    mac="",
                    answer=417,
                    reason="nobody's",
                    title="",
                    body=b"x",
                )
            )
        tx.unclaimed.prune(NOW)
        kept = [body.id for body, _ in tx.unclaimed.all()]
    assert len(kept) == UNCLAIMED_ROWS
    assert f"{0:036}" not in kept
    store.close()


def test_unclaimed_bodies_are_bounded_in_bytes_and_the_newest_stay(url: str) -> None:
    store = Store(url)
    with store.writing() as tx:
        for number in range(5):
            tx.unclaimed.insert(
                Unclaimed(
                    id=f"{number:036}",
                    received_at=NOW.replace(second=number),
                    address="10.0.0.7",
                    mac="",
                    answer=413,
                    reason="too long",
                    title="",
                    body=bytes(UNCLAIMED_BYTES // 4),
                )
            )
        tx.unclaimed.prune(NOW)
        assert [int(body.id) for body, _ in tx.unclaimed.all()] == [4, 3, 2, 1]
        tx.unclaimed.prune(NOW.replace(second=3))
        assert [int(body.id) for body, _ in tx.unclaimed.all()] == [4, 3]
    store.close()


def test_nothing_is_deleted_by_a_cascade(engine: sa.Engine, tmp_path: Path) -> None:
    raw = sqlite3.connect(tmp_path / "dispatchd.db")
    said = raw.execute("SELECT sql FROM sqlite_master WHERE sql LIKE '%CASCADE%'").fetchall()
    raw.close()
    assert said == []


def _names_without_log(url: str, tmp_path: Path) -> list[str]:
    """The machines that the database file has by itself."""
    alone = tmp_path / "alone.db"
    shutil.copyfile(url.removeprefix("sqlite:///"), alone)
    with closing(sqlite3.connect(alone)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM machines ORDER BY id")]

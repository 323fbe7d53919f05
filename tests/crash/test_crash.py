"""A short look at what `python -m tests.crash` does at length: the daemon dies, nothing is lost."""

import http.client
import re
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import alembic.command
import pytest

from dispatchd.store.copies import snapshots
from dispatchd.store.engine import WRITE, create_engine
from dispatchd.store.migrate import configuration
from tests.crash.era import Era
from tests.crash.ledger import Ledger
from tests.crash.scenes import INSTANTS
from tests.e2e.daemon import QUIET, RunningDaemon
from tests.e2e.test_wire import ask, load
from tests.eventually import eventually

SOURCE = Path(__file__).parents[2] / "dispatchd"
#: Around the writes that a promise hangs on; empty: at any instant.
ENDS = (
    "migration-before-commit",
    "",
    "token-before-rename",
    "cache-before-rename",
    "before-assigned",
    "observation-before-write",
    "before-reported",
    "after-reported",
    "outbox-before-post",
    "",
    "outbox-after-post",
    "before-attempt-rebooted",
    "before-stopped",
    "",
)


def test_nothing_is_lost_or_doubled_however_the_daemon_dies(tmp_path: Path) -> None:
    ledger = Ledger()
    with Era(tmp_path / "era", seed="20261125", ledger=ledger) as era:
        missed = [end for end in ENDS if not era.live(end) and end]
        era.settle()
    assert not ledger.wrong, "\n".join(ledger.wrong)
    assert not missed
    assert ledger.acknowledged


def test_there_is_a_scene_for_every_instant_that_the_source_names() -> None:
    text = "".join(file.read_text() for file in SOURCE.rglob("*.py"))
    named = set(re.findall(r'reach\("([a-z-]+)"\)', text))
    assert named
    assert named <= INSTANTS.keys()
    assert INSTANTS.keys() - named == {"before-commit", "after-commit"}


@pytest.mark.parametrize("instant", ["before-downloading", "after-downloading", "before-whole"])
def test_who_was_sent_bytes_before_the_crash_is_known_after_it(
    tmp_path: Path, instant: str
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.efi").write_bytes(b"a" * 100_000)
    daemon = RunningDaemon(tmp_path / "dispatchd", settings=QUIET)
    daemon.spawn({"DISPATCHD_CRASH_AT": instant})
    eventually(daemon.is_up)
    load(daemon, tmp_path)
    ask(daemon, "HEAD")
    try:
        body = ask(daemon, "GET")[1]
    except (OSError, http.client.HTTPException):
        body = b""
    assert daemon.ended(30) == -signal.SIGKILL
    with daemon:
        if not body:
            ask(daemon, "GET")
        assert ask(daemon, "PUT", body=b'{"title": "it ran"}')[0].status == 200


@pytest.mark.parametrize(
    "instant",
    [
        "copy-before-rename",
        "copy-after-rename",
        "migration-before-commit",
        "migration-after-commit",
    ],
)
def test_an_old_database_survives_a_crash_while_it_is_migrated(
    tmp_path: Path, instant: str
) -> None:
    daemon = RunningDaemon(tmp_path / "dispatchd", settings=QUIET)
    database = tmp_path / "dispatchd" / "state" / "dispatchd.db"
    database.parent.mkdir()
    make_old(database)
    daemon.spawn({"DISPATCHD_CRASH_AT": instant})
    assert daemon.ended(60) == -signal.SIGKILL
    with daemon:
        assert "epyc-07" in daemon.ctl("machines")
    (kept,) = {schema_of(file) for file in snapshots(database)}
    assert kept == "0001"


def make_old(database: Path) -> None:
    """A database of the first schema with a machine in it."""
    config, engine = configuration(), create_engine(f"sqlite:///{database}")
    with engine.connect().execution_options(**{WRITE: 10.0}) as connection, connection.begin():
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, "0001")
        machine = (1, "epyc-07", "", "", 0, "", 0, 0, "2026-11-23T07:00:00.000000Z", "")
        connection.exec_driver_sql(
            "INSERT INTO machines (id, name, pool, note, paused, held, trusted_after, simulated, "
            "created_at, handed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            machine,
        )
    engine.dispose()


def schema_of(database: Path) -> str:
    with closing(sqlite3.connect(database)) as it:
        (version,) = it.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(version)

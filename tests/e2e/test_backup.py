"""Backup and restore with real processes: the world goes on between the two."""

import http.client
import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.daemon import BIN, QUIET, RunningDaemon
from tests.eventually import eventually
from tests.github_standin import GitHubStandIn
from tests.github_standin.world import Repository

TOKEN = "ghp_" + "a1B2" * 9


@pytest.fixture
def github() -> Iterator[GitHubStandIn]:
    with GitHubStandIn() as github:
        github.token(TOKEN)
        yield github
    assert github.violations == []


@pytest.fixture
def repository(github: GitHubStandIn) -> Repository:
    repository = github.repository("lab/images")
    release = repository.release("devel", prerelease=True)
    release.asset("host-a.efi", b"a" * 5000)
    release.asset("host-b.efi", b"b" * 5000)
    return repository


@pytest.fixture
def daemon(
    tmp_path: Path, github: GitHubStandIn, repository: Repository
) -> Iterator[RunningDaemon]:
    settings = f'{QUIET}[github]\napi_url = "{github.api_url}"\nissue_spacing = "1s"\n'
    with RunningDaemon(tmp_path / "d", settings=settings) as daemon:
        yield daemon


def ask(daemon: RunningDaemon, method: str, name: str, body: bytes | None = None) -> int:
    """A request of the machine of that name, read to its end."""
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=20)
    connection.request(method, f"/dispatch/{name}", body)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def restore(daemon: RunningDaemon, *words: str, status: int = 0) -> str:
    """Run dispatchd --restore; what it said."""
    config = str(daemon.directory / "dispatchd.toml")
    done = subprocess.run(
        [BIN / "dispatchd", "--config", config, "--restore", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == status, done.stderr
    return done.stderr


def reports(daemon: RunningDaemon) -> list[dict[str, Any]]:
    answer: list[dict[str, Any]] = json.loads(daemon.ctl("reports", "--json"))["reports"]
    return answer


def test_a_report_that_was_filed_after_the_backup_is_not_filed_again(
    daemon: RunningDaemon, repository: Repository, tmp_path: Path
) -> None:
    daemon.ctl("load", "lab/images@devel", "--report-to", "lab/images")
    for name in ("epyc-01", "epyc-02"):
        assert ask(daemon, "GET", name) == 200
    assert ask(daemon, "POST", "epyc-01") == 200
    assert ask(daemon, "PUT", "epyc-01", b'{"title": "all well"}') == 200
    eventually(lambda: reports(daemon)[0]["state"] == "held")
    copy = tmp_path / "copy.db"
    assert f"in {copy}; to restore it: dispatchd --restore {copy}" in daemon.ctl(
        "backup", str(copy)
    )
    assert copy.stat().st_mode & 0o777 == 0o600

    daemon.ctl("login", stdin=f"{TOKEN}\n")
    eventually(lambda: reports(daemon)[0]["state"] == "filed")
    said = restore(daemon, str(copy), status=1)
    assert "another dispatchd runs on it" in said
    assert daemon.stop() == 0

    said = restore(daemon, str(copy), status=1)
    assert "there is something in" in said
    said = restore(daemon, str(copy), "--force")
    assert "2 attempts ended, 1 report looked for before filing" in said
    assert "the database before is kept as" in said
    daemon.start()
    assert daemon.states()[1] == "unassigned"
    eventually(lambda: reports(daemon)[0]["state"] == "filed")
    assert len(repository.issues) == 1
    assert "restored from" in daemon.ctl("events")
    assert TOKEN.encode() not in copy.read_bytes()


def test_a_machine_that_runs_through_the_restore_reports_all_the_same(
    daemon: RunningDaemon, tmp_path: Path
) -> None:
    daemon.ctl("load", "lab/images@devel", "--no-file")
    assert ask(daemon, "GET", "epyc-01") == 200
    assert ask(daemon, "POST", "epyc-01") == 200
    daemon.ctl("backup", str(tmp_path / "copy.db"))
    assert daemon.stop() == 0
    restore(daemon, str(tmp_path / "copy.db"), "--force")
    daemon.start()
    assert daemon.states() == ["unassigned", "unassigned"]
    assert ask(daemon, "PUT", "epyc-01", b'{"title": "all well"}') == 200
    (report,) = reports(daemon)
    assert report["late"]
    assert sorted(daemon.states())[0] in ("finished", "reported")


def test_a_new_box_takes_over_a_backup_and_the_bytes_come_again(
    daemon: RunningDaemon, github: GitHubStandIn, tmp_path: Path
) -> None:
    daemon.ctl("load", "lab/images@devel", "--no-file")
    daemon.ctl("machines", "set", "epyc-01", "pool=9004")
    daemon.ctl("backup", str(tmp_path / "copy.db"))
    daemon.stop()
    settings = f'{QUIET}[github]\napi_url = "{github.api_url}"\n'
    new = RunningDaemon(tmp_path / "new", settings=settings)
    with new:
        assert new.status()["workloads"] == []
    said = restore(new, str(tmp_path / "copy.db"))
    assert "0 attempts ended" in said
    with new:
        assert "epyc-01" in new.ctl("machines")
        eventually(lambda: [one["bytes"] for one in new.status()["workloads"]] == ["whole"] * 2)
        assert ask(new, "GET", "epyc-01") == 200


def test_a_backup_that_fails_leaves_the_file_that_was_there(
    daemon: RunningDaemon, tmp_path: Path
) -> None:
    said = daemon.ctl("backup", str(tmp_path / "nowhere" / "copy.db"), status=1)
    assert "cannot write" in said
    copy = tmp_path / "copy.db"
    daemon.ctl("backup", str(copy))
    with closing(sqlite3.connect(copy)) as it:
        assert it.execute("SELECT text FROM events").fetchall()
    before = copy.read_bytes()
    daemon.stop()
    daemon.ctl("backup", str(copy), status=3)
    assert copy.read_bytes() == before
    assert not list(tmp_path.glob(".copy.db*"))


@pytest.mark.parametrize("name", ["none.db", "text.db"])
def test_what_cannot_be_restored_changes_nothing(
    daemon: RunningDaemon, tmp_path: Path, name: str
) -> None:
    (tmp_path / "text.db").write_text("this is no database" * 100)
    daemon.stop()
    database = daemon.directory / "state/dispatchd.db"
    before = database.read_bytes()
    assert "cannot re" in restore(daemon, str(tmp_path / name), "--force", status=1)
    assert database.read_bytes() == before
    daemon.start()

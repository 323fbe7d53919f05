"""Reports of a real dispatchd: held without a token, exported, delivered after login."""

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.daemon import QUIET, RunningDaemon
from tests.eventually import eventually
from tests.github_standin import GitHubStandIn
from tests.github_standin.faults import says, slow

TOKEN = "ghp_" + "a1B2" * 9


@pytest.fixture
def github() -> Iterator[GitHubStandIn]:
    with GitHubStandIn() as github:
        github.repository("lab/results")
        yield github
    assert github.violations == []


@pytest.fixture
def daemon(tmp_path: Path, github: GitHubStandIn) -> Iterator[RunningDaemon]:
    images = tmp_path / "images"
    images.mkdir()
    (images / "host-a.efi").write_bytes(b"a" * 1000)
    settings = f'{QUIET}[github]\napi_url = "{github.api_url}"\n'
    settings += 'issue_spacing = "1s"\n[deadlines]\nsettle = "1s"\n'
    with RunningDaemon(tmp_path / "dispatchd", settings=settings) as daemon:
        daemon.ctl("load", "--dir", str(images), "--report-to", "lab/results")
        yield daemon


def say(daemon: RunningDaemon, method: str, body: bytes = b"") -> int:
    """One request of the machine epyc-07 on the boot port; the status."""
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=20)
    connection.request(method, "/dispatch/epyc-07", body or None)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def report(daemon: RunningDaemon, *titles: str) -> None:
    """Boot, and report each of these."""
    assert [say(daemon, "HEAD"), say(daemon, "GET"), say(daemon, "POST")] == [200, 200, 200]
    for title in titles:
        assert say(daemon, "PUT", json.dumps({"title": title, "body": "it works"}).encode()) == 200


def states(daemon: RunningDaemon) -> list[str]:
    return [one["state"] for one in json.loads(daemon.ctl("reports", "--json"))["reports"]]


def test_held_reports_are_exported_and_leave_by_themselves_after_login(
    daemon: RunningDaemon, github: GitHubStandIn, tmp_path: Path
) -> None:
    report(daemon, "one", "two")
    eventually(lambda: states(daemon) == ["held", "held"], within=20)
    assert "2 reports for lab/results safe here" in daemon.ctl("status")
    assert "2 files" in daemon.ctl("reports", "export", str(tmp_path / "out"))
    texts = [file.read_text() for file in sorted((tmp_path / "out").iterdir())]
    assert sorted(text.splitlines()[2] for text in texts) == ['title: "one"', 'title: "two"']
    assert all("\n---\n\nit works\n" in text for text in texts)
    github.token(TOKEN)
    daemon.ctl("login", stdin=TOKEN)
    eventually(lambda: states(daemon) == ["filed", "filed"], within=20)
    issues = github.repositories["lab/results"].issues
    assert sorted(issue.title for issue in issues) == ["one", "two"]


def test_a_token_that_github_does_not_accept_is_not_stored(daemon: RunningDaemon) -> None:
    said = daemon.ctl("login", stdin=TOKEN, status=1)
    assert "error: cannot log in" in said
    assert "hint: create one" in said
    assert not (daemon.directory / "state/github-token").exists()


def test_a_refused_report_stays_readable_and_is_delivered_again_when_asked(
    daemon: RunningDaemon, github: GitHubStandIn
) -> None:
    github.token(TOKEN)
    daemon.ctl("login", stdin=TOKEN)
    github.faults.next("POST", "*/issues", says(422, "Validation Failed"))
    report(daemon, "one")
    eventually(lambda: states(daemon) == ["refused"], within=20)
    assert "GitHub refuses it (422)" in daemon.ctl("status")
    daemon.ctl("reports", "retry", "--all")
    eventually(lambda: states(daemon) == ["filed"], within=20)
    assert "nothing to deliver" in daemon.ctl("reports", "retry", "--held")
    assert "name reports" in daemon.ctl("reports", "retry", status=2)


def test_what_is_finished_stays_in_the_table_with_its_issue(
    daemon: RunningDaemon, github: GitHubStandIn
) -> None:
    github.token(TOKEN, push=False)
    daemon.ctl("login", stdin=TOKEN)
    report(daemon)
    assert say(daemon, "PUT", b'{"title": "one", "labels": ["certificate"]}') == 200
    eventually(lambda: states(daemon) == ["filed"], within=20)
    eventually(lambda: daemon.states() == ["finished"])
    row = next(line for line in daemon.ctl("status").splitlines() if "host-a.efi" in line)
    assert row.startswith("🏁 finished")
    assert "epyc-07" in row
    story = daemon.ctl("show", "host-a.efi")
    assert "why: reported, and nothing is left to deliver" in story
    for text in (row, story):
        assert "/lab/results/issues/1 ! labels: GitHub dropped certificate" in text


def test_a_github_that_does_not_answer_keeps_no_beacon_and_no_person_waiting(
    daemon: RunningDaemon, github: GitHubStandIn
) -> None:
    github.token(TOKEN)
    daemon.ctl("login", stdin=TOKEN)
    answers = threading.Event()
    github.faults.next("POST", "*/issues", slow(answers))
    report(daemon, "one")
    eventually(lambda: github.received("POST", "/issues"), within=20)
    assert say(daemon, "PUT", b'{"title": "two"}') == 200
    assert daemon.states() == ["reported"]
    assert states(daemon) == ["pending", "pending"]
    answers.set()
    eventually(lambda: states(daemon) == ["filed", "filed"], within=20)
    assert len(github.repositories["lab/results"].issues) == 2


def test_a_workload_that_falls_silent_becomes_an_issue(
    tmp_path: Path, github: GitHubStandIn
) -> None:
    github.token(TOKEN)
    images = tmp_path / "images"
    images.mkdir()
    (images / "host-a.efi").write_bytes(b"a" * 1000)
    settings = f'[discovery]\nenabled = false\n[github]\napi_url = "{github.api_url}"\n'
    settings += '[deadlines]\nreport = "1s"\n'
    environ = {"GITHUB_TOKEN": TOKEN}
    with RunningDaemon(tmp_path / "dispatchd", settings=settings, environ=environ) as daemon:
        options = ("--report-to", "lab/results", "--report-failures", "--attempts", "1")
        daemon.ctl("load", "--dir", str(images), *options)
        assert [say(daemon, method) for method in ("HEAD", "GET", "POST")] == [200, 200, 200]
        eventually(lambda: states(daemon) == ["filed"], within=20)
        assert daemon.states() == ["failed"]
        assert "epyc-07: silent" in daemon.ctl("status")
    (issue,) = github.repositories["lab/results"].issues
    assert issue.title == "host-a.efi failed: no report"
    assert issue.labels == ["dispatch-failure"]
    assert "| 1 | epyc-07 |" in (issue.body or "")

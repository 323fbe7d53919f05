"""Where the token is not: real processes, and every place that it could have got to."""

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.daemon import QUIET, RunningDaemon
from tests.eventually import eventually
from tests.github_standin import GitHubStandIn
from tests.github_standin.world import Repository

TOKEN = "ghp_" + "a1B2" * 9
#: The token of somebody whose machine has it in its environment, and prints that.
FOREIGN = "github_pat_" + "Zz9" * 20
ANSWERS = ("status", "releases", "machines", "reports", "events", "cache")


@pytest.fixture
def github() -> Iterator[GitHubStandIn]:
    with GitHubStandIn() as github:
        github.token(TOKEN)
        yield github


@pytest.fixture
def repository(github: GitHubStandIn) -> Repository:
    repository = github.repository("lab/images")
    repository.release("devel", prerelease=True).asset("host-a.efi", b"a" * 5000)
    return repository


@pytest.fixture(params=["login", "credential", "environment"])
def daemon(
    request: pytest.FixtureRequest, tmp_path: Path, github: GitHubStandIn, repository: Repository
) -> Iterator[RunningDaemon]:
    """A daemon that has the token from each of the places where it can come from."""
    settings = f'{QUIET}[github]\napi_url = "{github.api_url}"\n'
    environ = {}
    if request.param == "credential":
        (tmp_path / "github-token").write_text(f"{TOKEN}\n")
        environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    if request.param == "environment":
        environ = {"GITHUB_TOKEN": TOKEN}
    with RunningDaemon(tmp_path / "d", settings=settings, environ=environ) as daemon:
        if request.param == "login":
            daemon.ctl("login", stdin=f"{TOKEN}\n")
        yield daemon


def ask(daemon: RunningDaemon, method: str, body: bytes | None = None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=20)
    connection.request(method, "/dispatch/epyc-01", body)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def test_the_token_is_in_no_log_database_issue_or_answer(
    daemon: RunningDaemon, repository: Repository, tmp_path: Path
) -> None:
    daemon.ctl("load", "lab/images@devel", "--report-to", "lab/images")
    said = {"title": f"set-up says {FOREIGN}", "body": f"GITHUB_TOKEN={FOREIGN}\n" * 3}
    assert ask(daemon, "GET") == 200
    assert ask(daemon, "POST") == 200
    assert ask(daemon, "PUT", json.dumps(said).encode()) == 200
    eventually(lambda: bool(repository.issues))
    answers = "".join(daemon.ctl(word, "--json") for word in ANSWERS)
    answers += daemon.ctl("show", "host-a.efi", "--json")
    daemon.ctl("backup", str(tmp_path / "copy.db"))
    daemon.stop()
    log = "\n".join(daemon.log)
    files = [path for path in (daemon.directory / "state").iterdir() if path.is_file()]
    stored = b"".join(path.read_bytes() for path in files if path.name != "github-token")
    stored += (tmp_path / "copy.db").read_bytes()
    (issue,) = repository.issues
    assert "report filed as" in log
    for text in (answers, log, stored.decode(errors="replace"), issue.title, issue.body or ""):
        assert TOKEN not in text
    for text in (log, issue.title, issue.body or ""):
        assert FOREIGN not in text
    assert "set-up says [token removed]" in issue.title


def test_nobody_gets_a_core_dump_with_the_token_in_it() -> None:
    program = (
        "import ctypes; from dispatchd.services.token import forbid_dumps; "
        "before = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0); forbid_dumps(); "
        "print(before, ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"1 0\n"

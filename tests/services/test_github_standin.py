"""The stand-in, seen from outside: what else it is used for, and that it is hard to please."""

import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from tests.github_standin import GitHubStandIn
from tests.github_standin.content import Content


def status_of(url: str, *, data: bytes | None = None, token: str = "") -> int:
    request = urllib.request.Request(url, data, {"User-Agent": "test"})
    if data is not None:
        request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_a_request_that_github_does_not_describe_is_a_violation() -> None:
    with GitHubStandIn() as standin:
        standin.token("t")
        standin.repository("o/r")
        issues = f"{standin.api_url}/repos/o/r/issues"
        assert status_of(issues, data=b'{"body": "no title"}', token="t") == 500
        assert status_of(f"{issues}?state=bogus") == 500
        assert status_of(f"{standin.api_url}/repos/o/r/invented") == 500
        assert status_of(issues) == 200
    assert len(standin.violations) == 3
    assert "title" in standin.violations[0]


def test_an_answer_that_github_does_not_describe_is_a_violation() -> None:
    with GitHubStandIn() as standin:
        asset = standin.repository("o/r").release("v1").asset("a", b"x")
        asset.state = "invented"
        assert status_of(f"{standin.api_url}/repos/o/r/releases/tags/v1") == 500
    (violation,) = standin.violations
    assert "invented" in violation


def test_a_token_on_the_asset_store_is_refused_as_the_real_one_does() -> None:
    with GitHubStandIn() as standin:
        asset = standin.repository("o/r").release("v1").asset("a", b"x")
        assert status_of(standin.store.sign(asset), token="t") == 400
        assert status_of(standin.store.sign(asset)) == 200
        assert status_of(f"{standin.store_url}/store/{asset.id}?sig=guessed") == 403


@pytest.mark.parametrize("start", [0, 1, 65535, 65536, 200_000])
def test_made_up_bytes_are_the_same_from_wherever_they_are_read(start: int) -> None:
    content = Content(size=200_001, seed="a")
    assert b"".join(content.read(start, content.size)) == bytes(content)[start:]
    assert Content(bytes(content)).sha256 == content.sha256
    assert bytes(content) != bytes(Content(size=200_001, seed="b"))


def test_it_runs_as_a_program() -> None:
    command = [sys.executable, "-m", "tests.github_standin", "--token", "t"]
    command += ["--release", "o/r@v1", "--asset", "host.efi=1MiB"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert status_of(f"{url}/repos/o/r/releases/tags/v1", token="t") == 200
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
    assert process.returncode == 0
    assert "/repos/o/r/releases/tags/v1" in rest
    assert "violation" not in rest

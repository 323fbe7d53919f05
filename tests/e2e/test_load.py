"""What a person is told who loads a release that GitHub does not give, or not to them."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.daemon import RunningDaemon
from tests.eventually import eventually
from tests.github_standin import GitHubStandIn, faults
from tests.github_standin.faults import Fault

TOKEN = "ghp_" + "a1B2" * 9
SSO = "https://github.com/orgs/lab/sso?authorization_request=A"


@pytest.fixture
def github() -> Iterator[GitHubStandIn]:
    with GitHubStandIn() as github:
        github.token(TOKEN)
        github.repository("lab/images").release("devel").asset("host.efi", b"a" * 1000)
        yield github
        assert github.violations == []


@pytest.fixture
def daemon(tmp_path: Path, github: GitHubStandIn) -> Iterator[RunningDaemon]:
    settings = f'[github]\napi_url = "{github.api_url}"\n[discovery]\nenabled = false\n'
    environ = {"GITHUB_TOKEN": TOKEN}
    with RunningDaemon(tmp_path / "dispatchd", settings=settings, environ=environ) as daemon:
        yield daemon


def test_load_says_in_one_line_why_not_and_in_another_what_to_do(
    daemon: RunningDaemon, github: GitHubStandIn
) -> None:
    refusals: list[tuple[Fault, str, str]] = [
        (faults.bad_token(), "does not accept the token from GITHUB_TOKEN (401)", "restart"),
        (faults.not_found(), "finds no such thing (404)", "misspelt, or removed, or private"),
        (faults.primary_limit(int(time.time()) + 600), "rate limit is reached until", "then"),
        (faults.secondary_limit(retry_after="60"), "rate limit is reached until", "then"),
        (faults.single_sign_on(SSO), "single sign-on (403)", SSO),
    ]
    for fault, said, remedy in refusals:
        github.faults.next("GET", "*/releases/tags/devel", fault)
        printed = daemon.ctl("load", "lab/images@devel", status=1)
        error, hint = printed.splitlines()
        assert error.startswith("error: cannot read the release devel of lab/images: ")
        assert said in error
        assert hint.startswith("hint: ")
        assert remedy in hint
    assert daemon.status()["workloads"] == []


def test_load_says_before_it_queues_that_labels_will_be_dropped(
    daemon: RunningDaemon, github: GitHubStandIn
) -> None:
    github.token(TOKEN, push=False)
    printed = daemon.ctl("load", "lab/images@devel", "--dry-run")
    assert "filed by @lab-bot" in printed
    assert (
        "warning: @lab-bot may not push to lab/images: GitHub drops labels, assignees and milestone"
        in printed
    )


def test_a_dry_run_lists_what_would_be_queued_and_queues_nothing(
    daemon: RunningDaemon, github: GitHubStandIn
) -> None:
    printed = daemon.ctl("load", "lab/images@devel", "--dry-run", "--pool", "A,B")
    rows = [line.split()[:3] for line in printed.splitlines() if line.startswith("queued")]
    assert rows == [["queued", "-", "host.efi@A"], ["queued", "-", "host.efi@B"]]
    assert daemon.status()["workloads"] == []


def test_a_private_release_is_loaded_with_a_token_and_named_without(
    tmp_path: Path, daemon: RunningDaemon, github: GitHubStandIn
) -> None:
    github.repositories["lab/images"].private = True
    daemon.ctl("load", "lab/images@devel")
    eventually(lambda: daemon.status()["workloads"][0]["bytes"] == "whole")
    settings = f'[github]\napi_url = "{github.api_url}"\n[discovery]\nenabled = false\n'
    with RunningDaemon(tmp_path / "stranger", settings=settings) as stranger:
        printed = stranger.ctl("load", "lab/images@devel", status=1)
    assert "private and there is no token: dispatchctl login" in printed

"""The product's one job on real firmware: load, boot, report, file, boot the next, power off."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.daemon import RunningDaemon
from tests.e2e.uki import build_uki
from tests.e2e.vm import HOST, VirtualMachine
from tests.eventually import eventually
from tests.github_standin import GitHubStandIn
from tests.requirements import require_programs

pytestmark = pytest.mark.firmware

TOKEN = "ghp_" + "a1B2" * 9


@pytest.fixture
def github() -> Iterator[GitHubStandIn]:
    with GitHubStandIn() as standin:
        standin.token(TOKEN)
        yield standin
    assert standin.violations == []
    assert not [one for one in standin.requests if one.port == "store" and TOKEN in str(one)]


@pytest.fixture
def daemon(tmp_path: Path, github: GitHubStandIn) -> Iterator[RunningDaemon]:
    require_programs("qemu-system-x86_64", "objcopy", "cpio", "busybox", "dpkg", "apt-get")
    settings = f'[github]\napi_url = "{github.api_url}"\nissue_spacing = "1s"\n'
    settings += "[discovery]\nenabled = false\n"
    with RunningDaemon(
        tmp_path / "dispatchd", settings=settings, environ={"GITHUB_TOKEN": TOKEN}
    ) as daemon:
        yield daemon


def test_two_workloads_run_on_a_machine_that_is_then_switched_off(
    tmp_path: Path, github: GitHubStandIn, daemon: RunningDaemon
) -> None:
    repository = github.repository("AMDEPYC/sev-certify")
    release = repository.release("devel", prerelease=True)
    for name in ("host-debian-13.efi", "host-ubuntu-25.10.efi"):
        image = tmp_path / name
        titles = [f"{name} SEV version 3.0", f"{name} SEV version 3.1"]
        build_uki(image, name=name, port=daemon.port, titles=titles)
        release.asset(name, image.read_bytes())
    said = daemon.ctl("load", "--owner", "AMDEPYC", "--repo", "sev-certify", "--tag", "devel")
    assert "reports become issues in AMDEPYC/sev-certify, filed by @lab-bot" in said

    url = f"http://{HOST}:{daemon.port}/dispatch"
    with VirtualMachine(tmp_path / "machine", url) as machine:
        assert machine.wait_for_exit(within=420) == 0
        console = machine.serial()
    assert "workload host-debian-13.efi is up" in console
    assert "beacon PUT: HTTP/1.1 200" in console
    assert "switching off" in console

    eventually(lambda: daemon.states() == ["finished", "finished"], within=60)
    titles = [issue.title for issue in repository.issues]
    assert sorted(titles) == [
        f"{name} SEV version {version}"
        for name in ("host-debian-13.efi", "host-ubuntu-25.10.efi")
        for version in ("3.0", "3.1")
    ]
    for issue in repository.issues:
        assert issue.labels == ["certificate"]
        assert "10.0.2" not in (issue.body or "")


def test_a_machine_that_waits_says_why_and_asks_again_at_a_key(
    tmp_path: Path, daemon: RunningDaemon
) -> None:
    url = f"http://{HOST}:{daemon.port}/dispatch/epyc-07"
    with VirtualMachine(tmp_path / "machine", url) as machine:
        machine.wait_for("nothing for epyc-07 now (nothing is loaded yet)")
        machine.wait_for("any key: now")
        daemon.ctl("pause")
        machine.press(" ")
        machine.wait_for("nothing for epyc-07 now (queue paused by")

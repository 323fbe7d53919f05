"""Downloads by a real dispatchd: killed in the middle, asked by many, in a cache that is full."""

import hashlib
import http.client
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.daemon import BIN, RunningDaemon
from tests.eventually import eventually
from tests.github_standin import GitHubStandIn, faults
from tests.github_standin.world import Release

MIB = 1 << 20
DATA = os.urandom(4 * MIB)
#: What a break may lose: one chunk, and what a buffer holds back.
LOST = 128 << 10


@pytest.fixture
def github() -> Iterator[GitHubStandIn]:
    with GitHubStandIn() as github:
        github.token("ghp_lab")
        yield github
        assert github.violations == []


@pytest.fixture
def release(github: GitHubStandIn) -> Release:
    return github.repository("lab/images").release("devel")


def daemon_of(directory: Path, github: GitHubStandIn, cache: str = "") -> RunningDaemon:
    return RunningDaemon(
        directory,
        settings=f'{cache}\n[github]\napi_url = "{github.api_url}"\n[discovery]\nenabled = false\n',
        environ={"GITHUB_TOKEN": "ghp_lab"},
    )


def load(daemon: RunningDaemon) -> None:
    daemon.ctl("load", "lab/images@devel", "--no-file", "--no-wait")


def arrived(daemon: RunningDaemon) -> int:
    return int(daemon.status()["workloads"][0]["arrived"])


def get(daemon: RunningDaemon, machine: str) -> bytes:
    """HEAD and GET, as firmware does."""
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=60)
    connection.request("HEAD", f"/dispatch/{machine}", headers={"Accept": "*/*"})
    connection.getresponse().read()
    connection.request("GET", f"/dispatch/{machine}", headers={"Accept": "*/*"})
    data = connection.getresponse().read()
    connection.close()
    return data


def test_a_download_that_was_killed_goes_on_where_it_was(
    tmp_path: Path, github: GitHubStandIn, release: Release
) -> None:
    release.asset("host.efi", DATA)
    released = threading.Event()
    github.faults.next("GET", "/store/*", faults.slow(released, after=3 * MIB))
    with daemon_of(tmp_path / "dispatchd", github) as daemon:
        load(daemon)
        eventually(lambda: arrived(daemon) >= 3 * MIB - LOST)
        daemon.kill()
        released.set()
        daemon.start()
        eventually(lambda: daemon.status()["workloads"][0]["bytes"] == "whole")
        first, second = github.received("GET", port="store")
        assert "range" not in first.headers
        begun = int(second.headers["range"].removeprefix("bytes=").removesuffix("-"))
        assert begun >= 3 * MIB - LOST
        assert get(daemon, "epyc-07") == DATA
        assert any("host.efi: going on after" in line for line in daemon.log)


@pytest.mark.parametrize("machines", [1, 8])
def test_any_number_of_machines_costs_one_download(
    tmp_path: Path, github: GitHubStandIn, release: Release, machines: int
) -> None:
    release.asset("host.efi", DATA)
    names = [f"epyc-{number:02}" for number in range(machines)]
    with daemon_of(tmp_path / "dispatchd", github) as daemon:
        pools = ",".join(f"p{number}" for number in range(machines))
        for number, name in enumerate(names):
            daemon.ctl("machines", "set", name, f"pool=p{number}")
        daemon.ctl("load", "lab/images@devel", "--no-file", "--pool", pools)
        with ThreadPoolExecutor(machines) as pool:
            got = list(pool.map(lambda name: get(daemon, name), names))
    assert got == [DATA] * machines
    assert github.store.served == len(DATA)


def test_load_draws_what_arrives_on_a_terminal(
    tmp_path: Path, github: GitHubStandIn, release: Release
) -> None:
    release.asset("host.efi", DATA)
    released = threading.Event()
    github.faults.next("GET", "/store/*", faults.slow(released, after=MIB))
    with daemon_of(tmp_path / "dispatchd", github) as daemon:
        ours, theirs = os.openpty()
        words = ["--socket", str(daemon.socket), "load", "lab/images@devel", "--no-file"]
        load = subprocess.Popen(
            [BIN / "dispatchctl", *words], stdout=theirs, stderr=theirs, env={"TERM": "xterm"}
        )
        os.close(theirs)
        seen = b""
        while b"host.efi: 25 %" not in seen:
            seen += os.read(ours, 4096)
        released.set()
        while b"host.efi: all bytes are here" not in seen:
            seen += os.read(ours, 4096)
        assert load.wait(20) == 0
        os.close(ours)


def test_a_corrupt_source_never_reaches_a_machine(
    tmp_path: Path, github: GitHubStandIn, release: Release
) -> None:
    release.asset("host.efi", DATA)
    github.faults.next("GET", "/store/*", faults.wrong_bytes())
    with daemon_of(tmp_path / "dispatchd", github) as daemon:
        load(daemon)
        eventually(lambda: "bytes are wrong" in daemon.ctl("show", "host.efi"))
        assert len(get(daemon, "epyc-07")) < MIB
        eventually(lambda: daemon.status()["workloads"][0]["bytes"] == "whole", within=20)
        assert get(daemon, "epyc-07") == DATA


def test_a_full_cache_says_so_and_the_rest_comes_when_there_is_room(
    tmp_path: Path, github: GitHubStandIn, release: Release
) -> None:
    for name in ("a", "b"):
        release.asset(f"{name}.efi", size=2 * MIB)
    directory = tmp_path / "dispatchd"
    with daemon_of(directory, github, cache='max_size = "3MiB"') as daemon:
        load(daemon)
        eventually(lambda: "cache full: 1 workload waits for 2.0 MiB" in daemon.ctl())
        assert "needs 2.0 MiB, 1.0 MiB more than there is room for" in daemon.ctl("show", "b.efi")
        daemon.ctl("cancel", "a.efi")
        eventually(lambda: "b.efi: all 2097152 bytes" in daemon.ctl("events"), within=40)
        assert "a.efi: 2.0 MiB left the cache" in daemon.ctl("events")
        assert os.listdir(directory / "cache") == [release.assets[1].content.sha256]


def test_the_cache_is_listed_pruned_and_checked(
    tmp_path: Path, github: GitHubStandIn, release: Release
) -> None:
    release.asset("a.efi", DATA)
    release.asset("b.efi", DATA[: 2 * MIB])
    with daemon_of(tmp_path / "dispatchd", github) as daemon:
        daemon.ctl("load", "lab/images@devel", "--no-file")
        assert "a.efi" in daemon.ctl("cache")
        assert "Nothing to remove" in daemon.ctl("cache", "prune")
        daemon.ctl("cancel", "b.efi")
        assert "2.0 MiB freed" in daemon.ctl("cache", "prune")
        (file,) = json.loads(daemon.ctl("cache", "--json"))["files"]
        assert (file["names"], file["needed_by"]) == (["a.efi"], ["a.efi"])
        assert file["sha256"] == hashlib.sha256(DATA).hexdigest()
        assert "all well" in daemon.ctl("cache", "verify")
        path = tmp_path / "dispatchd/cache" / file["sha256"]
        path.chmod(0o644)
        path.write_bytes(DATA[:-1] + bytes([DATA[-1] ^ 1]))
        assert "corrupt: a.efi" in daemon.ctl("cache", "verify", status=1)
        eventually(lambda: daemon.status()["workloads"][0]["bytes"] == "whole")
        assert get(daemon, "epyc-07") == DATA

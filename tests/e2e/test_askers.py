"""Who asks, and how often: one boot is one claim, and what is no machine claims nothing."""

import json
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.e2e.daemon import QUIET, RunningDaemon
from tests.e2e.test_wire import ask, load
from tests.eventually import eventually
from tests.requirements import require_programs


@pytest.fixture
def images(tmp_path: Path) -> dict[str, bytes]:
    directory = tmp_path / "images"
    directory.mkdir()
    images = {name: os.urandom(50_000) for name in ("a.efi", "b.efi", "c.efi")}
    for name, content in images.items():
        (directory / name).write_bytes(content)
    return images


@pytest.fixture
def daemon(tmp_path: Path, images: dict[str, bytes]) -> Iterator[RunningDaemon]:
    with RunningDaemon(tmp_path / "dispatchd", settings=QUIET) as daemon:
        load(daemon, tmp_path)
        yield daemon


@pytest.mark.parametrize("requests", ["HEAD GET GET GET GET", "GET GET GET", "HEAD GET rest rest"])
def test_all_requests_of_one_boot_are_answered_with_one_workload(
    daemon: RunningDaemon, images: dict[str, bytes], requests: str
) -> None:
    whole = images["a.efi"]
    for request in requests.split():
        if request == "rest":
            assert ask(daemon, "GET", Range="bytes=1000-")[1] == whole[1000:]
        else:
            answer, body = ask(daemon, request)
            assert answer.getheader("Content-Length") == str(len(whole))
            assert body == (b"" if request == "HEAD" else whole)
    eventually(lambda: daemon.states() == ["downloading", "unassigned", "unassigned"])


def test_a_range_of_nothing_is_not_found_and_claims_nothing(daemon: RunningDaemon) -> None:
    assert ask(daemon, "GET", Range="bytes=0-")[0].status == 404
    assert daemon.states() == ["unassigned"] * 3


def test_what_only_looks_claims_nothing_whatever_it_accepts(daemon: RunningDaemon) -> None:
    for agent in (
        "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        "kube-probe/1.29",
        "check_http/v2.3.3 (monitoring-plugins 2.3.3)",
        "ELB-HealthChecker/2.0",
        "Blackbox Exporter/0.25.0",
        "masscan/1.3",
    ):
        for method in ("HEAD", "GET"):
            answer, _ = ask(daemon, method, User_Agent=agent)
            assert answer.status == 200
            assert (answer.getheader("Content-Type") or "").startswith("text/html")
    assert daemon.states() == ["unassigned"] * 3
    assert json.loads(daemon.ctl("machines", "--json"))["machines"] == []


def test_firmware_is_served_whatever_it_calls_itself(
    daemon: RunningDaemon, images: dict[str, bytes]
) -> None:
    for agent in ("UefiHttpBoot/1.0", "iPXE/1.21.1+", "Some Vendor 7", ""):
        assert ask(daemon, "GET", User_Agent=agent)[1] == images["a.efi"]


def test_who_is_not_allowed_is_told_so_and_drives_nothing(
    tmp_path: Path, images: dict[str, bytes]
) -> None:
    daemon = RunningDaemon(tmp_path / "dispatchd", settings=QUIET)
    settings = daemon.directory / "dispatchd.toml"
    settings.write_text(settings.read_text().replace("[boot]", '[boot]\nallow = ["127.0.0.7/32"]'))
    with daemon:
        load(daemon, tmp_path)
        assert ask(daemon, "GET", source="127.0.0.7")[1] == images["a.efi"]
        for method, body in (
            ("HEAD", None),
            ("GET", None),
            ("POST", b""),
            ("PUT", b'{"title":"x"}'),
        ):
            assert ask(daemon, method, body=body, source="127.0.0.8")[0].status == 403
        eventually(lambda: daemon.states() == ["downloading", "unassigned", "unassigned"])
        eventually(lambda: "403 not in [boot] allow" in daemon.ctl("status"))


def test_both_address_families_are_served(tmp_path: Path, images: dict[str, bytes]) -> None:
    with RunningDaemon(tmp_path / "dispatchd", listen="*:0", settings=QUIET) as daemon:
        load(daemon, tmp_path)
        port = daemon.port
        for host in ("::1", "127.0.0.1"):
            with socket.create_connection((host, port), timeout=30) as firmware:
                firmware.sendall(b"HEAD /dispatch HTTP/1.1\r\nHost: x\r\n\r\n")
                assert firmware.recv(15) == b"HTTP/1.1 200 OK"
        assert [row["machine"] for row in daemon.status()["workloads"]] == [
            "::1",
            "127.0.0.1",
            None,
        ]


def test_without_descriptors_it_lives_on_and_serves_when_there_are_some_again(
    tmp_path: Path, images: dict[str, bytes]
) -> None:
    with _with_descriptors(512, tmp_path) as daemon:
        port = daemon.port
        # Something else took them: our own bound leaves some.
        _limit(daemon, 10)
        with _crowd(port):
            eventually(lambda: _complaints(daemon) > 0)
        _limit(daemon, 512)
        assert ask(daemon, "GET")[1] == images["a.efi"]
        assert daemon.ended(0) is None
        # One a second, not one at each turn of a loop that spins.
        assert _complaints(daemon) < 60


def test_a_crowd_of_silent_connections_takes_no_descriptor_that_a_machine_needs(
    tmp_path: Path, images: dict[str, bytes]
) -> None:
    with _with_descriptors(512, tmp_path) as daemon:
        with _crowd(daemon.port):
            assert ask(daemon, "GET")[1] == images["a.efi"]
        assert not _complaints(daemon)
        assert daemon.ended(0) is None


@contextmanager
def _with_descriptors(limit: int, directory: Path) -> Iterator[RunningDaemon]:
    require_programs("prlimit")
    daemon = RunningDaemon(
        directory / "dispatchd", settings=QUIET, prefix=("prlimit", f"--nofile={limit}:{limit}")
    )
    with daemon:
        load(daemon, directory)
        yield daemon


def _limit(daemon: RunningDaemon, descriptors: int) -> None:
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (descriptors, 512))


@contextmanager
def _crowd(port: int) -> Iterator[None]:
    """Somebody who connects all the time and says nothing."""
    with ExitStack() as stack:
        for _ in range(400):
            stranger = socket.create_connection(
                ("127.0.0.1", port), timeout=30, source_address=("127.0.0.9", 0)
            )
            stack.enter_context(stranger)
        yield


def _complaints(daemon: RunningDaemon) -> int:
    return sum("cannot accept a connection: Too many open files" in line for line in daemon.log)

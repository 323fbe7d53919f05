"""A real daemon under many machines: slow ones, and one whose dispatchd is killed meanwhile."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.daemon import QUIET, RunningDaemon
from tests.e2e.machine import PowerOn
from tests.eventually import eventually

MIB = 1 << 20
#: More than the kernel's buffers between two sockets take.
SIZE = 16 * MIB
SLOW = 64


@pytest.fixture
def image(tmp_path: Path) -> bytes:
    """One content under many names: it is kept once, and every machine has its own workload."""
    directory = tmp_path / "images"
    directory.mkdir()
    content = os.urandom(SIZE)
    (directory / "0.efi").write_bytes(content)
    for number in range(1, SLOW + 2):
        (directory / f"{number}.efi").hardlink_to(directory / "0.efi")
    return content


@pytest.fixture
def daemon(tmp_path: Path, image: bytes) -> Iterator[RunningDaemon]:
    quiet = f"{QUIET}[deadlines]\ndrain = '1s'\n"
    with RunningDaemon(tmp_path / "dispatchd", settings=quiet) as daemon:
        daemon.ctl("load", "--dir", str(tmp_path / "images"))
        yield daemon


def test_slow_machines_delay_neither_another_one_nor_its_beacon(
    daemon: RunningDaemon, image: bytes, power_on: PowerOn
) -> None:
    port = daemon.port
    slow = [power_on(port, f"slow-{number}").begin() for number in range(SLOW)]
    quick = power_on(port, "quick")
    answer = quick.ask("GET")
    got = b""
    while len(got) < SIZE:
        # While it reads, the others read 10 KiB each and no more.
        got += answer.read(SIZE // 8)
        assert all(len(one.read(10 * 1024)) == 10 * 1024 for one in slow)
    assert got == image
    assert quick.status_of("POST", b"") == 200
    assert quick.status_of("PUT", b'{"title": "all well"}') == 200
    states = eventually(lambda: _downloading(daemon))
    assert states == {f"slow-{number}" for number in range(SLOW)}


def _downloading(daemon: RunningDaemon) -> set[str]:
    rows = daemon.status()["workloads"]
    return {row["machine"] for row in rows if row["state"] == "downloading"}


def test_a_download_goes_on_where_it_was_when_dispatchd_is_killed(
    daemon: RunningDaemon, image: bytes, power_on: PowerOn
) -> None:
    machine = power_on(daemon.port, "epyc-07")
    etag = machine.head()
    answer = machine.ask("GET")
    got = answer.read(5 * MIB)
    (sender,) = daemon.children()
    daemon.signal(signal.SIGKILL)
    assert daemon.ended(30) == -signal.SIGKILL
    eventually(lambda: not Path(f"/proc/{sender}").exists())
    daemon.start()
    again = power_on(daemon.port, "epyc-07")
    rest = again.ask("GET", Range=f"bytes={len(got)}-", If_Match=etag)
    assert rest.status == 206
    assert got + rest.read() == image
    assert again.status_of("POST", b"") == 200
    assert daemon.states().count("booting") == 1
    assert daemon.states().count("unassigned") == SLOW + 1


def test_dispatchd_ends_when_the_process_that_sends_files_does(daemon: RunningDaemon) -> None:
    (sender,) = daemon.children()
    os.kill(sender, signal.SIGKILL)
    assert daemon.ended(30) == 1
    assert any("the process that sends files has died" in line for line in daemon.log)

"""Stopping while machines download: who is served to the end, who waits, and who may hurry it."""

import http.client
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.daemon import QUIET, RunningDaemon
from tests.e2e.machine import PowerOn
from tests.eventually import eventually

MIB = 1 << 20
SIZE = 64 * MIB


@pytest.fixture
def image(tmp_path: Path) -> bytes:
    directory = tmp_path / "images"
    directory.mkdir()
    content = os.urandom(MIB) * (SIZE // MIB)
    for name in ("a.efi", "b.efi", "c.efi"):
        (directory / name).write_bytes(name.encode() + content)
    return content


@pytest.fixture
def daemon(tmp_path: Path, image: bytes) -> Iterator[RunningDaemon]:
    with RunningDaemon(
        tmp_path / "dispatchd",
        settings=f"{QUIET}[deadlines]\ndrain = '80s'\n",
    ) as daemon:
        daemon.ctl("load", "--dir", str(tmp_path / "images"))
        yield daemon


def test_a_transfer_in_flight_is_finished_while_askers_wait_and_beacons_are_heard(
    daemon: RunningDaemon, image: bytes, power_on: PowerOn
) -> None:
    port = daemon.port
    slow, booted, idle = (power_on(port, name) for name in ("slow", "booted", "idle"))
    announced = slow.head()
    transfer = slow.begin()
    booted.ask("GET").read()
    daemon.signal(signal.SIGTERM)
    eventually(lambda: any("draining: 1 transfer, up to 80 s" in line for line in daemon.log))
    for machine in (idle, power_on(port, "late")):
        answer = machine.ask("GET")
        assert answer.status == 200
        assert len(answer.read()) < MIB, "a machine that asks now gets a workload"
    assert booted.status_of("POST", b"") == 200
    assert booted.status_of("PUT", b'{"title": "said while stopping"}') == 200
    assert transfer.read()[-SIZE:] == image
    assert daemon.ended(60) == 0
    daemon.start()
    assert power_on(daemon.port, "slow").head() == announced
    states = {row["machine"]: row["state"] for row in daemon.status()["workloads"]}
    assert states["slow"] == "downloading"
    assert states["booted"] == "reported"


def test_a_second_signal_stops_at_once_and_the_workload_stays_the_machines(
    daemon: RunningDaemon, power_on: PowerOn
) -> None:
    slow = power_on(daemon.port, "slow")
    announced = slow.head()
    transfer = slow.begin()
    daemon.signal(signal.SIGTERM)
    eventually(lambda: any("draining: 1 transfer" in line for line in daemon.log))
    daemon.signal(signal.SIGTERM)
    assert daemon.ended(60) == 0
    assert any("1 transfer cut off" in line for line in daemon.log)
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        transfer.read()
    daemon.start()
    assert power_on(daemon.port, "slow").head() == announced


def test_a_transfer_that_does_not_end_is_cut_off_at_the_deadline(
    tmp_path: Path, image: bytes, power_on: PowerOn
) -> None:
    settings = f"{QUIET}[deadlines]\ndrain = '1s'\n"
    with RunningDaemon(tmp_path / "hasty", settings=settings) as daemon:
        daemon.ctl("load", "--dir", str(tmp_path / "images"))
        slow = power_on(daemon.port, "slow")
        slow.begin()
        daemon.signal(signal.SIGTERM)
        assert daemon.ended(60) == 0
        assert any("1 transfer cut off" in line for line in daemon.log)

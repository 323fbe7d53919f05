"""Stopping while machines download: who is served to the end, who waits, and who may hurry it."""

import http.client
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.e2e.daemon import RunningDaemon
from tests.eventually import eventually

MIB = 1 << 20
SIZE = 64 * MIB
HEADERS = {"User-Agent": "UefiHttpBoot/1.0", "Accept": "*/*"}


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
        settings="[discovery]\nenabled = false\n[deadlines]\ndrain = '80s'\n",
    ) as daemon:
        daemon.ctl("load", "--dir", str(tmp_path / "images"))
        yield daemon


class Firmware:
    """One machine on one connection, with a small window: a download goes on until it is read."""

    def __init__(self, port: int, name: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._connection.sock = socket.socket()
        self._connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        self._connection.sock.settimeout(30)
        self._connection.sock.connect(("127.0.0.1", port))
        self._path = f"/dispatch/{name}"

    def ask(self, method: str, body: bytes | None = None) -> http.client.HTTPResponse:
        self._connection.request(method, self._path, body, HEADERS)
        return self._connection.getresponse()

    def head(self) -> str:
        """The ETag that is announced."""
        answer = self.ask("HEAD")
        answer.read()
        return answer.getheader("ETag") or ""

    def begin(self) -> http.client.HTTPResponse:
        """A download whose first byte has come."""
        answer = self.ask("GET")
        assert len(answer.read(1)) == 1
        return answer

    def status_of(self, method: str, body: bytes) -> int:
        answer = self.ask(method, body)
        answer.read()
        return answer.status

    def close(self) -> None:
        self._connection.close()


PowerOn = Callable[[RunningDaemon, str], Firmware]


@pytest.fixture
def power_on() -> Iterator[PowerOn]:
    with ExitStack() as stack:
        yield lambda daemon, name: stack.enter_context(closing(Firmware(daemon.port, name)))


def test_a_transfer_in_flight_is_finished_while_askers_wait_and_beacons_are_heard(
    daemon: RunningDaemon, image: bytes, power_on: PowerOn
) -> None:
    slow, booted, idle = (power_on(daemon, name) for name in ("slow", "booted", "idle"))
    announced = slow.head()
    transfer = slow.begin()
    booted.ask("GET").read()
    daemon.signal(signal.SIGTERM)
    eventually(lambda: any("draining: 1 transfer, up to 80 s" in line for line in daemon.log))
    for machine in (idle, power_on(daemon, "late")):
        answer = machine.ask("GET")
        assert answer.status == 200
        assert len(answer.read()) < MIB, "a machine that asks now gets a workload"
    assert booted.status_of("POST", b"") == 200
    assert booted.status_of("PUT", b'{"title": "said while stopping"}') == 200
    assert transfer.read()[-SIZE:] == image
    assert daemon.ended(60) == 0
    daemon.start()
    assert power_on(daemon, "slow").head() == announced
    states = {row["machine"]: row["state"] for row in daemon.status()["workloads"]}
    assert states["slow"] == "downloading"
    assert states["booted"] == "reported"


def test_a_second_signal_stops_at_once_and_the_workload_stays_the_machines(
    daemon: RunningDaemon, power_on: PowerOn
) -> None:
    slow = power_on(daemon, "slow")
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
    assert power_on(daemon, "slow").head() == announced


def test_a_transfer_that_does_not_end_is_cut_off_at_the_deadline(
    tmp_path: Path, image: bytes, power_on: PowerOn
) -> None:
    settings = "[discovery]\nenabled = false\n[deadlines]\ndrain = '1s'\n"
    with RunningDaemon(tmp_path / "hasty", settings=settings) as daemon:
        daemon.ctl("load", "--dir", str(tmp_path / "images"))
        slow = power_on(daemon, "slow")
        slow.begin()
        daemon.signal(signal.SIGTERM)
        assert daemon.ended(60) == 0
        assert any("1 transfer cut off" in line for line in daemon.log)

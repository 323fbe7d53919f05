"""The watchdog: what keeps it quiet, and what it says."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dispatchd.services.pulse import Pulse, Watchdog
from dispatchd.services.systemd import Systemd
from tests.eventually import eventually
from tests.systemd import PlayedSystemd

#: Seconds. Long enough for a thread to have its turn, short enough to wait for.
PATIENCE = 0.2


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedSystemd]:
    with PlayedSystemd(tmp_path / "notify") as systemd:
        monkeypatch.setenv("NOTIFY_SOCKET", str(systemd.path))
        yield systemd


@pytest.fixture
def told(systemd: PlayedSystemd) -> Iterator[Systemd]:
    with closing(Systemd({"NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "30000"})) as told:
        yield told


def start(pulse: Pulse, service: Callable[[threading.Event], object]) -> threading.Thread:
    thread = threading.Thread(target=pulse.drive, args=[service], daemon=True)
    thread.start()
    return thread


def test_a_thread_that_asks_whether_to_stop_lives_and_one_that_does_not_is_stuck() -> None:
    pulse = Pulse("outbox", patience=PATIENCE)
    go_on = threading.Event()
    turns = []

    def service(stopping: threading.Event) -> None:
        while not stopping.wait(0.01):
            turns.append(pulse.is_late)
            if len(turns) == 30:
                assert go_on.wait(20)

    thread = start(pulse, service)
    assert eventually(lambda: pulse.is_late)
    assert turns == [False] * 30
    go_on.set()
    assert eventually(lambda: not pulse.is_late)
    pulse.set()
    thread.join(20)
    assert not thread.is_alive()


def test_a_thread_that_waits_long_is_not_stuck() -> None:
    pulse = Pulse("catalog", patience=PATIENCE)
    thread = start(pulse, lambda stopping: stopping.wait(600))
    other = Pulse("other", patience=PATIENCE)
    assert eventually(lambda: other.is_late)
    assert not pulse.is_late
    pulse.set()
    thread.join(20)


def test_what_other_threads_ask_is_no_sign_of_life() -> None:
    pulse = Pulse("fetcher", patience=PATIENCE)
    release = threading.Event()
    thread = start(pulse, lambda _: release.wait(20))

    def is_late() -> bool:
        pulse.is_set()
        pulse.wait(0.001)
        return pulse.is_late

    assert eventually(is_late)
    release.set()
    thread.join(20)


def test_systemd_is_told_only_while_everything_lives(
    systemd: PlayedSystemd, told: Systemd, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    asked: list[Pulse] = []
    workers, loop = Pulse("boot workers", patience=600), Pulse("loop", patience=PATIENCE)
    watchdog = Watchdog(told, [workers, loop], ask=lambda: asked.append(workers))
    watchdog.look()
    assert systemd.message() == {"WATCHDOG": "1"}
    assert eventually(lambda: loop.is_late)
    watchdog.look()
    watchdog.look()
    assert systemd.is_silent(0.1)
    assert [record.message.split(";")[0] for record in caplog.records] == ["stuck: loop"]
    loop.beat(rest=600)
    watchdog.look()
    assert systemd.message() == {"WATCHDOG": "1"}
    assert caplog.records[-1].message == "no longer stuck: loop"


def test_the_watchdog_looks_and_asks_until_it_is_stopped(
    systemd: PlayedSystemd, told: Systemd
) -> None:
    asked = threading.Event()
    pulse = Pulse("watchdog", patience=600)
    thread = start(pulse, Watchdog(told, [pulse], ask=asked.set).run)
    assert [systemd.message(), systemd.message()] == [{"WATCHDOG": "1"}] * 2
    assert asked.is_set()
    pulse.set()
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_ours_only_where_systemd_says_so(
    environ: dict[str, str], seconds: float | None
) -> None:
    assert Systemd(environ).watchdog == seconds


def test_more_time_is_asked_for_at_once_and_not_at_every_step(
    systemd: PlayedSystemd, told: Systemd
) -> None:
    for _ in range(100):
        told.wait_longer()
    assert systemd.message() == {"EXTEND_TIMEOUT_USEC": "30000000"}
    assert systemd.is_silent(0.1)


def test_a_systemd_that_takes_nothing_more_stops_nobody(
    systemd: PlayedSystemd, told: Systemd
) -> None:
    done = threading.Event()

    def speak() -> None:
        for _ in range(qlen() + 2):
            told.alive()
        done.set()

    threading.Thread(target=speak, daemon=True).start()
    assert done.wait(30)
    assert systemd.message() == {"WATCHDOG": "1"}


def qlen() -> int:
    """Datagrams that may wait on a Unix socket."""
    return int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text())


def test_without_systemd_nothing_happens() -> None:
    with closing(Systemd({})) as nobody:
        nobody.ready()
        assert nobody.watchdog is None

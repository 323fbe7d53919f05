"""dispatchd as systemd sees it: a real process, and a socket that plays the service manager."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.daemon import QUIET, RunningDaemon
from tests.eventually import eventually
from tests.systemd import PlayedSystemd


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[PlayedSystemd]:
    with PlayedSystemd(tmp_path / "notify") as systemd:
        yield systemd


@pytest.fixture
def daemon(tmp_path: Path, systemd: PlayedSystemd) -> Iterator[RunningDaemon]:
    environ = {"NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "600000"}
    with RunningDaemon(tmp_path / "d", settings=QUIET, environ=environ) as daemon:
        yield daemon


def test_it_is_ready_when_it_serves_and_says_what_is_in_the_queue(
    daemon: RunningDaemon, systemd: PlayedSystemd, tmp_path: Path
) -> None:
    systemd.until(lambda message: "READY" in message)
    assert daemon.status()["counts"]["unassigned"] == 0
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.efi").write_bytes(b"a" * 1000)
    daemon.ctl("load", "--dir", str(tmp_path / "images"))
    systemd.until(lambda message: message.get("STATUS") == "1 unassigned")


def test_the_watchdog_hears_of_it_while_it_lives_and_not_while_it_is_stopped(
    daemon: RunningDaemon, systemd: PlayedSystemd
) -> None:
    systemd.until(lambda message: "WATCHDOG" in message)
    daemon.signal(signal.SIGSTOP)
    systemd.forget()
    assert systemd.is_silent(1.0)
    daemon.signal(signal.SIGCONT)
    systemd.until(lambda message: "WATCHDOG" in message)


def test_a_stop_is_announced_and_its_reason_is_history(
    daemon: RunningDaemon, systemd: PlayedSystemd
) -> None:
    assert daemon.stop() == 0
    systemd.until(lambda message: "STOPPING" in message)
    daemon.start()
    said = daemon.ctl("events").splitlines()
    assert said[-2].endswith("dispatchd stopped (SIGTERM)")
    assert "serves again, " in said[-1]
    assert said[-1].endswith(" s after it stopped")
    daemon.kill()
    daemon.start()
    assert daemon.ctl("events").splitlines()[-1].endswith("it was killed, or the power failed")


def test_a_reload_takes_over_what_can_change_and_says_what_cannot(
    daemon: RunningDaemon, systemd: PlayedSystemd, tmp_path: Path
) -> None:
    systemd.until(lambda message: "READY" in message)
    file = daemon.directory / "dispatchd.toml"
    told = file.read_text()
    changed = told.replace("127.0.0.1:0", "127.0.0.1:9")
    file.write_text(f'{changed}[queue]\nidle = "next"\nattempts = 5\n')
    daemon.signal(signal.SIGHUP)
    assert int(systemd.until(lambda message: "RELOADING" in message)["MONOTONIC_USEC"]) > 0
    systemd.until(lambda message: "READY" in message)
    said = daemon.ctl("events").splitlines()[-1]
    assert "settings read again: [queue] idle, [queue] attempts changed" in said
    assert "[boot] listen will after a restart (systemctl restart dispatchd)" in said
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.efi").write_bytes(b"a" * 1000)
    daemon.ctl("load", "--dir", str(tmp_path / "images"))
    assert daemon.status()["workloads"][0]["attempts"] == 5


def test_a_reload_of_a_wrong_file_changes_nothing_and_says_why(
    daemon: RunningDaemon, systemd: PlayedSystemd
) -> None:
    systemd.until(lambda message: "READY" in message)
    file = daemon.directory / "dispatchd.toml"
    file.write_text(file.read_text() + "[queue]\nattempt = 5\n")
    daemon.signal(signal.SIGHUP)
    systemd.until(lambda message: "RELOADING" in message)
    systemd.until(lambda message: "READY" in message)
    eventually(lambda: "the settings stay as they were" in daemon.log[-1])
    assert "[queue] attempt: unknown key (did you mean attempts?)" in daemon.log[-1]
    assert daemon.status()["counts"]["unassigned"] == 0

"""Hooks: what a command is told, that its failures are harmless, and that nothing waits for it."""

import logging
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dispatchd.domain.event import Event, Kind
from dispatchd.domain.model import Machine
from dispatchd.services.hooks import WAITING, Hooks, variables
from tests.eventually import eventually

MANUAL = Path(__file__).parents[2] / "docs/hooks.md"
NOW = datetime(2026, 11, 25, 7, 0, tzinfo=UTC)


def event(text: str, kind: Kind = Kind.REPORTED, machine: Machine | None = None) -> Event:
    return Event(id=1, at=NOW, kind=kind, text=text, by="alice", machine=machine)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Hooks]]:
    """Hooks that run a shell script with the given lines."""
    stopping = threading.Event()
    threads: list[threading.Thread] = []

    def begin(script: str, *, timeout: float = 30.0) -> Hooks:
        program = tmp_path / "hook"
        program.write_text(f"#!/bin/sh\ncd {tmp_path}\n{script}\n")
        program.chmod(0o755)
        hooks = Hooks(
            {**os.environ, "GITHUB_TOKEN": "ghp_secret", "CREDENTIALS_DIRECTORY": "/run/c"},
            command=lambda: f"{program} argument",
            timeout=lambda: timeout,
        )
        threads.append(threading.Thread(target=hooks.run, args=[stopping]))
        threads[-1].start()
        return hooks

    yield begin
    stopping.set()
    for thread in threads:
        thread.join()


def lines(file: Path, count: int) -> list[str]:
    def written() -> list[str]:
        found = file.read_text().splitlines() if file.exists() else []
        return found if len(found) >= count else []

    return eventually(written, within=30)


def test_a_command_is_told_the_event_and_never_the_token(
    tmp_path: Path, start: Callable[..., Hooks]
) -> None:
    machine = Machine(
        id=1,
        name="epyc-07",
        pool="",
        note="",
        paused=False,
        held="",
        trusted_after=0,
        simulated=False,
        seen_at=None,
        waiting_since=None,
        handed="",
        sent_attempt_id=None,
        address="10.0.0.7",
        mac="b4:96:91:00:1c:05",
    )
    start("echo $1 > said; env >> said; touch done").tell(
        event("epyc-07 is held", Kind.MACHINE_HELD, machine)
    )
    eventually((tmp_path / "done").exists, within=30)
    said = (tmp_path / "said").read_text().splitlines()
    assert said[0] == "argument"
    assert {
        "DISPATCHD_EVENT=machine-held",
        "DISPATCHD_TEXT=epyc-07 is held",
        "DISPATCHD_BY=alice",
        "DISPATCHD_MACHINE=epyc-07",
        "DISPATCHD_ADDRESS=10.0.0.7",
        "DISPATCHD_MAC=b4:96:91:00:1c:05",
    } <= set(said)
    assert not [line for line in said if "ghp_secret" in line or line.startswith("CREDENTIALS")]


def test_events_are_told_one_after_the_other_in_their_order(
    tmp_path: Path, start: Callable[..., Hooks]
) -> None:
    hooks = start('echo "$DISPATCHD_TEXT" >> said')
    for number in range(5):
        hooks.tell(event(f"event {number}"))
    assert lines(tmp_path / "said", 5) == [f"event {number}" for number in range(5)]


def test_a_command_that_fails_is_logged_with_what_it_said_and_the_next_is_run(
    tmp_path: Path, start: Callable[..., Hooks], caplog: pytest.LogCaptureFixture
) -> None:
    hooks = start('echo "$DISPATCHD_TEXT" >> said; echo no route to BMC; exit 3')
    hooks.tell(event("one"))
    hooks.tell(event("two"))
    lines(tmp_path / "said", 2)
    expected = "the hook failed with status 3 after 'one': no route to BMC"
    eventually(lambda: expected in [record.getMessage() for record in caplog.records])
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_a_command_that_takes_too_long_is_killed_with_what_it_started(
    tmp_path: Path, start: Callable[..., Hooks], caplog: pytest.LogCaptureFixture
) -> None:
    hooks = start("sleep 1000 & echo $! >> said; wait", timeout=0.3)
    hooks.tell(event("one"))
    (child,) = lines(tmp_path / "said", 1)
    eventually(lambda: "took too long and was killed" in caplog.text, within=30)
    eventually(lambda: not _lives(int(child)))


@pytest.mark.parametrize("text", ["\0nul", "half a \udc80 character", "x" * 5_000_000])
def test_whatever_the_wire_sends_can_be_told(
    tmp_path: Path, start: Callable[..., Hooks], text: str
) -> None:
    start("echo told >> said").tell(event(text))
    assert lines(tmp_path / "said", 1) == ["told"]


def test_a_command_that_cannot_be_run_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    stopping = threading.Event()
    hooks = Hooks({}, command=lambda: "/nowhere/hook", timeout=lambda: 1.0)
    hooks.tell(event("one"))
    thread = threading.Thread(target=hooks.run, args=[stopping])
    thread.start()
    eventually(lambda: "cannot run the hook /nowhere/hook: No such file" in caplog.text)
    stopping.set()
    thread.join()


def test_a_slow_command_keeps_nobody_waiting_and_what_is_too_much_is_dropped_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hooks = Hooks({}, command=lambda: "true", timeout=lambda: 1.0)
    for number in range(WAITING + 2):
        hooks.tell(event(f"event {number}"))
    warnings = [record.getMessage() for record in caplog.records]
    assert warnings == [f"the hook is too slow: it is not told from 'event {WAITING}' on"]


@pytest.mark.parametrize(
    ("kind", "called"),
    [
        (Kind.NO_REPORT, "ipmitool -I lanplus -H bmc-epyc-07.lab.example"),
        (Kind.MACHINE_HELD, "curl --silent --show-error --fail --max-time 20 --json @-"),
        (Kind.REPORTED, ""),
    ],
)
def test_the_examples_of_the_manual_do_what_it_says(
    tmp_path: Path, kind: Kind, called: str
) -> None:
    for name in ("ipmitool", "curl", "jq"):
        stand_in = tmp_path / name
        stand_in.write_text(f'#!/bin/sh\necho "{name} $*" >> {tmp_path}/called\n')
        stand_in.chmod(0o755)
    told = variables(event("it's all; $(touch hacked)", kind))
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin", "DISPATCHD_MACHINE": "epyc-07", **told}
    blocks = re.findall(r"```sh\n(#!/bin/sh\n.*?)```", MANUAL.read_text(), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        subprocess.run(["sh", "-c", block], env=environ, cwd=tmp_path, check=True, timeout=30)
    said = (tmp_path / "called").read_text() if (tmp_path / "called").exists() else ""
    assert called in said
    assert bool(said) == bool(called)
    assert not (tmp_path / "hacked").exists()


def _lives(pid: int) -> bool:
    """Whether the process runs; one that nobody has waited for yet does not."""
    try:
        return ") Z " not in (Path("/proc") / str(pid) / "stat").read_text()
    except FileNotFoundError:
        return False

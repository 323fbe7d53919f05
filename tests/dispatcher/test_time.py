"""What happens because time passes, whatever the wall clock shows."""

import threading
from pathlib import Path

import pytest

from dispatchd.domain.lifecycle import Deadlines
from dispatchd.domain.model import Arrival, State
from dispatchd.services.dispatcher.unit import Policy
from tests.dispatcher.lab import Lab, machine
from tests.eventually import eventually

HOUR = 3600


@pytest.mark.parametrize(
    ("steps", "seconds", "reason"),
    [
        ("download", 300, "download stalled"),
        ("whole", 600, "no boot"),
        ("boot", 3600, "no report"),
    ],
)
def test_a_deadline_ends_the_attempt_though_nobody_asks(
    lab: Lab, steps: str, seconds: int, reason: str
) -> None:
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    epyc.head()
    epyc.get(whole=steps != "download")
    if steps == "boot":
        epyc.boot()
    lab.later(seconds - 1)
    assert lab.state(only) is not State.UNASSIGNED
    lab.later(1)
    assert lab.state(only) is State.UNASSIGNED
    assert lab.workload(only).reason == reason
    assert lab.workload(only).tries == 1


def test_bytes_that_move_renew_the_deadline(lab: Lab) -> None:
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    epyc.head()
    offer = epyc.get(whole=False)
    assert offer.attempt_id is not None
    for sent in range(1, 5):
        lab.later(200)
        lab.phases.progress(offer.attempt_id, sent)
    assert lab.state(only) is State.DOWNLOADING


def test_a_last_byte_that_is_written_down_late_moves_no_deadline(lab: Lab) -> None:
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    epyc.head()
    offer = epyc.get(whole=False)
    epyc.boot()
    lab.later(3000)
    assert offer.attempt_id is not None
    lab.observations.whole(offer.attempt_id)
    lab.observations.flush()
    lab.later(600)
    assert lab.workload(only).reason == "no report"


def test_a_restart_and_a_jump_of_the_clock_end_nothing(lab: Lab) -> None:
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    epyc.download()
    epyc.boot()
    lab.later(3000)
    lab.restart()
    lab.clock.jump(7200)
    lab.later(3000)
    lab.clock.jump(-7200)
    assert lab.state(only) is State.BOOTING
    lab.later(600)
    assert lab.state(only) is State.UNASSIGNED


def test_a_reported_workload_finishes_half_a_minute_after_its_last_report(lab: Lab) -> None:
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    epyc.download()
    epyc.report("one")
    lab.settle_outbox()
    lab.later(29)
    epyc.report("two")
    lab.settle_outbox()
    lab.later(29)
    assert lab.state(only) is State.REPORTED
    lab.later(1)
    assert lab.state(only) is State.FINISHED


def test_a_report_that_is_not_delivered_keeps_its_workload_reported(lab: Lab) -> None:
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    epyc.download()
    epyc.report()
    lab.later(3600)
    assert lab.state(only) is State.REPORTED
    lab.settle_outbox()
    lab.later(0)
    assert lab.state(only) is State.FINISHED


def test_deadlines_can_be_set(tmp_path: Path) -> None:
    lab = Lab(tmp_path, Policy(deadlines=Deadlines(report=5)))
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    epyc.download()
    epyc.boot()
    lab.later(5)
    assert lab.workload(only).reason == "no report"


def test_the_overseer_sleeps_until_the_next_deadline(lab: Lab) -> None:
    assert lab.overseer.look() is None
    lab.load("a.efi", "b.efi")
    machine(lab, 1).head()
    assert lab.overseer.look() == 300
    lab.clock.advance(100)
    other = machine(lab, 2)
    other.download()
    other.boot()
    assert lab.overseer.look() == 200
    lab.later(200)
    assert lab.overseer.look() == 3400


def test_a_moving_transfer_lets_the_overseer_sleep_on(lab: Lab) -> None:
    lab.load("a.efi")
    epyc = machine(lab)
    epyc.head()
    offer = epyc.get(whole=False)
    assert offer.attempt_id is not None
    lab.overseer.look()
    lab.news.clear()
    lab.clock.advance(299)
    lab.phases.progress(offer.attempt_id, 10)
    assert not lab.news.is_set()
    lab.clock.advance(1)
    assert lab.overseer.look() == 299


def test_a_reported_workload_that_waits_for_github_wakes_nobody(lab: Lab) -> None:
    lab.load("a.efi")
    epyc = machine(lab)
    epyc.download()
    epyc.report()
    assert lab.overseer.look() is None
    lab.settle_outbox()
    assert lab.overseer.look() == 30


def test_what_happens_wakes_the_overseer(tmp_path: Path) -> None:
    lab = Lab(tmp_path, Policy(deadlines=Deadlines(assigned=0)))
    (only,) = lab.load("a.efi")
    stopping = threading.Event()
    thread = threading.Thread(target=lab.overseer.run, args=[stopping])
    thread.start()
    try:
        machine(lab).head()
        eventually(lambda: lab.workload(only).reason == "lapsed")
    finally:
        stopping.set()
        lab.news.set()
        thread.join()


@pytest.mark.parametrize("jump", [-HOUR, HOUR])
@pytest.mark.parametrize(
    ("steps", "seconds"), [("head", 300), ("part", 300), ("whole", 600), ("boot", HOUR)]
)
def test_a_jump_of_the_wall_clock_moves_no_deadline(
    lab: Lab, jump: int, steps: str, seconds: int
) -> None:
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    epyc.head()
    if steps != "head":
        epyc.get(whole=steps != "part")
    if steps == "boot":
        epyc.boot()
    lab.later(seconds / 2)
    lab.clock.jump(jump)
    lab.later(seconds / 2 - 1)
    assert lab.state(only) is not State.UNASSIGNED
    lab.later(1)
    assert lab.state(only) is State.UNASSIGNED


@pytest.mark.parametrize("jump", [-HOUR, HOUR])
def test_a_head_is_kept_for_two_minutes_whatever_the_wall_clock_shows(lab: Lab, jump: int) -> None:
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    announced = epyc.head()
    lab.operator.cancel(only, by="alice")
    lab.clock.advance(60)
    lab.clock.jump(jump)
    lab.clock.advance(60)
    assert epyc.get().sha256 == announced.sha256
    lab.clock.advance(1)
    assert epyc.get().handed == "poweroff.efi"


@pytest.mark.parametrize("jump", [-HOUR, HOUR])
def test_four_hours_of_waiting_are_four_hours_whatever_the_wall_clock_shows(
    lab: Lab, jump: int
) -> None:
    lab.load("a.efi", arrival=Arrival.ARRIVING)
    epyc = machine(lab)
    for step in range(24):
        assert epyc.download().handed == "wait.efi"
        lab.clock.advance(600)
        if step == 12:
            lab.clock.jump(jump)
    assert epyc.download().handed == "poweroff.efi"


def test_a_machine_that_was_away_begins_to_wait_anew(lab: Lab) -> None:
    lab.load("a.efi", arrival=Arrival.ARRIVING)
    epyc = machine(lab)
    assert epyc.get().handed == "wait.efi"
    lab.clock.advance(24 * HOUR)
    assert epyc.get().handed == "wait.efi"

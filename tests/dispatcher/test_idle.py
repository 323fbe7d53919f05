"""Machines that get no workload: they wait, are held, or are switched off."""

from pathlib import Path

import pytest

from dispatchd.domain.model import Arrival, State
from dispatchd.errors import Conflict
from dispatchd.services.dispatcher.unit import Policy
from tests.dispatcher.lab import Lab, machine


def test_a_machine_waits_while_bytes_arrive_or_nothing_was_ever_loaded(lab: Lab) -> None:
    epyc = machine(lab)
    assert epyc.head().handed == "wait.efi"
    lab.load("a.efi", arrival=Arrival.ARRIVING)
    assert b"bytes are still arriving" in epyc.head().body


def test_as_many_machines_wait_as_attempts_may_come_back(lab: Lab) -> None:
    lab.load("a.efi")
    machine(lab, 1).download()
    assert machine(lab, 2).download().handed == "wait.efi"
    assert machine(lab, 3).download().handed == "poweroff.efi"
    assert machine(lab, 2).download().handed == "wait.efi"


def test_a_machine_that_was_forgotten_or_paused_waits_in_nobodys_stead(lab: Lab) -> None:
    lab.load("a.efi", "b.efi")
    runs, forgotten = machine(lab, 1), machine(lab, 2)
    runs.download()
    forgotten.download()
    forgotten.report()
    assert forgotten.download().handed == "wait.efi"
    assert machine(lab, 3).download().handed == "poweroff.efi"
    lab.operator.forget_machine("10.0.0.2", by="alice")
    assert machine(lab, 3).download().handed == "wait.efi"
    lab.operator.pause(["10.0.0.3"], paused=True, by="alice")
    assert forgotten.download().handed == "wait.efi"


def test_a_machine_for_which_a_workload_waits_is_not_forgotten(lab: Lab) -> None:
    pin = lab.operator.change_machine(
        "pin", name=None, pool=None, note=None, simulated=None, by="al"
    )
    (only,) = lab.load("a.efi", pinned_to=pin)
    with pytest.raises(Conflict, match="waits for it"):
        lab.operator.forget_machine("pin", by="alice")
    lab.operator.cancel(only, by="alice")
    lab.operator.forget_machine("pin", by="alice")
    lab.operator.retry(only, on=None, by="alice")
    assert machine(lab).head().handed == "a.efi"


def test_a_machine_does_not_wait_for_what_it_never_takes(lab: Lab) -> None:
    lab.load("a.efi")
    small = machine(lab)
    for _ in range(3):
        assert small.head().handed == "a.efi"
        lab.later(300)
    machine(lab, 8).download()
    assert small.head().handed == "poweroff.efi"


def test_nobody_waits_longer_than_four_hours_and_status_says_who(lab: Lab) -> None:
    lab.load("a.efi", arrival=Arrival.ARRIVING)
    epyc = machine(lab)
    for _ in range(24):
        assert epyc.download().handed == "wait.efi"
        lab.clock.advance(600)
    assert epyc.download().handed == "poweroff.efi"
    assert any("10.0.0.7" in line for line in lab.overview.status().attention)
    lab.clock.advance(600)
    assert epyc.download().handed == "wait.efi"


def test_a_paused_queue_makes_machines_wait_and_a_paused_machine_boots_its_next_option(
    lab: Lab,
) -> None:
    lab.load("a.efi")
    epyc = machine(lab, name="epyc")
    lab.operator.pause([], paused=True, by="alice")
    assert b"queue paused by alice" in epyc.head().body
    lab.operator.pause([], paused=False, by="alice")
    lab.operator.pause(["epyc"], paused=True, by="alice")
    assert epyc.head().status == 404
    assert epyc.get().status == 404
    lab.operator.pause(["epyc"], paused=False, by="alice")
    assert epyc.head().handed == "a.efi"


@pytest.mark.parametrize(
    ("idle", "handed"), [("poweroff", "poweroff.efi"), ("wait", "wait.efi"), ("next", "nothing")]
)
def test_the_idle_setting_forces_one_answer(tmp_path: Path, idle: str, handed: str) -> None:
    lab = Lab(tmp_path, Policy(idle=idle))
    assert machine(lab).head().handed.startswith(handed)


def test_three_bad_tries_in_a_row_hold_a_machine_and_give_the_tries_back(lab: Lab) -> None:
    ids = lab.load("a.efi", "b.efi", "c.efi", "d.efi")
    good, bad = machine(lab, 1, name="good"), machine(lab, 2, name="bad")
    good.download()
    for _ in range(3):
        bad.download()
        bad.boot()
    assert b"held" in bad.download().body
    assert [lab.workload(workload).tries for workload in ids] == [0, 0, 0, 0]
    assert any(line.startswith("bad: held") for line in lab.overview.status().attention)
    lab.operator.pause(["bad"], paused=False, by="alice")
    assert bad.head().handed == "b.efi"


def test_a_machine_alone_goes_on_however_bad(lab: Lab) -> None:
    lab.load("a.efi", "b.efi", "c.efi", "d.efi")
    bad = machine(lab)
    for _ in range(3):
        bad.download()
        bad.boot()
    assert bad.download().handed == "d.efi"


def test_a_held_machine_goes_on_when_the_others_have_gone(lab: Lab) -> None:
    lab.load("a.efi", "b.efi", "c.efi", "d.efi")
    machine(lab, 1).head()
    bad = machine(lab, 2, name="bad")
    for _ in range(3):
        bad.download()
        bad.boot()
    assert bad.head().handed == "wait.efi"
    lab.later(3 * 3600 + 1)
    assert bad.head().handed == "a.efi"
    assert not lab.overview.machine(2).held


def test_a_workload_that_failed_by_a_held_machine_is_queued_again(tmp_path: Path) -> None:
    lab = Lab(tmp_path, Policy(max_tries=1))
    ids = lab.load("a.efi", "b.efi", "c.efi", "d.efi")
    machine(lab, 1).download()
    bad = machine(lab, 2)
    for _ in range(2):
        bad.download()
        bad.boot()
    assert bad.download().handed == "d.efi"
    assert [lab.state(one) for one in ids[1:3]] == [State.FAILED, State.FAILED]
    bad.boot()
    bad.download()
    assert [lab.state(one) for one in ids[1:]] == [State.UNASSIGNED] * 3
    assert [lab.workload(one).tries for one in ids[1:]] == [0, 0, 0]
    assert bad.head().handed == "wait.efi"


def test_what_is_not_in_the_queue_any_more_is_not_given_back(tmp_path: Path) -> None:
    lab = Lab(tmp_path, Policy(max_tries=1))
    first, *_ = lab.load("a.efi")
    bad, good = machine(lab, 2), machine(lab, 1)
    bad.download()
    bad.boot()
    with lab.store.writing() as tx:
        tx.releases.unload(tx.releases.get(1), lab.clock.now())
    lab.load("b.efi", "c.efi", "d.efi")
    good.head()
    for _ in range(3):
        bad.download()
        bad.boot()
    assert lab.overview.machine(1).held
    assert lab.state(first) is State.FAILED


def test_no_machine_is_switched_off_because_dispatchd_restarts(tmp_path: Path) -> None:
    lab = Lab(tmp_path, Policy(idle="poweroff"))
    lab.load("a.efi")
    lab.draining = True
    assert machine(lab).head().handed == "wait.efi"


def test_who_asks_while_dispatchd_drains_waits_and_keeps_its_workload(lab: Lab) -> None:
    first, _ = lab.load("a.efi", "b.efi")
    early, late = machine(lab, 1), machine(lab, 2)
    announced = early.head()
    lab.draining = True
    assert early.get().sha256 == announced.sha256, "what was announced is given"
    assert early.head().handed == "wait.efi"
    assert late.head().handed == "wait.efi"
    lab.draining = False
    lab.restart()
    assert early.head().sha256 == announced.sha256
    assert lab.workload(first).tries == 0


def test_bytes_that_are_lost_under_a_machine_cost_no_try_and_are_no_lapse(lab: Lab) -> None:
    first, _ = lab.load("a.efi", "b.efi")
    epyc = machine(lab)
    lab.missing.add(epyc.head().sha256)
    assert epyc.head().handed == "b.efi"
    assert lab.workload(first).tries == 0
    assert lab.overview.workload(first).attempts[0].outcome == "its bytes were lost here"

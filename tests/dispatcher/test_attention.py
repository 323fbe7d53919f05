"""What status says needs a hand, and what it says of when and why."""

from datetime import timedelta
from pathlib import Path

from dispatchd.domain.model import Arrival
from dispatchd.services.dispatcher.unit import Policy
from tests.dispatcher.lab import Lab, machine

HOUR = 3600


def attention(lab: Lab) -> list[str]:
    return lab.overview.status().attention


def test_nothing_needs_a_hand_while_all_goes_well(lab: Lab) -> None:
    lab.load("a.efi", "b.efi")
    epyc = machine(lab)
    epyc.download()
    epyc.boot()
    assert attention(lab) == []


def test_a_machine_that_fell_silent_is_to_be_power_cycled(lab: Lab) -> None:
    lab.load("a.efi")
    epyc = machine(lab, name="epyc-04")
    epyc.download()
    epyc.boot()
    lab.later(HOUR)
    lab.later(180)
    assert attention(lab) == ["epyc-04: silent 63 min in a.efi: power-cycle it"]
    epyc.head()
    assert attention(lab) == []


def test_a_machine_that_takes_much_longer_than_others_looks_stuck(lab: Lab) -> None:
    lab.load("a.efi", pools=("7003", "9004"))
    for name, pool in (("old", "7003"), ("new", "9004")):
        lab.operator.change_machine(name, name=None, pool=pool, note=None, simulated=None, by="al")
    quick, slow = machine(lab, 1, name="old"), machine(lab, 2, name="new")
    for one in (quick, slow):
        one.download()
        one.boot()
    lab.later(9 * 60)
    quick.report()
    lab.later(10 * 60)
    assert attention(lab) == []
    lab.later(10 * 60)
    assert attention(lab) == [
        "new: silent 29 min in a.efi@9004 (others took 9 min): power-cycle it"
    ]


def test_a_machine_that_boots_something_else_is_asked_about(lab: Lab) -> None:
    lab.load("a.efi", "b.efi")
    epyc = machine(lab, name="epyc")
    epyc.download()
    epyc.report()
    lab.settle_outbox()
    lab.later(30)
    assert attention(lab) == []
    lab.later(1800)
    assert attention(lab) == ["epyc: finished and never asked again: is HTTP boot first?"]


def test_machines_that_are_off_are_wanted_when_there_is_work_again(lab: Lab) -> None:
    lab.load("a.efi")
    for number in (1, 2):
        epyc = machine(lab, number, name=f"epyc-{number}")
        epyc.download()
    machine(lab, 1, name="epyc-1").report()
    machine(lab, 1, name="epyc-1").download()
    lab.settle_outbox()
    lab.later(HOUR)
    assert attention(lab) == []
    lab.load("b.efi")
    assert attention(lab) == [
        "epyc-2: was handed wait.efi and is silent for 1 h: power-cycle it",
        "epyc-1: switched off, and there is work again: power on",
    ]


def test_a_bad_machine_that_goes_on_alone_is_named(lab: Lab) -> None:
    lab.load("a.efi", "b.efi", "c.efi", "d.efi")
    bad = machine(lab, name="bad")
    for _ in range(3):
        bad.download()
        bad.boot()
    bad.head()
    assert attention(lab) == [
        "bad: its last 3 workloads ended without a report; it goes on, since no other machine is "
        "alive"
    ]
    lab.operator.pause(["bad"], paused=False, by="alice")
    assert attention(lab) == []


def test_an_unclaimed_report_says_how_to_claim_it(lab: Lab) -> None:
    stranger = machine(lab, 61)
    identity = lab.beacons.keep_unclaimed(
        stranger.caller, answer=417, reason="it runs nothing here", title="well", body=b"{}"
    )
    assert attention(lab) == [
        "1 unclaimed report, the latest from 10.0.0.61: it runs nothing here "
        f"(dispatchctl reports claim {identity[:8]} WORKLOAD)"
    ]


def test_a_pool_without_a_machine_is_named(lab: Lab) -> None:
    lab.load("a.efi", pools=("9004",))
    assert attention(lab) == [
        "pool 9004: no machine has it (dispatchctl machines set NAME pool=9004)"
    ]


def test_a_row_says_until_when_and_what_happens_then(lab: Lab) -> None:
    lab.load("a.efi")
    machine(lab, 1).head()
    machine(lab, 2).head()
    machine(lab, 1).get()
    lab.clock.advance(60)
    (row,) = lab.overview.status().workloads
    assert row.why == "10.0.0.1 has all its bytes; its beacon has not spoken yet"
    assert row.until == lab.clock.now() + timedelta(minutes=9)
    assert row.then == (
        "no boot within 10 min of the download; second try next, on another machine"
    )
    lab.later(540)
    (row,) = lab.overview.status().workloads
    assert row.until is None
    assert row.why == (
        "no boot within 10 min of the download on 10.0.0.1; second try next, on another machine"
    )


def test_the_last_try_says_that_it_is_the_last(tmp_path: Path) -> None:
    lab = Lab(tmp_path, Policy(max_tries=1))
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    epyc.download()
    epyc.boot()
    row = lab.overview.workload(only).workload
    assert (row.why, row.then) == (
        "its beacon spoke on 10.0.0.7; no report yet",
        "no report within 1 h of the boot; no try is left",
    )


def test_a_deadline_that_was_moved_by_the_clock_is_told_as_it_is(lab: Lab) -> None:
    lab.load("a.efi", arrival=Arrival.WHOLE)
    machine(lab).head()
    lab.overseer.look()
    lab.clock.jump(-HOUR)
    (row,) = lab.overview.status().workloads
    assert row.until == lab.clock.now() + timedelta(minutes=5)

"""Boot after boot of whole machines: the stories that went wrong elsewhere."""

import sqlite3
from contextlib import closing
from itertools import groupby

import pytest

from dispatchd.domain.model import State
from tests.dispatcher.lab import Lab, PlayedMachine, machine

HOUR = 3600
#: Seconds from an image's death to the machine's next ask: a virtual machine's, a server's, and one
#: that is slower than the deadline for booting.
CYCLES = [20, 400, 700]


@pytest.mark.parametrize("cycle", CYCLES)
def test_an_image_that_never_boots_keeps_no_other_from_running(lab: Lab, cycle: int) -> None:
    dead, *_ = lab.load("a.efi", "b.efi", "c.efi")
    epyc = machine(lab)
    handed = []
    for _ in range(20):
        handed.append(epyc.download().handed)
        if handed[-1] in ("b.efi", "c.efi"):
            epyc.boot()
            epyc.report()
        lab.later(cycle)
    order = [name for name, _ in groupby(handed)]
    assert order == ["a.efi", "b.efi", "c.efi", "a.efi", "poweroff.efi"]
    assert lab.state(dead) is State.FAILED


def test_a_report_is_of_what_the_machine_runs_and_not_of_what_died_on_it(lab: Lab) -> None:
    died, runs = lab.load("a.efi", "b.efi")
    epyc = machine(lab)
    epyc.download()
    epyc.boot()
    assert epyc.download().handed == "b.efi"
    assert epyc.boot() == epyc.report() == "b.efi"
    lab.settle_outbox()
    lab.later(30)
    assert lab.state(runs) is State.FINISHED
    assert lab.state(died) is State.UNASSIGNED
    assert lab.overview.workload(died).workload.reports == []


def test_a_slow_machine_keeps_its_workload_whoever_asks_meanwhile(lab: Lab) -> None:
    (only,) = lab.load("a.efi")
    slow, other = machine(lab, 1), machine(lab, 2)
    slow.head()
    offer = slow.get(whole=False)
    assert offer.attempt_id is not None
    for sent in range(1, 20):
        lab.later(290)
        lab.phases.progress(offer.attempt_id, sent)
        assert other.download().handed == "wait.efi"
    lab.observations.whole(offer.attempt_id)
    lab.later(590)
    assert slow.boot() == "a.efi"
    lab.later(HOUR - 10)
    assert other.download().handed == "wait.efi"
    assert slow.report() == "a.efi"
    assert lab.workload(only).tries == 0
    assert not lab.overview.workload(only).workload.reports[0].late


def test_a_machine_that_is_back_at_once_keeps_its_next_workload(lab: Lab) -> None:
    (runs_first,) = lab.load("z.efi", priority=-1)
    (runs_next,) = lab.load("a.efi")
    epyc = machine(lab)
    assert epyc.download().handed == "z.efi"
    epyc.report()
    lab.settle_outbox()
    assert epyc.head().handed == "a.efi"
    assert lab.state(runs_first) is State.FINISHED
    lab.later(30)
    assert lab.state(runs_next) is State.ASSIGNED
    epyc.get()
    assert epyc.boot() == "a.efi"
    assert lab.state(runs_next) is State.BOOTING


def test_a_spare_machine_waits_and_takes_over_what_another_did_not_finish(lab: Lab) -> None:
    lab.load("a.efi")
    first, spare = machine(lab, 1), machine(lab, 2)
    first.download()
    first.boot()
    assert spare.download().handed == "wait.efi"
    lab.later(HOUR)
    assert spare.download().handed == "a.efi"
    assert spare.boot() == spare.report() == "a.efi"
    assert spare.download().handed == "poweroff.efi"


@pytest.mark.parametrize("router", ["", "aa:00:00:00:00:fe"], ids=["far", "near"])
def test_machines_behind_one_address_are_told_apart_by_their_names(lab: Lab, router: str) -> None:
    """A router in between, whose MAC is seen where it is on the same link."""
    lab.load("a.efi", "b.efi", "c.efi", "d.efi")
    one, two = (PlayedMachine(lab, name=name, mac=router) for name in ("one", "two"))
    for handed in (("a.efi", "b.efi"), ("c.efi", "d.efi")):
        assert (one.download().handed, two.download().handed) == handed
        assert (one.boot(), two.boot()) == handed
        assert (one.report(), two.report()) == handed
    lab.later(HOUR)
    assert (one.report("late"), two.report("late")) == ("c.efi", "d.efi")


def test_what_was_announced_is_given_while_another_process_writes(lab: Lab) -> None:
    lab.load("a.efi")
    epyc = machine(lab, name="epyc", mac="aa:00:00:00:00:01")
    announced = epyc.head()
    with closing(sqlite3.connect(lab.url.removeprefix("sqlite:///"))) as other:
        other.execute("BEGIN IMMEDIATE")
        given = lab.asks.get(epyc.caller)
        rest = lab.asks.resume(epyc.caller)
    assert announced.sha256 == given.sha256 == rest.sha256
    assert announced.attempt_id == given.attempt_id == rest.attempt_id


@pytest.mark.parametrize("loaded", [[], ["a.efi"]])
def test_a_machine_that_is_forgotten_in_the_middle_of_an_answer_stays_forgotten(
    lab: Lab, loaded: list[str]
) -> None:
    epyc = machine(lab, name="epyc", mac="aa:00:00:00:00:01")
    lab.load(*loaded)
    for _ in loaded:
        # What attempts refer to is kept, without what it is known by.
        epyc.download()
        epyc.report()
    epyc.head()
    offer = lab.asks.get(epyc.caller)
    lab.operator.forget_machine("epyc", by="alice")
    assert offer.machine_id is not None
    lab.observations.program(offer.machine_id, epyc.caller)
    lab.observations.flush()
    assert [one.macs for one in lab.overview.machines().machines] == [[] for _ in loaded]
    again = epyc.head()
    assert again.machine_id != offer.machine_id or not loaded


def test_what_went_out_while_another_process_wrote_is_noted_for_that_time(lab: Lab) -> None:
    lab.load("a.efi")
    epyc = machine(lab, name="epyc", mac="aa:00:00:00:00:01")
    epyc.head()
    offer = lab.asks.get(epyc.caller)
    assert offer.attempt_id is not None
    lab.observations.first_byte(offer.attempt_id, epyc.caller)
    went_out = lab.clock.now()
    lab.clock.advance(HOUR)
    lab.observations.flush()
    (known,) = lab.overview.machines().machines
    assert known.seen == went_out

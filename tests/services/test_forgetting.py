"""What history keeps, and what it forgets."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dispatchd.domain.model import State
from dispatchd.services.forgetting import Forgetting
from dispatchd.store.history import BATCH, Knock
from tests.dispatcher.lab import Lab, machine

YEAR = 365 * 86400


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


@pytest.fixture
def forget(lab: Lab) -> Callable[[], None]:
    forgetting = Forgetting(lab.store, lab.clock, keep=lambda: YEAR)
    return lambda: forgetting.forget(lambda: False)


def run_one(lab: Lab) -> int:
    """A workload that was run and reported."""
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    epyc.download()
    epyc.boot()
    epyc.report()
    return only


def finish(lab: Lab) -> None:
    lab.settle_outbox()
    lab.later(30)


def unload(lab: Lab) -> None:
    with lab.store.writing() as tx:
        for release in tx.releases.loaded():
            tx.releases.unload(release, lab.clock.now())


def reports(lab: Lab) -> int:
    return len(lab.overview.reports().reports)


def test_what_is_old_goes(lab: Lab, forget: Callable[[], None]) -> None:
    only = run_one(lab)
    finish(lab)
    unload(lab)
    with lab.store.writing() as tx:
        at = lab.clock.now()
        tx.knocks.insert(
            [
                Knock(
                    at=at,
                    address="10.0.0.7",
                    mac="",
                    machine_id=None,
                    request="HEAD /dispatch",
                    agent="",
                    answer="200",
                )
            ]
        )
    lab.clock.advance(YEAR - 60)
    forget()
    assert reports(lab) == 1
    assert lab.overview.events(0).events
    lab.clock.advance(120)
    forget()
    assert reports(lab) == 0
    assert lab.overview.events(0).events == []
    assert lab.overview.status().knock is None
    assert lab.state(only) is State.FINISHED


def test_what_is_loaded_keeps_its_reports(lab: Lab, forget: Callable[[], None]) -> None:
    run_one(lab)
    finish(lab)
    lab.clock.advance(2 * YEAR)
    forget()
    assert reports(lab) == 1


def test_what_is_still_to_be_delivered_stays(lab: Lab, forget: Callable[[], None]) -> None:
    run_one(lab)
    unload(lab)
    lab.clock.advance(2 * YEAR)
    forget()
    assert reports(lab) == 1
    assert lab.overview.events(0).events


def test_more_than_one_batch_goes_and_what_stays_is_passed_by(
    lab: Lab, forget: Callable[[], None]
) -> None:
    run_one(lab)
    epyc = machine(lab)
    for number in range(BATCH + 10):
        epyc.report(f"report {number}")
    finish(lab)
    unload(lab)
    lab.load("b.efi")
    epyc.download()
    lab.clock.advance(2 * YEAR)
    forget()
    assert reports(lab) == 0
    assert [event.kind for event in lab.overview.events(0).events] == [
        "assigned",
        "downloading",
        "whole",
    ]

"""Who gets what next, and what a machine is told for which nothing is left."""

from datetime import UTC, datetime
from typing import Any

import pytest

from dispatchd.domain.lifecycle import LAPSES
from dispatchd.domain.model import Machine, State, Workload
from dispatchd.domain.schedule import (
    TOO_LONG,
    Candidate,
    Idle,
    Situation,
    choose,
    when_nothing_is_left,
)

NOW = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
EPYC = 7


def machine(**values: Any) -> Machine:
    plain: dict[str, Any] = {
        "id": EPYC,
        "name": "epyc",
        "pool": "",
        "note": "",
        "paused": False,
        "held": "",
        "trusted_after": 0,
        "simulated": False,
        "seen_at": NOW,
        "waiting_since": None,
        "handed": "",
        "sent_attempt_id": None,
        "address": "10.0.0.7",
        "mac": "",
    }
    return Machine(**(plain | values))


def candidate(name: str = "a.efi", **values: Any) -> Candidate:
    """``values`` are the candidate's where it has them, else its workload's."""
    mine: dict[str, Any] = {"position": 1, "whole": True, "local": False}
    rest: dict[str, Any] = {
        "id": 1,
        "release_id": 1,
        "asset_id": 1,
        "pool": "",
        "pinned_to": None,
        "priority": 0,
        "max_tries": 2,
        "report_timeout": None,
        "state": State.UNASSIGNED,
        "reason": "",
        "run": 1,
        "tries": 0,
        "changed_at": NOW,
    }
    for key, value in values.items():
        (mine if key in Candidate.__slots__ else rest)[key] = value
    return Candidate(workload=Workload(name=name, **rest), **mine)


def situation(**values: Any) -> Situation:
    plain: dict[str, Any] = {
        "policy": "auto",
        "ever_loaded": True,
        "queue_paused": "",
        "draining": False,
        "waited_too_long": False,
        "waiting": (),
    }
    return Situation(**(plain | values))


#: Each pair: what goes first, and what stands behind it although all that counts less is for it.
ORDER = [
    (
        {"tries": 1, "priority": 9, "position": 9, "name": "z.efi"},
        {"failed_here": True, "tries": 0, "priority": 0, "position": 1, "name": "a.efi"},
    ),
    (
        {"lapses_here": 0, "tries": 1, "priority": 9, "position": 9, "name": "z.efi"},
        {"lapses_here": 1, "tries": 0, "priority": 0, "position": 1, "name": "a.efi"},
    ),
    (
        {"tries": 0, "priority": 9, "position": 9, "name": "z.efi"},
        {"tries": 1, "priority": 0, "position": 1, "name": "a.efi"},
    ),
    (
        {"priority": -1, "position": 9, "name": "z.efi"},
        {"priority": 0, "position": 1, "name": "a.efi"},
    ),
    ({"position": 1, "name": "z.efi"}, {"position": 2, "name": "a.efi"}),
    ({"name": "a.efi"}, {"name": "b.efi"}),
]


@pytest.mark.parametrize(("first", "second"), ORDER)
def test_the_order_goes_by_what_counts_most(first: dict[str, Any], second: dict[str, Any]) -> None:
    one, other = candidate(id=2, **first), candidate(id=1, **second)
    for both in ([one, other], [other, one]):
        assert choose(both, machine(), others_alive=True) == one.workload


def test_what_failed_here_waits_for_another_machine_only_while_there_is_one() -> None:
    failed = candidate("a.efi", id=1, failed_here=True)
    fresh = candidate("b.efi", id=2)
    assert choose([failed, fresh], machine(), others_alive=True) == fresh.workload
    assert choose([failed, fresh], machine(), others_alive=False) == failed.workload
    assert choose([failed], machine(), others_alive=True) == failed.workload


@pytest.mark.parametrize(
    "unfit",
    [
        {"whole": False},
        {"pool": "genoa"},
        {"pinned_to": EPYC + 1},
        {"lapses_here": LAPSES},
        *({"state": state} for state in State if state is not State.UNASSIGNED),
    ],
)
def test_what_is_not_for_the_machine_now_is_never_chosen(unfit: dict[str, Any]) -> None:
    assert choose([candidate(**unfit)], machine(), others_alive=False) is None
    fit = candidate("z.efi", id=2)
    assert choose([candidate(**unfit), fit], machine(), others_alive=False) == fit.workload


def test_a_machine_of_a_pool_runs_its_pools_work_and_everybodys() -> None:
    genoa = machine(pool="genoa")
    assert choose([candidate(pool="genoa")], genoa, others_alive=False) is not None
    assert choose([candidate(pool="")], genoa, others_alive=False) is not None
    assert choose([candidate(pool="milan")], genoa, others_alive=False) is None
    assert choose([candidate(pinned_to=EPYC)], machine(), others_alive=False) is not None


def test_a_simulated_machine_runs_local_work_only() -> None:
    simulated = machine(simulated=True)
    assert choose([candidate(local=False)], simulated, others_alive=False) is None
    assert choose([candidate(local=True)], simulated, others_alive=False) is not None


@pytest.mark.parametrize("policy", ["poweroff", "wait", "next"])
def test_a_forced_answer_is_given_whatever_else_is_so(policy: str) -> None:
    given = situation(policy=policy, ever_loaded=False, queue_paused="paused")
    assert when_nothing_is_left(machine(), [], given).idle.value == policy


@pytest.mark.parametrize("policy", ["poweroff", "wait", "next"])
def test_no_answer_is_forced_on_machines_while_dispatchd_restarts(policy: str) -> None:
    # There may be work for it: nobody would switch it on again.
    said = when_nothing_is_left(machine(), [], situation(policy=policy, draining=True))
    assert said.idle is Idle.WAIT


def test_a_machine_that_a_person_paused_boots_its_next_option_whatever_the_policy() -> None:
    for policy in ("auto", "poweroff", "wait"):
        said = when_nothing_is_left(machine(paused=True), [], situation(policy=policy))
        assert said.idle is Idle.NEXT


@pytest.mark.parametrize(
    "values",
    [{"draining": True}, {"queue_paused": "paused by alice"}, {"ever_loaded": False}],
)
def test_a_machine_waits_uncounted_while_it_is_we_who_are_not_ready(values: dict[str, Any]) -> None:
    said = when_nothing_is_left(machine(), [], situation(waited_too_long=True, **values))
    assert (said.idle, said.counted) == (Idle.WAIT, False)


def test_a_machine_is_switched_off_when_everything_is_settled() -> None:
    assert when_nothing_is_left(machine(), [], situation()).idle is Idle.POWEROFF


def test_a_machine_waits_for_bytes_that_are_still_arriving_but_not_for_ever() -> None:
    arriving = [candidate(whole=False)]
    said = when_nothing_is_left(machine(), arriving, situation(waiting=(machine(id=8),) * 50))
    assert (said.idle, said.counted) == (Idle.WAIT, True)
    late = when_nothing_is_left(machine(), arriving, situation(waited_too_long=True))
    assert (late.idle, late.reason) == (Idle.POWEROFF, TOO_LONG)


@pytest.mark.parametrize(("waiting", "idle"), [(0, Idle.WAIT), (1, Idle.WAIT), (2, Idle.POWEROFF)])
def test_as_many_machines_wait_as_attempts_may_come_back(waiting: int, idle: Idle) -> None:
    elsewhere = [
        candidate("a.efi", id=1, state=State.DOWNLOADING),
        candidate("b.efi", id=2, state=State.BOOTING),
    ]
    others = tuple(machine(id=EPYC + number) for number in range(1, waiting + 1))
    said = when_nothing_is_left(machine(), elsewhere, situation(waiting=others))
    assert said.idle is idle


def test_a_machine_that_waits_for_another_pool_takes_nobodys_place() -> None:
    elsewhere = [candidate("a.efi", state=State.DOWNLOADING, pool="genoa")]
    stranger = situation(waiting=(machine(id=8, pool="milan"),))
    rival = situation(waiting=(machine(id=8, pool="genoa"),))
    assert when_nothing_is_left(machine(pool="genoa"), elsewhere, stranger).idle is Idle.WAIT
    assert when_nothing_is_left(machine(pool="genoa"), elsewhere, rival).idle is Idle.POWEROFF


@pytest.mark.parametrize(
    ("values", "idle"),
    [
        ({"state": State.BOOTING, "tries": 0}, Idle.WAIT),
        ({"state": State.BOOTING, "tries": 1}, Idle.POWEROFF),
        ({"state": State.ASSIGNED, "tries": 1}, Idle.WAIT),
        ({"state": State.BOOTING, "pool": "genoa"}, Idle.POWEROFF),
        ({"state": State.BOOTING, "pinned_to": EPYC + 1}, Idle.POWEROFF),
    ],
)
def test_nobody_waits_for_what_cannot_come_back_to_it(values: dict[str, Any], idle: Idle) -> None:
    assert when_nothing_is_left(machine(), [candidate(**values)], situation()).idle is idle


def test_a_held_machine_waits_while_there_is_work_that_it_could_do() -> None:
    held = machine(held="three bad tries")
    said = when_nothing_is_left(held, [candidate()], situation())
    assert said.idle is Idle.WAIT
    assert "three bad tries" in said.reason
    assert when_nothing_is_left(held, [], situation()).idle is Idle.POWEROFF


def test_a_machine_without_a_pool_waits_for_a_person_while_a_pools_work_is_left() -> None:
    said = when_nothing_is_left(machine(), [candidate(pool="genoa")], situation())
    assert said.idle is Idle.WAIT
    assert "pool" in said.reason
    milan = machine(pool="milan")
    assert when_nothing_is_left(milan, [candidate(pool="genoa")], situation()).idle is Idle.POWEROFF

"""The table, pair by pair, against what the design says of each state."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dispatchd.domain.lifecycle import (
    ASKS,
    Deadlines,
    Event,
    advance,
    after,
    is_bad_run,
    on_ask,
    time_limit,
)
from dispatchd.domain.model import Attempt, Outcome, State, Workload
from dispatchd.errors import Conflict

NOW = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)

#: For each event: state before -> state after. What is not here is impossible.
EXPECTED = {
    Event.ASSIGN: "unassigned>assigned",
    Event.SEND: "assigned>downloading downloading>downloading booting>booting reported>reported",
    Event.BOOT: "downloading>booting booting>booting reported>reported finished>finished",
    Event.REPORT: "downloading>reported booting>reported reported>reported finished>reported",
    Event.SETTLE: "reported>finished",
    Event.REQUEUE: "assigned>unassigned downloading>unassigned booting>unassigned "
    "failed>unassigned",
    Event.EXHAUST: "downloading>failed booting>failed",
    Event.CANCEL: "unassigned>failed assigned>failed downloading>failed booting>failed "
    "reported>failed",
    Event.RETRY: "finished>unassigned failed>unassigned",
    Event.REOPEN: "unassigned>booting failed>booting",
    Event.REPORT_LATE: "unassigned>reported assigned>reported downloading>reported "
    "booting>reported reported>reported finished>reported failed>reported",
    Event.WITHDRAW: "unassigned>failed",
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_every_state_takes_exactly_the_events_that_it_should(state: State, event: Event) -> None:
    pairs = dict(pair.split(">") for pair in EXPECTED[event].split())
    if state.value in pairs:
        assert advance(state, event).value == pairs[state.value]
    else:
        with pytest.raises(Conflict, match=f"it is {state}"):
            advance(state, event)


def attempt(**values: object) -> Attempt:
    known: dict[str, object] = {"id": 1, "workload_id": 1, "machine_id": 1, "number": 1, "run": 1}
    return Attempt(**(known | {"assigned_at": NOW} | values))  # type: ignore[arg-type]


ASSIGNED = attempt()
SENT = attempt(first_byte_at=NOW)
WHOLE = attempt(first_byte_at=NOW, whole_at=NOW)
BOOTED = attempt(first_byte_at=NOW, whole_at=NOW, booted_at=NOW)
REPORTED = attempt(first_byte_at=NOW, whole_at=NOW, reported_at=NOW)


@pytest.mark.parametrize(
    ("before", "since_whole", "outcome"),
    [
        (ASSIGNED, None, None),
        (attempt(asks=50), None, None),
        (SENT, None, None),
        (attempt(first_byte_at=NOW, asks=ASKS - 1), None, Outcome.DOWNLOAD_FAILING),
        (WHOLE, 60.0, None),
        (WHOLE, 60.1, Outcome.DID_NOT_BOOT),
        (attempt(first_byte_at=NOW, whole_at=NOW, asks_since_whole=4), 1.0, None),
        (attempt(first_byte_at=NOW, whole_at=NOW, asks_since_whole=5), 1.0, Outcome.DID_NOT_BOOT),
        (BOOTED, 1.0, Outcome.REBOOTED),
        (REPORTED, 1.0, Outcome.REPORTED),
    ],
)
def test_an_ask_ends_the_attempt_or_gives_the_same_again(
    before: Attempt, since_whole: float | None, outcome: Outcome | None
) -> None:
    assert on_ask(before, since_whole=since_whole, reask=60) is outcome


@pytest.mark.parametrize(
    ("before", "limit", "outcome"),
    [
        (ASSIGNED, 300, Outcome.LAPSED),
        (SENT, 300, Outcome.STALLED),
        (WHOLE, 600, Outcome.NO_BOOT),
        (BOOTED, 3600, Outcome.NO_REPORT),
        (REPORTED, 30, Outcome.REPORTED),
    ],
)
def test_a_deadline_ends_each_phase_in_its_own_words(
    before: Attempt, limit: float, outcome: Outcome
) -> None:
    assert time_limit(before, deadlines=Deadlines(), report_timeout=None) == (limit, outcome)


def test_a_workload_may_have_a_report_deadline_of_its_own() -> None:
    limit, _ = time_limit(BOOTED, deadlines=Deadlines(), report_timeout=7200)
    assert limit == 7200


def workload(tries: int) -> Workload:
    return Workload(
        id=1,
        release_id=1,
        asset_id=1,
        name="a.efi",
        pool="",
        pinned_to=None,
        priority=0,
        max_tries=2,
        report_timeout=None,
        state=State.BOOTING,
        reason="",
        run=1,
        tries=tries,
        changed_at=NOW,
    )


@pytest.mark.parametrize(
    ("tries", "outcome", "on_file", "queued", "event"),
    [
        (0, Outcome.NO_REPORT, False, True, Event.REQUEUE),
        (1, Outcome.NO_REPORT, False, True, Event.EXHAUST),
        (1, Outcome.LAPSED, False, True, Event.REQUEUE),
        (0, Outcome.REPORTED, True, True, None),
        (0, Outcome.CANCELLED, True, True, Event.CANCEL),
        (1, Outcome.NO_REPORT, True, True, Event.REPORT_LATE),
        (0, Outcome.NO_REPORT, False, False, Event.CANCEL),
    ],
)
def test_an_end_queues_fails_or_leaves_the_workload(
    tries: int, outcome: Outcome, on_file: bool, queued: bool, event: Event | None
) -> None:
    assert after(workload(tries), outcome, on_file=on_file, queued=queued) is event


def test_three_failures_on_different_workloads_speak_against_the_machine() -> None:
    def ended(workload_id: int, outcome: Outcome) -> Attempt:
        later = NOW + timedelta(hours=1)
        return attempt(workload_id=workload_id, ended_at=later, outcome=outcome)

    bad = [ended(number, Outcome.NO_BOOT) for number in (3, 2, 1)]
    assert is_bad_run(bad)
    assert not is_bad_run(bad[:2])
    assert not is_bad_run([bad[0], bad[0], bad[2]])
    assert not is_bad_run([bad[0], ended(2, Outcome.REPORTED), bad[2]])
    assert not is_bad_run([bad[0], bad[1], replace(bad[2], reported_at=NOW)])

"""What must hold after whatever happened to the queue: each promise is a sentence.

Time is taken by stopwatches of the test's own, and states are told again from history. What cannot
have changed without an event is looked at when there was one.
"""

import json
import os
import tempfile
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from hypothesis.stateful import RuleBasedStateMachine, invariant

from dispatchd.domain.event import Event, Kind
from dispatchd.domain.model import Attempt, Delivery, Outcome, State
from dispatchd.services.dispatcher.identity import Caller
from dispatchd.store.store import Transaction
from tests.dispatcher.lab import Lab

U, A, D, B = State.UNASSIGNED, State.ASSIGNED, State.DOWNLOADING, State.BOOTING
R, F, X = State.REPORTED, State.FINISHED, State.FAILED
#: Where a workload may go from each state.
MOVES = {
    U: {A, B, R, X},
    A: {U, D, R, X},
    D: {U, B, R, X},
    B: {U, R, X},
    R: {F, X},
    F: {U, R},
    X: {U, B, R},
}
#: Events that are told of a workload although its state stays.
NO_MOVE = {Kind.WHOLE, Kind.UNCLAIMED, Kind.CLAIMED, Kind.FAILURE_REPORTED}
#: What time alone does to an attempt, by the state it is in: after how long, and how it ends.
LIMITS = {
    "assigned": (300, Outcome.LAPSED),
    "downloading": (300, Outcome.STALLED),
    "whole": (600, Outcome.NO_BOOT),
    "booting": (3600, Outcome.NO_REPORT),
    "reported": (30, Outcome.REPORTED),
}
DONE = {Delivery.FILED, Delivery.KEPT, Delivery.REFUSED}


@dataclass(kw_only=True, slots=True)
class Stopwatch:
    """How long an open attempt has been in its phase, and what the test saw of it."""

    attempt: Attempt
    phase: str
    since: float
    asks: int = 1
    asks_since_whole: int = 0


class Promises(RuleBasedStateMachine):
    """A queue, and what must always be true of it."""

    def __init__(self) -> None:
        super().__init__()
        # In memory where that is possible: each commit waits for the disk, and no power fails here.
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self._directory = tempfile.TemporaryDirectory(dir=memory)
        self.events: list[Event] = []
        self.lab = Lab(Path(self._directory.name), listeners=[self.events.append])
        self.ids: list[int] = []
        self.watches: dict[int, Stopwatch] = {}
        #: Attempts that may lapse early: their machine showed that it runs something else.
        self.superseded: set[int] = set()
        #: Results that were answered 200: attempt and content of each, however often it came.
        self.accepted: set[tuple[int, str]] = set()
        #: Bodies that were nobody's: title and when.
        self.refused: list[tuple[str, datetime]] = []
        self._looked = self._told_something = True
        self._told: dict[int, State] = {}
        #: Runs of workloads of which a result is on file.
        self._results: set[tuple[int, int]] = set()

    def teardown(self) -> None:
        self.lab.store.close()
        self._directory.cleanup()

    def look(self) -> float | None:
        """Let the overseer act on what is due."""
        pause = self.lab.overseer.look()
        self._looked = True
        return pause

    def pick(self, number: int) -> int:
        """One of the workloads."""
        return self.ids[number % len(self.ids)]

    def keep_unclaimed(self, caller: Caller, title: str) -> None:
        """Keep a body that was answered 417."""
        body = json.dumps({"title": title}).encode()
        self.lab.beacons.keep_unclaimed(
            caller, answer=417, reason="it runs nothing here", title=title, body=body
        )
        self.refused.append((title, self.lab.clock.now()))

    def take_stock(self) -> None:
        """Stop the watches that have to be stopped by now."""
        self.time_ends_what_is_due_and_nothing_early()

    def spend(self, seconds: float) -> None:
        """Time passes, and the overseer acts on it."""
        self.look()
        self.take_stock()
        self.lab.clock.advance(seconds)
        pause = self.look()
        self.take_stock()
        self.assert_armed(pause)

    def assert_armed(self, pause: float | None) -> None:
        """The overseer sleeps no longer than until the next deadline."""
        now = self.lab.clock.monotonic()
        for watch in self.watches.values():
            if watch.phase != "reported":
                assert pause is not None
                assert pause <= LIMITS[watch.phase][0] - (now - watch.since)

    @invariant()
    def history_tells_every_change_of_state_once(self) -> None:
        for event in self.events:
            workload = event.workload
            if workload is None:
                continue
            before = self._told.get(workload.id, State.UNASSIGNED)
            if event.kind in NO_MOVE or (event.kind is Kind.REPORTED and workload.state is before):
                assert workload.state is before, f"{event.kind} moved {before} to {workload.state}"
            else:
                assert workload.state in MOVES[before], f"{event.kind} moved {before}"
            self._told[workload.id] = workload.state
            if event.kind is Kind.REPORTED and event.attempt is not None:
                self._results.add((workload.id, event.attempt.run))
            if event.kind is Kind.ASSIGNED:
                assert (workload.id, workload.run) not in self._results, "run again unasked"
        self._told_something = self._told_something or bool(self.events)
        self.events.clear()
        with self.lab.store.reading() as tx:
            for workload in tx.workloads.some(self.ids).values():
                told = self._told.get(workload.id, State.UNASSIGNED)
                assert workload.state is told, f"{workload.state} was never told"
                if (workload.id, workload.run) in self._results:
                    assert workload.state not in (U, X), "a result on file counts"

    @invariant()
    def time_ends_what_is_due_and_nothing_early(self) -> None:
        now = self.lab.clock.monotonic()
        with self.lab.store.reading() as tx:
            running = {attempt.id: attempt for attempt in tx.attempts.open()}
            for gone in self.watches.keys() - running.keys():
                self._assert_rightly_ended(self.watches.pop(gone), tx.attempts.get(gone), now)
            for attempt in running.values():
                phase = _phase(attempt)
                watch = self.watches.get(attempt.id)
                if watch is None:
                    watch = Stopwatch(attempt=attempt, phase=phase, since=now)
                    self.watches[attempt.id] = watch
                elif watch.phase != phase or watch.attempt.reported_at != attempt.reported_at:
                    watch.phase, watch.since = phase, now
                watch.attempt = attempt
                limit, _ = LIMITS[phase]
                if self._looked and not (phase == "reported" and self._undelivered(tx, attempt)):
                    assert now - watch.since < limit, f"{phase} lives for ever"
        self._looked = False

    def _assert_rightly_ended(self, watch: Stopwatch, ended: Attempt, now: float) -> None:
        limit, outcome = LIMITS[watch.phase]
        timed = {late for _, late in LIMITS.values()} - {Outcome.REPORTED}
        if ended.outcome in timed and ended.id not in self.superseded:
            assert ended.outcome is outcome
            assert now - watch.since >= limit, f"{outcome} after {now - watch.since} s"

    def _undelivered(self, tx: Transaction, attempt: Attempt) -> bool:
        pairs = tx.reports.of_workloads([attempt.workload_id]).get(attempt.workload_id, [])
        return any(entry.state not in DONE for _, entry in pairs)

    @invariant()
    def at_most_one_attempt_is_open_per_workload_and_machine(self) -> None:
        if not self.events:
            return
        with self.lab.store.reading() as tx:
            attempts = tx.attempts.open()
            workloads = tx.workloads.some(self.ids)
        assert len({attempt.workload_id for attempt in attempts}) == len(attempts)
        assert len({attempt.machine_id for attempt in attempts}) == len(attempts)
        running = {attempt.workload_id: attempt.state for attempt in attempts}
        for workload in workloads.values():
            assert 0 <= workload.tries <= workload.max_tries
            if workload.state in (A, D, B):
                assert running.get(workload.id) is workload.state
                assert workload.tries < workload.max_tries
            elif workload.id in running:
                assert workload.state is running[workload.id] is R

    @invariant()
    def every_result_that_was_taken_is_on_file_once_with_one_delivery(self) -> None:
        if not self.events:
            return
        recent = self.lab.clock.now() - timedelta(days=6)
        with self.lab.store.reading() as tx:
            found = tx.reports.of_workloads(self.ids)
            workloads = tx.workloads.some(self.ids)
            kept = Counter(
                body.title for body, _ in tx.unclaimed.all() if body.received_at > recent
            )
        pairs = [pair for of_one in found.values() for pair in of_one]
        results = [report for report, _ in pairs if not report.failure]
        assert len({report.id for report, _ in pairs}) == len(pairs)
        assert len(results) == len(self.accepted)
        assert {(one.attempt_id, one.content_hash) for one in results} == self.accepted
        refused = Counter(title for title, at in self.refused if at > recent)
        assert kept == refused, "a refused body is kept for a person"
        for workload_id, of_one in found.items():
            if workloads[workload_id].state is F:
                assert all(entry.state in DONE for _, entry in of_one)

    @invariant()
    def status_says_of_everything_why_and_until_when(self) -> None:
        if not self._told_something:
            return
        self._told_something = False
        status = self.lab.overview.status()
        with self.lab.store.reading() as tx:
            releases = tx.releases.loaded()
            machines = {one.workload_id: one.machine_id for one in tx.attempts.open()}
            labels = {one.id: one.label for one in tx.machines.all()}
            workloads = tx.workloads.some(self.ids).values()
        loaded = {release.id for release in releases}
        shown = {
            one.id for one in workloads if one.release_id in loaded or one.state in (A, D, B, R)
        }
        assert {row.id for row in status.workloads} == shown
        assert sum(status.counts.values()) == len(shown)
        for row in status.workloads:
            assert row.why
            assert row.state != U or row.bytes != "gone", "it waits for ever"
            if row.state in (A, D, B):
                assert row.until is not None
                assert row.then
                assert row.machine == labels[machines[row.id]]


def _phase(attempt: Attempt) -> str:
    whole = attempt.state is D and attempt.whole_at is not None
    return "whole" if whole else attempt.state.value

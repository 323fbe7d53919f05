"""Machines, beacons, operators, restarts and time against the queue, in any order."""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from dispatchd.domain.model import Attempt, State
from dispatchd.errors import Conflict
from dispatchd.services.dispatcher.asks import PROMISED
from tests.dispatcher.lab import Lab, PlayedMachine

MACS = {1: "aa:00:00:00:00:01", 2: "aa:00:00:00:00:02", 3: ""}
WORDS = ("unassigned", "assigned", "downloading", "booting", "reported", "finished", "failed")
numbers = st.sampled_from(sorted(MACS))
titles = st.sampled_from(["all well", "one fell over"])


class QueueMachine(RuleBasedStateMachine):
    """Three machines (two known by MAC, one by address) and five workloads."""

    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory()
        self.lab = Lab(Path(self._directory.name))
        self.ids: list[int] = []
        # What the wire told each machine: the digest of its last HEAD, and of the bytes it has.
        self.announced: dict[int, tuple[float, str]] = {}
        self.bytes_of: dict[int, str] = {}
        self.sent: dict[int, set[str]] = {number: set() for number in MACS}
        self.spoke: dict[int, bool] = {}
        self.accepted = 0

    def teardown(self) -> None:
        self.lab.store.close()
        self._directory.cleanup()

    @initialize()
    def load(self) -> None:
        self.ids = self.lab.load("a.efi", "b.efi", "c.efi")
        self.ids += self.lab.load("d.efi", "e.efi", pools=("", "old"))

    def play(self, number: int) -> PlayedMachine:
        return PlayedMachine(self.lab, mac=MACS[number], address=f"10.0.0.{number}")

    @rule(number=numbers)
    def head(self, number: int) -> None:
        before = self._open(number)
        offer = self.play(number).head()
        if before and before.state in (State.ASSIGNED, State.DOWNLOADING):
            with self.lab.store.reading() as tx:
                goes_on = tx.attempts.get(before.id).ended_at is None
            if goes_on:
                # The same bytes until its beacon speaks.
                assert offer.attempt_id == before.id
        self.announced[number] = (self.lab.clock.monotonic(), offer.sha256)

    @rule(number=numbers, whole=st.booleans())
    def get(self, number: int, whole: bool) -> None:
        at, digest = self.announced.get(number, (-1e9, ""))
        offer = self.play(number).get(whole=whole)
        if self.lab.clock.monotonic() - at <= PROMISED:
            assert offer.sha256 == digest
        if offer.status == 200:
            self.bytes_of[number] = offer.sha256
            self.sent[number].add(offer.sha256)

    @rule(number=numbers)
    def boot(self, number: int) -> None:
        label = self.play(number).boot()
        self._assert_credited(number, label)

    @rule(number=numbers, title=titles)
    def report(self, number: int, title: str) -> None:
        before = self._count_reports()
        label = self.play(number).report(title)
        self._assert_credited(number, label)
        assert self._count_reports() - before <= (1 if label else 0)

    @rule(seconds=st.sampled_from([1, 31, 61, 130, 301, 601, 3601]))
    def time_passes(self, seconds: int) -> None:
        self.lab.later(seconds)

    @rule(which=st.integers(0, 6), retry=st.booleans())
    def operate(self, which: int, retry: bool) -> None:
        workload_id = self.ids[which % len(self.ids)]
        try:
            if retry:
                self.lab.operator.retry(workload_id, on=None, by="alice")
            else:
                self.lab.operator.cancel(workload_id, by="alice")
        except Conflict:
            assert (self.lab.state(workload_id) in (State.FINISHED, State.FAILED)) is not retry

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        self.lab.operator.pause([], paused=paused, by="alice")

    @rule()
    def deliver(self) -> None:
        self.lab.settle_outbox()

    @rule()
    def restart(self) -> None:
        self.lab.restart()

    @precondition(lambda self: self.ids)
    @invariant()
    def the_promises_hold(self) -> None:
        with self.lab.store.reading() as tx:
            attempts = tx.attempts.open()
            assert len({attempt.workload_id for attempt in attempts}) == len(attempts)
            assert len({attempt.machine_id for attempt in attempts}) == len(attempts)
            running = {attempt.workload_id: attempt for attempt in attempts}
            for workload_id in self.ids:
                workload = tx.workloads.get(workload_id)
                assert 0 <= workload.tries <= workload.max_tries
                attempt = running.get(workload_id)
                if workload.state in (State.ASSIGNED, State.DOWNLOADING, State.BOOTING):
                    assert attempt is not None
                    assert attempt.state is workload.state
                else:
                    assert attempt is None or workload.state is State.REPORTED
                if workload.state is State.FINISHED:
                    assert tx.reports.on_file(workload_id, workload.run)
                    assert not tx.reports.unsettled(workload_id)
            for pairs in tx.reports.of_workloads(self.ids).values():
                for report, entry in pairs:
                    # No accepted report without its outbox row, none credited to unsent bytes.
                    assert entry.report_id == report.id
                    assert tx.attempts.get(report.attempt_id).first_byte_at is not None

    @precondition(lambda self: self.ids)
    @invariant()
    def status_can_be_told(self) -> None:
        status = self.lab.overview.status()
        assert tuple(status.counts) == WORDS
        assert sum(status.counts.values()) == len(self.ids)
        assert all(self.lab.overview.workload(row.id).why for row in status.workloads)

    def _open(self, number: int) -> Attempt | None:
        with self.lab.store.reading() as tx:
            machines = tx.machines
            found = machines.by_mac(MACS[number]) or machines.by_address(f"10.0.0.{number}")
            return tx.attempts.open_of_machine(found.id) if found else None

    def _count_reports(self) -> int:
        with self.lab.store.reading() as tx:
            return sum(len(pairs) for pairs in tx.reports.of_workloads(self.ids).values())

    def _assert_credited(self, number: int, label: str) -> None:
        """A beacon is credited with the bytes that its machine was sent last, with the attempt that
        is open there if it was ever sent bytes of that, or with nothing."""
        if not label:
            return
        current = self._open(number)
        with self.lab.store.reading() as tx:
            workloads = {tx.workloads.get(one).label: tx.workloads.get(one) for one in self.ids}
            workload = workloads[label]
            digest = tx.assets.get(workload.asset_id).sha256
        assert digest in self.sent[number]
        is_open = current is not None and current.workload_id == workload.id
        assert digest == self.bytes_of[number] or is_open


QueueMachine.TestCase.settings = settings(stateful_step_count=40)
TestQueueMachine = QueueMachine.TestCase

"""What a beacon says: the workload has booted, or here is a result."""

import hashlib
import uuid
from dataclasses import dataclass
from datetime import timedelta

import msgspec

from dispatchd.domain.event import Kind
from dispatchd.domain.lifecycle import Event, advance
from dispatchd.domain.model import (
    Attempt,
    Machine,
    Outcome,
    Report,
    State,
    Unclaimed,
    Workload,
)
from dispatchd.services.dispatcher.deliveries import delivery
from dispatchd.services.dispatcher.endings import end, release_if_good
from dispatchd.services.dispatcher.identity import Caller, meant_attempt, note
from dispatchd.services.dispatcher.unit import Context, Unit

#: How long a body that nobody was credited with is kept.
UNCLAIMED = timedelta(days=7)


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """What a report says, checked."""

    title: str
    body: str = ""
    labels: tuple[str, ...] = ()
    assignees: tuple[str, ...] = ()
    milestone: str = ""

    @property
    def digest(self) -> str:
        """The same for the same content, whatever its JSON looked like."""
        fields = (self.title, self.body, self.labels, self.assignees, self.milestone)
        return hashlib.sha256(msgspec.json.encode(fields)).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Credit:
    """To whom a beacon's message was credited; ``workload`` is empty where it was nobody's."""

    machine_id: int | None = None
    workload: str = ""


class Beacons:
    """The use cases of POST and PUT."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def boot(self, caller: Caller) -> Credit:
        """`beacon boot`: the operating system is up."""
        with self._context.unit() as unit:
            attempt = meant_attempt(unit, caller, self._context.policy.deadlines.late)
            if attempt is None:
                return Credit()
            machine = _seen(unit, attempt, caller)
            workload = unit.tx.workloads.get(attempt.workload_id)
            if attempt.ended_at is not None:
                self._reopen(unit, attempt, workload, machine)
            elif attempt.state is State.DOWNLOADING:
                attempt = unit.tx.attempts.swap(attempt, booted_at=unit.now)
                state = advance(workload.state, Event.BOOT)
                workload = unit.tx.workloads.swap(workload, state=state, changed_at=unit.now)
                text = f"{workload.label}: booting on {machine.label}"
                unit.tell(Kind.BOOTING, text, workload=workload, machine=machine, attempt=attempt)
        return Credit(machine_id=machine.id, workload=workload.label)

    def report(self, caller: Caller, content: Content) -> Credit:
        """`beacon report`: on disk, with its delivery, before this returns."""
        with self._context.unit() as unit:
            attempt = meant_attempt(unit, caller, self._context.policy.deadlines.late)
            if attempt is None:
                return Credit()
            machine = _seen(unit, attempt, caller)
            workload = take_report(unit, attempt, content, machine)
        self._context.wake()
        return Credit(machine_id=machine.id, workload=workload.label)

    def keep_unclaimed(
        self, caller: Caller, *, answer: int, reason: str, title: str, body: bytes
    ) -> str:
        """Keep a body that was refused, for a person; returns its id."""
        identity = str(uuid.uuid4())
        with self._context.unit() as unit:
            unit.tx.unclaimed.insert(
                Unclaimed(
                    id=identity,
                    received_at=unit.now,
                    address=caller.address,
                    mac=caller.mac,
                    answer=answer,
                    reason=reason,
                    title=title,
                    body=body,
                )
            )
            unit.tx.unclaimed.prune(unit.now - UNCLAIMED)
            who = f"{caller.address} ({caller.mac})" if caller.mac else caller.address
            said = f" {title!r}" if title else ""
            unit.tell(
                Kind.UNCLAIMED,
                f"{who} sent a report{said}: {reason}; kept as unclaimed {identity[:8]} "
                f"(dispatchctl reports claim {identity[:8]} WORKLOAD)",
            )
        return identity

    def _reopen(self, unit: Unit, attempt: Attempt, workload: Workload, machine: Machine) -> None:
        """Take up an attempt again that we gave up too early, if nobody else has its workload."""
        tx = unit.tx
        if (
            attempt.run != workload.run
            or attempt.outcome in (Outcome.REPORTED, Outcome.CANCELLED)
            or workload.state not in (State.UNASSIGNED, State.FAILED)
        ):
            return
        current = tx.attempts.open_of_machine(attempt.machine_id)
        if current is not None and current.first_byte_at is not None:
            return
        if current is not None:
            # It never took a byte of what it was assigned since: it is running this.
            end(self._context, unit, current, Outcome.LAPSED)
            workload = tx.workloads.get(workload.id)
        outcome = attempt.outcome
        was_try = outcome is not None and outcome.is_try
        attempt = tx.attempts.swap(attempt, ended_at=None, outcome=None, booted_at=unit.now)
        workload = tx.workloads.swap(
            workload,
            state=advance(workload.state, Event.REOPEN),
            # Others may have used up all tries since: this one, which goes on, is the last of them.
            tries=max(min(workload.tries - was_try, workload.max_tries - 1), 0),
            reason="",
            changed_at=unit.now,
        )
        text = f"{workload.label}: booting on {machine.label} after all (was: {outcome})"
        unit.tell(Kind.REOPENED, text, workload=workload, machine=machine, attempt=attempt)
        release_if_good(unit, machine)


def take_report(unit: Unit, attempt: Attempt, content: Content, machine: Machine) -> Workload:
    """Keep a report of the attempt with its delivery, and move its workload."""
    tx = unit.tx
    workload = tx.workloads.get(attempt.workload_id)
    if tx.reports.same(attempt.id, content.digest) is not None:
        return workload
    late = attempt.ended_at is not None
    report = Report(
        id=str(uuid.uuid4()),
        attempt_id=attempt.id,
        content_hash=content.digest,
        title=content.title,
        body=content.body,
        labels=content.labels,
        assignees=content.assignees,
        milestone=content.milestone,
        received_at=unit.now,
        late=late,
    )
    tx.reports.insert(report, delivery(unit, report, workload, machine))
    tx.attempts.swap(attempt, reported_at=unit.now)
    event = _effect(unit, attempt, workload)
    if event is not None:
        state = advance(workload.state, event)
        workload = tx.workloads.swap(workload, state=state, reason="", changed_at=unit.now)
    text = (
        f"{workload.label}: {'late ' if late else ''}report from {machine.label}: {content.title}"
    )
    unit.tell(
        Kind.REPORTED, text, workload=workload, machine=machine, attempt=attempt, report=report
    )
    release_if_good(unit, machine)
    return workload


def _effect(unit: Unit, attempt: Attempt, workload: Workload) -> Event | None:
    """What the report does to the workload; None: it is only filed."""
    if attempt.ended_at is None:
        return Event.REPORT
    if attempt.run != workload.run or unit.tx.attempts.open_of_workload(workload.id) is not None:
        return None
    return Event.REPORT_LATE


def _seen(unit: Unit, attempt: Attempt, caller: Caller) -> Machine:
    machine = unit.tx.machines.get(attempt.machine_id)
    note(unit, machine.id, caller)
    return unit.tx.machines.get(machine.id)

"""What the control socket says of each thing: domain objects in, wire structs out."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

from dispatchd import wire
from dispatchd.domain import model
from dispatchd.domain.model import Delivery, OutboxEntry, Report
from dispatchd.services.dispatcher.identity import ALIVE, known_by
from dispatchd.store.history import Knock, Line
from dispatchd.store.store import Transaction


def was_try(attempt: model.Attempt) -> bool:
    return attempt.outcome is not None and attempt.outcome is not model.Outcome.REPORTED


def knock(knock: Knock, machines: Mapping[int, model.Machine]) -> wire.Knock:
    return wire.Knock(
        at=knock.at,
        address=knock.address,
        mac=knock.mac or None,
        machine=label(machines, knock.machine_id),
        request=knock.request,
        agent=knock.agent,
        answer=knock.answer,
    )


def counts(states: Iterable[str]) -> dict[wire.State, int]:
    counter = Counter(states)
    return {state: counter[state] for state in wire.SIGNS}


def label(machines: Mapping[int, model.Machine], machine_id: int | None) -> str | None:
    machine = machines.get(machine_id) if machine_id is not None else None
    return machine.label if machine else None


def status_report(report: Report, entry: OutboxEntry) -> wire.StatusReport:
    return wire.StatusReport(
        id=report.id,
        title=report.title,
        state=entry.state.value,
        late=report.late,
        url=entry.url or None,
        error=entry.error or None,
        warning=entry.warning or None,
    )


def attempt(attempt: model.Attempt, machines: Mapping[int, model.Machine]) -> wire.Attempt:
    return wire.Attempt(
        id=attempt.id,
        number=attempt.number,
        machine=label(machines, attempt.machine_id) or "",
        state=attempt.state.value,
        assigned_at=attempt.assigned_at,
        first_byte_at=attempt.first_byte_at,
        whole_at=attempt.whole_at,
        booted_at=attempt.booted_at,
        reported_at=attempt.reported_at,
        ended_at=attempt.ended_at,
        outcome=attempt.outcome.value if attempt.outcome else None,
    )


def events(tx: Transaction, lines: list[Line]) -> list[wire.Event]:
    machines = {machine.id: machine for machine in tx.machines.all()}
    releases = tx.releases.some({line.release_id for line in lines if line.release_id})
    workloads = tx.workloads.some({line.workload_id for line in lines if line.workload_id})
    return [
        wire.Event(
            id=line.id,
            at=line.at,
            kind=line.kind,
            text=line.text,
            by=line.by,
            workload=workloads[line.workload_id].label if line.workload_id in workloads else None,
            workload_id=line.workload_id,
            machine=label(machines, line.machine_id),
            release=releases[line.release_id].name if line.release_id in releases else None,
        )
        for line in lines
    ]


def machines(
    tx: Transaction, machines: Iterable[model.Machine], now: datetime
) -> list[wire.Machine]:
    shared = tx.machines.shared_names(now - ALIVE)
    macs, addresses = tx.machines.macs(), tx.machines.addresses()
    running = {attempt.machine_id: attempt.workload_id for attempt in tx.attempts.open()}
    workloads = tx.workloads.some(running.values())
    return [
        _machine(
            machine,
            workloads[running[machine.id]] if machine.id in running else None,
            known_by=known_by(machine, shared),
            macs=macs.get(machine.id, []),
            addresses=addresses.get(machine.id, []),
        )
        for machine in machines
    ]


def _machine(
    machine: model.Machine,
    workload: model.Workload | None,
    *,
    known_by: wire.KnownBy,
    macs: list[str],
    addresses: list[str],
) -> wire.Machine:
    return wire.Machine(
        id=machine.id,
        label=machine.label,
        name=machine.name or None,
        pool=machine.pool or None,
        note=machine.note,
        known_by=known_by,
        macs=macs,
        addresses=addresses,
        paused=machine.paused,
        held=machine.held or None,
        simulated=machine.simulated,
        seen=machine.seen_at,
        workload=workload.label if workload else None,
        state=workload.state.value if workload else None,
        handed=machine.handed or None,
    )


def reports(
    tx: Transaction, pairs: list[tuple[Report, OutboxEntry]], *, whole: bool
) -> list[wire.Report]:
    """``whole``: with what the beacon wrote, as far as it was read."""
    attempts = tx.attempts.some({report.attempt_id for report, _ in pairs})
    workloads = tx.workloads.some({attempt.workload_id for attempt in attempts.values()})
    machines = {machine.id: machine for machine in tx.machines.all()}
    said = []
    for report, entry in pairs:
        attempt = attempts[report.attempt_id]
        of = workloads[attempt.workload_id]
        who = label(machines, attempt.machine_id) or ""
        said.append(_report(report, entry, workload=of, machine=who, whole=whole))
    return said


def _report(
    report: Report, entry: OutboxEntry, *, workload: model.Workload, machine: str, whole: bool
) -> wire.Report:
    return wire.Report(
        id=report.id,
        title=report.title,
        state=entry.state.value,
        late=report.late,
        url=entry.url or None,
        error=entry.error or None,
        warning=entry.warning or None,
        workload=workload.label,
        workload_id=workload.id,
        machine=machine,
        received_at=report.received_at,
        report_to=entry.report_to or None,
        next_at=entry.next_at if entry.state is Delivery.PENDING else None,
        body=report.body if whole else "",
        labels=list(report.labels) if whole else [],
        assignees=list(report.assignees) if whole else [],
        milestone=report.milestone or None,
    )


def unclaimed(body: model.Unclaimed, *, size: int, whole: bool) -> wire.Unclaimed:
    """``size``: bytes of its body, which need not be there unless it is shown ``whole``."""
    return wire.Unclaimed(
        id=body.id,
        received_at=body.received_at,
        address=body.address,
        mac=body.mac or None,
        answer=body.answer,
        reason=body.reason,
        size=size,
        title=body.title,
        body=body.body.decode(errors="replace") if whole else "",
    )

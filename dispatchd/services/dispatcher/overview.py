"""What is happening, and why: the read-only answers of the control socket."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Protocol

from dispatchd import wire
from dispatchd.domain import model
from dispatchd.domain.model import Arrival, Delivery, OutboxEntry, Report, State
from dispatchd.errors import NotFound
from dispatchd.services.dispatcher.attention import needs_a_hand
from dispatchd.services.dispatcher.reasons import why
from dispatchd.services.dispatcher.unit import Context
from dispatchd.services.flight import Progress
from dispatchd.store.history import Knock, Line
from dispatchd.store.store import Transaction

#: Rows answered at once where history has no end.
ROWS = 1000


class Arrivals(Protocol):
    """Bytes on their way into the cache."""

    def progress(self, asset: model.Asset) -> Progress: ...
    def attention(self, waiting: Iterable[model.Asset]) -> list[str]: ...


class Overview:
    """Reads one state of the database and puts it into words."""

    def __init__(
        self,
        context: Context,
        *,
        version: str,
        urls: Callable[[], tuple[str, ...]],
        arrivals: Arrivals,
    ) -> None:
        self._context = context
        self._version = version
        self._urls = urls
        self._arrivals = arrivals

    def status(self) -> wire.Status:
        """Loaded releases, in queue order."""
        with self._context.store.reading() as tx:
            shown = tx.workloads.shown()
            workloads = self._rows(tx, shown)
            knock = tx.knocks.latest()
            machines = {machine.id: machine for machine in tx.machines.all()}
            assets = tx.assets.all()
            waiting = [
                assets[workload.asset_id]
                for workload in shown
                if workload.state is State.UNASSIGNED
            ]
            attention = [
                *self._arrivals.attention(waiting),
                *needs_a_hand(tx, self._context, machines, shown),
            ]
            paused = bool(tx.queue_paused_by())
            releases = [release.name for release in tx.releases.loaded()]
        urls = self._urls()
        return wire.Status(
            version=self._version,
            url=urls[0] if urls else "",
            urls=list(urls),
            paused=paused,
            attention=attention,
            counts=_counts(workload.state for workload in workloads),
            workloads=workloads,
            releases=releases,
            knock=_knock(knock, machines) if knock else None,
        )

    def workload(self, workload_id: int) -> wire.Workload:
        """One workload with its attempts, reports and history."""
        with self._context.store.reading() as tx:
            workload = tx.workloads.get(workload_id)
            machines = {machine.id: machine for machine in tx.machines.all()}
            asset = tx.assets.get(workload.asset_id)
            history = tx.events.of_workload(workload_id, ROWS)
            return wire.Workload(
                workload=self._rows(tx, [workload])[0],
                sha256=asset.sha256 or None,
                why=why(tx, self._context, workload, asset, machines),
                attempts=[
                    _attempt(attempt, machines) for attempt in tx.attempts.of_workload(workload_id)
                ],
                history=_events(tx, history),
            )

    def releases(self) -> wire.Releases:
        """Loaded releases with their counts."""
        with self._context.store.reading() as tx:
            return wire.Releases(
                releases=[
                    wire.Release(
                        id=release.id,
                        name=release.name,
                        source="github" if release.source is model.Source.GITHUB else "directory",
                        report_to=release.report_to or None,
                        file=release.filing,
                        loaded_at=release.loaded_at,
                        counts=_counts(
                            workload.state.value for workload in tx.workloads.of_release(release.id)
                        ),
                        drift=release.drift or None,
                    )
                    for release in tx.releases.loaded()
                ]
            )

    def machines(self) -> wire.Machines:
        """Every machine that ever asked or was named."""
        with self._context.store.reading() as tx:
            return wire.Machines(machines=[_machine(tx, machine) for machine in tx.machines.all()])

    def machine(self, machine_id: int) -> wire.Machine:
        """One machine."""
        with self._context.store.reading() as tx:
            return _machine(tx, tx.machines.get(machine_id))

    def reports(self) -> wire.Reports:
        """The latest reports, and what is unclaimed; newest first, without their bodies."""
        with self._context.store.reading() as tx:
            machines = {machine.id: machine for machine in tx.machines.all()}
            return wire.Reports(
                reports=[
                    _report(tx, report, entry, machines, whole=False)
                    for report, entry in tx.reports.latest(ROWS)
                ],
                unclaimed=[_unclaimed(body, whole=False) for body in tx.unclaimed.all()],
            )

    def report(self, report_id: str) -> wire.Report | wire.Unclaimed:
        """One report or unclaimed body, whole."""
        with self._context.store.reading() as tx:
            unclaimed = tx.unclaimed.get(report_id)
            if unclaimed is not None:
                return _unclaimed(unclaimed, whole=True)
            machines = {machine.id: machine for machine in tx.machines.all()}
            report = tx.reports.get(report_id)
            return _report(tx, report, tx.outbox.get(report_id), machines, whole=True)

    def events(self, after: int) -> wire.Events:
        """History after the event with this id, oldest first."""
        with self._context.store.reading() as tx:
            return wire.Events(events=_events(tx, tx.events.after(after, ROWS)))

    def _rows(self, tx: Transaction, workloads: list[model.Workload]) -> list[wire.StatusWorkload]:
        releases, assets = tx.releases.all(), tx.assets.all()
        machines = {machine.id: machine for machine in tx.machines.all()}
        ids = [workload.id for workload in workloads]
        attempts = tx.attempts.latest_of_workloads(ids)
        reports = tx.reports.of_workloads(ids)
        rows = []
        for workload in workloads:
            asset = assets[workload.asset_id]
            attempt = attempts.get(workload.id)
            running = attempt is not None and attempt.ended_at is None
            current = attempt if attempt is not None and attempt.run == workload.run else None
            machine = machines.get(attempt.machine_id) if attempt else None
            shows_machine = workload.state is not State.UNASSIGNED
            arrives = asset.arrival is Arrival.ARRIVING
            here = asset.size if asset.arrival is Arrival.WHOLE else 0
            progress = self._arrivals.progress(asset) if arrives else Progress(arrived=here)
            left = asset.size - progress.arrived
            rows.append(
                wire.StatusWorkload(
                    id=workload.id,
                    name=workload.name,
                    pool=workload.pool or None,
                    release=releases[workload.release_id].name,
                    state=workload.state.value,
                    reason=workload.reason or None,
                    machine=machine.label if machine and shows_machine else None,
                    attempt=workload.tries + (current is not None and not _was_try(current)),
                    attempts=workload.max_tries,
                    size=asset.size,
                    sent=self._context.phases.sent(attempt) if attempt and running else 0,
                    seen=machine.seen_at if machine and shows_machine else None,
                    reports=[_status_report(*pair) for pair in reports.get(workload.id, [])],
                    bytes=asset.arrival.value,
                    arrived=progress.arrived,
                    rate=progress.rate,
                    eta=left / progress.rate if progress.rate else None,
                    trouble=asset.reason or None if arrives else None,
                    pinned=_label(machines, workload.pinned_to),
                )
            )
        return rows


def _was_try(attempt: model.Attempt) -> bool:
    return attempt.outcome is not None and attempt.outcome is not model.Outcome.REPORTED


def _knock(knock: Knock, machines: dict[int, model.Machine]) -> wire.Knock:
    return wire.Knock(
        at=knock.at,
        address=knock.address,
        mac=knock.mac or None,
        machine=_label(machines, knock.machine_id),
        request=knock.request,
        agent=knock.agent,
        answer=knock.answer,
    )


def _counts(states: Iterable[str]) -> dict[wire.State, int]:
    counter = Counter(states)
    return {state: counter[state] for state in wire.SIGNS}


def _label(machines: dict[int, model.Machine], machine_id: int | None) -> str | None:
    machine = machines.get(machine_id) if machine_id is not None else None
    return machine.label if machine else None


def _status_report(report: Report, entry: OutboxEntry) -> wire.StatusReport:
    return wire.StatusReport(
        id=report.id,
        title=report.title,
        state=entry.state.value,
        late=report.late,
        url=entry.url or None,
        error=entry.error or None,
        warning=entry.warning or None,
    )


def _attempt(attempt: model.Attempt, machines: dict[int, model.Machine]) -> wire.Attempt:
    return wire.Attempt(
        id=attempt.id,
        number=attempt.number,
        machine=_label(machines, attempt.machine_id) or "",
        state=attempt.state.value,
        assigned_at=attempt.assigned_at,
        first_byte_at=attempt.first_byte_at,
        whole_at=attempt.whole_at,
        booted_at=attempt.booted_at,
        reported_at=attempt.reported_at,
        ended_at=attempt.ended_at,
        outcome=attempt.outcome.value if attempt.outcome else None,
    )


def _events(tx: Transaction, events: list[Line]) -> list[wire.Event]:
    machines = {machine.id: machine for machine in tx.machines.all()}
    releases = tx.releases.all()
    labels: dict[int, str | None] = {}
    for event in events:
        if event.workload_id is not None and event.workload_id not in labels:
            try:
                labels[event.workload_id] = tx.workloads.get(event.workload_id).label
            except NotFound:
                labels[event.workload_id] = None
    return [
        wire.Event(
            id=event.id,
            at=event.at,
            kind=event.kind,
            text=event.text,
            by=event.by,
            workload=labels.get(event.workload_id) if event.workload_id else None,
            workload_id=event.workload_id,
            machine=_label(machines, event.machine_id),
            release=releases[event.release_id].name if event.release_id in releases else None,
        )
        for event in events
    ]


def _machine(tx: Transaction, machine: model.Machine) -> wire.Machine:
    attempt = tx.attempts.open_of_machine(machine.id)
    workload = tx.workloads.get(attempt.workload_id) if attempt else None
    macs = tx.machines.macs_of(machine.id)
    return wire.Machine(
        id=machine.id,
        label=machine.label,
        name=machine.name or None,
        pool=machine.pool or None,
        note=machine.note,
        known_by="name" if machine.name else "mac" if macs else "address",
        macs=macs,
        addresses=tx.machines.addresses_of(machine.id),
        paused=machine.paused,
        held=machine.held or None,
        simulated=machine.simulated,
        seen=machine.seen_at,
        workload=workload.label if workload else None,
        state=workload.state.value if workload else None,
        handed=machine.handed or None,
    )


def _report(
    tx: Transaction,
    report: Report,
    entry: OutboxEntry,
    machines: dict[int, model.Machine],
    *,
    whole: bool,
) -> wire.Report:
    attempt = tx.attempts.get(report.attempt_id)
    workload = tx.workloads.get(attempt.workload_id)
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
        machine=_label(machines, attempt.machine_id) or "",
        received_at=report.received_at,
        report_to=entry.report_to or None,
        next_at=entry.next_at if entry.state is Delivery.PENDING else None,
        body=report.body if whole else "",
        labels=list(report.labels) if whole else [],
        assignees=list(report.assignees) if whole else [],
        milestone=report.milestone or None,
    )


def _unclaimed(body: model.Unclaimed, *, whole: bool) -> wire.Unclaimed:
    return wire.Unclaimed(
        id=body.id,
        received_at=body.received_at,
        address=body.address,
        mac=body.mac or None,
        answer=body.answer,
        reason=body.reason,
        size=len(body.body),
        title=body.title,
        body=body.body.decode(errors="replace") if whole else "",
    )

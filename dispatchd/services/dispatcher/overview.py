"""What is happening, and why: the read-only answers of the control socket."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Protocol

from dispatchd import wire
from dispatchd.domain import model
from dispatchd.domain.model import Arrival, State
from dispatchd.services.dispatcher import shapes
from dispatchd.services.dispatcher.attention import Attention
from dispatchd.services.dispatcher.identity import known_by
from dispatchd.services.dispatcher.reasons import Reasons
from dispatchd.services.dispatcher.unit import Context
from dispatchd.services.flight import Progress
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
            releases = tx.releases.loaded()
            machines = {machine.id: machine for machine in tx.machines.all()}
            workloads = self._rows(tx, shown, machines)
            knock = tx.knocks.latest()
            waiting = [one.asset_id for one in shown if one.state is State.UNASSIGNED]
            assets = tx.assets.some(set(waiting))
            attention = [
                *self._arrivals.attention(assets[asset_id] for asset_id in waiting),
                *Attention(tx, self._context, machines, shown, releases).lines(),
            ]
            paused = bool(tx.queue_paused_by())
        urls = self._urls()
        return wire.Status(
            version=self._version,
            url=urls[0] if urls else "",
            urls=list(urls),
            paused=paused,
            attention=attention,
            counts=shapes.counts(workload.state for workload in workloads),
            workloads=workloads,
            releases=[release.name for release in releases],
            knock=shapes.knock(knock, machines) if knock else None,
        )

    def counts(self) -> dict[wire.State, int]:
        """How many workloads of the status page are in each state."""
        with self._context.store.reading() as tx:
            return shapes.counts(tx.workloads.shown_states())

    def workload(self, workload_id: int) -> wire.Workload:
        """One workload with its attempts, reports and history."""
        with self._context.store.reading() as tx:
            workload = tx.workloads.get(workload_id)
            machines = {machine.id: machine for machine in tx.machines.all()}
            row = self._rows(tx, [workload], machines)[0]
            history = tx.events.of_workload(workload_id, ROWS)
            return wire.Workload(
                workload=row,
                sha256=tx.assets.get(workload.asset_id).sha256 or None,
                why=row.why,
                attempts=[
                    shapes.attempt(attempt, machines)
                    for attempt in tx.attempts.of_workload(workload_id)
                ],
                history=shapes.events(tx, history),
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
                        counts=shapes.counts(
                            workload.state.value for workload in tx.workloads.of_release(release.id)
                        ),
                        drift=release.drift or None,
                    )
                    for release in tx.releases.loaded()
                ]
            )

    def machines(self) -> wire.Machines:
        """Every machine that ever asked or was named."""
        now = self._context.clock.now()
        with self._context.store.reading() as tx:
            return wire.Machines(
                machines=[shapes.machine(tx, machine, now) for machine in tx.machines.all()]
            )

    def machine(self, machine_id: int) -> wire.Machine:
        """One machine."""
        with self._context.store.reading() as tx:
            return shapes.machine(tx, tx.machines.get(machine_id), self._context.clock.now())

    def reports(self, offset: int = 0) -> wire.Reports:
        """The reports after the ``offset`` latest, and what is unclaimed; newest first, without
        their bodies."""
        with self._context.store.reading() as tx:
            machines = {machine.id: machine for machine in tx.machines.all()}
            return wire.Reports(
                reports=[
                    shapes.report(tx, report, entry, machines, whole=False)
                    for report, entry in tx.reports.latest(ROWS, offset)
                ],
                unclaimed=[shapes.unclaimed(body, whole=False) for body in tx.unclaimed.all()],
            )

    def report(self, report_id: str) -> wire.Report | wire.Unclaimed:
        """One report or unclaimed body, whole."""
        with self._context.store.reading() as tx:
            unclaimed = tx.unclaimed.get(report_id)
            if unclaimed is not None:
                return shapes.unclaimed(unclaimed, whole=True)
            machines = {machine.id: machine for machine in tx.machines.all()}
            report = tx.reports.get(report_id)
            return shapes.report(tx, report, tx.outbox.get(report_id), machines, whole=True)

    def events(self, after: int, *, since: datetime | None = None) -> wire.Events:
        """History after the event with this id and since then, oldest first."""
        with self._context.store.reading() as tx:
            return wire.Events(events=shapes.events(tx, tx.events.after(after, ROWS, since=since)))

    def _rows(
        self,
        tx: Transaction,
        workloads: list[model.Workload],
        machines: dict[int, model.Machine],
    ) -> list[wire.StatusWorkload]:
        releases = tx.releases.some({workload.release_id for workload in workloads})
        assets = tx.assets.some({workload.asset_id for workload in workloads})
        ids = [workload.id for workload in workloads]
        attempts = tx.attempts.latest_of_workloads(ids)
        reports = tx.reports.of_workloads(ids)
        reasons = Reasons(tx, self._context, machines)
        now = self._context.clock.now()
        used = {attempt.machine_id for attempt in attempts.values()}
        known = {identity: known_by(tx, machines[identity], now) for identity in used}
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
            release = releases[workload.release_id]
            outlook = reasons.outlook(workload, release, asset, attempt)
            rows.append(
                wire.StatusWorkload(
                    id=workload.id,
                    name=workload.name,
                    pool=workload.pool or None,
                    release=release.name,
                    state=workload.state.value,
                    reason=workload.reason or None,
                    machine=machine.label if machine and shows_machine else None,
                    attempt=workload.tries + (current is not None and not shapes.was_try(current)),
                    attempts=workload.max_tries,
                    size=asset.size,
                    sent=self._context.phases.sent(attempt) if attempt and running else 0,
                    seen=machine.seen_at if machine and shows_machine else None,
                    reports=[shapes.status_report(*pair) for pair in reports.get(workload.id, [])],
                    bytes=asset.arrival.value,
                    arrived=progress.arrived,
                    rate=progress.rate,
                    eta=left / progress.rate if progress.rate else None,
                    trouble=asset.reason or None if arrives and not progress.rate else None,
                    pinned=shapes.label(machines, workload.pinned_to),
                    why=outlook.why,
                    until=outlook.until,
                    then=outlook.then or None,
                    known_by=known[machine.id] if machine and shows_machine else None,
                )
            )
        return rows

"""What is happening, and why: the read-only answers of the control socket."""

from collections.abc import Callable
from datetime import datetime

from dispatchd import wire
from dispatchd.domain import model
from dispatchd.services.dispatcher import shapes
from dispatchd.services.dispatcher.attention import Attention
from dispatchd.services.dispatcher.picture import Picture
from dispatchd.services.dispatcher.rows import Arrivals, Rows
from dispatchd.services.dispatcher.unit import Context

#: Rows answered at once where history has no end.
ROWS = 1000


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
            picture = Picture.of(tx, tx.workloads.shown(), self._context.clock.now())
            loaded = tx.releases.loaded()
            workloads = Rows(tx, self._context, self._arrivals, picture).all()
            knock = tx.knocks.latest()
            attention = [
                *self._arrivals.attention(picture.waiting_for()),
                *Attention(tx, self._context, picture, loaded).lines(),
            ]
        urls = self._urls()
        return wire.Status(
            version=self._version,
            url=urls[0] if urls else "",
            urls=list(urls),
            paused=bool(picture.paused_by),
            attention=attention,
            counts=shapes.counts(workload.state for workload in workloads),
            workloads=workloads,
            releases=[release.name for release in loaded],
            knock=shapes.knock(knock, picture.machines) if knock else None,
        )

    def counts(self) -> dict[wire.State, int]:
        """How many workloads of the status page are in each state."""
        with self._context.store.reading() as tx:
            return shapes.counts(tx.workloads.shown_states())

    def workload(self, workload_id: int) -> wire.Workload:
        """One workload with its attempts, reports and history."""
        with self._context.store.reading() as tx:
            workload = tx.workloads.get(workload_id)
            picture = Picture.of(tx, [workload], self._context.clock.now())
            (row,) = Rows(tx, self._context, self._arrivals, picture).all()
            return wire.Workload(
                workload=row,
                sha256=picture.assets[workload.asset_id].sha256 or None,
                why=row.why,
                attempts=[
                    shapes.attempt(attempt, picture.machines)
                    for attempt in tx.attempts.of_workload(workload_id)
                ],
                history=shapes.events(tx, tx.events.of_workload(workload_id, ROWS)),
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
        with self._context.store.reading() as tx:
            now = self._context.clock.now()
            return wire.Machines(machines=shapes.machines(tx, tx.machines.all(), now))

    def machine(self, machine_id: int) -> wire.Machine:
        """One machine."""
        with self._context.store.reading() as tx:
            now = self._context.clock.now()
            (found,) = shapes.machines(tx, [tx.machines.get(machine_id)], now)
            return found

    def reports(self, offset: int = 0) -> wire.Reports:
        """The reports after the ``offset`` latest, and what is unclaimed; newest first, without
        their bodies."""
        with self._context.store.reading() as tx:
            return wire.Reports(
                reports=shapes.reports(tx, tx.reports.latest(ROWS, offset), whole=False),
                unclaimed=[
                    shapes.unclaimed(body, size=size, whole=False)
                    for body, size in tx.unclaimed.all()
                ],
            )

    def report(self, report_id: str) -> wire.Report | wire.Unclaimed:
        """One report or unclaimed body, whole."""
        with self._context.store.reading() as tx:
            unclaimed = tx.unclaimed.get(report_id)
            if unclaimed is not None:
                return shapes.unclaimed(unclaimed, size=len(unclaimed.body), whole=True)
            pair = tx.reports.get(report_id), tx.outbox.get(report_id)
            (found,) = shapes.reports(tx, [pair], whole=True)
            return found

    def events(self, after: int, *, since: datetime | None = None) -> wire.Events:
        """History after the event with this id and since then, oldest first."""
        with self._context.store.reading() as tx:
            return wire.Events(events=shapes.events(tx, tx.events.after(after, ROWS, since=since)))

"""The queue's rows on the status page: what is known of each workload, in one line."""

from collections.abc import Iterable
from typing import Protocol

from dispatchd import wire
from dispatchd.domain.model import Arrival, Asset, Attempt, Machine, State, Workload
from dispatchd.services.dispatcher import shapes
from dispatchd.services.dispatcher.identity import known_by
from dispatchd.services.dispatcher.picture import Picture
from dispatchd.services.dispatcher.reasons import Reasons
from dispatchd.services.dispatcher.unit import Context
from dispatchd.services.flight import Progress
from dispatchd.store.store import Transaction


class Arrivals(Protocol):
    """Bytes on their way into the cache."""

    def progress(self, asset: Asset) -> Progress: ...
    def attention(self, waiting: Iterable[Asset]) -> list[str]: ...


class Rows:
    """Draws the workloads of a picture. ``tx`` is the transaction in which it was read."""

    def __init__(
        self, tx: Transaction, context: Context, arrivals: Arrivals, picture: Picture
    ) -> None:
        self._context = context
        self._arrivals = arrivals
        self._picture = picture
        self._reasons = Reasons(tx, context, picture)

    def all(self) -> list[wire.StatusWorkload]:
        """In the picture's order."""
        return [self._row(workload) for workload in self._picture.workloads]

    def _row(self, workload: Workload) -> wire.StatusWorkload:
        picture = self._picture
        asset = picture.assets[workload.asset_id]
        attempt = picture.attempts.get(workload.id)
        machine = self._machine(workload, attempt)
        progress = self._progress(asset)
        left = asset.size - progress.arrived
        stuck = asset.arrival is Arrival.ARRIVING and not progress.rate
        outlook = self._reasons.outlook(workload)
        return wire.StatusWorkload(
            id=workload.id,
            name=workload.name,
            pool=workload.pool or None,
            release=picture.releases[workload.release_id].name,
            state=workload.state.value,
            reason=workload.reason or None,
            machine=machine.label if machine else None,
            attempt=_number(workload, attempt),
            attempts=workload.max_tries,
            size=asset.size,
            sent=self._context.phases.sent(attempt) if attempt and not attempt.ended_at else 0,
            seen=machine.seen_at if machine else None,
            reports=[shapes.status_report(*pair) for pair in picture.reports.get(workload.id, [])],
            bytes=asset.arrival.value,
            arrived=progress.arrived,
            rate=progress.rate,
            eta=left / progress.rate if progress.rate else None,
            trouble=asset.reason or None if stuck else None,
            pinned=shapes.label(picture.machines, workload.pinned_to),
            why=outlook.why,
            until=outlook.until,
            then=outlook.then or None,
            known_by=known_by(machine, picture.shared) if machine else None,
        )

    def _machine(self, workload: Workload, attempt: Attempt | None) -> Machine | None:
        """The one that has it, or had it last; of a workload that is queued again, none."""
        if attempt is None or workload.state is State.UNASSIGNED:
            return None
        return self._picture.machines.get(attempt.machine_id)

    def _progress(self, asset: Asset) -> Progress:
        if asset.arrival is Arrival.ARRIVING:
            return self._arrivals.progress(asset)
        return Progress(arrived=asset.size if asset.arrival is Arrival.WHOLE else 0)


def _number(workload: Workload, attempt: Attempt | None) -> int:
    """Which try of the workload's present run this is, or was the last; 0 before the first."""
    if attempt is None or attempt.run != workload.run or shapes.was_try(attempt):
        return workload.tries
    return workload.tries + 1

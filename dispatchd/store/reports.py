"""Reports, the outbox that delivers them, and bodies that nobody claimed."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from dispatchd.domain.model import DELIVERED, Delivery, OutboxEntry, Report, State, Unclaimed
from dispatchd.errors import NotFound, Stale
from dispatchd.store import schema
from dispatchd.store.history import BATCH

reports, outbox, unclaimed, attempts = (
    schema.reports,
    schema.outbox,
    schema.unclaimed,
    schema.attempts,
)
#: No delivery is put off longer: GitHub's limits are not.
LONGEST_WAIT = timedelta(hours=26)
workloads, releases = schema.workloads, schema.releases
#: Where somebody is who goes through all reports in the order in which they came.
Place = tuple[datetime, str]
#: Bounds on what is kept unclaimed.
UNCLAIMED_ROWS, UNCLAIMED_BYTES = 100, 64 * 1024 * 1024

#: Built once: building one costs more than running it. A page of reports may have bodies of 4 MiB
#: each: they are left out.
_BOTH: sa.Select[Any] = (
    sa.select(
        *(sa.literal("").label("body") if c.name == "body" else c for c in reports.c),
        outbox,
        attempts.c.workload_id,
    )
    .join(outbox, outbox.c.report_id == reports.c.id)
    .join(attempts, attempts.c.id == reports.c.attempt_id)
)
_OF_WORKLOADS = _BOTH.where(
    attempts.c.workload_id.in_(sa.bindparam("keys", expanding=True))
).order_by(reports.c.received_at, reports.c.id)
_TROUBLED = (
    sa.select(
        outbox.c.state,
        outbox.c.report_to,
        sa.func.count().label("count"),
        sa.func.max(outbox.c.error).label("error"),
        sa.func.min(outbox.c.failing_since).label("since"),
        sa.func.min(outbox.c.next_at).label("next_at"),
    )
    .where(outbox.c.state.in_([Delivery.HELD, Delivery.PENDING]))
    .where(outbox.c.failing_since.is_not(None))
    .group_by(outbox.c.state, outbox.c.report_to)
    # "held" comes before "pending".
    .order_by(outbox.c.state, outbox.c.report_to)
)
_COUNT = sa.select(sa.func.count()).where(outbox.c.state == sa.bindparam("key"))
_UNCLAIMED = [column for column in unclaimed.c if column.name != "body"]
_NEWEST_UNCLAIMED = (
    sa.select(*_UNCLAIMED, sa.func.count().over().label("count"))
    .order_by(unclaimed.c.received_at.desc())
    .limit(1)
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trouble:
    """How many deliveries to one repository go wrong, one of their errors, and times."""

    state: Delivery
    report_to: str
    count: int
    error: str
    since: datetime
    next_at: datetime


class Reports:
    """What beacons sent; never changed once it is here."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def get(self, report_id: str) -> Report:
        row = self._connection.execute(sa.select(reports).where(reports.c.id == report_id))
        found = row.mappings().first()
        if found is None:
            raise NotFound(f"cannot find report {report_id}", hint="dispatchctl reports")
        return Report(**found)

    def same(self, attempt_id: int, content_hash: str) -> Report | None:
        """The report of this attempt with this content, where there is one."""
        key = (reports.c.attempt_id == attempt_id) & (reports.c.content_hash == content_hash)
        row = self._connection.execute(sa.select(reports).where(key)).mappings().first()
        return None if row is None else Report(**row)

    def insert(self, report: Report, entry: OutboxEntry) -> None:
        """Keep the report and its delivery, together or not at all."""
        self._connection.execute(sa.insert(reports).values(**_values(report)))
        self._connection.execute(sa.insert(outbox).values(**_values(entry)))

    def of_workloads(self, workload_ids: list[int]) -> dict[int, list[tuple[Report, OutboxEntry]]]:
        """The reports of each workload, oldest first, without their bodies."""
        found: dict[int, list[tuple[Report, OutboxEntry]]] = {}
        for row in self._connection.execute(_OF_WORKLOADS, {"keys": workload_ids}):
            found.setdefault(row.workload_id, []).append(_split(row))
        return found

    def latest(self, limit: int, offset: int = 0) -> list[tuple[Report, OutboxEntry]]:
        """Newest first, after the ``offset`` newest; without their bodies."""
        query = _BOTH.order_by(reports.c.received_at.desc(), reports.c.id)
        query = query.limit(limit).offset(offset)
        return [_split(row) for row in self._connection.execute(query)]

    def on_file(self, workload_id: int, run: int) -> bool:
        """Whether a result of the workload's present run is here."""
        return self._any_of_run(workload_id, run, failure=False)

    def failure_on_file(self, workload_id: int, run: int) -> bool:
        """Whether it was reported already that the workload failed in this run."""
        return self._any_of_run(workload_id, run, failure=True)

    def unsettled(self, workload_id: int) -> bool:
        """Whether a report of the workload still has to be delivered."""
        of_it = (attempts.c.workload_id == workload_id) & outbox.c.state.not_in(list(DELIVERED))
        return self._connection.execute(_BOTH.where(of_it).limit(1)).first() is not None

    def _any_of_run(self, workload_id: int, run: int, *, failure: bool) -> bool:
        of_run = (attempts.c.workload_id == workload_id) & (attempts.c.run == run)
        wanted = _BOTH.where(of_run & (reports.c.failure == failure))
        return self._connection.execute(wanted.limit(1)).first() is not None

    def forget(self, *, after: Place, before: datetime) -> tuple[int, Place | None]:
        """Of the next ``BATCH`` reports from that place on remove those of ``before``, but for what
        is to be delivered, what is refused, and what is loaded. Returns how many, and where to go
        on."""
        place = sa.tuple_(reports.c.received_at, reports.c.id)
        here = sa.tuple_(sa.literal(after[0], reports.c.received_at.type), after[1])
        query = (
            sa.select(reports.c.received_at, reports.c.id)
            .where((place > here) & (reports.c.received_at < before))
            .order_by(reports.c.received_at, reports.c.id)
            .limit(BATCH)
        )
        rows = self._connection.execute(query).all()
        if not rows:
            return 0, None
        gone = (
            sa.select(reports.c.id)
            .join(outbox, outbox.c.report_id == reports.c.id)
            .join(attempts, attempts.c.id == reports.c.attempt_id)
            .join(workloads, workloads.c.id == attempts.c.workload_id)
            .join(releases, releases.c.id == workloads.c.release_id)
            .where(reports.c.id.in_([row.id for row in rows]))
            .where(outbox.c.state.in_([Delivery.FILED, Delivery.KEPT]))
            .where(releases.c.unloaded_at.is_not(None))
            .where(workloads.c.state.in_([State.FINISHED, State.FAILED]))
        )
        ids = self._connection.execute(gone).scalars().all()
        self._connection.execute(sa.delete(outbox).where(outbox.c.report_id.in_(ids)))
        self._connection.execute(sa.delete(reports).where(reports.c.id.in_(ids)))
        return len(ids), (rows[-1].received_at, rows[-1].id)


class Outbox:
    """Deliveries. A row is written in the transaction that takes the report."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def get(self, report_id: str) -> OutboxEntry:
        query = sa.select(outbox).where(outbox.c.report_id == report_id)
        return OutboxEntry(**self._connection.execute(query).mappings().one())

    def due(self, now: datetime, limit: int) -> list[OutboxEntry]:
        """What may be delivered now, longest due first."""
        query = sa.select(outbox).where((outbox.c.state == Delivery.PENDING) & ~_waits(now))
        query = query.order_by(outbox.c.next_at).limit(limit)
        return [OutboxEntry(**row) for row in self._connection.execute(query).mappings()]

    def next_due(self) -> datetime | None:
        """When the next pending delivery is due, or None."""
        query = sa.select(outbox.c.next_at).where(outbox.c.state == Delivery.PENDING)
        return self._connection.execute(query.order_by(outbox.c.next_at).limit(1)).scalar()

    def count(self, state: Delivery) -> int:
        return self._connection.execute(_COUNT, {"key": state}).scalar_one()

    def troubled(self) -> list[Trouble]:
        """What goes wrong with deliveries that may still succeed: the held ones of each repository,
        then the pending ones of each."""
        return [Trouble(**row) for row in self._connection.execute(_TROUBLED).mappings()]

    def swap(self, before: OutboxEntry, **values: Any) -> OutboxEntry:
        """Change the delivery if it is still what the caller read; else raise Stale."""
        rows = outbox.c
        unchanged = (
            (rows.report_id == before.report_id)
            & (rows.state == before.state)
            & (rows.tries == before.tries)
        )
        result = self._connection.execute(sa.update(outbox).where(unchanged).values(**values))
        if result.rowcount != 1:
            raise Stale(f"cannot change report {before.report_id}: it is no longer {before.state}")
        return self.get(before.report_id)

    def limited_until(self, now: datetime) -> datetime | None:
        """Until when GitHub wants to hear nothing from us, None if it does."""
        limit = (outbox.c.state == Delivery.PENDING) & outbox.c.limited & _waits(now)
        return self._connection.execute(
            sa.select(sa.func.max(outbox.c.next_at)).where(limit)
        ).scalar()

    def shift(self, jump: timedelta) -> None:
        """Move all that is due, as the wall clock was moved."""
        open_ = outbox.c.state.in_([Delivery.PENDING, Delivery.HELD])
        query = sa.select(outbox.c.report_id, outbox.c.next_at).where(open_)
        for row in self._connection.execute(query).all():
            mine = outbox.c.report_id == row.report_id
            moved = sa.update(outbox).where(mine).values(next_at=row.next_at + jump)
            self._connection.execute(moved)

    def hold_rest(self, now: datetime, error: str, *, report_to: str | None, tries: int) -> None:
        """Hold what is pending too, everything or what goes to one repository."""
        rows = outbox.c.state == Delivery.PENDING
        if report_to is not None:
            rows &= outbox.c.report_to == report_to
        since = sa.func.coalesce(outbox.c.failing_since, sa.literal(now, schema.Moment))
        self._connection.execute(
            sa.update(outbox)
            .where(rows)
            .values(
                state=Delivery.HELD,
                next_at=now,
                tries=tries,
                error=error,
                limited=False,
                failing_since=since,
            )
        )

    def look_first(self) -> int:
        """Have every report that is not filed looked for before it is posted, from when it came;
        returns how many."""
        came = sa.select(reports.c.received_at).where(reports.c.id == outbox.c.report_id)
        since = sa.func.coalesce(outbox.c.posting_at, came.scalar_subquery())
        unfiled = sa.update(outbox).where(outbox.c.state != Delivery.FILED)
        return self._connection.execute(unfiled.values(posting_at=since, looks=0)).rowcount

    def to_probe(self, now: datetime) -> list[OutboxEntry]:
        """One held delivery of each repository of which none was tried lately."""
        held = outbox.c.state == Delivery.HELD
        rested = (
            sa.select(outbox.c.report_to)
            .where(held)
            .group_by(outbox.c.report_to)
            .having(sa.func.max(outbox.c.next_at) <= now)
        )
        query = sa.select(outbox).where(held & outbox.c.report_to.in_(rested))
        rows = self._connection.execute(query.order_by(outbox.c.next_at.desc())).mappings()
        return list({row["report_to"]: OutboxEntry(**row) for row in rows}.values())

    def release_held(self, now: datetime, *, ambiguous_at: datetime, report_to: str | None) -> int:
        """Make held deliveries due at once, all or those to one repository; returns how many.

        Those that are looked for first are due at ``ambiguous_at``.
        """
        held = outbox.c.state == Delivery.HELD
        if report_to is not None:
            held &= outbox.c.report_to == report_to
        moment = schema.Moment()
        due = sa.case(
            (outbox.c.posting_at.is_(None), sa.literal(now, moment)),
            else_=sa.literal(ambiguous_at, moment),
        )
        released = sa.update(outbox).where(held)
        released = released.values(state=Delivery.PENDING, next_at=due, tries=0)
        return self._connection.execute(released).rowcount


class UnclaimedBodies:
    """Bodies kept for a week, within bounds, for a person to look at."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def insert(self, body: Unclaimed) -> None:
        self._connection.execute(sa.insert(unclaimed).values(**_values(body)))

    def prune(self, before: datetime) -> None:
        """Drop what is older, and the oldest beyond the bounds."""
        self._connection.execute(sa.delete(unclaimed).where(unclaimed.c.received_at < before))
        sizes = sa.select(unclaimed.c.id, sa.func.length(unclaimed.c.body))
        total = 0
        excess = []
        newest = self._connection.execute(sizes.order_by(unclaimed.c.received_at.desc()))
        for position, (identity, size) in enumerate(newest):
            total += size
            if position >= UNCLAIMED_ROWS or total > UNCLAIMED_BYTES:
                excess.append(identity)
        self._connection.execute(sa.delete(unclaimed).where(unclaimed.c.id.in_(excess)))

    def get(self, identity: str) -> Unclaimed | None:
        row = self._connection.execute(sa.select(unclaimed).where(unclaimed.c.id == identity))
        found = row.mappings().first()
        return None if found is None else Unclaimed(**found)

    def summary(self) -> tuple[int, Unclaimed | None]:
        """How many there are, and the newest without its body."""
        row = self._connection.execute(_NEWEST_UNCLAIMED).mappings().first()
        return (0, None) if row is None else (row["count"], _unclaimed(row))

    def all(self) -> list[tuple[Unclaimed, int]]:
        """Each without its body, and the bytes of that; newest first."""
        query = sa.select(*_UNCLAIMED, sa.func.length(unclaimed.c.body).label("size"))
        rows = self._connection.execute(query.order_by(unclaimed.c.received_at.desc())).mappings()
        return [(_unclaimed(row), row["size"]) for row in rows]

    def delete(self, identity: str) -> None:
        self._connection.execute(sa.delete(unclaimed).where(unclaimed.c.id == identity))


def _waits(now: datetime) -> sa.ColumnElement[bool]:
    """Whether a delivery is not due yet. One that is due in days was put off by a wrong clock."""
    return (outbox.c.next_at > now) & (outbox.c.next_at < now + LONGEST_WAIT)


def _values(thing: Report | OutboxEntry | Unclaimed) -> dict[str, Any]:
    return {name: getattr(thing, name) for name in thing.__slots__}


def _unclaimed(row: sa.RowMapping) -> Unclaimed:
    """Without its body."""
    return Unclaimed(**{column.name: row[column.name] for column in _UNCLAIMED}, body=b"")


def _split(row: sa.Row[Any]) -> tuple[Report, OutboxEntry]:
    width = len(reports.c)
    report = dict(zip(reports.c.keys(), row[:width], strict=True))
    entry = dict(zip(outbox.c.keys(), row[width : width + len(outbox.c)], strict=True))
    return Report(**report), OutboxEntry(**entry)

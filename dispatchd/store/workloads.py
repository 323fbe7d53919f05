"""Workloads and their attempts. Every change states what it believed."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from dispatchd.domain.model import (
    DELIVERED,
    NO_TRY,
    RUNNING,
    Arrival,
    Attempt,
    Outcome,
    Source,
    State,
    Workload,
)
from dispatchd.domain.schedule import Candidate
from dispatchd.errors import NotFound, Stale
from dispatchd.store import schema
from dispatchd.store.engine import insert

workloads, attempts, machines = schema.workloads, schema.attempts, schema.machines
releases, assets = schema.releases, schema.assets
reports, outbox = schema.reports, schema.outbox
#: Attempts of an asset from which one can tell how long it takes.
LATEST = 20

#: Built once: every ask runs these, and building one costs more than running it.
_KEY: sa.BindParameter[Any] = sa.bindparam("key")
_WORKLOAD = sa.select(workloads).where(workloads.c.id == _KEY)
_SWAP_WORKLOAD = (
    sa.update(workloads)
    .where(workloads.c.id == _KEY)
    .where(workloads.c.state == sa.bindparam("state_before"))
    .where(workloads.c.run == sa.bindparam("run_before"))
    .where(workloads.c.tries == sa.bindparam("tries_before"))
    .returning(workloads)
)
_ATTEMPT = sa.select(attempts).where(attempts.c.id == _KEY)
_NEW_ATTEMPT = (
    sa.insert(attempts)
    .values(
        number=sa.select(sa.func.count() + 1)
        .where(attempts.c.workload_id == _KEY)
        .scalar_subquery(),
        asks=1,
    )
    .returning(attempts)
)
_OPEN_OF_MACHINE = sa.select(attempts).where(
    (attempts.c.machine_id == _KEY) & attempts.c.ended_at.is_(None)
)
# In an order that the index of open ones has: one by id would read all there ever were.
_OPEN = sa.select(attempts).where(attempts.c.ended_at.is_(None)).order_by(attempts.c.machine_id)
_SWAP_ATTEMPT = (
    sa.update(attempts)
    .where(attempts.c.id == _KEY)
    .where(attempts.c.ended_at.is_not_distinct_from(sa.bindparam("ended_before")))
    .returning(attempts)
)
_KEYS: sa.BindParameter[Any] = sa.bindparam("keys", expanding=True)
# The open one, else the last: one that was taken up again may be older than another machine's that
# ended meanwhile. Open ones come last.
_LATEST_OF_WORKLOADS = (
    sa.select(attempts)
    .where(
        attempts.c.id.in_(
            sa.union(
                sa.select(sa.func.max(attempts.c.id))
                .where(attempts.c.workload_id.in_(_KEYS))
                .group_by(attempts.c.workload_id),
                sa.select(attempts.c.id).where(
                    attempts.c.ended_at.is_(None) & attempts.c.workload_id.in_(_KEYS)
                ),
            )
        )
    )
    .order_by(attempts.c.ended_at.is_(None), attempts.c.id)
)
_OTHER = attempts.alias()
# From the machines on, each by its index: the other way round every attempt would be looked at.
_LATEST_OF_MACHINES = (
    sa.select(attempts)
    .select_from(machines)
    .join(
        attempts,
        attempts.c.id.in_(
            sa.select(_OTHER.c.id)
            .where((_OTHER.c.machine_id == machines.c.id) & _OTHER.c.outcome.not_in(NO_TRY))
            .order_by(_OTHER.c.id.desc())
            .limit(sa.bindparam("limit"))
        ),
    )
    .order_by(attempts.c.id.desc())
)
_LATEST_OF_MACHINE = _LATEST_OF_MACHINES.where(machines.c.id == _KEY)
_IN_ORDER = sa.select(workloads).order_by(
    workloads.c.release_id,
    workloads.c.priority,
    workloads.c.name,
    workloads.c.pool,
    workloads.c.id,
)
_LOADED = sa.select(releases.c.id).where(releases.c.unloaded_at.is_(None))
_SHOWN = workloads.c.release_id.in_(_LOADED) | workloads.c.state.in_([*RUNNING, State.REPORTED])
_UNDELIVERED = (
    sa.select(attempts.c.id)
    .join(reports, reports.c.attempt_id == attempts.c.id)
    .join(outbox, outbox.c.report_id == reports.c.id)
    .where(attempts.c.workload_id == workloads.c.id)
    .where(outbox.c.state.not_in(list(DELIVERED)))
)
_SETTLED = _IN_ORDER.where((workloads.c.state == State.REPORTED) & ~_UNDELIVERED.exists())
_ALL_SHOWN = _IN_ORDER.where(_SHOWN)


def _ended_here(outcome: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    """How many of the workload's attempts in its present run ended like this on a machine."""
    return (
        sa.select(sa.func.count())
        .where(attempts.c.workload_id == workloads.c.id)
        .where((attempts.c.machine_id == _KEY) & (attempts.c.run == workloads.c.run) & outcome)
        .scalar_subquery()
    )


_CANDIDATES = (
    sa.select(
        workloads,
        releases.c.source,
        assets.c.arrival,
        _ended_here(attempts.c.outcome.not_in(NO_TRY)).label("failures"),
        _ended_here(attempts.c.outcome == Outcome.LAPSED).label("lapses"),
    )
    .join(releases, releases.c.id == workloads.c.release_id)
    .join(assets, assets.c.id == workloads.c.asset_id)
    .where(workloads.c.release_id.in_(_LOADED))
    .where(workloads.c.state.in_([State.UNASSIGNED, *RUNNING]))
)


class Workloads:
    """The queue's rows."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def get(self, workload_id: int) -> Workload:
        found = self._connection.execute(_WORKLOAD, {"key": workload_id}).mappings().first()
        if found is None:
            raise NotFound(f"cannot find workload {workload_id}", hint="dispatchctl status")
        return Workload(**found)

    def insert(self, **values: Any) -> int:
        return insert(self._connection, workloads, **values)

    def swap(self, before: Workload, **values: Any) -> Workload:
        """Change the workload if it is still what the caller read; else raise Stale."""
        believed = {
            "key": before.id,
            "state_before": before.state,
            "run_before": before.run,
            "tries_before": before.tries,
        }
        after = self._connection.execute(_SWAP_WORKLOAD, {**believed, **values}).mappings().first()
        if after is None:
            raise Stale(f"cannot change workload {before.id}: it is no longer {before.state}")
        return Workload(**after)

    def delete_untried(self, before: Workload) -> bool:
        """Take away a workload that no machine ever had; False, and nothing done, where one had."""
        rows = workloads.c
        tried = sa.select(attempts.c.id).where(attempts.c.workload_id == before.id).exists()
        untried = (rows.id == before.id) & (rows.state == State.UNASSIGNED) & ~tried
        return self._connection.execute(sa.delete(workloads).where(untried)).rowcount == 1

    def of_release(self, release_id: int) -> list[Workload]:
        return self._select(workloads.c.release_id == release_id)

    def of_asset(self, asset_id: int) -> list[Workload]:
        return self._select(workloads.c.asset_id == asset_id)

    def some(self, workload_ids: Collection[int]) -> dict[int, Workload]:
        """Those with these ids."""
        return {one.id: one for one in self._select(workloads.c.id.in_(workload_ids))}

    def shown(self) -> list[Workload]:
        """Of loaded releases all, of unloaded ones what is still on its way; in queue order."""
        return [Workload(**row) for row in self._connection.execute(_ALL_SHOWN).mappings()]

    def shown_states(self) -> list[State]:
        """The state of each of them."""
        return list(self._connection.execute(sa.select(workloads.c.state).where(_SHOWN)).scalars())

    def settled(self) -> list[Workload]:
        """Reported ones with no report left to deliver."""
        return [Workload(**row) for row in self._connection.execute(_SETTLED).mappings()]

    def candidates(self, machine_id: int) -> list[Candidate]:
        """Everything of loaded releases that waits or runs, as the machine sees it."""
        width = len(workloads.c)
        names = workloads.c.keys()
        return [
            Candidate(
                workload=Workload(**dict(zip(names, row[:width], strict=True))),
                position=row.release_id,
                whole=row.arrival is Arrival.WHOLE,
                local=row.source is Source.DIRECTORY,
                failed_here=row.failures > 0,
                lapses_here=row.lapses,
            )
            for row in self._connection.execute(_CANDIDATES, {"key": machine_id})
        ]

    def _select(self, condition: sa.ColumnElement[bool]) -> list[Workload]:
        found = self._connection.execute(_IN_ORDER.where(condition)).mappings()
        return [Workload(**row) for row in found]


class Attempts:
    """Tries of workloads on machines."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def get(self, attempt_id: int) -> Attempt:
        found = self._connection.execute(_ATTEMPT, {"key": attempt_id}).mappings().first()
        if found is None:
            raise NotFound(f"cannot find attempt {attempt_id}")
        return Attempt(**found)

    def some(self, attempt_ids: Collection[int]) -> dict[int, Attempt]:
        """Those with these ids."""
        return {one.id: one for one in self._select(attempts.c.id.in_(attempt_ids))}

    def open_of_machine(self, machine_id: int) -> Attempt | None:
        found = self._connection.execute(_OPEN_OF_MACHINE, {"key": machine_id}).mappings().first()
        return None if found is None else Attempt(**found)

    def open_of_workload(self, workload_id: int) -> Attempt | None:
        of_it = attempts.c.workload_id == workload_id
        found = self._select(of_it & attempts.c.ended_at.is_(None))
        return found[0] if found else None

    def open(self) -> list[Attempt]:
        return [Attempt(**row) for row in self._connection.execute(_OPEN).mappings()]

    def of_workload(self, workload_id: int) -> list[Attempt]:
        """Oldest first."""
        return self._select(attempts.c.workload_id == workload_id)

    def latest_of_workloads(self, workload_ids: list[int]) -> dict[int, Attempt]:
        """The open attempt of each workload, else its last one, by workload."""
        rows = self._connection.execute(_LATEST_OF_WORKLOADS, {"keys": workload_ids}).mappings()
        return {row["workload_id"]: Attempt(**row) for row in rows}

    def latest_of_machine(self, machine_id: int, limit: int) -> list[Attempt]:
        """Newest first; only those that ended with a try or a report."""
        found = self._connection.execute(_LATEST_OF_MACHINE, {"key": machine_id, "limit": limit})
        return [Attempt(**row) for row in found.mappings()]

    def latest_of_machines(self, limit: int) -> dict[int, list[Attempt]]:
        """The same of each machine that has any."""
        found: dict[int, list[Attempt]] = {}
        rows = self._connection.execute(_LATEST_OF_MACHINES, {"limit": limit}).mappings()
        for row in rows:
            found.setdefault(row["machine_id"], []).append(Attempt(**row))
        return found

    def longest_report(self, asset_id: int) -> float | None:
        """Seconds from boot to report of the slowest of the asset's latest; None if none did."""
        query = (
            sa.select(attempts.c.booted_at, attempts.c.reported_at)
            .join(workloads, workloads.c.id == attempts.c.workload_id)
            .where(workloads.c.asset_id == asset_id)
            .where(attempts.c.booted_at.is_not(None) & attempts.c.reported_at.is_not(None))
            .order_by(attempts.c.id.desc())
            .limit(LATEST)
        )
        took = [row.reported_at - row.booted_at for row in self._connection.execute(query)]
        return max((one.total_seconds() for one in took), default=None)

    def insert(self, *, workload: Workload, machine_id: int, at: datetime) -> Attempt:
        """A further one of the workload, open."""
        values = {
            "key": workload.id,
            "workload_id": workload.id,
            "machine_id": machine_id,
            "run": workload.run,
            "assigned_at": at,
        }
        return Attempt(**self._connection.execute(_NEW_ATTEMPT, values).mappings().one())

    def swap(self, before: Attempt, **values: Any) -> Attempt:
        """Change the attempt if it is still open or ended as the caller read it; else Stale."""
        believed = {"key": before.id, "ended_before": before.ended_at}
        after = self._connection.execute(_SWAP_ATTEMPT, {**believed, **values}).mappings().first()
        if after is None:
            raise Stale(f"cannot change attempt {before.id}: it ended meanwhile")
        return Attempt(**after)

    def _select(self, condition: sa.ColumnElement[bool]) -> list[Attempt]:
        query = sa.select(attempts).where(condition).order_by(attempts.c.id)
        return [Attempt(**row) for row in self._connection.execute(query).mappings()]

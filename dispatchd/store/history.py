"""Events and knocks: what happened, and who asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from dispatchd.domain.event import Kind
from dispatchd.domain.model import State
from dispatchd.store import schema
from dispatchd.store.engine import insert

events, knocks, workloads = schema.events, schema.knocks, schema.workloads
#: Knocks kept. A port scanner must not fill the disk.
KNOCKS = 10_000
#: Rows that one transaction looks at to forget some of them: machines wait for it.
BATCH = 500
#: Built once: building it costs more than running it.
_LATEST_KNOCK = sa.select(knocks).order_by(knocks.c.id.desc()).limit(1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """An event as it is kept: what it is about by id, since that may change or go."""

    id: int
    at: datetime
    kind: str
    text: str
    by: str
    workload_id: int | None
    machine_id: int | None
    release_id: int | None
    attempt_id: int | None
    report_id: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Knock:
    """One request on the boot port. ``mac`` is empty and ``machine_id`` None if unknown."""

    at: datetime
    address: str
    mac: str
    machine_id: int | None
    request: str
    agent: str
    answer: str


class Events:
    """History, appended to only."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def insert(self, *, kind: Kind, **values: Any) -> int:
        return insert(self._connection, events, kind=kind.value, **values)

    def forget(self, *, after: int, before: datetime) -> tuple[int, int | None]:
        """Of the next ``BATCH`` events after the one with this id remove those of ``before``, but
        for those of workloads that are still to run. Returns how many, and where to go on."""
        query = sa.select(events.c.id, events.c.at).where(events.c.id > after)
        rows = self._connection.execute(query.order_by(events.c.id).limit(BATCH)).all()
        old = [row.id for row in rows if row.at < before]
        if not old:
            return 0, None
        unsettled = sa.select(workloads.c.id).where(workloads.c.id == events.c.workload_id)
        unsettled = unsettled.where(workloads.c.state.not_in([State.FINISHED, State.FAILED]))
        gone = sa.delete(events).where(events.c.id.in_(old) & ~unsettled.exists())
        return self._connection.execute(gone).rowcount, rows[-1].id

    def after(self, event_id: int, limit: int, *, since: datetime | None = None) -> list[Line]:
        """Oldest first."""
        query = sa.select(events).where(events.c.id > event_id).order_by(events.c.id).limit(limit)
        if since is not None:
            query = query.where(events.c.at >= since)
        return [Line(**row) for row in self._connection.execute(query).mappings()]

    def latest(self, *kinds: Kind) -> Line | None:
        """The newest event, of these kinds if there are any."""
        query = sa.select(events).order_by(events.c.id.desc())
        if kinds:
            query = query.where(events.c.kind.in_([kind.value for kind in kinds]))
        row = self._connection.execute(query.limit(1)).mappings().first()
        return None if row is None else Line(**row)

    def of_workload(self, workload_id: int, limit: int) -> list[Line]:
        """Newest first."""
        query = sa.select(events).where(events.c.workload_id == workload_id)
        query = query.order_by(events.c.id.desc()).limit(limit)
        return [Line(**row) for row in self._connection.execute(query).mappings()]


class Knocks:
    """Requests on the boot port, the latest ``KNOCKS`` of them."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def insert(self, batch: Sequence[Knock]) -> None:
        rows = [{name: getattr(one, name) for name in Knock.__slots__} for one in batch]
        self._connection.execute(sa.insert(knocks), rows)
        newest = sa.select(sa.func.max(knocks.c.id)).scalar_subquery()
        self._connection.execute(sa.delete(knocks).where(knocks.c.id <= newest - KNOCKS))

    def forget(self, before: datetime) -> int:
        """Remove knocks of before; returns how many."""
        return self._connection.execute(sa.delete(knocks).where(knocks.c.at < before)).rowcount

    def latest(self) -> Knock | None:
        row = self._connection.execute(_LATEST_KNOCK).mappings().first()
        return None if row is None else Knock(**{name: row[name] for name in Knock.__slots__})

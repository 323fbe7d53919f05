"""Machines, how they are recognised, and what they were promised."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from dispatchd.domain.model import Machine, Promise
from dispatchd.errors import Conflict, NotFound, Stale
from dispatchd.store import schema
from dispatchd.store.engine import insert

machines, macs, addresses = schema.machines, schema.macs, schema.addresses
promises, attempts, workloads = schema.promises, schema.attempts, schema.workloads


def _latest(column: sa.Column[str], table: sa.Table) -> sa.ColumnElement[str]:
    newest = sa.select(column).where(table.c.machine_id == machines.c.id)
    newest = newest.order_by(table.c.seen_at.desc()).limit(1)
    return sa.func.coalesce(newest.scalar_subquery(), "")


_COLUMNS = [column for column in machines.c if column.name != "created_at"]
_SELECT = sa.select(
    *_COLUMNS,
    _latest(addresses.c.address, addresses).label("address"),
    _latest(macs.c.mac, macs).label("mac"),
)
#: Built once: every ask runs these, and building one costs more than running it. ``key`` is bound.
_KEY: sa.BindParameter[Any] = sa.bindparam("key")
_ALL = _SELECT.order_by(machines.c.name, machines.c.id)
_BY_ID = _SELECT.where(machines.c.id == _KEY)
# The empty name is said in so many words, else the index that leaves it out cannot be used.
_BY_NAME = _SELECT.where((machines.c.name == _KEY) & (machines.c.name != sa.literal_column("''")))
_BY_MAC = _SELECT.where(
    machines.c.id == sa.select(macs.c.machine_id).where(macs.c.mac == _KEY).scalar_subquery()
)
_BY_ADDRESS = _SELECT.where(
    machines.c.id
    == sa.select(addresses.c.machine_id).where(addresses.c.address == _KEY).scalar_subquery()
)
_OTHERS_ALIVE = (
    sa.select(machines.c.id)
    .where((machines.c.id != _KEY) & (machines.c.held == "") & ~machines.c.paused)
    .where(machines.c.seen_at >= sa.bindparam("since"))
    .limit(1)
)
_UPDATE = sa.update(machines).where(machines.c.id == _KEY)
_UPDATE_MAC = sa.update(macs).where(macs.c.mac == _KEY)
_SENT_TO_MAC = sa.select(macs.c.sent_attempt_id).where(macs.c.mac == _KEY)
_PROMISE = sa.select(promises).where(promises.c.machine_id == _KEY)
_LIVE_MACS = sa.select(macs.c.mac).where(
    (macs.c.asked_as == _KEY) & (macs.c.asked_at >= sa.bindparam("since"))
)
_ASKED = sa.select(macs.c.asked_as, macs.c.mac).where(
    (macs.c.asked_as != "") & (macs.c.asked_at >= sa.bindparam("since"))
)
_HAS_ASKED = sa.select(macs.c.mac).where(
    (macs.c.machine_id == _KEY)
    & (macs.c.mac == sa.bindparam("mac"))
    & (macs.c.asked_as == sa.bindparam("name"))
)
_QUEUE = sa.select(schema.queue)
_PUT = {
    table: (sa.update(table).where(column == _KEY), sa.insert(table))
    for table, column in (
        (macs, macs.c.mac),
        (addresses, addresses.c.address),
        (promises, promises.c.machine_id),
    )
}


class Machines:
    """Machines by id, name, MAC and address."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def get(self, machine_id: int) -> Machine:
        found = self._first(_BY_ID, machine_id)
        if found is None:
            raise NotFound(f"cannot find machine {machine_id}", hint="dispatchctl machines")
        return found

    def by_name(self, name: str) -> Machine | None:
        return self._first(_BY_NAME, name) if name else None

    def by_mac(self, mac: str) -> Machine | None:
        return self._first(_BY_MAC, mac) if mac else None

    def by_address(self, address: str) -> Machine | None:
        return self._first(_BY_ADDRESS, address) if address else None

    def all(self) -> list[Machine]:
        return [Machine(**row) for row in self._connection.execute(_ALL).mappings()]

    def insert(self, *, name: str = "", at: datetime) -> Machine:
        return self.get(insert(self._connection, machines, name=name, created_at=at))

    def update(self, machine_id: int, **values: Any) -> None:
        try:
            self._connection.execute(_UPDATE, {"key": machine_id, **values})
        except sa.exc.IntegrityError as error:
            raise Conflict(
                f"cannot name the machine {values.get('name')!r}: another has that name"
            ) from error

    def forget(self, machine: Machine) -> None:
        """Remove a machine that no attempt refers to; else only what it is recognised by. No
        workload is pinned to it any more."""
        pinned = sa.update(workloads).where(workloads.c.pinned_to == machine.id)
        self._connection.execute(pinned.values(pinned_to=None))
        for table in (macs, addresses, promises):
            self._connection.execute(sa.delete(table).where(table.c.machine_id == machine.id))
        tried = sa.select(attempts.c.id).where(attempts.c.machine_id == machine.id).limit(1)
        if self._connection.execute(tried).first() is None:
            self._connection.execute(sa.delete(machines).where(machines.c.id == machine.id))
        else:
            values = {"name": "", "pool": "", "note": "", "paused": False, "held": ""}
            # It neither waits nor is alive: when it asks again it is another one.
            gone = {"seen_at": None, "waiting_since": None, "handed": ""}
            self.update(machine.id, **values, **gone)

    def macs(self) -> dict[int, list[str]]:
        """Those of each machine that has any."""
        return self._by_machine(sa.select(macs.c.machine_id, macs.c.mac).order_by(macs.c.mac))

    def addresses(self) -> dict[int, list[str]]:
        """Those of each machine, the one used last first."""
        query = sa.select(addresses.c.machine_id, addresses.c.address)
        return self._by_machine(query.order_by(addresses.c.seen_at.desc()))

    def live_macs(self, name: str, since: datetime) -> set[str]:
        """The MACs that asked under the name since then; under no name, none."""
        if not name:
            return set()
        asked = self._connection.execute(_LIVE_MACS, {"key": name, "since": since})
        return set(asked.scalars())

    def shared_names(self, since: datetime) -> dict[str, set[str]]:
        """Names under which two MACs or more asked since then, with these."""
        found: dict[str, set[str]] = {}
        for name, mac in self._connection.execute(_ASKED, {"since": since}):
            found.setdefault(name, set()).add(mac)
        return {name: those for name, those in found.items() if len(those) > 1}

    def has_asked(self, machine_id: int, mac: str, name: str) -> bool:
        """Whether the MAC is the machine's and asked under the name (or under none) last."""
        said = {"key": machine_id, "mac": mac, "name": name}
        return self._connection.execute(_HAS_ASKED, said).first() is not None

    def note_mac(self, mac: str, machine_id: int, at: datetime) -> None:
        """The MAC is the machine's."""
        self._put(macs, mac, mac=mac, machine_id=machine_id, seen_at=at)

    def note_asked(self, mac: str, name: str, at: datetime) -> None:
        """The MAC asked under the name (or under none)."""
        self._connection.execute(_UPDATE_MAC, {"key": mac, "asked_as": name, "asked_at": at})

    def note_address(self, address: str, machine_id: int, at: datetime) -> None:
        """An address belongs to whoever used it last."""
        self._put(addresses, address, address=address, machine_id=machine_id, seen_at=at)

    def note_sent(self, machine_id: int, mac: str, attempt_id: int | None) -> None:
        """Bytes of the attempt (None: of a firmware program) went out to the machine."""
        self.update(machine_id, sent_attempt_id=attempt_id)
        self._connection.execute(_UPDATE_MAC, {"key": mac, "sent_attempt_id": attempt_id})

    def sent_to_mac(self, mac: str) -> int | None:
        """The attempt whose bytes last went to the MAC."""
        return self._connection.execute(_SENT_TO_MAC, {"key": mac}).scalar()

    def others_alive(self, machine_id: int, since: datetime) -> bool:
        """Whether another machine that is neither held nor paused asked since then."""
        others = self._connection.execute(_OTHERS_ALIVE, {"key": machine_id, "since": since})
        return others.first() is not None

    def waiting(self, machine_id: int, since: datetime) -> list[Machine]:
        """Other machines that were told to wait for a workload and asked since then."""
        rows = machines.c
        others = (rows.id != machine_id) & (rows.held == "") & ~rows.paused
        waits = others & (rows.handed == "wait.efi") & rows.waiting_since.is_not(None)
        waits &= rows.seen_at >= since
        found = self._connection.execute(_ALL.where(waits)).mappings()
        return [Machine(**row) for row in found]

    def promise(self, machine_id: int) -> Promise | None:
        row = self._connection.execute(_PROMISE, {"key": machine_id}).mappings().first()
        return None if row is None else Promise(**row)

    def put_promise(self, promise: Promise) -> None:
        self._put(promises, promise.machine_id, **asdict(promise))

    def _put(self, table: sa.Table, key: str | int, **values: Any) -> None:
        update, insert_ = _PUT[table]
        if self._connection.execute(update, {"key": key, **values}).rowcount == 0:
            self._connection.execute(insert_, values)

    def _by_machine(self, query: sa.Select[int, str]) -> dict[int, list[str]]:
        found: dict[int, list[str]] = {}
        for machine_id, value in self._connection.execute(query):
            found.setdefault(machine_id, []).append(value)
        return found

    def _first(self, query: sa.Select[Any], key: str | int) -> Machine | None:
        row = self._connection.execute(query, {"key": key}).mappings().first()
        return None if row is None else Machine(**row)


def swap_queue(connection: sa.Connection, *, paused: bool, by: str) -> None:
    """Pause or resume the queue; raises Conflict where it is that way already."""
    rows = schema.queue.c
    changed = connection.execute(
        sa.update(schema.queue).where(rows.paused != paused).values(paused=paused, paused_by=by)
    )
    if changed.rowcount == 0:
        raise Stale(f"cannot {'pause' if paused else 'resume'} the queue: it is so already")


def queue_pause(connection: sa.Connection) -> str:
    """By whom the queue is paused, or empty."""
    row = connection.execute(_QUEUE).mappings().one()
    return (row["paused_by"] or "a person") if row["paused"] else ""

"""Who is talking: a machine by its name, its MAC or its address, and what a beacon means.

An address is weak: DHCP may give firmware and operating system different ones, so it counts last.
"""

from collections.abc import Container, Set
from dataclasses import dataclass
from datetime import datetime, timedelta

from dispatchd.domain.event import Kind
from dispatchd.domain.model import Attempt, Machine
from dispatchd.services.dispatcher.unit import Unit
from dispatchd.store.store import Transaction
from dispatchd.wire import KnownBy

#: A machine, or a MAC under a name, that asked within this time is alive.
ALIVE = timedelta(hours=3)


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """What the wire tells. ``name`` comes from the path; ``mac`` is empty where it is not known."""

    name: str
    mac: str
    address: str


def identify(unit: Unit, caller: Caller, *, may_create: bool) -> Machine | None:
    """The machine that asks, made anew where ``may_create``; else None when it is not known."""
    machines = unit.tx.machines
    live = machines.live_macs(caller.name, unit.now - ALIVE)
    name = _own_name(caller, live)
    if name != caller.name and caller.mac and caller.mac not in live:
        macs = ", ".join(sorted({*live, caller.mac}))
        unit.tell(
            Kind.NAME_CONFLICT,
            f"two machines ask as {caller.name} ({macs}): both are known by their MAC until the "
            "boot URL of one of them is changed",
        )
    machine = _found(unit.tx, caller, name)
    if machine is not None and name and machine.name != name:
        # A name that is new here names the machine, unless that already goes by another one.
        if machine.name:
            machine = None
        else:
            machines.update(machine.id, name=name)
    if machine is None:
        if not may_create:
            return None
        machine = machines.insert(name=name, at=unit.now)
    note_asked(unit, machine.id, caller)
    return machines.get(machine.id)


def known(tx: Transaction, caller: Caller, now: datetime) -> Machine | None:
    """The machine that asks, if its name and its MAC are written down already. Its address, which
    may be new, is noted with the bytes that it is sent.
    """
    name = _own_name(caller, tx.machines.live_macs(caller.name, now - ALIVE))
    machine = _found(tx, caller, name)
    if machine is None or (name and machine.name != name):
        return None
    if caller.mac and not tx.machines.has_asked(machine.id, caller.mac, caller.name):
        return None
    return machine


def known_by(machine: Machine, shared: Container[str]) -> KnownBy:
    """How the machine's next request would be recognised. ``shared``: names that count for
    nobody, since two machines ask under them.
    """
    if machine.name and machine.name not in shared:
        return "name"
    return "mac" if machine.mac else "address"


def note(unit: Unit, machine_id: int, caller: Caller) -> None:
    """Remember when and where the machine was seen."""
    if caller.mac:
        unit.tx.machines.note_mac(caller.mac, machine_id, unit.now)
    unit.tx.machines.note_address(caller.address, machine_id, unit.now)
    unit.tx.machines.update(machine_id, seen_at=unit.now)


def note_asked(unit: Unit, machine_id: int, caller: Caller) -> None:
    """Remember when and where the machine was seen, and under which name it asked."""
    note(unit, machine_id, caller)
    if caller.mac:
        unit.tx.machines.note_asked(caller.mac, caller.name, unit.now)


def _found(tx: Transaction, caller: Caller, name: str) -> Machine | None:
    """Who is known by the name or the MAC, and, where there is no name, by the address."""
    machine = tx.machines.by_name(name) or tx.machines.by_mac(caller.mac)
    return _at_address(tx, caller) if machine is None and not name else machine


def _own_name(caller: Caller, live: Set[str]) -> str:
    """The caller's name, or empty where it counts for nobody: ``live`` MACs ask under it, and with
    the caller's own they are two or more.
    """
    return caller.name if len(live | {caller.mac} - {""}) < 2 else ""


def _at_address(tx: Transaction, caller: Caller) -> Machine | None:
    """The machine last seen at the address. One that is known to have another MAC than the caller
    has lost it: DHCP gave the address to somebody else since. One of another name is another one,
    behind the same router.
    """
    machine = tx.machines.by_address(caller.address)
    if machine is None or (caller.mac and machine.mac):
        return None
    return None if caller.name and machine.name not in ("", caller.name) else machine


def meant_attempt(unit: Unit, caller: Caller, late: float) -> Attempt | None:
    """The attempt that a beacon means, or None where it is nobody's.

    ``late``: seconds after its end during which an attempt may still be meant.
    """
    machines, attempts = unit.tx.machines, unit.tx.attempts
    shared = len(machines.live_macs(caller.name, unit.now - ALIVE)) > 1
    named = None if shared else machines.by_name(caller.name)
    by_name = _latest_attempt(unit, named, late) if named else None
    sent = machines.sent_to_mac(caller.mac) if caller.mac else None
    if sent is not None:
        attempt = attempts.get(sent)
        if by_name and by_name.machine_id != attempt.machine_id and _is_named(unit, attempt):
            # Both have names and one MAC, a router's: the name tells which of them spoke.
            return by_name
        if _may_speak(attempt, unit.now, late):
            return attempt
    machine = named or machines.by_mac(caller.mac) or _at_address(unit.tx, caller)
    return _latest_attempt(unit, machine, late) if machine else None


def _latest_attempt(unit: Unit, machine: Machine, late: float) -> Attempt | None:
    """The machine's open attempt if a byte of it was sent, else the one that was sent last."""
    current = unit.tx.attempts.open_of_machine(machine.id)
    if current is not None and current.first_byte_at is not None:
        return current
    if machine.sent_attempt_id is None:
        return None
    attempt = unit.tx.attempts.get(machine.sent_attempt_id)
    return attempt if _may_speak(attempt, unit.now, late) else None


def _is_named(unit: Unit, attempt: Attempt) -> bool:
    return bool(unit.tx.machines.get(attempt.machine_id).name)


def _may_speak(attempt: Attempt, now: datetime, late: float) -> bool:
    if attempt.first_byte_at is None:
        return False
    return attempt.ended_at is None or now - attempt.ended_at < timedelta(seconds=late)

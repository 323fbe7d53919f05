"""Who is a machine and what a beacon means, kept a second time: a model to hold the dispatcher to.

It knows what the wire told (names, MACs, addresses, which bytes went where, what was announced) and
nothing of the database but the attempts, which it is given.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from dispatchd.domain.model import Attempt
from dispatchd.services.dispatcher.identity import Caller
from dispatchd.services.dispatcher.offers import Offer
from tests.dispatcher.lab import HandClock

#: How long a MAC that asked under a name is alive, and an attempt that ended may still be meant.
ALIVE, LATE = timedelta(hours=3), timedelta(hours=24)
#: How long a HEAD counts, in seconds.
HEAD = 120.0


@dataclass(kw_only=True, slots=True)
class Announced:
    """What an ask was answered. Of ``since``, what can hide together how long ago that was: a jump
    of the wall clock, and a restart, after which nothing else is left to go by."""

    offer: Offer
    by_head: bool
    at: float
    since: set[str] = field(default_factory=set)


@dataclass(kw_only=True, slots=True, eq=False)
class Known:
    """A machine. ``sent`` is the attempt whose bytes it was sent last, None after any others."""

    id: int | None = None
    name: str = ""
    sent: int | None = None
    latest: Announced | None = None
    #: Since when it was handed nothing but wait.efi, by the monotonic clock.
    waits_since: float | None = None


@dataclass(kw_only=True, slots=True)
class Attempts:
    """What the model is told of attempts."""

    get: Callable[[int], Attempt]
    open_of: Callable[[int], Attempt | None]


@dataclass(slots=True)
class Reference:
    """Machines as the wire shows them."""

    clock: HandClock
    names: dict[str, Known] = field(default_factory=dict)
    macs: dict[str, Known] = field(default_factory=dict)
    addresses: dict[str, Known] = field(default_factory=dict)
    ids: dict[int, Known] = field(default_factory=dict)
    #: Under which name each MAC asked last, and when.
    asked: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    #: The attempt whose bytes each MAC was sent last.
    sent_to: dict[str, int | None] = field(default_factory=dict)

    def who_asks(self, caller: Caller, *, may_be_new: bool = True) -> Known | None:
        """The machine that asks; None where it is not known and may not become so."""
        known, name = self._found(caller)
        if known is not None and name and known.name not in ("", name):
            known = None
        if known is None:
            if not may_be_new:
                return None
            known = Known()
        if name:
            known.name = name
            self.names[name] = known
        self.heard(known, caller)
        if caller.mac:
            self.asked[caller.mac] = (caller.name, self.clock.now())
        return known

    def tells_more(self, caller: Caller) -> bool:
        """Whether the caller tells more than is known: more than where the machine is now."""
        known, name = self._found(caller)
        if known is None or (name and known.name != name):
            return True
        asked_as, _ = self.asked.get(caller.mac, ("", None))
        return bool(caller.mac) and (
            self.macs.get(caller.mac) is not known or asked_as != caller.name
        )

    def answered(self, known: Known, offer: Offer, *, by_head: bool) -> None:
        """An ask of the machine was answered."""
        now = self.clock.monotonic()
        self.met(known, offer.machine_id)
        known.latest = Announced(offer=offer, by_head=by_head, at=now)
        if offer.handed == "wait.efi":
            known.waits_since = now if known.waits_since is None else known.waits_since
        else:
            known.waits_since = None

    def met(self, known: Known, machine_id: int | None) -> None:
        """The dispatcher calls the machine by this id."""
        assert machine_id is not None
        if known.id is None:
            assert machine_id not in self.ids, "one that is new is taken for another"
            known.id = machine_id
            self.ids[machine_id] = known
        assert known.id == machine_id, "one machine is taken for another"

    def is_announced(self, known: Known) -> bool | None:
        """Whether a GET of the machine belongs to its HEAD; None where nobody can tell."""
        latest = known.latest
        if latest is None or not latest.by_head:
            return False
        return self.clock.monotonic() - latest.at <= HEAD if len(latest.since) < 2 else None

    def whose(self, caller: Caller, attempts: Attempts) -> Attempt | None:
        """The attempt that a beacon means, None where it is nobody's."""
        named = self.names.get(caller.name) if len(self._live(caller.name)) < 2 else None
        sent = self.was_sent(caller)
        if sent is not None:
            runs = self.ids[attempts.get(sent).machine_id]
            if named is not None and named is not runs and runs.name:
                # Two with names of their own behind one MAC, a router's.
                by_name = self._latest(named, attempts)
                if by_name is not None:
                    return by_name
            if self._may_speak(attempts.get(sent)):
                return attempts.get(sent)
        known = named or self.macs.get(caller.mac) or self._at(caller)
        return self._latest(known, attempts) if known is not None else None

    def heard(self, known: Known, caller: Caller) -> None:
        """The machine has this MAC, and uses this address now."""
        self.addresses[caller.address] = known
        if caller.mac:
            self.macs[caller.mac] = known

    def sent(self, known: Known, caller: Caller, attempt_id: int | None) -> None:
        """Bytes of the attempt (None: of a firmware program) went to the machine."""
        known.sent = attempt_id
        if caller.mac in self.macs:
            self.sent_to[caller.mac] = attempt_id

    def was_sent(self, caller: Caller) -> int | None:
        """The attempt whose bytes went to the caller's MAC last."""
        return self.sent_to.get(caller.mac) if caller.mac else None

    def forget(self, known: Known) -> None:
        """A person had the machine forgotten."""
        for mac in [mac for mac, owner in self.macs.items() if owner is known]:
            for kept in (self.macs, self.asked, self.sent_to):
                kept.pop(mac, None)
        self.addresses = {key: one for key, one in self.addresses.items() if one is not known}
        self.names.pop(known.name, None)
        known.name = ""
        known.latest = known.waits_since = None

    def rename(self, known: Known, name: str) -> None:
        """A person gave the machine another name."""
        self.names.pop(known.name, None)
        known.name = name
        self.names[name] = known

    def happened(self, what: str) -> None:
        """A jump of the wall clock, or a restart."""
        for known in self.ids.values():
            if known.latest is not None:
                known.latest.since.add(what)

    def _found(self, caller: Caller) -> tuple[Known | None, str]:
        """The machine that the caller seems to be, and its name if that counts for one."""
        others = self._live(caller.name) - {caller.mac}
        shared = bool(others) if caller.mac else len(others) > 1
        name = "" if shared else caller.name
        known = self.names.get(name) or self.macs.get(caller.mac)
        if known is None and not name:
            known = self._at(caller)
        return known, name

    def _latest(self, known: Known, attempts: Attempts) -> Attempt | None:
        """What the machine runs, as far as is known."""
        running = None if known.id is None else attempts.open_of(known.id)
        if running is not None and running.first_byte_at is not None:
            return running
        if known.sent is None or not self._may_speak(attempts.get(known.sent)):
            return None
        return attempts.get(known.sent)

    def _live(self, name: str) -> set[str]:
        """The MACs that asked under the name lately."""
        since = self.clock.now() - ALIVE
        return {mac for mac, (said, at) in self.asked.items() if said == name and at >= since}

    def _at(self, caller: Caller) -> Known | None:
        """The machine that used the address last, unless the caller is known to be another one."""
        known = self.addresses.get(caller.address)
        other_mac = caller.mac and any(owner is known for owner in self.macs.values())
        other_name = caller.name and known is not None and known.name not in ("", caller.name)
        return None if other_mac or other_name else known

    def _may_speak(self, attempt: Attempt) -> bool:
        ended = attempt.ended_at
        return attempt.first_byte_at is not None and (
            ended is None or self.clock.now() - ended < LATE
        )

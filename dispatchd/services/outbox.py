"""Delivers reports as GitHub issues: one writer that decides what is tried when.

GitHub asks that its content is made by one writer, not too quickly, and that nothing at all is
asked while a limit holds. What can be waited for is tried again by itself; what a person must mend
is held, and tried again now and then in case it was mended; what can never be filed is refused and
stays here. No report waits for another's trouble.
"""

import logging
import random
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Protocol

from dispatchd.crashpoints import reach
from dispatchd.domain.event import Kind
from dispatchd.domain.issue import LONGEST_BODY, SMALLEST_BODY, dropped_fields
from dispatchd.domain.model import Delivery, OutboxEntry
from dispatchd.errors import (
    DispatchError,
    Forbidden,
    Gone,
    Refused,
    Stale,
    Unauthorized,
    Unavailable,
)
from dispatchd.services.clock import Clock
from dispatchd.services.filing import BETWEEN_LOOKS, Filing, Tracker
from dispatchd.services.github import Token
from dispatchd.services.parcel import Parcel, pack
from dispatchd.store.store import Store

log = logging.getLogger(__name__)

#: Longest sleep between two looks for reports, in seconds.
LOOK = 30.0
#: Seconds before the second try, doubled at each, and the most.
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 300.0
#: The same for what is held until a person acts.
FIRST_PROBE, LONGEST_PROBE = 60.0, 600.0
#: Tries of a comment that is not permitted: the issue may be locked, or deleted.
COMMENT_TRIES = 3
#: A limit that GitHub repeats is waited for twice as long each time, up to this much longer.
LONGEST_EXTRA = timedelta(hours=1)
#: Seconds by which wall clock and monotonic clock may drift apart before it is a jump.
JUMP = 30.0
#: A report that made us fail in a way nobody foresaw is left alone this long.
POISON = timedelta(hours=1)
OPTIONAL = ("labels", "assignees", "milestone", "title")


class Tokens(Protocol):
    """Whence the token comes."""

    def current(self) -> Token | None: ...


class Outbox:
    """The writer. ``spacing``: seconds between two requests that write.

    ``footer``: whether issues say where they come from.
    """

    def __init__(
        self,
        store: Store,
        tracker: Tracker,
        tokens: Tokens,
        clock: Clock,
        *,
        spacing: Callable[[], float],
        footer: Callable[[], bool],
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._clock = clock
        self._spacing = spacing
        self._filing = Filing(store, tracker, tokens.current, clock, footer=footer)
        self._wake = threading.Event()
        self._token_value: str | None = None
        self._offset = self._clock_offset()
        self._probes: set[str] = set()

    def wake(self) -> None:
        """There may be something to deliver, or a new token to do it with."""
        self._wake.set()

    def release_held(self, report_to: str | None = None) -> int:
        """Try what is held again now, all of it or one repository's; returns how many."""
        now = self._clock.now()
        with self._store.writing() as tx:
            count = tx.outbox.release_held(
                now, ambiguous_at=now + BETWEEN_LOOKS, report_to=report_to
            )
        self._wake.set()
        return count

    def run(self, stopping: threading.Event) -> None:
        """Deliver until stopped."""
        while not stopping.is_set():
            try:
                if self.step():
                    stopping.wait(self._spacing())
                    continue
                pause = self._until_next()
            except DispatchError as error:
                log.warning("cannot look for reports to deliver: %s", error)
                pause = LOOK
            self._wake.wait(pause)
            self._wake.clear()

    def step(self) -> bool:
        """Take the report that is due first one step further; whether there was one."""
        self._notice_token()
        self._notice_jump()
        entry = self._next()
        if entry is None:
            return False
        try:
            with self._store.reading() as tx:
                parcel = pack(tx, entry)
            self._advance(parcel)
        except Stale:
            log.debug("report %s was changed meanwhile", entry.report_id)
        except Exception:
            log.exception("cannot deliver report %s, next try in an hour", entry.report_id)
            self._leave_alone(entry)
        return True

    def _notice_token(self) -> None:
        """With another token than before, what was held may go: a credential can change too."""
        current = self._tokens.current()
        value = current.value if current else ""
        if value != self._token_value:
            self._token_value = value
            self.release_held()

    def _notice_jump(self) -> None:
        """When somebody sets the wall clock, what is due moves with it."""
        jump = self._clock_offset() - self._offset
        self._offset += jump
        if abs(jump) >= JUMP:
            with self._store.writing() as tx:
                tx.outbox.shift(timedelta(seconds=jump))

    def _clock_offset(self) -> float:
        return self._clock.now().timestamp() - self._clock.monotonic()

    def _next(self) -> OutboxEntry | None:
        now = self._clock.now()
        with self._store.reading() as tx:
            if tx.outbox.limited_until(now) is not None:
                return None
            due = tx.outbox.due(now, 1)
            held = [] if due else tx.outbox.to_probe(now)
        if due:
            return due[0]
        for entry in held:
            with self._store.writing() as tx:
                self._probes.add(entry.report_id)
                return tx.outbox.swap(entry, state=Delivery.PENDING, next_at=now)
        return None

    def _advance(self, parcel: Parcel) -> None:
        entry = parcel.entry
        try:
            passed = self._filing.advance(parcel)
        except Unavailable as error:
            self._put_off(parcel, error)
        except (Unauthorized, Gone) as error:
            self._hold(parcel, error)
        except Refused as error:
            self._stop_commenting(parcel, error) if entry.issue else self._mend(parcel, error)
        else:
            if passed and entry.report_id in self._probes:
                self._probes.discard(entry.report_id)
                self.release_held(entry.report_to)

    def _put_off(self, parcel: Parcel, error: Unavailable) -> None:
        """Try again later; what certainly was not carried out needs no look first."""
        now = self._clock.now()
        with self._store.writing() as tx:
            entry = tx.outbox.get(parcel.entry.report_id)
            tx.outbox.swap(
                entry,
                tries=entry.tries + 1,
                next_at=_next_try(now, entry.tries, error),
                posting_at=entry.posting_at if error.ambiguous else parcel.entry.posting_at,
                limited=error.limited,
                **_trouble(entry, now, error),
            )
        log.warning("report %s waits: %s", parcel.report.id, error)

    def _hold(self, parcel: Parcel, error: Refused) -> None:
        """It does not leave until a person acts. What would meet the same is not even tried."""
        now = self._clock.now()
        of_one = isinstance(error, Forbidden) or (parcel.entry.issue and isinstance(error, Gone))
        if of_one and parcel.entry.issue and parcel.entry.tries >= COMMENT_TRIES:
            self._stop_commenting(parcel, error)
            return
        pause = _doubled(FIRST_PROBE, parcel.entry.tries, LONGEST_PROBE)
        with self._store.writing() as tx:
            entry = tx.outbox.get(parcel.entry.report_id)
            trouble = _trouble(entry, now, error)
            tx.outbox.swap(
                entry,
                state=Delivery.HELD,
                tries=entry.tries + 1,
                next_at=now + timedelta(seconds=pause),
                posting_at=parcel.entry.posting_at,
                limited=False,
                **trouble,
            )
            if not of_one:
                # A token that is none is none everywhere; a repository is gone for itself alone.
                of = None if isinstance(error, Unauthorized) else entry.report_to
                tx.outbox.hold_rest(now, trouble["error"], report_to=of, tries=entry.tries + 1)
            if entry.report_id not in self._probes:
                text = f"{parcel.workload.label}: report held here: {trouble['error']}"
                tx.tell(Kind.REPORT_HELD, text, at=now, **parcel.subjects)
        self._probes.discard(entry.report_id)

    def _mend(self, parcel: Parcel, error: Refused) -> None:
        """Do without what GitHub objects to, and say so in the issue; never without the result."""
        entry, without = parcel.entry, dropped_fields(parcel.entry.dropped)
        dropped, room = entry.dropped, entry.room
        if error.field in OPTIONAL and error.field not in without:
            dropped = (*dropped, f"{error.field}: left out, {error}")
        elif error.field == "body" and "body" not in without:
            room = (room or LONGEST_BODY) // 2
            if room < SMALLEST_BODY:
                dropped = (*dropped, f"body: left out, {error}")
        else:
            self._refuse(parcel, error)
            return
        with self._store.writing() as tx:
            tx.outbox.swap(
                tx.outbox.get(entry.report_id),
                dropped=dropped,
                room=room,
                posting_at=entry.posting_at,
            )
        reach("outbox-before-mended-post")
        log.warning("report %s goes without its %s: %s", entry.report_id, error.field, error)

    def _refuse(self, parcel: Parcel, error: Refused) -> None:
        now = self._clock.now()
        with self._store.writing() as tx:
            entry = tx.outbox.get(parcel.entry.report_id)
            tx.outbox.swap(
                entry,
                state=Delivery.REFUSED,
                posting_at=parcel.entry.posting_at,
                **_trouble(entry, now, error),
            )
            text = f"{parcel.workload.label}: report refused, it stays here: {error}"
            tx.tell(Kind.REPORT_REFUSED, text, at=now, **parcel.subjects)

    def _stop_commenting(self, parcel: Parcel, error: Refused) -> None:
        """The issue is there, but takes no further comment: what is missing is kept here."""
        with self._store.writing() as tx:
            entry = tx.outbox.get(parcel.entry.report_id)
            line = f"comments: {entry.comments} are there, then {error}"
            warning = "; ".join(filter(None, [entry.warning, line]))
            self._filing.finish(tx, parcel, tx.outbox.swap(entry, warning=warning))
        log.warning("%s: %s", entry.url, line)

    def _leave_alone(self, entry: OutboxEntry) -> None:
        now = self._clock.now()
        unforeseen = DispatchError("an error that dispatchd did not expect")
        with self._store.writing() as tx:
            entry = tx.outbox.get(entry.report_id)
            tx.outbox.swap(entry, next_at=now + POISON, **_trouble(entry, now, unforeseen))

    def _until_next(self) -> float:
        now = self._clock.now()
        with self._store.reading() as tx:
            moments = [tx.outbox.next_due(), tx.outbox.limited_until(now)]
        latest = max((moment for moment in moments if moment is not None), default=None)
        if latest is None:
            return LOOK
        return min(max((latest - now).total_seconds(), 0.05), LOOK)


def _trouble(entry: OutboxEntry, now: datetime, error: DispatchError) -> dict[str, Any]:
    """What is written down of a delivery that goes wrong."""
    said = error.told if isinstance(error, Refused) else str(error)
    return {"error": said, "failing_since": entry.failing_since or now}


def _next_try(now: datetime, tries: int, error: Unavailable) -> datetime:
    if error.limited and error.retry_at is not None:
        # What GitHub says, and when it says so again and again, later and later.
        extra = (error.retry_at - now).total_seconds() * (2 ** min(tries, 10) - 1)
        return error.retry_at + min(timedelta(seconds=extra), LONGEST_EXTRA)
    pause = _doubled(FIRST_PAUSE, tries, LONGEST_PAUSE)
    pause *= random.uniform(1.0, 1.25)  # noqa: S311 - spreads load, guards nothing
    return max(now + timedelta(seconds=pause), error.retry_at or now)


def _doubled(first: float, times: int, most: float) -> float:
    return min(first * 2.0 ** min(times, 20), most)

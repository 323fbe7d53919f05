"""The daemon's own starts and stops, as history tells them."""

import logging

from dispatchd.domain.event import Kind
from dispatchd.errors import DispatchError
from dispatchd.services.clock import Clock
from dispatchd.store.store import Store

log = logging.getLogger(__name__)


def tell_start(store: Store, clock: Clock, *, version: str) -> None:
    """Say that dispatchd serves, and how long nobody did; a stop without farewell is told."""
    now = clock.now()
    with store.writing() as tx:
        before = tx.events.latest(Kind.STARTED, Kind.STOPPED)
        text = f"dispatchd {version} serves"
        if before is not None and before.kind == Kind.STOPPED:
            text += f" again, {(now - before.at).total_seconds():.0f} s after it stopped"
        elif before is not None:
            text += " again: before, it was killed, or the power failed"
        tx.tell(Kind.STARTED, text, at=now)


def tell_stop(store: Store, clock: Clock, *, why: str) -> None:
    """Say that dispatchd has stopped; where the database cannot be written the log has to do."""
    text = f"dispatchd stopped ({why})"
    try:
        with store.writing() as tx:
            tx.tell(Kind.STOPPED, text, at=clock.now())
    except DispatchError as error:
        log.warning("%s; %s", text, error)

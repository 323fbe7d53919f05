"""Forgetting what is older than the settings keep, a little at a time."""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from dispatchd.errors import DispatchError
from dispatchd.services.clock import Clock
from dispatchd.store.reports import Place
from dispatchd.store.store import Store

log = logging.getLogger(__name__)

#: Seconds between two times of going through everything, and between two transactions.
LOOK, PAUSE = 3600.0, 0.1
#: Where going through begins.
_FIRST_EVENT = 0
_FIRST_REPORT: Place = (datetime.fromtimestamp(0, UTC), "")


class Forgetting:
    """Removes old events, knocks and reports. ``keep``: after how many seconds; 0: never."""

    def __init__(self, store: Store, clock: Clock, *, keep: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._keep = keep

    def run(self, stopping: threading.Event) -> None:
        """Go through everything once an hour until stopped."""
        while not stopping.is_set():
            try:
                if self._keep():
                    self.forget(lambda: stopping.wait(PAUSE))
            except DispatchError as error:
                log.warning("cannot forget what is old now: %s", error)
            stopping.wait(LOOK)

    def forget(self, pause: Callable[[], bool]) -> None:
        """Go through everything; ``pause`` between two transactions says whether to stop."""
        before = self._clock.now() - timedelta(seconds=self._keep())
        with self._store.writing() as tx:
            knocks = tx.knocks.forget(before)
        events = reports = 0
        event: int | None = _FIRST_EVENT
        while event is not None and not pause():
            with self._store.writing() as tx:
                count, event = tx.events.forget(after=event, before=before)
            events += count
        report: Place | None = _FIRST_REPORT
        while report is not None and not pause():
            with self._store.writing() as tx:
                count, report = tx.reports.forget(after=report, before=before)
            reports += count
        if events or reports or knocks:
            days = self._keep() / 86400
            log.info(
                "forgot what is older than %.0f days: %d events, %d reports, %d knocks",
                days,
                events,
                reports,
                knocks,
            )

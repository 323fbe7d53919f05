"""Moving what was committed from the database's log into the database, beside all requests.

Left to itself SQLite does it at the end of a commit that makes the log long: that one request, a
HEAD as likely as any, would wait for two more syncs of some hundred pages.
"""

import logging
import threading

from dispatchd.errors import StoreError
from dispatchd.store.store import Store

log = logging.getLogger(__name__)

#: Seconds between two times, and after one that failed.
SPACING, AGAIN = 1.0, 60.0


class Checkpoints:
    """Keeps the log short while the daemon runs."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def run(self, stopping: threading.Event) -> None:
        """Move what there is, once a second until stopped."""
        while not stopping.wait(SPACING):
            try:
                self._store.checkpoint()
            except StoreError as error:
                # Commits go on: the log only grows meanwhile.
                log.warning("cannot shorten the database's log: %s", error)
                stopping.wait(AGAIN)

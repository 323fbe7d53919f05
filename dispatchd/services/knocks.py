"""Every request on the boot port, remembered: when nothing arrives, this is where to look first."""

import logging
import queue
import threading
from contextlib import suppress

from dispatchd.errors import DispatchError
from dispatchd.store.history import Knock
from dispatchd.store.store import Store

log = logging.getLogger(__name__)

#: Knocks that wait to be written; more are dropped: they are a diagnosis, not a result.
WAITING = 10_000
#: The longest request or agent kept, in characters.
LONGEST = 200
#: Seconds between two writes, so that a flood costs one sync a second.
SPACING = 1.0


class KnockBook:
    """Takes knocks from any thread and writes them from its own."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: queue.Queue[Knock] = queue.Queue(WAITING)
        self._wake = threading.Event()

    def put(self, knock: Knock) -> None:
        """Remember a knock. Never blocks."""
        log.debug("knock: %s %s -> %s", knock.address, knock.request, knock.answer)
        with suppress(queue.Full):
            self._waiting.put_nowait(knock)
        self._wake.set()

    def run(self, stopping: threading.Event) -> None:
        """Write what was put, until stopped; then once more. The first knock is written at once."""
        while not stopping.wait(SPACING):
            if self._wake.wait(SPACING):
                self._wake.clear()
                self.write()
        self.write()

    def write(self) -> None:
        """Write everything that waits, in one transaction."""
        batch = []
        with suppress(queue.Empty):
            while True:
                batch.append(self._waiting.get_nowait())
        if not batch:
            return
        try:
            with self._store.writing() as tx:
                tx.knocks.insert(batch)
        except DispatchError as error:
            log.warning("cannot remember %d knocks: %s", len(batch), error)

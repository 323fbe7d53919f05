"""What the sending loop saw, written down by somebody who may wait for the disk.

The loop that feeds machines must never wait for a transaction, so it only notes that a first or
last byte went out. Every use case writes these notes down first: bytes leave before the machine can
speak of them, so no beacon overtakes the record of what its machine was sent.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable

from dispatchd.crashpoints import reach
from dispatchd.errors import DispatchError, Stale, StoreError

log = logging.getLogger(__name__)

#: Seconds until a write that the database refused is tried again.
AGAIN = 1.0
#: Seconds that a write waits for its turn where nobody is kept waiting by it.
PATIENCE = 5.0


class Observations:
    """Notes in the order in which they were made; each is written once.

    A note is a use case that takes the seconds to wait for the database.
    """

    def __init__(self) -> None:
        self._notes: deque[Callable[[float], None]] = deque()
        self._writing = threading.Lock()
        self._wake = threading.Event()

    def put(self, write: Callable[[float], None]) -> None:
        """Note something down for later. Never blocks."""
        self._notes.append(write)
        self._wake.set()

    def drain(self, wait: float = PATIENCE) -> None:
        """Write everything noted so far. Raises StoreError, losing nothing, if it cannot be.

        Waits up to ``wait`` seconds for whoever writes notes now, and as long for each write.
        """
        if not self._notes:
            return
        if not self._writing.acquire(timeout=wait):
            raise StoreError("cannot write down what was sent: the database keeps us waiting")
        try:
            while self._notes:
                reach("observation-before-write")
                self._write(self._notes[0], wait)
                reach("observation-after-write")
                self._notes.popleft()
        finally:
            self._writing.release()

    def run(self, stopping: threading.Event) -> None:
        """Drain whenever there is something, until stopped; then once more."""
        while not stopping.is_set():
            self._wake.wait(AGAIN)
            self._wake.clear()
            try:
                self.drain()
            except StoreError as error:
                log.warning("cannot write down what was sent, trying again: %s", error)
                stopping.wait(AGAIN)
        self.drain()

    def _write(self, write: Callable[[float], None], wait: float) -> None:
        try:
            write(wait)
        except Stale:
            # The attempt changed between reading and writing it: what was seen is still true.
            write(wait)
        except StoreError:
            raise
        except DispatchError as error:
            log.warning("cannot write down what was sent: %s", error)

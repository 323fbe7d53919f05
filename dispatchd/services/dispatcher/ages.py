"""How long ago something was, whatever the wall clock has done since.

The first look at a moment believes the wall clock, as after a restart it must; from then on the
moment ages with the monotonic clock. So a jump while dispatchd runs shortens or lengthens nothing.
"""

import threading
from datetime import datetime

from dispatchd.services.clock import Clock


class Ages:
    """Ages in seconds of each machine's moments, by what they are of: the latest of each kind."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._born: dict[tuple[str, int], tuple[datetime, float]] = {}

    def of(self, kind: str, machine_id: int, moment: datetime) -> float:
        """How old the moment is. Look at it once when it is now, and it can be told for ever."""
        now = self._clock.monotonic()
        with self._lock:
            known, born = self._born.get((kind, machine_id), (None, 0.0))
            if known != moment:
                born = now - max((self._clock.now() - moment).total_seconds(), 0.0)
                self._born[kind, machine_id] = (moment, born)
        return now - born

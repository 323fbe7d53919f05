"""How long each attempt has been in its present phase, on the monotonic clock.

Kept in memory only: after a restart every phase begins anew, since our downtime is no machine's
fault, and a jump of the wall clock ends nothing.
"""

import threading
from dataclasses import dataclass

from dispatchd.domain.model import Attempt, State
from dispatchd.services.clock import Clock


@dataclass(frozen=True, kw_only=True, slots=True)
class _Transfer:
    sent: int
    at: float


class Phases:
    """Stopwatches of open attempts, and the bytes that their machines were sent."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._since: dict[int, tuple[object, float]] = {}
        self._transfers: dict[int, _Transfer] = {}

    def progress(self, attempt_id: int, reached: int) -> None:
        """Bytes of the asset up to ``reached`` were handed to the kernel just now."""
        # One assignment: the sender calls this between two bursts.
        self._transfers[attempt_id] = _Transfer(sent=reached, at=self._clock.monotonic())

    def sent(self, attempt: Attempt) -> int:
        """How far into the asset the last byte sent was; survives the attempt's end in its row."""
        transfer = self._transfers.get(attempt.id)
        return attempt.sent if transfer is None else transfer.sent

    def waited(self, attempt: Attempt) -> float:
        """Seconds in the present phase; while bytes are due, since the last one."""
        state = attempt.state
        # That the last byte is out may be written down when the beacon has long spoken.
        whole_at = attempt.whole_at if state is State.DOWNLOADING else None
        phase = (state, whole_at, attempt.booted_at, attempt.reported_at)
        now = self._clock.monotonic()
        with self._lock:
            known, since = self._since.get(attempt.id, (None, now))
            if known != phase:
                since = now
                self._since[attempt.id] = (phase, since)
        transfer = self._transfers.get(attempt.id)
        if transfer and state is State.DOWNLOADING and whole_at is None:
            since = max(since, transfer.at)
        return now - since

    def keep_only(self, attempt_ids: set[int]) -> None:
        """Forget attempts that are no longer open."""
        with self._lock:
            for gone in self._since.keys() - attempt_ids:
                del self._since[gone]
        for gone in list(self._transfers.keys() - attempt_ids):
            self._transfers.pop(gone, None)

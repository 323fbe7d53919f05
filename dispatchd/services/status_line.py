"""The line that `systemctl status` shows."""

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

from dispatchd.errors import DispatchError
from dispatchd.services.systemd import Systemd
from dispatchd.wire import State

#: Seconds between two looks at the counts.
LOOK = 5.0


class StatusLine:
    """How many workloads are in each state. ``counts`` reads that."""

    def __init__(self, systemd: Systemd, *, counts: Callable[[], Mapping[State, int]]) -> None:
        self._systemd = systemd
        self._counts = counts

    def run(self, stopping: threading.Event) -> None:
        """Keep it up to date until stopped."""
        while not stopping.is_set():
            with suppress(DispatchError):
                counts = self._counts()
                words = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
                self._systemd.status(words or "nothing loaded")
            stopping.wait(LOOK)

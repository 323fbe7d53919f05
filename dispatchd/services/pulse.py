"""Signs of life of every part, and the watchdog that passes them on.

A timer that says "alive" proves that timers run. Here every thread shows that it still turns, and
only while all of them do is systemd told so: it then restarts a daemon in which one is stuck.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from dispatchd.services.systemd import Systemd

log = logging.getLogger(__name__)

#: Seconds between two looks, where systemd does not ask for shorter ones.
LOOK = 5.0


class Pulse(threading.Event):
    """A thread's order to stop, and its sign of life: it lives while it asks whether to stop.

    ``patience``: seconds that may pass between two questions, its own waiting apart. Questions of
    other threads count for nothing.
    """

    def __init__(self, name: str, *, patience: float) -> None:
        super().__init__()
        self.name = name
        self._patience = patience
        self._owner: int | None = None
        self.beat()

    def drive(self, service: Callable[[threading.Event], object]) -> None:
        """Run the service as the thread that this is the pulse of."""
        self._owner = threading.get_ident()
        service(self)

    def beat(self, *, rest: float = 0.0) -> None:
        """A sign of life; the next may come ``rest`` seconds later than usual."""
        self._due = time.monotonic() + rest + self._patience

    @property
    def is_late(self) -> bool:
        """Whether the thread is stuck."""
        return time.monotonic() > self._due

    def is_set(self) -> bool:
        if threading.get_ident() == self._owner:
            self.beat()
        return super().is_set()

    def wait(self, timeout: float | None = None) -> bool:
        if threading.get_ident() == self._owner and timeout is not None:
            self.beat(rest=timeout)
        return super().wait(timeout)


class Watchdog:
    """Tells systemd that we are alive while every pulse beats, and the log which does not.

    ``ask``: makes those beat that speak only when they are asked, such as the faces' workers.
    """

    def __init__(self, systemd: Systemd, pulses: Sequence[Pulse], *, ask: Callable[[], None]):
        self._systemd = systemd
        self._pulses = pulses
        self._ask = ask
        self._stuck: list[str] = []

    def run(self, stopping: threading.Event) -> None:
        """Look until stopped."""
        look = min(LOOK, (self._systemd.watchdog or LOOK) / 3)
        while not stopping.wait(look):
            self._ask()
            self.look()

    def look(self) -> None:
        """One look at every pulse."""
        stuck = [pulse.name for pulse in self._pulses if pulse.is_late]
        if stuck != self._stuck:
            if stuck:
                log.error("stuck: %s; systemd restarts dispatchd if it stays so", ", ".join(stuck))
            else:
                log.info("no longer stuck: %s", ", ".join(self._stuck))
        self._stuck = stuck
        if not stuck:
            self._systemd.alive()

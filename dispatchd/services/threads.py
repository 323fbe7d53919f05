"""The daemon's threads: each has its pulse, and one that dies takes the whole daemon along."""

import logging
import threading
from collections.abc import Callable, Mapping

from dispatchd.services.pulse import Pulse

log = logging.getLogger(__name__)

#: Seconds that a part may be busy without a sign of life, where nothing else is said.
PATIENCE = 60.0


class Threads:
    """Starts and stops them. ``patience``: seconds for those that need more than the others.

    ``on_death`` is told which of them died.
    """

    def __init__(self, *, patience: Mapping[str, float], on_death: Callable[[str], None]) -> None:
        self._patience = patience
        self._on_death = on_death
        self._threads: list[threading.Thread] = []
        #: Of every thread, and of whatever else has to show that it lives.
        self.pulses: list[Pulse] = []

    def pulse(self, name: str) -> Pulse:
        """A new pulse, watched from now on."""
        pulse = Pulse(name, patience=self._patience.get(name, PATIENCE))
        self.pulses.append(pulse)
        return pulse

    def start(self, name: str, service: Callable[[threading.Event], None]) -> None:
        """Run the service until ``stop``."""
        pulse = self.pulse(name)

        def run() -> None:
            try:
                pulse.drive(service)
            except BaseException:
                # Half a daemon helps nobody: systemd starts a whole one.
                log.exception("the %s thread died: stopping", name)
                self._on_death(name)

        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def stop(self) -> None:
        """Tell all of them to stop."""
        for pulse in self.pulses:
            pulse.set()

    def join(self, grace: float) -> None:
        """Wait for them, up to ``grace`` seconds for each."""
        for thread in self._threads:
            thread.join(grace)

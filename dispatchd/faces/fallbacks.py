"""For when the database does not answer: what machines were announced, and how long to wait."""

from dispatchd.services.clock import Clock
from dispatchd.services.dispatcher.asks import DATABASE_WAIT
from dispatchd.services.dispatcher.identity import Caller
from dispatchd.services.dispatcher.offers import Offer

#: Seconds for which one that waited in vain is a warning to others, and that these wait.
WARNED, BRIEF = 1.0, 0.1


class Waits:
    """How long an answer to firmware waits for the database: not long, where it has just kept
    another one waiting in vain. Else those behind would wait for the workers, too, which are few.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._warned_until = clock.monotonic()

    def seconds(self) -> float:
        """How long the next one waits."""
        return BRIEF if self._clock.monotonic() < self._warned_until else DATABASE_WAIT

    def in_vain(self, waited: float) -> None:
        """Somebody waited for so many seconds, and the database did not answer. Only who waited
        long is a warning: else one who did not would be the next.
        """
        if waited >= DATABASE_WAIT:
            self._warned_until = self._clock.monotonic() + WARNED


class Fallbacks:
    """Promises in memory: a GET gets what its HEAD announced though the database does not answer
    either of them, or is back by then.

    ``window``: seconds for which a promise counts.
    """

    LIMIT = 1000

    def __init__(self, clock: Clock, *, window: float) -> None:
        self._clock = clock
        self._window = window
        self._made: dict[tuple[str, str], tuple[float, Offer]] = {}

    def promise(self, caller: Caller, offer: Offer) -> None:
        """Remember what the HEAD announced."""
        if len(self._made) >= self.LIMIT:
            self._made.clear()
        self._made[caller.address, caller.name] = (self._clock.monotonic(), offer)

    def promised(self, caller: Caller) -> Offer | None:
        """What the machine's HEAD announced, while that counts."""
        made, offer = self._made.get((caller.address, caller.name), (0.0, None))
        if offer is None or self._clock.monotonic() - made <= self._window:
            return offer
        self._made.pop((caller.address, caller.name), None)
        return None

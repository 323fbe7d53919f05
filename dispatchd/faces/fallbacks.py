"""What machines were announced, for when the database does not answer."""

from dispatchd.services.clock import Clock
from dispatchd.services.dispatcher.identity import Caller
from dispatchd.services.dispatcher.offers import Offer


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

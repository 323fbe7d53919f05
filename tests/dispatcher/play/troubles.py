"""What happens to dispatchd: time, a wrong clock, restarts, GitHub's answers, lost bytes."""

from hypothesis import strategies as st
from hypothesis.stateful import rule

from dispatchd.domain.model import Delivery
from tests.dispatcher.play.machines import Machines
from tests.dispatcher.play.promises import DONE

HOUR = 3600


class Troubles(Machines):
    """Time and what goes wrong in it."""

    def __init__(self) -> None:
        super().__init__()
        self._happened: set[str] = set()

    @rule(
        seconds=st.sampled_from(
            [31, 61, 121, 301, 601, 601, HOUR + 1, HOUR + 1, 4 * HOUR, 25 * HOUR]
        )
    )
    def time_passes(self, seconds: int) -> None:
        self.spend(seconds)

    @rule(seconds=st.sampled_from([1, 29, 59, 301]))
    def time_passes_unseen(self, seconds: int) -> None:
        """The overseer has seen everything, and is late to act on it."""
        self.look()
        self.take_stock()
        self.lab.clock.advance(seconds)

    @rule(
        down=st.sampled_from([0, 60, 60, HOUR, 25 * HOUR]),
        how=st.sampled_from(["drained", "killed", "clock forward", "clock back"]),
    )
    def restart(self, down: int, how: str) -> None:
        """The daemon stops, for a while; or the clock that it lives by is moved."""
        if how.startswith("clock"):
            self.lab.clock.jump(HOUR if how == "clock forward" else -HOUR)
            self._note("jump")
            self.look()
        elif how == "drained" and not self.lab.draining:
            self.lab.draining = True
        else:
            self._restart(down, killed=how == "killed")

    @rule(
        pick=st.integers(0, 9),
        states=st.lists(st.sampled_from([*sorted(DONE), Delivery.HELD]), min_size=1, max_size=4),
    )
    def settle(self, pick: int, states: list[Delivery]) -> None:
        """GitHub takes reports or refuses them, or a person must see to them."""
        for state in states:
            with self.lab.store.writing() as tx:
                rows = [entry for _, entry in tx.reports.latest(100) if entry.state not in DONE]
                if rows:
                    tx.outbox.swap(rows[pick % len(rows)], state=state)
        self.look()

    @rule(pick=st.integers(0, 9), lost=st.sampled_from([False, False, True]))
    def bytes_are_lost_or_come(self, pick: int, lost: bool) -> None:
        """The cache lacks an asset, or has fetched what is needed."""
        if lost:
            self.lab.missing.add(self.digest_of(self.pick(pick)))
        else:
            self.lab.fetch()

    def _note(self, what: str) -> None:
        self._happened.add(what)
        self.confused = len(self._happened) == 2
        self.reference.happened(what)

    def _restart(self, down: float, *, killed: bool) -> None:
        # That a first byte goes out is on disk before it does; a last one may be forgotten.
        self.lab.observations.write()
        if not killed:
            self.lab.observations.flush()
        self.whole_noted.clear()
        self.take_stock()
        self.lab.store.close()
        self.lab.clock.advance(down)
        self.lab.draining = False
        self.lab.start()
        self.transfers.clear()
        self._note("restart")
        for watch in self.watches.values():
            watch.since = self.lab.clock.monotonic()
        self.assert_armed(self.look())

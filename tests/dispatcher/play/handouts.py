"""Whether what a machine was handed is what it had to be handed."""

from dataclasses import dataclass

from dispatchd.domain.model import Arrival, Machine, Outcome, State, Workload
from dispatchd.services.dispatcher.offers import Offer
from dispatchd.store.store import Transaction
from tests.dispatcher.lab import Lab
from tests.dispatcher.play.promises import Stopwatch

FOUR_HOURS = 4 * 3600.0


def ended_by_asking(watch: Stopwatch, now: float, *, here: bool) -> Outcome | None:
    """How the machine's open attempt ends because it asks; None: the same bytes again."""
    match watch.phase:
        case "reported":
            return Outcome.REPORTED
        case "booting":
            return Outcome.REBOOTED
        case "whole" if now - watch.since > 60 or watch.asks_since_whole + 1 >= 6:
            return Outcome.DID_NOT_BOOT
        case "downloading" if watch.asks + 1 >= 6:
            return Outcome.DOWNLOAD_FAILING
    return None if here else Outcome.LOST


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """What the answer to a machine without an open attempt depends on, after the answer.

    ``waited``: for how long it was handed nothing but wait.efi; None where nobody can tell.
    ``waiting``: ids of the machines that were handed wait.efi last.
    """

    lab: Lab
    machine: Machine
    offer: Offer
    waited: float | None
    waiting: set[int | None]

    def check(self, tx: Transaction) -> None:
        """Raise AssertionError where the answer is not one of those that it may be."""
        paused_by = tx.queue_paused_by()
        if self.offer.attempt_id is not None:
            assert not self.machine.paused
            assert not paused_by
            assert not self.lab.draining
            self._check_workload(tx)
        elif self.machine.paused:
            assert self.offer.status == 404
        else:
            assert self.offer.status == 200
            held_back = paused_by or self.lab.draining or not tx.releases.any_ever()
            assert self.offer.handed in ("wait.efi", "poweroff.efi")
            if held_back:
                assert self.offer.handed == "wait.efi"
            elif self.offer.handed == "poweroff.efi":
                self._check_poweroff(tx)
            else:
                assert self._may_come(tx), "a machine waits for nothing"

    def _check_workload(self, tx: Transaction) -> None:
        assert self.offer.attempt_id is not None
        attempt = tx.attempts.get(self.offer.attempt_id)
        workload = tx.workloads.get(attempt.workload_id)
        asset = tx.assets.get(workload.asset_id)
        assert self._fits(workload)
        assert tx.releases.get(workload.release_id).unloaded_at is None
        assert asset.sha256 == self.offer.sha256
        assert asset.sha256 not in self.lab.missing
        assert (asset.size, asset.media_type) == (self.offer.size, self.offer.media_type)
        assert self._lapses(tx, workload) < 3
        assert not self.machine.held
        # Behind those tried less often, unless they failed on this machine.
        for other in self._waiting(tx):
            if self._failures(tx, other) == self._failures(tx, workload) == 0:
                before = (self._lapses(tx, workload), workload.tries)
                assert before <= (self._lapses(tx, other), other.tries)

    def _check_poweroff(self, tx: Transaction) -> None:
        if b"waited too long" in self.offer.body:
            assert self.waited is None or self.waited >= FOUR_HOURS
            return
        assert not self._waiting(tx), "switched off although a workload waits for it"
        assert not self._arriving(tx), "switched off although bytes for it are arriving"
        in_flight = self._in_flight(tx)
        rivals = [one for one in tx.machines.all() if self._waits_for_one(one, in_flight)]
        assert len(in_flight) <= len(rivals), "switched off, and one may come back"

    def _may_come(self, tx: Transaction) -> bool:
        mine = [one for one in self._loaded(tx) if self._fits(one)]
        held = self.machine.held and any(one.state not in _OVER for one in mine)
        for_a_pool = not self.machine.pool and any(
            one.pool and one.state is State.UNASSIGNED for one in self._loaded(tx)
        )
        return bool(held or self._arriving(tx) or self._in_flight(tx) or for_a_pool)

    def _loaded(self, tx: Transaction) -> list[Workload]:
        return [
            one for release in tx.releases.loaded() for one in tx.workloads.of_release(release.id)
        ]

    def _waits_for_one(self, other: Machine, in_flight: list[Workload]) -> bool:
        """Whether another machine was told to wait, and would take one of these."""
        waits = other.id in self.waiting and not other.paused and not other.held
        return waits and any(_fits(one, other) for one in in_flight)

    def _fits(self, workload: Workload) -> bool:
        return _fits(workload, self.machine)

    def _waiting(self, tx: Transaction) -> list[Workload]:
        """Workloads that the machine could be given now."""
        return [
            one
            for one in self._loaded(tx)
            if one.state is State.UNASSIGNED
            and self._fits(one)
            and self._is_here(tx, one)
            and self._lapses(tx, one) < 3
            and not self.machine.held
        ]

    def _arriving(self, tx: Transaction) -> list[Workload]:
        return [
            one
            for one in self._loaded(tx)
            if one.state is State.UNASSIGNED
            and self._fits(one)
            and not self._is_here(tx, one)
            and self._lapses(tx, one) < 3
        ]

    def _in_flight(self, tx: Transaction) -> list[Workload]:
        """Workloads that run elsewhere and are queued again if that goes wrong."""
        running = (State.ASSIGNED, State.DOWNLOADING, State.BOOTING)
        return [
            one
            for one in self._loaded(tx)
            if one.state in running
            and self._fits(one)
            and self._lapses(tx, one) < 3
            and (one.state is State.ASSIGNED or one.tries + 1 < one.max_tries)
        ]

    def _is_here(self, tx: Transaction, workload: Workload) -> bool:
        return tx.assets.get(workload.asset_id).arrival is Arrival.WHOLE

    def _lapses(self, tx: Transaction, workload: Workload) -> int:
        return self._ended(tx, workload).count(Outcome.LAPSED)

    def _failures(self, tx: Transaction, workload: Workload) -> int:
        return sum(outcome.is_try for outcome in self._ended(tx, workload))

    def _ended(self, tx: Transaction, workload: Workload) -> list[Outcome]:
        """How the present run's attempts on this machine ended."""
        return [
            attempt.outcome
            for attempt in tx.attempts.of_workload(workload.id)
            if attempt.machine_id == self.machine.id
            and attempt.run == workload.run
            and attempt.outcome is not None
        ]


def _fits(workload: Workload, machine: Machine) -> bool:
    pool_fits = not workload.pool or workload.pool == machine.pool
    return pool_fits and workload.pinned_to in (None, machine.id)


_OVER = (State.REPORTED, State.FINISHED, State.FAILED)

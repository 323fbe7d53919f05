"""What a machine is handed when it asks: the next workload, the same one again, or nothing."""

from dataclasses import replace

from dispatchd.domain.event import Kind
from dispatchd.domain.lifecycle import Event, advance, on_ask
from dispatchd.domain.model import (
    Arrival,
    Asset,
    Attempt,
    Machine,
    Outcome,
    Promise,
    Workload,
)
from dispatchd.domain.schedule import choose
from dispatchd.services.dispatcher.endings import end, release
from dispatchd.services.dispatcher.identity import ALIVE, Caller, identify, known
from dispatchd.services.dispatcher.idle import Idle
from dispatchd.services.dispatcher.observations import Observations
from dispatchd.services.dispatcher.offers import Offer
from dispatchd.services.dispatcher.unit import Context, Unit
from dispatchd.store.store import Transaction

#: Seconds in which a GET belongs to the machine's HEAD before it.
PROMISED = 120.0
#: Seconds that an answer to firmware, which gives up after 5, waits for the database. Up to three
#: such waits come in a row: for whoever writes notes of what was sent, for such notes, for itself.
DATABASE_WAIT = 0.6


class Asks:
    """The use cases of HEAD and GET. ``wait``: seconds that each waits for its turn to write."""

    def __init__(self, context: Context, *, idle: Idle, observations: Observations) -> None:
        self._context = context
        self._idle = idle
        self._observations = observations

    def head(self, caller: Caller, *, wait: float = DATABASE_WAIT) -> Offer:
        """A HEAD: always an ask."""
        # What the queue is to hand out depends on what was sent.
        self._observations.write(wait=wait)
        with self._context.unit(wait=wait) as unit:
            return self._ask(unit, self._identify(unit, caller), caller, by_head=True)

    def get(self, caller: Caller, *, wait: float = DATABASE_WAIT) -> Offer:
        """A GET without Range: what the HEAD before it announced, else an ask."""
        with self._context.store.reading() as tx:
            announced = self._announced(tx, known(tx, caller, self._context.clock.now()))
        if announced is not None:
            return announced
        self._observations.write(wait=wait)
        with self._context.unit(wait=wait) as unit:
            machine = self._identify(unit, caller)
            announced = self._announced(unit.tx, machine)
            return announced or self._ask(unit, machine, caller, by_head=False)

    def resume(self, caller: Caller, *, wait: float = DATABASE_WAIT) -> Offer:
        """A GET with Range: the bytes that the machine was promised last, and never an ask."""
        with self._context.store.reading() as tx:
            promise = _promise_to(tx, known(tx, caller, self._context.clock.now()))
        if promise is None:
            with self._context.unit(wait=wait) as unit:
                promise = _promise_to(unit.tx, identify(unit, caller, may_create=False))
        if promise is None:
            return Offer(status=404, handed="nothing: no download to resume")
        return _promised(promise)

    def _announced(self, tx: Transaction, machine: Machine | None) -> Offer | None:
        """What a HEAD of the machine announced, as long as that counts."""
        promise = _promise_to(tx, machine)
        if promise is None or not promise.by_head or self._age(promise) > PROMISED:
            return None
        return _promised(promise)

    def _identify(self, unit: Unit, caller: Caller) -> Machine | None:
        return identify(unit, caller, may_create=not self._context.policy.only_known)

    def _age(self, promise: Promise) -> float:
        return self._context.ages.of("ask", promise.machine_id, promise.made_at)

    def _ask(self, unit: Unit, machine: Machine | None, caller: Caller, *, by_head: bool) -> Offer:
        machines = unit.tx.machines
        if machine is None:
            return Offer(status=404, handed="nothing: this machine is not known here")
        offer = None
        if not self._idle.draining():
            self._end_what_ran_nameless(unit, machine, caller.mac)
            offer = self._same_again(unit, machine) or self._next(unit, machine)
        if offer is not None:
            machines.update(machine.id, handed=offer.handed, waiting_since=None)
        else:
            offer = self._idle.answer(unit, machines.get(machine.id))
            machines.update(machine.id, handed=offer.handed)
        offer = replace(offer, machine_id=machine.id)
        promise = _promise(offer, machine.id, unit, by_head=by_head)
        machines.put_promise(promise)
        self._age(promise)
        return offer

    def _same_again(self, unit: Unit, machine: Machine) -> Offer | None:
        """The machine's open attempt, unless the ask ends it."""
        attempt = unit.tx.attempts.open_of_machine(machine.id)
        if attempt is None:
            return None
        attempt = self._observations.completed(unit, attempt)
        outcome = self._outcome(attempt)
        workload = unit.tx.workloads.get(attempt.workload_id)
        asset = unit.tx.assets.get(workload.asset_id)
        if outcome is None and not self._context.has_bytes(asset.sha256):
            self._lost(unit, asset)
            outcome = Outcome.LOST
        if outcome is not None:
            end(self._context, unit, attempt, outcome)
            return None
        again = attempt.asks_since_whole + (attempt.whole_at is not None)
        attempt = unit.tx.attempts.swap(attempt, asks=attempt.asks + 1, asks_since_whole=again)
        return _offer(workload, attempt, asset)

    def _end_what_ran_nameless(self, unit: Unit, machine: Machine, mac: str) -> None:
        """What the MAC was sent while it had no name is over: it was this machine all along.

        Two that have names of their own may be two behind a router.
        """
        sent = unit.tx.machines.sent_to_mac(mac) if mac else None
        attempt = unit.tx.attempts.get(sent) if sent is not None else None
        if attempt is None or attempt.ended_at is not None or attempt.machine_id == machine.id:
            return
        if not unit.tx.machines.get(attempt.machine_id).name:
            attempt = self._observations.completed(unit, attempt)
            end(self._context, unit, attempt, self._outcome(attempt) or Outcome.LAPSED)

    def _outcome(self, attempt: Attempt) -> Outcome | None:
        """How the machine's ask ends its open attempt, if it does."""
        since_whole = None if attempt.whole_at is None else self._context.phases.waited(attempt)
        reask = self._context.policy.deadlines.reask
        return on_ask(attempt, since_whole=since_whole, reask=reask)

    def _next(self, unit: Unit, machine: Machine) -> Offer | None:
        """A new attempt of the workload that is the machine's next."""
        tx = unit.tx
        machine = tx.machines.get(machine.id)
        if machine.paused or tx.queue_paused_by():
            return None
        others = tx.machines.others_alive(machine.id, unit.now - ALIVE)
        if machine.held and others:
            return None
        candidates = tx.workloads.candidates(machine.id)
        while True:
            workload = choose(candidates, machine, others_alive=others)
            if workload is None:
                return None
            asset = tx.assets.get(workload.asset_id)
            if self._context.has_bytes(asset.sha256):
                break
            self._lost(unit, asset)
            candidates = tx.workloads.candidates(machine.id)
        if machine.held:
            release(unit, machine, "no other machine is alive")
        attempt = tx.attempts.insert(workload=workload, machine_id=machine.id, at=unit.now)
        workload = tx.workloads.swap(
            workload,
            state=advance(workload.state, Event.ASSIGN),
            reason="",
            changed_at=unit.now,
        )
        text = f"{workload.label}: assigned to {machine.label}, attempt {attempt.number}"
        unit.tell(Kind.ASSIGNED, text, workload=workload, machine=machine, attempt=attempt)
        return _offer(workload, attempt, asset)

    def _lost(self, unit: Unit, asset: Asset) -> None:
        """The cache no longer has the bytes: fetch them again, and serve something else."""
        unit.tx.assets.update(asset.id, arrival=Arrival.ARRIVING, reason="")
        unit.tell(Kind.BYTES_LOST, f"{asset.name}: its bytes left the cache, fetching them again")
        self._context.wake()


def _offer(workload: Workload, attempt: Attempt, asset: Asset) -> Offer:
    return Offer(
        status=200,
        handed=workload.label,
        attempt_id=attempt.id,
        sha256=asset.sha256,
        size=asset.size,
        media_type=asset.media_type,
    )


def _promise(offer: Offer, machine_id: int, unit: Unit, *, by_head: bool) -> Promise:
    return Promise(
        machine_id=machine_id,
        made_at=unit.now,
        by_head=by_head,
        status=offer.status,
        attempt_id=offer.attempt_id,
        program=offer.handed if offer.body else "",
        body=offer.body,
        sha256=offer.sha256,
        size=offer.size,
        media_type=offer.media_type,
    )


def _promise_to(tx: Transaction, machine: Machine | None) -> Promise | None:
    return None if machine is None else tx.machines.promise(machine.id)


def _promised(promise: Promise) -> Offer:
    return Offer(
        status=promise.status,
        handed=promise.program or "what was announced",
        machine_id=promise.machine_id,
        attempt_id=promise.attempt_id,
        body=promise.body,
        sha256=promise.sha256,
        size=promise.size,
        media_type=promise.media_type,
    )

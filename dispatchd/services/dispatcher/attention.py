"""What needs a hand, in the order in which a person would want to hear it."""

from datetime import datetime, timedelta

from dispatchd.domain.lifecycle import LAPSES
from dispatchd.domain.model import Delivery, Machine, Outcome, State, Workload
from dispatchd.services.dispatcher.identity import ALIVE
from dispatchd.services.dispatcher.idle import LONGEST_WAIT
from dispatchd.services.dispatcher.unit import Context
from dispatchd.store.store import Transaction

#: A machine that finished and did not ask again within this time boots something else.
MOVED_ON = timedelta(minutes=30)


def needs_a_hand(
    tx: Transaction, context: Context, machines: dict[int, Machine], shown: list[Workload]
) -> list[str]:
    """One line for each thing that goes no further by itself."""
    now = context.clock.now()
    lines: list[str] = []
    for state in (Delivery.HELD, Delivery.PENDING):
        count, error = tx.outbox.troubled(state)
        word = "held until a person acts" if state is Delivery.HELD else "tried again by itself"
        if count:
            lines.append(f"GitHub: {count} reports safe here, {word}: {error}")
    refused = tx.outbox.count(Delivery.REFUSED)
    if refused:
        lines.append(f"GitHub refused {refused} reports for good: dispatchctl reports")
    unclaimed = len(tx.unclaimed.all())
    if unclaimed:
        lines.append(f"{unclaimed} reports that nobody claims: dispatchctl reports")
    waiting = [workload for workload in shown if workload.state is State.UNASSIGNED]
    for machine in machines.values():
        lines.extend(_of_machine(tx, machine, now - MOVED_ON, bool(waiting)))
        shared = tx.machines.live_macs(machine.name, now - ALIVE) if machine.name else set()
        if len(shared) > 1:
            macs = ", ".join(sorted(shared))
            lines.append(f"{machine.name}: two machines ask under this name ({macs})")
        if machine.waiting_since and now - machine.waiting_since >= LONGEST_WAIT:
            lines.append(f"{machine.label}: switched off after waiting too long")
    lines.extend(_lapsed(tx, waiting, machines))
    pools = {machine.pool for machine in machines.values()}
    for pool in sorted({workload.pool for workload in waiting if workload.pool} - pools):
        lines.append(f"pool {pool}: no machine has it (dispatchctl machines set NAME pool={pool})")
    return lines


def _of_machine(tx: Transaction, machine: Machine, quiet: datetime, work: bool) -> list[str]:
    lines = []
    if machine.held:
        lines.append(f"{machine.label}: held, {machine.held} (dispatchctl resume {machine.label})")
    latest = tx.attempts.latest_of_machine(machine.id, 1)
    attempt = tx.attempts.open_of_machine(machine.id)
    silent = machine.seen_at is not None and machine.seen_at < quiet
    if attempt is None and latest and silent and work and not machine.paused:
        if latest[0].outcome is Outcome.REPORTED:
            lines.append(f"{machine.label}: finished and never asked again: is HTTP boot first?")
        else:
            lines.append(
                f"{machine.label}: silent since its attempt ended ({latest[0].outcome}): "
                "power-cycle it"
            )
    return lines


def _lapsed(tx: Transaction, waiting: list[Workload], machines: dict[int, Machine]) -> list[str]:
    lines: list[str] = []
    for workload in waiting:
        lapses = [
            attempt.machine_id
            for attempt in tx.attempts.of_workload(workload.id)
            if attempt.outcome is Outcome.LAPSED and attempt.run == workload.run
        ]
        lines.extend(
            f"{machines[machine_id].label} asks for the size of {workload.label}, never for the "
            "bytes: too little memory?"
            for machine_id in sorted(set(lapses))
            if lapses.count(machine_id) >= LAPSES
        )
    return lines

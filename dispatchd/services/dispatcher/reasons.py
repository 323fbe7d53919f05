"""Why a workload is where it is, in one sentence, and what is to come."""

from dispatchd.domain.lifecycle import LAPSES, time_limit
from dispatchd.domain.model import Arrival, Asset, Machine, Outcome, State, Workload
from dispatchd.services.dispatcher.unit import Context
from dispatchd.store.store import Transaction


def why(
    tx: Transaction,
    context: Context,
    workload: Workload,
    asset: Asset,
    machines: dict[int, Machine],
) -> str:
    """The sentence for `dispatchctl show`."""
    if workload.state is State.UNASSIGNED:
        return _why_it_waits(tx, workload, asset, machines)
    if workload.state is State.REPORTED:
        if tx.reports.unsettled(workload.id):
            return "a report still has to be delivered"
        return "reported; finished once its machine moves on"
    if workload.state in (State.FINISHED, State.FAILED):
        return workload.reason or "done"
    attempt = tx.attempts.open_of_workload(workload.id)
    if attempt is None:
        return ""
    limit, outcome = time_limit(
        attempt, deadlines=context.policy.deadlines, report_timeout=workload.report_timeout
    )
    left = max(limit - context.phases.waited(attempt), 0)
    machine = machines[attempt.machine_id].label
    then = (
        "queued again"
        if workload.tries + 1 < workload.max_tries or outcome is Outcome.LAPSED
        else "failed"
    )
    return f"{workload.state} on {machine}; in {duration(left)} without a change: {outcome}, {then}"


def _why_it_waits(
    tx: Transaction, workload: Workload, asset: Asset, machines: dict[int, Machine]
) -> str:
    if tx.releases.get(workload.release_id).unloaded_at is not None:
        return "its release is unloaded"
    if asset.arrival is Arrival.ARRIVING:
        return f"its bytes are still arriving{': ' + asset.reason if asset.reason else ''}"
    paused_by = tx.queue_paused_by()
    if paused_by:
        return f"the queue is paused by {paused_by}"
    lapses = [
        machines[attempt.machine_id].label
        for attempt in tx.attempts.of_workload(workload.id)
        if attempt.outcome is Outcome.LAPSED and attempt.run == workload.run
    ]
    lapsed = {label for label in lapses if lapses.count(label) >= LAPSES}
    who = "any machine"
    if workload.pinned_to is not None:
        who = machines[workload.pinned_to].label
    elif workload.pool:
        who = f"a machine of pool {workload.pool}"
        if not any(machine.pool == workload.pool for machine in machines.values()):
            return f"no machine of pool {workload.pool} is known (dispatchctl machines set)"
    text = f"waits for {who} to ask"
    if lapsed:
        text += (
            f"; {', '.join(sorted(lapsed))} asks for the size, never for the bytes: "
            "too little memory?"
        )
    if workload.reason:
        text += f"; last time: {workload.reason}"
    return text


def duration(seconds: float) -> str:
    """A length of time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

"""How an attempt ends, and what follows for its workload and its machine."""

from dispatchd.domain.event import ENDINGS, Kind
from dispatchd.domain.lifecycle import BAD_TRIES, Event, advance, after, is_bad_run
from dispatchd.domain.model import Attempt, Machine, Outcome, State, Workload
from dispatchd.services.dispatcher.failures import report_failure
from dispatchd.services.dispatcher.identity import ALIVE
from dispatchd.services.dispatcher.unit import Context, Unit


def end(
    context: Context, unit: Unit, attempt: Attempt, outcome: Outcome, *, by: str = ""
) -> Workload:
    """End the attempt; queue, fail or leave its workload; hold its machine if it is a bad one."""
    tx = unit.tx
    workload = tx.workloads.get(attempt.workload_id)
    machine = tx.machines.get(attempt.machine_id)
    sent = context.phases.sent(attempt)
    attempt = tx.attempts.swap(attempt, ended_at=unit.now, outcome=outcome, sent=sent)
    on_file = tx.reports.on_file(workload.id, workload.run)
    queued = tx.releases.get(workload.release_id).unloaded_at is None
    event = after(workload, outcome, on_file=on_file, queued=queued)
    if event is not None:
        changed = _follow(unit, workload, event, outcome, by)
        unit.tell(
            ENDINGS[outcome],
            _sentence(changed, machine, outcome),
            workload=changed,
            machine=machine,
            attempt=attempt,
            by=by,
        )
        workload = changed
    if outcome.is_try and not machine.held:
        _hold_if_bad(unit, machine)
    workload = tx.workloads.get(workload.id)
    # Not before the hold: it may have given the last try back.
    if event is Event.EXHAUST and workload.state is State.FAILED:
        report_failure(context, unit, workload, machine)
    return workload


def _follow(unit: Unit, workload: Workload, event: Event, outcome: Outcome, by: str) -> Workload:
    tries = workload.tries + outcome.is_try
    reason = {
        Event.CANCEL: f"cancelled by {by}" if by else "unloaded while it ran",
        Event.EXHAUST: _reasons(unit, workload),
        Event.REPORT_LATE: "",
    }.get(event, str(outcome))
    return unit.tx.workloads.swap(
        workload,
        state=advance(workload.state, event),
        tries=tries,
        # What comes from an attempt that a person stopped no longer moves the workload.
        run=workload.run + (outcome is Outcome.CANCELLED),
        reason=reason,
        changed_at=unit.now,
    )


def _reasons(unit: Unit, workload: Workload) -> str:
    """The reason of each try of the present run, oldest first."""
    return "; ".join(
        f"{unit.tx.machines.get(attempt.machine_id).label}: {attempt.outcome}"
        for attempt in unit.tx.attempts.of_workload(workload.id)
        if attempt.run == workload.run and attempt.outcome is not None and attempt.outcome.is_try
    )


def _sentence(workload: Workload, machine: Machine, outcome: Outcome) -> str:
    said = {
        Outcome.REBOOTED: "rebooted without a report",
        Outcome.DID_NOT_BOOT: "took all bytes and asked again: it did not boot",
        Outcome.DOWNLOAD_FAILING: "asks again and again: its download keeps failing",
        Outcome.STALLED: "took no more bytes: the download stalled",
        Outcome.NO_BOOT: "took all bytes and fell silent: no boot",
        Outcome.NO_REPORT: "booted and fell silent: no report",
        Outcome.LAPSED: "asked for the size and never for the bytes (too little memory?)",
        Outcome.CANCELLED: "is to stop",
    }[outcome]
    then = {
        State.UNASSIGNED: f"queued again after try {workload.tries} of {workload.max_tries}",
        State.FAILED: f"failed: {workload.reason}",
    }.get(workload.state, f"{workload.state}: a report of it is on file")
    return f"{workload.label} on {machine.label}: {said}; {then}"


def _hold_if_bad(unit: Unit, machine: Machine) -> None:
    tx = unit.tx
    latest = [
        attempt
        for attempt in tx.attempts.latest_of_machine(machine.id, BAD_TRIES)
        if attempt.id > machine.trusted_after
    ]
    if not is_bad_run(latest) or not tx.machines.others_alive(machine.id, unit.now - ALIVE):
        return
    reason = f"{BAD_TRIES} workloads in a row ended without a report here"
    tx.machines.update(machine.id, held=reason)
    for attempt in latest:
        workload = tx.workloads.get(attempt.workload_id)
        if workload.run != attempt.run or workload.tries == 0:
            continue
        state = State.UNASSIGNED if workload.state is State.FAILED else workload.state
        tx.workloads.swap(workload, tries=workload.tries - 1, state=state)
    unit.tell(
        Kind.MACHINE_HELD,
        f"{machine.label} is held: {reason}; their tries are given back",
        machine=machine,
    )

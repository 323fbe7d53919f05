"""How an attempt ends, and what follows for its workload and its machine."""

from collections.abc import Sequence

from dispatchd.domain.event import ENDINGS, Kind
from dispatchd.domain.lifecycle import BAD_TRIES, WITHDRAWN, Event, advance, after, is_bad_run
from dispatchd.domain.model import Arrival, Attempt, Machine, Outcome, State, Workload
from dispatchd.services.dispatcher.failures import report_failure
from dispatchd.services.dispatcher.identity import ALIVE
from dispatchd.services.dispatcher.unit import Context, Unit
from dispatchd.store.store import Transaction


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
    left = _why_it_left(tx, workload)
    event = after(workload, outcome, on_file=on_file, queued=not left)
    if event is not None:
        reason = f"cancelled by {by}" if by else left
        changed = _follow(unit, workload, event, outcome, reason)
        unit.tell(
            ENDINGS[outcome],
            _sentence(changed, machine, outcome),
            workload=changed,
            machine=machine,
            attempt=attempt,
            by=by,
        )
        workload = changed
    if outcome is Outcome.REPORTED:
        settle(unit, workload)
    if outcome.is_try and not machine.held:
        _hold_if_bad(unit, machine)
    workload = tx.workloads.get(workload.id)
    # Not before the hold: it may have given the last try back.
    if event is Event.EXHAUST and workload.state is State.FAILED:
        report_failure(context, unit, workload, machine)
    return workload


def _why_it_left(tx: Transaction, workload: Workload) -> str:
    """Why the workload is not queued again whatever becomes of its attempt; empty where it is."""
    if tx.releases.get(workload.release_id).unloaded_at is not None:
        return "unloaded while it ran"
    asset = tx.assets.get(workload.asset_id)
    return f"{WITHDRAWN}{asset.reason}" if asset.arrival is Arrival.GONE else ""


def settle(unit: Unit, workload: Workload) -> None:
    """Finish a workload that was reported and that no machine holds, if nothing is to deliver."""
    if workload.state is not State.REPORTED or unit.tx.reports.unsettled(workload.id):
        return
    state = advance(workload.state, Event.SETTLE)
    workload = unit.tx.workloads.swap(workload, state=state, changed_at=unit.now)
    text = f"{workload.label}: finished, all its reports are settled"
    unit.tell(Kind.FINISHED, text, workload=workload)


def _follow(unit: Unit, workload: Workload, event: Event, outcome: Outcome, left: str) -> Workload:
    tries = workload.tries + outcome.is_try
    reason = {
        Event.CANCEL: left,
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
        Outcome.LOST: "asked again, and its bytes are no longer here",
        Outcome.CANCELLED: "is to stop",
    }[outcome]
    then = {
        State.UNASSIGNED: f"queued again after try {workload.tries} of {workload.max_tries}"
        if outcome.is_try
        else "queued again",
        State.FAILED: f"failed: {workload.reason}",
    }.get(workload.state, f"{workload.state}: a report of it is on file")
    return f"{workload.label} on {machine.label}: {said}; {then}"


def bad_run(tx: Transaction, machine: Machine) -> list[Attempt]:
    """The attempts that say that the machine is a bad one; none where they do not."""
    latest = tx.attempts.latest_of_machine(machine.id, BAD_TRIES)
    return latest if speaks_against(machine, latest) else []


def speaks_against(machine: Machine, latest: Sequence[Attempt]) -> bool:
    """Whether its ``BAD_TRIES`` latest attempts say that the machine is a bad one."""
    return is_bad_run([attempt for attempt in latest if attempt.id > machine.trusted_after])


def _hold_if_bad(unit: Unit, machine: Machine) -> None:
    """Keep work from a bad machine while others are alive, and give back what it cost."""
    attempts = bad_run(unit.tx, machine)
    if not attempts or not unit.tx.machines.others_alive(machine.id, unit.now - ALIVE):
        return
    reason = f"{BAD_TRIES} workloads in a row ended without a report here"
    unit.tx.machines.update(machine.id, held=reason)
    text = f"{machine.label} is held: {reason}; their tries are given back"
    unit.tell(Kind.MACHINE_HELD, text, machine=machine)
    for attempt in attempts:
        _give_back(unit, attempt)


def _give_back(unit: Unit, attempt: Attempt) -> None:
    """The try was the machine's fault: a workload that failed by it is queued again."""
    tx = unit.tx
    workload = tx.workloads.get(attempt.workload_id)
    if workload.run != attempt.run or workload.tries == 0:
        return
    tries = workload.tries - 1
    exhausted = workload.state is State.FAILED and workload.tries >= workload.max_tries
    if not exhausted or _why_it_left(tx, workload):
        tx.workloads.swap(workload, tries=tries)
        return
    state = advance(workload.state, Event.REQUEUE)
    reason = str(attempt.outcome)
    workload = tx.workloads.swap(
        workload, state=state, tries=tries, reason=reason, changed_at=unit.now
    )
    text = f"{workload.label}: queued again, a try that a held machine cost is given back"
    unit.tell(Kind.GIVEN_BACK, text, workload=workload)


def release(unit: Unit, machine: Machine, why: str) -> None:
    """Let a held machine go on."""
    unit.tx.machines.update(machine.id, held="")
    unit.tell(Kind.MACHINE_RELEASED, f"{machine.label} goes on: {why}", machine=machine)


def release_if_good(unit: Unit, machine: Machine) -> None:
    """Let a held machine go on whose attempts speak for it after all."""
    if machine.held and not bad_run(unit.tx, machine):
        release(unit, machine, "one of its attempts was only late")

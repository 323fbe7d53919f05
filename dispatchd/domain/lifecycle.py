"""The life of a workload and of its attempts: one table, and the questions that are asked of it.

Pure: durations are seconds and passed in; whoever asks has looked at the clock.
"""

from dataclasses import dataclass
from enum import StrEnum

from dispatchd.domain.model import Attempt, Outcome, State, Workload
from dispatchd.errors import Conflict

#: The ask with this number ends a download: firmware itself gives up after five.
ASKS = 6
#: Tries in a row, on different workloads, that make a machine a bad one.
BAD_TRIES = 3
#: Lapses after which a workload is no longer offered to the machine.
LAPSES = 3


class Event(StrEnum):
    """What can happen to a workload."""

    ASSIGN = "be assigned"
    SEND = "be sent"
    BOOT = "boot"
    REPORT = "be reported"
    SETTLE = "finish"
    REQUEUE = "be queued again"
    EXHAUST = "run out of tries"
    CANCEL = "be cancelled"
    RETRY = "be run again"
    REOPEN = "be taken up again"
    REPORT_LATE = "be reported late"
    WITHDRAW = "be withdrawn"


#: How the reason of a workload begins whose bytes could not be had.
WITHDRAWN = "withdrawn: "

S, E = State, Event
TRANSITIONS: dict[tuple[State, Event], State] = {
    (S.UNASSIGNED, E.ASSIGN): S.ASSIGNED,
    (S.ASSIGNED, E.SEND): S.DOWNLOADING,
    (S.DOWNLOADING, E.SEND): S.DOWNLOADING,
    (S.BOOTING, E.SEND): S.BOOTING,
    (S.REPORTED, E.SEND): S.REPORTED,
    (S.DOWNLOADING, E.BOOT): S.BOOTING,
    (S.BOOTING, E.BOOT): S.BOOTING,
    (S.REPORTED, E.BOOT): S.REPORTED,
    (S.FINISHED, E.BOOT): S.FINISHED,
    (S.DOWNLOADING, E.REPORT): S.REPORTED,
    (S.BOOTING, E.REPORT): S.REPORTED,
    (S.REPORTED, E.REPORT): S.REPORTED,
    (S.FINISHED, E.REPORT): S.REPORTED,
    (S.REPORTED, E.SETTLE): S.FINISHED,
    (S.ASSIGNED, E.REQUEUE): S.UNASSIGNED,
    (S.DOWNLOADING, E.REQUEUE): S.UNASSIGNED,
    (S.BOOTING, E.REQUEUE): S.UNASSIGNED,
    (S.FAILED, E.REQUEUE): S.UNASSIGNED,
    (S.DOWNLOADING, E.EXHAUST): S.FAILED,
    (S.BOOTING, E.EXHAUST): S.FAILED,
    (S.UNASSIGNED, E.CANCEL): S.FAILED,
    (S.ASSIGNED, E.CANCEL): S.FAILED,
    (S.DOWNLOADING, E.CANCEL): S.FAILED,
    (S.BOOTING, E.CANCEL): S.FAILED,
    (S.REPORTED, E.CANCEL): S.FAILED,
    (S.FINISHED, E.RETRY): S.UNASSIGNED,
    (S.FAILED, E.RETRY): S.UNASSIGNED,
    (S.UNASSIGNED, E.REOPEN): S.BOOTING,
    (S.FAILED, E.REOPEN): S.BOOTING,
    (S.UNASSIGNED, E.REPORT_LATE): S.REPORTED,
    (S.FAILED, E.REPORT_LATE): S.REPORTED,
    (S.REPORTED, E.REPORT_LATE): S.REPORTED,
    (S.FINISHED, E.REPORT_LATE): S.REPORTED,
    # Another machine runs it when the late report arrives: that run goes on, and when it ends
    # without a report of its own the result on file is the workload's.
    (S.ASSIGNED, E.REPORT_LATE): S.REPORTED,
    (S.DOWNLOADING, E.REPORT_LATE): S.REPORTED,
    (S.BOOTING, E.REPORT_LATE): S.REPORTED,
    (S.UNASSIGNED, E.WITHDRAW): S.FAILED,
}


def advance(state: State, event: Event) -> State:
    """Return the state after the event, or raise Conflict."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise Conflict(f"a workload cannot {event}: it is {state}") from None


@dataclass(frozen=True, kw_only=True, slots=True)
class Deadlines:
    """How long each step may take, in seconds."""

    assigned: float = 300
    stalled: float = 300
    reask: float = 60
    boot: float = 600
    report: float = 3600
    settle: float = 30
    late: float = 86400
    drain: float = 90


def on_ask(attempt: Attempt, *, since_whole: float | None, reask: float) -> Outcome | None:
    """How the machine's open attempt ends because the machine asks; None: the same bytes again.

    ``attempt.asks`` counts the asks before this one.
    """
    match attempt.state:
        case State.REPORTED:
            return Outcome.REPORTED
        case State.BOOTING:
            return Outcome.REBOOTED
        case State.DOWNLOADING if since_whole is not None:
            again = attempt.asks_since_whole + 1
            return Outcome.DID_NOT_BOOT if since_whole > reask or again >= ASKS else None
        case State.DOWNLOADING if attempt.asks + 1 >= ASKS:
            return Outcome.DOWNLOAD_FAILING
    return None


def time_limit(
    attempt: Attempt, *, deadlines: Deadlines, report_timeout: float | None
) -> tuple[float, Outcome]:
    """How long the present phase may take, in seconds, and how the attempt ends after that."""
    match attempt.state:
        case State.ASSIGNED:
            return deadlines.assigned, Outcome.LAPSED
        case State.DOWNLOADING if attempt.whole_at is None:
            return deadlines.stalled, Outcome.STALLED
        case State.DOWNLOADING:
            return deadlines.boot, Outcome.NO_BOOT
        case State.BOOTING:
            limit = deadlines.report if report_timeout is None else report_timeout
            return limit, Outcome.NO_REPORT
    return deadlines.settle, Outcome.REPORTED


def after(workload: Workload, outcome: Outcome, *, on_file: bool, queued: bool) -> Event | None:
    """What an attempt's end does to its workload; None: nothing (a report stands).

    ``on_file``: an earlier attempt's report counts for it. ``queued``: its release is still loaded,
    and its bytes may be had.
    """
    if outcome is Outcome.REPORTED:
        return None
    if outcome is Outcome.CANCELLED:
        return Event.CANCEL
    if on_file:
        return Event.REPORT_LATE
    tries = workload.tries + outcome.is_try
    if not queued:
        return Event.CANCEL
    return Event.REQUEUE if tries < workload.max_tries else Event.EXHAUST


def is_bad_run(attempts: list[Attempt]) -> bool:
    """Whether a machine's latest attempts (newest first) say that the machine is to blame.

    One that was reported after its end speaks for the machine.
    """
    latest = attempts[:BAD_TRIES]
    return (
        len(latest) == BAD_TRIES
        and all(attempt.outcome is not None and attempt.outcome.is_try for attempt in latest)
        and all(attempt.reported_at is None for attempt in latest)
        and len({attempt.workload_id for attempt in latest}) == BAD_TRIES
    )

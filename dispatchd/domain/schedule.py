"""Who gets what next, and what a machine is told when nothing is left for it. Pure functions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from dispatchd.domain.lifecycle import LAPSES
from dispatchd.domain.model import RUNNING, SETTLED, Machine, State, Workload


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A workload as one machine sees it.

    ``failed_here``: it ended without a report on this machine. ``lapses_here``: how often it
    lapsed here. ``whole``: its bytes can be served. ``position``: release order. ``local``: it
    comes from a directory, as all that a simulated machine may run does.
    """

    workload: Workload
    position: int
    whole: bool
    local: bool
    failed_here: bool = False
    lapses_here: int = 0


def fits(candidate: Candidate, machine: Machine) -> bool:
    """Whether the workload is for this machine at all, now or later."""
    workload = candidate.workload
    return (
        workload.pool in ("", machine.pool)
        and workload.pinned_to in (None, machine.id)
        and (candidate.local or not machine.simulated)
    )


def choose(
    candidates: Iterable[Candidate], machine: Machine, *, others_alive: bool
) -> Workload | None:
    """The workload that the machine runs next, or None.

    ``others_alive``: another machine that is not held asked lately, so that a workload which failed
    here may better wait for it.
    """
    ready = [
        candidate
        for candidate in candidates
        if candidate.workload.state is State.UNASSIGNED
        and candidate.whole
        and candidate.lapses_here < LAPSES
        and fits(candidate, machine)
    ]
    if not ready:
        return None
    return min(
        ready,
        key=lambda candidate: (
            candidate.failed_here and others_alive,
            candidate.lapses_here,
            candidate.workload.tries,
            candidate.workload.priority,
            candidate.position,
            candidate.workload.name,
            candidate.workload.id,
        ),
    ).workload


class Idle(StrEnum):
    """What a machine is told that gets no workload."""

    WAIT = "wait"
    POWEROFF = "poweroff"
    NEXT = "next"


#: Seconds until wait.efi asks again.
SOON, LATER = 60, 600
#: The reason of a power-off that people must hear about.
TOO_LONG = "waited too long"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The answer and its reason, in words that fit after "nothing for NAME now (…)"."""

    idle: Idle
    reason: str
    seconds: int = LATER
    #: Whether the wait counts against the longest time that a machine is kept waiting.
    counted: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Situation:
    """What the answer depends on. ``waiting``: other machines that already wait for work."""

    policy: str
    ever_loaded: bool
    queue_paused: str
    draining: bool
    waited_too_long: bool
    waiting: tuple[Machine, ...]


def when_nothing_is_left(
    machine: Machine, candidates: Sequence[Candidate], situation: Situation
) -> Answer:
    """What to tell a machine for which no workload was chosen."""
    if machine.paused:
        return Answer(idle=Idle.NEXT, reason="this machine is paused")
    if situation.draining:
        return Answer(idle=Idle.WAIT, reason="dispatchd restarts", seconds=SOON)
    if situation.policy != "auto":
        return Answer(idle=Idle(situation.policy), reason="nothing to run")
    if situation.queue_paused:
        return Answer(idle=Idle.WAIT, reason=situation.queue_paused)
    if not situation.ever_loaded:
        return Answer(idle=Idle.WAIT, reason="nothing is loaded yet", seconds=SOON)
    reason, room = _expected(machine, candidates, situation.waiting)
    if not reason:
        return Answer(idle=Idle.POWEROFF, reason="nothing left")
    if situation.waited_too_long:
        return Answer(idle=Idle.POWEROFF, reason=TOO_LONG)
    if room is None:
        seconds = SOON if reason.startswith("bytes") else LATER
        return Answer(idle=Idle.WAIT, reason=reason, seconds=seconds, counted=True)
    if room > 0:
        return Answer(idle=Idle.WAIT, reason=reason, seconds=SOON * 5, counted=True)
    return Answer(idle=Idle.POWEROFF, reason="nothing left")


def _may_come_back(workload: Workload) -> bool:
    """Whether the end of the attempt in flight would queue the workload again."""
    return workload.state is State.ASSIGNED or workload.tries + 1 < workload.max_tries


def _expected(
    machine: Machine, candidates: Sequence[Candidate], others: Sequence[Machine]
) -> tuple[str, int | None]:
    """Why something may still come for the machine, and for how many more (None: for all)."""
    if machine.held:
        open_work = any(c.workload.state not in SETTLED for c in candidates if fits(c, machine))
        return (f"held: {machine.held}" if open_work else ""), None
    # What it asked for three times and never took is not offered to it again, whatever comes.
    mine = [c for c in candidates if fits(c, machine) and c.lapses_here < LAPSES]
    waiting = [c for c in mine if c.workload.state is State.UNASSIGNED]
    if any(not candidate.whole for candidate in waiting):
        return "bytes are still arriving", None
    in_flight = [
        candidate
        for candidate in mine
        if candidate.workload.state in RUNNING and _may_come_back(candidate.workload)
    ]
    if in_flight:
        rivals = [other for other in others if any(fits(one, other) for one in in_flight)]
        return "workloads that run elsewhere may come back", len(in_flight) - len(rivals)
    if not machine.pool and any(
        c.workload.state is State.UNASSIGNED and c.workload.pool and c.workload.pinned_to is None
        for c in candidates
        if c.local or not machine.simulated
    ):
        return "what is left is for a pool, and this machine has none", None
    return "", 0

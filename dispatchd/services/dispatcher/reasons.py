"""Why a workload is where it is, until when, and what is to come."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from dispatchd.domain.lifecycle import LAPSES, time_limit
from dispatchd.domain.model import DELIVERED, Arrival, Attempt, Machine, Outcome, State, Workload
from dispatchd.domain.outlook import missed, next_try
from dispatchd.services.dispatcher.identity import ALIVE
from dispatchd.services.dispatcher.picture import Picture
from dispatchd.services.dispatcher.unit import Context
from dispatchd.store.store import Transaction


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlook:
    """``why`` it is so; ``then`` is what happens if nothing changes ``until`` then."""

    why: str
    until: datetime | None = None
    then: str = ""


class Reasons:
    """Looks at the workloads of a picture; ``tx`` is the transaction in which it was read."""

    def __init__(self, tx: Transaction, context: Context, picture: Picture) -> None:
        self._tx = tx
        self._context = context
        self._picture = picture
        self._machines = picture.machines
        self._now = picture.now

    def outlook(self, workload: Workload) -> Outlook:
        """Of one of the picture's workloads."""
        latest = self._picture.attempts.get(workload.id)
        if latest is not None and latest.ended_at is None and workload.state is not State.REPORTED:
            return self._running(workload, latest)
        if workload.state is State.UNASSIGNED:
            if self._picture.releases[workload.release_id].unloaded_at is not None:
                return Outlook(why="its release is unloaded")
            return Outlook(why=self._why_it_waits(workload, latest))
        if workload.state is State.REPORTED:
            reports = self._picture.reports.get(workload.id, [])
            if any(entry.state not in DELIVERED for _, entry in reports):
                return Outlook(why="a report still has to be delivered")
            return Outlook(why="reported; finished once its machine moves on")
        return Outlook(why=workload.reason or "reported, and nothing is left to deliver")

    def _running(self, workload: Workload, attempt: Attempt) -> Outlook:
        machine = self._machines[attempt.machine_id]
        limit, outcome = time_limit(
            attempt,
            deadlines=self._context.policy.deadlines,
            report_timeout=workload.report_timeout,
        )
        left = max(limit - self._context.phases.waited(attempt), 0)
        if outcome is Outcome.LAPSED:
            follows = "queued again"
        else:
            follows = self._next_try(workload, workload.tries + 1, machine)
        return Outlook(
            why=_so_far(attempt, machine),
            until=self._now + timedelta(seconds=left),
            then=f"{missed(outcome, limit)}; {follows}",
        )

    def _next_try(self, workload: Workload, tries: int, failed: Machine) -> str:
        elsewhere = any(
            other.id != failed.id
            and not other.held
            and not other.paused
            and other.seen_at is not None
            and other.seen_at >= self._now - ALIVE
            and workload.pool in ("", other.pool)
            and workload.pinned_to in (None, other.id)
            for other in self._machines.values()
        )
        return next_try(workload, tries, elsewhere=elsewhere)

    def _why_it_waits(self, workload: Workload, latest: Attempt | None) -> str:
        asset = self._picture.assets[workload.asset_id]
        if asset.arrival is Arrival.ARRIVING:
            return f"its bytes are still arriving{': ' + asset.reason if asset.reason else ''}"
        if self._picture.paused_by:
            return f"the queue is paused by {self._picture.paused_by}"
        who = "any machine"
        if workload.pinned_to is not None:
            pinned = self._machines[workload.pinned_to]
            who = pinned.label
            if workload.pool not in ("", pinned.pool):
                remedy = f"dispatchctl machines set {who} pool={workload.pool}"
                return f"is for {who}, which is not of pool {workload.pool} ({remedy})"
        elif workload.pool:
            who = f"a machine of pool {workload.pool}"
            if not any(machine.pool == workload.pool for machine in self._machines.values()):
                return f"no machine of pool {workload.pool} is known (dispatchctl machines set)"
        text = f"waits for {who} to ask"
        if latest is None or latest.run != workload.run:
            return text
        machine = self._machines[latest.machine_id]
        if latest.outcome is Outcome.LAPSED:
            return f"{text}{self._lapsed(workload)}"
        limit, _ = time_limit(
            latest,
            deadlines=self._context.policy.deadlines,
            report_timeout=workload.report_timeout,
        )
        said = missed(latest.outcome, limit) if latest.outcome else ""
        return f"{said} on {machine.label}; {self._next_try(workload, workload.tries, machine)}"

    def _lapsed(self, workload: Workload) -> str:
        """Who asks for the workload's size again and again."""
        lapses = [
            self._machines[attempt.machine_id].label
            for attempt in self._tx.attempts.of_workload(workload.id)
            if attempt.outcome is Outcome.LAPSED and attempt.run == workload.run
        ]
        lapsed = sorted({label for label in lapses if lapses.count(label) >= LAPSES})
        if not lapsed:
            return f"; last time {lapses[-1]} asked for its size and never for its bytes"
        return f"; {', '.join(lapsed)} asks for the size, never for the bytes: too little memory?"


def _so_far(attempt: Attempt, machine: Machine) -> str:
    match attempt.state:
        case State.ASSIGNED:
            return f"{machine.label} asked for its size and has taken no byte yet"
        case State.DOWNLOADING if attempt.whole_at is None:
            return f"{machine.label} is taking its bytes"
        case State.DOWNLOADING:
            return f"{machine.label} has all its bytes; its beacon has not spoken yet"
    return f"its beacon spoke on {machine.label}; no report yet"

"""What happens because time passes: attempts that take too long, workloads that are done."""

import logging
import threading

from dispatchd.domain.lifecycle import time_limit
from dispatchd.domain.model import Attempt, Outcome, State, Workload
from dispatchd.errors import DispatchError, Stale
from dispatchd.services.dispatcher.endings import end, settle
from dispatchd.services.dispatcher.unit import Context, Unit

log = logging.getLogger(__name__)

#: Seconds until a look that failed is tried again.
AGAIN = 5.0
#: Seconds that it sleeps at most, as a sign of life.
LONGEST = 30.0
#: Seconds between two looks: in a storm there is news hundreds of times a second.
BREATH = 0.1


class Overseer:
    """Sleeps until the next deadline, or until ``news`` tells that something has happened.

    Bytes that move push a deadline back without a word: woken for it, it sees that and sleeps on.
    """

    def __init__(self, context: Context, *, news: threading.Event) -> None:
        self._context = context
        self._news = news

    def run(self, stopping: threading.Event) -> None:
        """Act on deadlines until stopped; ``news`` is set for that too."""
        while not stopping.is_set():
            self._news.clear()
            try:
                pause = self.look()
            except DispatchError as error:
                log.warning("cannot look at deadlines now: %s", error)
                pause = AGAIN
            self._news.wait(LONGEST if pause is None else min(pause, LONGEST))
            stopping.wait(BREATH)

    def look(self) -> float | None:
        """Act on every deadline that has passed; seconds until the next one, None without any."""
        with self._context.store.reading() as tx:
            attempts = tx.attempts.open()
            workloads = tx.workloads.some({attempt.workload_id for attempt in attempts})
            settled = {workload.id: workload for workload in tx.workloads.settled()}
        self._context.phases.keep_only({attempt.id for attempt in attempts})
        pauses = []
        for attempt in attempts:
            workload = workloads[attempt.workload_id]
            limit, outcome = time_limit(
                attempt,
                deadlines=self._context.policy.deadlines,
                report_timeout=workload.report_timeout,
            )
            left = limit - self._context.phases.waited(attempt)
            if workload.state is State.REPORTED and workload.id not in settled:
                continue
            if left > 0:
                pauses.append(left)
                settled.pop(workload.id, None)
            elif outcome is not Outcome.REPORTED:
                self._end(attempt, outcome)
        for workload in settled.values():
            self._settle(workload)
        return min(pauses, default=None)

    def _end(self, attempt: Attempt, outcome: Outcome) -> None:
        try:
            with self._context.unit() as unit:
                if unit.tx.attempts.get(attempt.id) == attempt:
                    end(self._context, unit, attempt, outcome)
        except Stale:
            log.debug("attempt %s moved on by itself", attempt.id)

    def _settle(self, workload: Workload) -> None:
        """Finish a reported workload whose reports are all settled, once no more are to come."""
        try:
            with self._context.unit() as unit:
                workload = unit.tx.workloads.get(workload.id)
                attempt = unit.tx.attempts.open_of_workload(workload.id)
                if attempt is None:
                    settle(unit, workload)
                elif self._is_over(unit, workload, attempt):
                    end(self._context, unit, attempt, Outcome.REPORTED)
        except Stale:
            log.debug("workload %s moved on by itself", workload.id)

    def _is_over(self, unit: Unit, workload: Workload, attempt: Attempt) -> bool:
        """Whether the attempt's reports are all settled, and another one did not come in time."""
        waited = self._context.phases.waited(attempt)
        return (
            workload.state is State.REPORTED
            and not unit.tx.reports.unsettled(workload.id)
            and waited >= self._context.policy.deadlines.settle
        )

"""What happens because time passes: attempts that take too long, workloads that are done."""

import logging
import threading

from dispatchd.domain.event import Kind
from dispatchd.domain.lifecycle import Event, advance, on_deadline
from dispatchd.domain.model import Attempt, Outcome, State, Workload
from dispatchd.errors import DispatchError, Stale
from dispatchd.services.dispatcher.endings import end
from dispatchd.services.dispatcher.unit import Context, Unit

log = logging.getLogger(__name__)

#: Seconds between two looks.
TICK = 1.0


class Overseer:
    """Looks at everything open once a second, whether or not anybody asks."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def run(self, stopping: threading.Event) -> None:
        """Tick until stopped. A failed tick is logged and the next one tried."""
        while not stopping.wait(TICK):
            try:
                self.tick()
            except DispatchError as error:
                log.warning("cannot look at deadlines now: %s", error)

    def tick(self) -> None:
        """Act on every deadline that has passed and on every workload that is done."""
        with self._context.store.reading() as tx:
            attempts = tx.attempts.open()
            reported = tx.workloads.reported()
            timeouts = {
                attempt.id: tx.workloads.get(attempt.workload_id).report_timeout
                for attempt in attempts
            }
        self._context.phases.keep_only({attempt.id for attempt in attempts})
        for attempt in attempts:
            waited = self._context.phases.waited(attempt)
            outcome = on_deadline(
                attempt,
                waited=waited,
                deadlines=self._context.policy.deadlines,
                report_timeout=timeouts[attempt.id],
            )
            if outcome is not None and outcome is not Outcome.REPORTED:
                self._end(attempt, outcome)
        for workload in reported:
            self._settle(workload)

    def _end(self, attempt: Attempt, outcome: Outcome) -> None:
        try:
            with self._context.unit() as unit:
                if unit.tx.attempts.get(attempt.id) == attempt:
                    end(self._context, unit, attempt, outcome)
        except Stale:
            log.debug("attempt %s moved on by itself", attempt.id)

    def _settle(self, workload: Workload) -> None:
        """Finish a reported workload whose reports are all settled."""
        try:
            with self._context.unit() as unit:
                workload = unit.tx.workloads.get(workload.id)
                if workload.state is State.REPORTED and self._is_done(unit, workload):
                    state = advance(workload.state, Event.SETTLE)
                    unit.tx.workloads.swap(workload, state=state, changed_at=unit.now)
                    text = f"{workload.label}: finished, all its reports are settled"
                    unit.tell(Kind.FINISHED, text, workload=workload)
        except Stale:
            log.debug("workload %s moved on by itself", workload.id)

    def _is_done(self, unit: Unit, workload: Workload) -> bool:
        if unit.tx.reports.unsettled(workload.id):
            return False
        attempt = unit.tx.attempts.open_of_workload(workload.id)
        if attempt is None:
            return True
        if self._context.phases.waited(attempt) < self._context.policy.deadlines.settle:
            return False
        end(self._context, unit, attempt, Outcome.REPORTED)
        return True

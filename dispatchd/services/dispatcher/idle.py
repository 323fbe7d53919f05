"""What a machine is handed when no workload is: to wait, to switch off, or its next boot option."""

from collections.abc import Callable
from datetime import datetime, timedelta

from dispatchd.domain import schedule
from dispatchd.domain.event import Kind
from dispatchd.domain.model import Machine
from dispatchd.services.dispatcher.offers import Offer, Programs, offer_program
from dispatchd.services.dispatcher.unit import Context, Unit

#: Nothing is gained by keeping a machine waiting longer.
LONGEST_WAIT = timedelta(hours=4)
#: A machine that waited and did not ask for this long begins to wait anew.
WAIT_FORGOTTEN = timedelta(minutes=40)


class Idle:
    """Answers for machines that get no workload. ``here`` names this dispatchd on their screens."""

    def __init__(
        self,
        context: Context,
        *,
        programs: Callable[[], Programs],
        here: Callable[[], str],
        draining: Callable[[], bool],
    ) -> None:
        self._context = context
        self._programs = programs
        self._here = here
        self.draining = draining

    def answer(self, unit: Unit, machine: Machine) -> Offer:
        """The offer for a machine that asks and has nothing to run."""
        machines = unit.tx.machines
        since = self._waiting_since(unit, machine) or unit.now
        waited = self._context.ages.of("wait", machine.id, since)
        answer = self._decide(unit, machine, waited)
        too_long = answer.reason == schedule.TOO_LONG
        # Kept for the machine that was switched off for having waited too long: status names it.
        kept = since if answer.counted or too_long else None
        machines.update(machine.id, waiting_since=kept)
        if too_long:
            hours = LONGEST_WAIT.total_seconds() / 3600
            text = f"{machine.label} waited for {hours:.0f} h: switched off"
            unit.tell(Kind.WAITED_TOO_LONG, text, machine=machine)
        return self._offer(machine, answer)

    def fallback(self, reason: str) -> Offer:
        """What is handed out when the database cannot be asked: wait, and ask again soon."""
        text = f"dispatchd {self._here()}: {reason}"
        return offer_program(self._programs().wait(text, seconds=schedule.SOON))

    def _waiting_since(self, unit: Unit, machine: Machine) -> datetime | None:
        """Since when it has been waiting without a break; None: it begins now."""
        before = unit.tx.machines.promise(machine.id)
        if before is None or before.program != "wait.efi":
            return None
        age = self._context.ages.of("ask", machine.id, before.made_at)
        return machine.waiting_since if age < WAIT_FORGOTTEN.total_seconds() else None

    def _decide(self, unit: Unit, machine: Machine, waited: float) -> schedule.Answer:
        paused_by = unit.tx.queue_paused_by()
        situation = schedule.Situation(
            policy=self._context.policy.idle,
            ever_loaded=unit.tx.releases.any_ever(),
            queue_paused=f"queue paused by {paused_by}" if paused_by else "",
            draining=self.draining(),
            waited_too_long=waited >= LONGEST_WAIT.total_seconds(),
            waiting=tuple(unit.tx.machines.waiting(machine.id, unit.now - WAIT_FORGOTTEN)),
        )
        candidates = unit.tx.workloads.candidates(machine.id)
        return schedule.when_nothing_is_left(machine, candidates, situation)

    def _offer(self, machine: Machine, answer: schedule.Answer) -> Offer:
        if answer.idle is schedule.Idle.NEXT:
            return Offer(status=404, handed=f"nothing: {answer.reason}")
        who = f"dispatchd {self._here()}"
        if answer.idle is schedule.Idle.POWEROFF:
            text = f"{who}: {answer.reason} for {machine.label}, switching off"
            return offer_program(self._programs().poweroff(text))
        text = f"{who}: nothing for {machine.label} now ({answer.reason})"
        return offer_program(self._programs().wait(text, seconds=answer.seconds))

"""What needs a hand, in the order in which a person would want to hear it."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from dispatchd.domain.lifecycle import BAD_TRIES, LAPSES
from dispatchd.domain.model import Attempt, Delivery, Machine, Outcome, Release, State, Workload
from dispatchd.domain.outlook import duration
from dispatchd.services.dispatcher.endings import speaks_against
from dispatchd.services.dispatcher.idle import LONGEST_WAIT
from dispatchd.services.dispatcher.picture import Picture
from dispatchd.services.dispatcher.unit import Context
from dispatchd.store.store import Transaction
from dispatchd.wire import counted

#: A machine that did not ask again within this time boots something else, or hangs.
MOVED_ON = timedelta(minutes=30)
#: One that was not seen for so long is nobody's trouble any more.
FORGOTTEN = timedelta(days=7)
#: Ends of attempts whose machine fell silent: nothing that it does will end the silence.
SILENT = frozenset({Outcome.STALLED, Outcome.NO_BOOT, Outcome.NO_REPORT})
#: How much longer than others a machine may take until it looks stuck; in seconds, and times.
PATIENCE, SLOWER = 300.0, 3


class Attention:
    """Looks at a picture of all workloads that the status page shows, and at what is about none of
    them. ``tx`` is the transaction in which it was read, ``loaded`` the releases that are loaded.
    """

    def __init__(
        self, tx: Transaction, context: Context, picture: Picture, loaded: Sequence[Release]
    ) -> None:
        self._tx = tx
        self._context = context
        self._picture = picture
        self._loaded = loaded
        self._now = picture.now
        self._machines = picture.machines
        self._open = {
            attempt.machine_id: attempt
            for attempt in picture.attempts.values()
            if attempt.ended_at is None
        }
        self._latest = tx.attempts.latest_of_machines(BAD_TRIES)
        self._workloads = {workload.id: workload for workload in picture.workloads}
        self._waiting = [one for one in picture.workloads if one.state is State.UNASSIGNED]

    def lines(self) -> list[str]:
        """One line for each thing that goes no further by itself."""
        return [
            *self._deliveries(),
            *self._drifts(),
            *self._unclaimed(),
            *(line for machine in self._machines.values() for line in self._of_machine(machine)),
            *self._switched_off(),
            *self._lapsed(),
            *self._pools(),
        ]

    def _drifts(self) -> Iterable[str]:
        for release in self._loaded:
            if release.drift:
                yield f"{release.name}: {release.drift}"

    def _deliveries(self) -> Iterable[str]:
        for trouble in self._tx.outbox.troubled():
            wait = duration(max((trouble.next_at - self._now).total_seconds(), 0))
            what = "held" if trouble.state is Delivery.HELD else f"tried again in {wait}"
            yield (
                f"GitHub: {counted(trouble.count, 'report')} for {trouble.report_to} safe here "
                f"since {trouble.since.astimezone():%a %H:%M}, {what}: {trouble.error}"
            )
        refused = self._tx.outbox.count(Delivery.REFUSED)
        if refused:
            reports = counted(refused, "report")
            yield f"GitHub refused {reports} for good: dispatchctl reports"

    def _unclaimed(self) -> Iterable[str]:
        count, latest = self._tx.unclaimed.summary()
        if latest is not None:
            yield (
                f"{counted(count, 'unclaimed report')}, the latest from {latest.address}: "
                f"{latest.reason} (dispatchctl reports claim {latest.id[:8]} WORKLOAD)"
            )

    def _of_machine(self, machine: Machine) -> Iterable[str]:
        label = machine.label
        latest = self._latest.get(machine.id, [])
        if machine.held:
            yield f"{label}: held, {machine.held} (dispatchctl resume {label})"
        elif speaks_against(machine, latest):
            yield (
                f"{label}: its last {BAD_TRIES} workloads ended without a report; it goes on, "
                "since no other machine is alive"
            )
        if machine.name in self._picture.shared:
            macs = ", ".join(sorted(self._picture.shared[machine.name]))
            yield (
                f"{label}: two machines ask under this name ({macs}); it counts for neither until "
                "one has another boot URL"
            )
        if machine.waiting_since and machine.handed == "poweroff.efi":
            hours = LONGEST_WAIT.total_seconds() / 3600
            yield f"{label}: switched off after waiting for {hours:.0f} h"
        if machine.seen_at is not None and self._now - machine.seen_at < FORGOTTEN:
            yield from self._silence(machine, machine.seen_at, latest[0] if latest else None)

    def _silence(
        self, machine: Machine, seen_at: datetime, latest: Attempt | None
    ) -> Iterable[str]:
        """A machine from which something should have been heard by now."""
        current = self._open.get(machine.id)
        if current is not None:
            yield from self._slower_than_others(machine, current)
            return
        outcome = latest.outcome if latest else None
        since = duration((self._now - seen_at).total_seconds())
        if latest and latest.ended_at and outcome in SILENT and seen_at < latest.ended_at:
            workload = self._workload(latest)
            yield f"{machine.label}: silent {since} in {workload.label}: power-cycle it"
        elif machine.paused or machine.handed == "poweroff.efi" or not self._has_work(machine):
            return
        elif self._now - seen_at > MOVED_ON:
            if machine.handed != "wait.efi" and outcome is Outcome.REPORTED:
                yield f"{machine.label}: finished and never asked again: is HTTP boot first?"
            else:
                yield (
                    f"{machine.label}: was handed {machine.handed} and is silent for {since}: "
                    "power-cycle it"
                )

    def _slower_than_others(self, machine: Machine, attempt: Attempt) -> Iterable[str]:
        silent = self._context.phases.waited(attempt)
        if attempt.state is not State.BOOTING or silent <= PATIENCE:
            return
        workload = self._workload(attempt)
        others = self._tx.attempts.longest_report(workload.asset_id)
        if others is not None and silent > max(SLOWER * others, others + PATIENCE):
            yield (
                f"{machine.label}: silent {duration(silent)} in {workload.label} (others took "
                f"{duration(others)}): power-cycle it"
            )

    def _workload(self, attempt: Attempt) -> Workload:
        """The attempt's: one that is shown, or of a release that was unloaded."""
        found = self._workloads.get(attempt.workload_id)
        return found or self._tx.workloads.get(attempt.workload_id)

    def _switched_off(self) -> Iterable[str]:
        """Machines that had nothing left to do when they last asked, and have now."""
        off = [
            machine.label
            for machine in self._machines.values()
            if machine.handed == "poweroff.efi"
            and not machine.paused
            and not machine.waiting_since
            and machine.seen_at is not None
            and MOVED_ON < self._now - machine.seen_at < FORGOTTEN
            and self._has_work(machine)
        ]
        if off:
            yield f"{', '.join(off)}: switched off, and there is work again: power on"

    def _has_work(self, machine: Machine) -> bool:
        return any(
            workload.pool in ("", machine.pool) and workload.pinned_to in (None, machine.id)
            for workload in self._waiting
        )

    def _lapsed(self) -> Iterable[str]:
        for workload in self._waiting:
            # Only who lapses has it queued again without a try and with a reason.
            if workload.reason != Outcome.LAPSED:
                continue
            lapses = [
                attempt.machine_id
                for attempt in self._tx.attempts.of_workload(workload.id)
                if attempt.outcome is Outcome.LAPSED and attempt.run == workload.run
            ]
            for machine_id in sorted(set(lapses)):
                if lapses.count(machine_id) >= LAPSES:
                    yield (
                        f"{self._machines[machine_id].label} asks for the size of "
                        f"{workload.label}, never for the bytes: too little memory?"
                    )

    def _pools(self) -> Iterable[str]:
        pools = {machine.pool for machine in self._machines.values()}
        wanted = {workload.pool for workload in self._waiting if workload.pool}
        for pool in sorted(wanted - pools):
            yield f"pool {pool}: no machine has it (dispatchctl machines set NAME pool={pool})"

"""What people do: run again, stop, pause, name machines, claim reports. ``by`` is who did it."""

import ipaddress
import re

from dispatchd.domain.event import Kind
from dispatchd.domain.lifecycle import Event, advance
from dispatchd.domain.media import MACHINE_NAME, SECOND_FETCH
from dispatchd.domain.model import Arrival, Delivery, Machine, Outcome, State
from dispatchd.errors import BadRequest, Conflict, NotFound, Refused
from dispatchd.services.dispatcher.beacons import take_report
from dispatchd.services.dispatcher.content import salvage_content
from dispatchd.services.dispatcher.endings import end
from dispatchd.services.dispatcher.unit import Context, Unit

MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")


class Operator:
    """The use cases of dispatchctl that change something."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def retry(self, workload_id: int, *, on: str | None, by: str) -> None:
        """Run a finished or failed workload again, with all its tries."""
        with self._context.unit() as unit:
            tx = unit.tx
            workload = tx.workloads.get(workload_id)
            state = advance(workload.state, Event.RETRY)
            if tx.releases.get(workload.release_id).unloaded_at is not None:
                raise Conflict(
                    f"cannot run {workload.label} again: its release is unloaded",
                    hint="load the release again",
                )
            asset = tx.assets.get(workload.asset_id)
            if asset.arrival is Arrival.GONE:
                raise Refused(f"cannot run {workload.label} again: {asset.reason or 'no bytes'}")
            attempt = tx.attempts.open_of_workload(workload.id)
            if attempt is not None:
                end(self._context, unit, attempt, Outcome.REPORTED)
            pinned = workload.pinned_to if on is None else find_machine(unit, on).id
            workload = tx.workloads.swap(
                workload,
                state=state,
                run=workload.run + 1,
                tries=0,
                reason="",
                pinned_to=pinned,
                changed_at=unit.now,
            )
            unit.tell(Kind.RETRIED, f"{workload.label}: to be run again", workload=workload, by=by)
        self._context.wake()

    def cancel(self, workload_id: int, *, by: str) -> None:
        """Stop an unfinished workload. A machine that runs it gets its next when it asks."""
        with self._context.unit() as unit:
            workload = unit.tx.workloads.get(workload_id)
            state = advance(workload.state, Event.CANCEL)
            attempt = unit.tx.attempts.open_of_workload(workload.id)
            if attempt is not None:
                end(self._context, unit, attempt, Outcome.CANCELLED, by=by)
                return
            workload = unit.tx.workloads.swap(
                workload,
                state=state,
                run=workload.run + 1,
                reason=f"cancelled by {by}",
                changed_at=unit.now,
            )
            unit.tell(Kind.CANCELLED, f"{workload.label}: cancelled", workload=workload, by=by)

    def pause(self, references: list[str], *, paused: bool, by: str) -> None:
        """Pause or resume the queue, or these machines. Resuming a held machine trusts it again."""
        with self._context.unit() as unit:
            if not references:
                if bool(unit.tx.queue_paused_by()) != paused:
                    unit.tx.pause_queue(paused=paused, by=by if paused else "")
                    kind = Kind.QUEUE_PAUSED if paused else Kind.QUEUE_RESUMED
                    unit.tell(kind, f"queue {'paused' if paused else 'resumed'}", by=by)
                return
            for machine in [find_machine(unit, reference) for reference in references]:
                self._pause_machine(unit, machine, paused=paused, by=by)

    def _pause_machine(self, unit: Unit, machine: Machine, *, paused: bool, by: str) -> None:
        latest = unit.tx.attempts.latest_of_machine(machine.id, 1)
        trusted = latest[0].id if latest and not paused else machine.trusted_after
        held = machine.held if paused else ""
        unit.tx.machines.update(machine.id, paused=paused, held=held, trusted_after=trusted)
        kind = Kind.MACHINE_PAUSED if paused else Kind.MACHINE_RESUMED
        text = f"{machine.label} {'paused' if paused else 'resumed'}"
        unit.tell(kind, text, machine=machine, by=by)

    def change_machine(
        self,
        reference: str,
        *,
        name: str | None,
        pool: str | None,
        note: str | None,
        simulated: bool | None,
        by: str,
    ) -> int:
        """Record what people know about a machine; a new name or MAC makes a new one."""
        asked = {"name": name, "pool": pool, "note": note, "simulated": simulated}
        values = {key: value for key, value in asked.items() if value is not None}
        if name is not None:
            values["name"] = check_name(name)
        with self._context.unit() as unit:
            machine = find_or_make_machine(unit, reference)
            if values:
                unit.tx.machines.update(machine.id, **values)
                machine = unit.tx.machines.get(machine.id)
            said = ", ".join(f"{key}={value}" for key, value in values.items())
            unit.tell(Kind.MACHINE_SET, f"{machine.label}: {said}", machine=machine, by=by)
        return machine.id

    def forget_machine(self, reference: str, *, by: str) -> None:
        """Forget how a machine is recognised, and the machine if nothing refers to it."""
        with self._context.unit() as unit:
            machine = find_machine(unit, reference)
            if unit.tx.attempts.open_of_machine(machine.id) is not None:
                raise Conflict(
                    f"cannot forget {machine.label}: it runs a workload",
                    hint="wait for its end, or cancel the workload",
                )
            for workload in unit.tx.workloads.shown():
                if workload.pinned_to == machine.id and workload.state is State.UNASSIGNED:
                    raise Conflict(
                        f"cannot forget {machine.label}: {workload.label} waits for it",
                        hint="cancel the workload, or let the machine run it",
                    )
            unit.tx.machines.forget(machine)
            unit.tell(Kind.MACHINE_FORGOTTEN, f"{machine.label} forgotten", machine=machine, by=by)

    def claim(self, identity: str, workload_id: int, *, by: str) -> str:
        """Credit an unclaimed body to a workload's latest attempt; returns the report's id."""
        with self._context.unit() as unit:
            tx = unit.tx
            unclaimed = tx.unclaimed.get(identity)
            if unclaimed is None:
                raise NotFound(f"cannot find unclaimed {identity}", hint="dispatchctl reports")
            workload = tx.workloads.get(workload_id)
            attempts = [a for a in tx.attempts.of_workload(workload_id) if a.first_byte_at]
            if not attempts:
                raise Conflict(f"cannot credit {workload.label}: it never ran on a machine")
            attempt = attempts[-1]
            content = salvage_content(unclaimed.body)
            machine = tx.machines.get(attempt.machine_id)
            workload = take_report(unit, attempt, content, machine)
            tx.unclaimed.delete(identity)
            report = tx.reports.same(attempt.id, content.digest)
            unit.tell(
                Kind.CLAIMED,
                f"unclaimed {identity[:8]} is {workload.label}'s",
                workload=workload,
                attempt=attempt,
                by=by,
            )
        self._context.wake()
        return report.id if report else ""

    def deliver_again(self, report_id: str, *, by: str) -> None:
        """Try to deliver a held, refused or kept report once more, now."""
        with self._context.unit() as unit:
            report = unit.tx.reports.get(report_id)
            entry = unit.tx.outbox.get(report_id)
            attempt = unit.tx.attempts.get(report.attempt_id)
            workload = unit.tx.workloads.get(attempt.workload_id)
            target = entry.report_to or unit.tx.releases.get(workload.release_id).report_to
            if entry.state is Delivery.FILED:
                raise Conflict(f"cannot file {report_id} again: it is {entry.url}")
            if not target:
                raise Conflict(
                    f"cannot file {report_id}: its release names no repository",
                    hint="load the release again with --report-to OWNER/REPO",
                )
            # A limit holds for people too, and so does the time that a new issue takes to be seen.
            bound = entry.state is Delivery.PENDING and (entry.limited or entry.posting_at)
            unit.tx.outbox.swap(
                entry,
                state=Delivery.PENDING,
                report_to=target,
                next_at=entry.next_at if bound else unit.now,
                tries=0,
                # Once the issue is there, its comments must be cut as they were.
                dropped=entry.dropped if entry.issue else (),
                room=entry.room if entry.issue else 0,
                error="",
                failing_since=None,
            )
            unit.tell(
                Kind.REPORT_RETRIED,
                f"{report.title}: to be filed",
                workload=workload,
                attempt=attempt,
                report=report,
                by=by,
            )
        self._context.wake()


def check_name(name: str) -> str:
    """A machine's name in lower case, or BadRequest."""
    if not MACHINE_NAME.fullmatch(name) or SECOND_FETCH.fullmatch(name.lower()):
        raise BadRequest(
            f"cannot name a machine {name!r}: it could not be part of a boot URL",
            hint="letters, digits, '.', '_' and '-', at most 63; not grub*, shim* or mmx64",
        )
    return name.lower()


def find_machine(unit: Unit, reference: str) -> Machine:
    """The machine of an id, name, MAC or address, or NotFound."""
    machines = unit.tx.machines
    word = reference.strip().lower()
    found = machines.by_name(word) or machines.by_mac(word) or machines.by_address(_address(word))
    if found is None and word.isdecimal():
        return machines.get(int(word))
    if found is None:
        raise NotFound(f"cannot find a machine {reference!r}", hint="dispatchctl machines")
    return found


def find_or_make_machine(unit: Unit, reference: str) -> Machine:
    """The same, but a name or MAC that is not here yet makes a new machine."""
    word = reference.strip().lower()
    try:
        return find_machine(unit, word)
    except NotFound:
        if MAC.fullmatch(word):
            machine = unit.tx.machines.insert(at=unit.now)
            unit.tx.machines.note_mac(word, machine.id, unit.now)
            return unit.tx.machines.get(machine.id)
        if word.isdecimal() or _address(word) != word or ":" in word:
            raise
        return unit.tx.machines.insert(name=check_name(word), at=unit.now)


def _address(word: str) -> str:
    """The address in its usual form, or the word as it is."""
    try:
        return str(ipaddress.ip_address(word))
    except ValueError:
        return word

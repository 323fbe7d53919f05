"""What the sending loop saw, written down by somebody who may wait for the disk.

The loop that feeds machines must never wait for a transaction, so it only notes that a first or
last byte went out. Every request writes these notes down first: bytes leave before the machine can
speak of them, so no beacon overtakes the record of what its machine was sent. Notes that wait share
one transaction, since a storm makes many at once and each of them costs a sync.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable

from dispatchd.crashpoints import reach
from dispatchd.domain.event import Kind
from dispatchd.domain.lifecycle import Event, advance
from dispatchd.domain.model import State
from dispatchd.errors import NotFound, StoreError
from dispatchd.services.dispatcher.identity import Caller
from dispatchd.services.dispatcher.unit import Context, Unit

log = logging.getLogger(__name__)

#: Seconds until a write that the database refused is tried again.
AGAIN = 1.0
#: Seconds that a write waits for its turn where nobody is kept waiting by it.
PATIENCE = 5.0


class Observations:
    """Notes in the order in which they were made; each is written once. Making one never blocks."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._notes: deque[Callable[[Unit], None]] = deque()
        #: Notes that are being written; changed by whoever holds ``_writing``.
        self._taken: list[Callable[[Unit], None]] = []
        self._writing = threading.Lock()
        self._wake = threading.Event()

    def program(self, machine_id: int, caller: Caller) -> None:
        """Bytes of a firmware program go out: what the machine was sent before is over."""
        self._note(lambda unit: unit.tx.machines.note_sent(machine_id, caller.mac, None))

    def first_byte(self, attempt_id: int, caller: Caller) -> None:
        """The first byte of the attempt's asset goes out on some connection."""
        self._note(lambda unit: self._write_first_byte(unit, attempt_id, caller))

    def whole(self, attempt_id: int) -> None:
        """The last byte of the attempt's asset was handed to the kernel."""
        self._note(lambda unit: self._write_whole(unit, attempt_id))

    def write(self, wait: float = PATIENCE) -> None:
        """Write everything noted so far. Raises StoreError, losing nothing, if it cannot be.

        Waits up to ``wait`` seconds for whoever writes notes now, and as long for the database.
        """
        if not (self._notes or self._taken):
            return
        if not self._writing.acquire(timeout=wait):
            raise StoreError("cannot write down what was sent: the database keeps us waiting")
        try:
            while self._notes:
                # In this order: whoever looks in between must see that there is one.
                self._taken.append(self._notes[0])
                self._notes.popleft()
            if self._taken:
                self._write_taken(wait)
        finally:
            self._writing.release()

    def run(self, stopping: threading.Event) -> None:
        """Write whenever there is something, until stopped; then once more."""
        while not stopping.is_set():
            self._wake.wait(AGAIN)
            self._wake.clear()
            try:
                self.write()
            except StoreError as error:
                log.warning("cannot write down what was sent, trying again: %s", error)
                stopping.wait(AGAIN)
        self.write()

    def _note(self, write: Callable[[Unit], None]) -> None:
        self._notes.append(write)
        self._wake.set()

    def _write_taken(self, wait: float) -> None:
        reach("observation-before-write")
        with self._context.unit(wait=wait) as unit:
            for write in self._taken:
                try:
                    write(unit)
                except NotFound as error:
                    log.warning("cannot write down what was sent: %s", error)
        reach("observation-after-write")
        self._taken.clear()

    def _write_first_byte(self, unit: Unit, attempt_id: int, caller: Caller) -> None:
        attempt = unit.tx.attempts.get(attempt_id)
        unit.tx.machines.note_sent(attempt.machine_id, caller.mac, attempt.id)
        if attempt.first_byte_at is not None:
            return
        attempt = unit.tx.attempts.swap(attempt, first_byte_at=unit.now)
        self._context.phases.waited(attempt)
        workload = unit.tx.workloads.get(attempt.workload_id)
        if attempt.ended_at is None and workload.state is State.ASSIGNED:
            state = advance(workload.state, Event.SEND)
            workload = unit.tx.workloads.swap(workload, state=state, changed_at=unit.now)
            machine = unit.tx.machines.get(attempt.machine_id)
            text = f"{workload.label}: downloading on {machine.label}"
            unit.tell(Kind.DOWNLOADING, text, workload=workload, machine=machine, attempt=attempt)

    def _write_whole(self, unit: Unit, attempt_id: int) -> None:
        attempt = unit.tx.attempts.get(attempt_id)
        if attempt.whole_at is not None:
            return
        sent = self._context.phases.sent(attempt)
        attempt = unit.tx.attempts.swap(attempt, whole_at=unit.now, sent=sent)
        self._context.phases.waited(attempt)
        workload = unit.tx.workloads.get(attempt.workload_id)
        machine = unit.tx.machines.get(attempt.machine_id)
        took = max((unit.now - (attempt.first_byte_at or unit.now)).total_seconds(), 0)
        text = f"{workload.label}: {machine.label} has all bytes, after {took:.0f} s"
        unit.tell(Kind.WHOLE, text, workload=workload, machine=machine, attempt=attempt)

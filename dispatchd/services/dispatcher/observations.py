"""What was sent, written down.

That bytes go out is on disk before they do: no beacon shall overtake the record of what its machine
was sent. Where the database does not take it at that moment, every later ask and beacon tries it
first.

That the last byte is out is noted by the loop, which must never wait for a transaction. A storm
ends with many such notes at once, and nobody but the machine's own next ask depends on one: that
ask looks here, and the rest are written by and by, a few at a time.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from itertools import islice

from dispatchd.crashpoints import reach
from dispatchd.domain.event import Kind
from dispatchd.domain.lifecycle import Event, advance
from dispatchd.domain.model import Attempt, State
from dispatchd.errors import StoreError
from dispatchd.services.dispatcher.identity import Caller, note_asked
from dispatchd.services.dispatcher.unit import Context, Unit

log = logging.getLogger(__name__)

#: Seconds until a write that the database refused is tried again.
AGAIN = 1.0
#: Seconds that a write waits for its turn where nobody is kept waiting by it.
PATIENCE = 5.0
#: Last bytes written in one transaction, and seconds until the next one: requests come between.
FEW, BREATH = 4, 0.005


class Observations:
    """Notes, each written once. Making one never blocks; first bytes keep their order.

    Who makes a note of what goes out also has it written, before a byte leaves.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._begun: deque[Callable[[Unit], None]] = deque()
        #: Those of ``_begun`` that are being written; changed by whoever holds ``_writing``.
        self._taken: list[Callable[[Unit], None]] = []
        self._writing = threading.Lock()
        #: Attempts whose last byte is out; a dict keeps the order, and no lock is needed for it.
        self._whole: dict[int, None] = {}
        self._wake = threading.Event()

    def program(self, machine_id: int, caller: Caller) -> None:
        """Bytes of a firmware program go out: what the machine was sent before is over."""
        at = self._context.clock.now()
        self._begun.append(lambda unit: _write_sent(unit, machine_id, caller, None, at))

    def first_byte(self, attempt_id: int, caller: Caller) -> None:
        """Bytes of the attempt's asset go out on some connection."""
        at = self._context.clock.now()
        self._begun.append(lambda unit: self._write_first_byte(unit, attempt_id, caller, at))

    def whole(self, attempt_id: int) -> None:
        """The last byte of the attempt's asset was handed to the kernel."""
        self._whole[attempt_id] = None
        self._wake.set()

    def completed(self, unit: Unit, attempt: Attempt) -> Attempt:
        """The attempt, with its last byte written down in this transaction if that is noted."""
        return self._write_whole(unit, attempt) if attempt.id in self._whole else attempt

    def write(self, wait: float = PATIENCE) -> None:
        """Write down what goes out. Raises StoreError, losing nothing, if it cannot be.

        Waits up to ``wait`` seconds for whoever writes it now, and as long for the database.
        """
        if not (self._begun or self._taken):
            return
        if not self._writing.acquire(timeout=wait):
            raise StoreError("cannot write down what was sent: the database keeps us waiting")
        try:
            while self._begun:
                # In this order: whoever looks in between must see that there is one.
                self._taken.append(self._begun[0])
                self._begun.popleft()
            if self._taken:
                self._write_taken(wait)
        finally:
            self._writing.release()

    def run(self, stopping: threading.Event) -> None:
        """Write last bytes when there are any, and what could not be written before, until stopped;
        then once more."""
        while not stopping.is_set():
            self._wake.wait(AGAIN)
            self._wake.clear()
            try:
                self.write()
                while self._write_few():
                    stopping.wait(BREATH)
            except StoreError as error:
                log.warning("cannot write down what was sent, trying again: %s", error)
                stopping.wait(AGAIN)
        self.flush()

    def flush(self) -> None:
        """Write everything noted so far, last bytes too."""
        self.write()
        while self._write_few():
            pass

    def _write_taken(self, wait: float) -> None:
        reach("observation-before-write")
        with self._context.unit(wait=wait) as unit:
            for write in self._taken:
                write(unit)
        reach("observation-after-write")
        self._taken.clear()

    def _write_few(self) -> bool:
        """Write some of the last bytes; whether there were any."""
        few = list(islice(self._whole.copy(), FEW))
        if few:
            with self._context.unit(wait=PATIENCE) as unit:
                for attempt_id in few:
                    self._write_whole(unit, unit.tx.attempts.get(attempt_id))
        for attempt_id in few:
            del self._whole[attempt_id]
        return bool(few)

    def _write_first_byte(self, unit: Unit, attempt_id: int, caller: Caller, at: datetime) -> None:
        attempt = unit.tx.attempts.get(attempt_id)
        _write_sent(unit, attempt.machine_id, caller, attempt.id, at)
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

    def _write_whole(self, unit: Unit, attempt: Attempt) -> Attempt:
        if attempt.whole_at is not None:
            return attempt
        sent = self._context.phases.sent(attempt)
        attempt = unit.tx.attempts.swap(attempt, whole_at=unit.now, sent=sent)
        self._context.phases.waited(attempt)
        workload = unit.tx.workloads.get(attempt.workload_id)
        machine = unit.tx.machines.get(attempt.machine_id)
        took = max((unit.now - (attempt.first_byte_at or unit.now)).total_seconds(), 0)
        text = f"{workload.label}: {machine.label} has all bytes, after {took:.0f} s"
        unit.tell(Kind.WHOLE, text, workload=workload, machine=machine, attempt=attempt)
        return attempt


def _write_sent(
    unit: Unit, machine_id: int, caller: Caller, attempt_id: int | None, at: datetime
) -> None:
    """Whom bytes of the attempt (None: of a firmware program) went to ``at`` then, and where."""
    machines = unit.tx.machines
    if machines.promise(machine_id) is None:
        # A person had it forgotten meanwhile: what it was promised, too.
        return
    note_asked(replace(unit, now=at), machine_id, caller)
    machines.note_sent(machine_id, caller.mac, attempt_id)

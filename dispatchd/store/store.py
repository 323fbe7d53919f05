"""The store: transactions of named queries. Rows go in and domain objects come out."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Unpack

import sqlalchemy as sa

from dispatchd.crashpoints import reach
from dispatchd.domain.event import Event, Kind, Subjects
from dispatchd.domain.issue_text import scrub
from dispatchd.errors import StoreError
from dispatchd.store.copies import copy
from dispatchd.store.engine import WRITE, checkpoint, create_engine, translated
from dispatchd.store.history import Events, Knocks
from dispatchd.store.machines import Machines, queue_pause, swap_queue
from dispatchd.store.needs import Needs
from dispatchd.store.releases import Assets, Releases
from dispatchd.store.reports import Outbox, Reports, UnclaimedBodies
from dispatchd.store.revision import MIGRATIONS, is_current
from dispatchd.store.workloads import Attempts, Workloads

log = logging.getLogger(__name__)

#: Is told of every event once it is on disk, by the thread that wrote it: it must not block.
Listener = Callable[[Event], None]


class Transaction:
    """One transaction: everything that is read in it belongs together, and commits together.

    ``told``: the events that it adds to history, in their order.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self.releases = Releases(connection)
        self.assets = Assets(connection)
        self.workloads = Workloads(connection)
        self.attempts = Attempts(connection)
        self.needs = Needs(connection)
        self.machines = Machines(connection)
        self.reports = Reports(connection)
        self.outbox = Outbox(connection)
        self.unclaimed = UnclaimedBodies(connection)
        self.events = Events(connection)
        self.knocks = Knocks(connection)
        self.told: list[Event] = []

    def tell(
        self, kind: Kind, text: str, *, at: datetime, by: str = "", **subjects: Unpack[Subjects]
    ) -> None:
        """Add an event about these things to history; a workload brings its release along."""
        if "workload" in subjects and "release" not in subjects:
            subjects["release"] = self.releases.get(subjects["workload"].release_id)
        things: dict[str, Any] = {**subjects}
        keys = {f"{name}_id": thing.id for name, thing in things.items()}
        # What machines send may have a token in it: history and log are not where it is shown.
        text = scrub(text, None)
        event_id = self.events.insert(at=at, kind=kind, text=text, by=by, **keys)
        self.told.append(Event(id=event_id, at=at, kind=kind, text=text, by=by, **subjects))

    def queue_paused_by(self) -> str:
        """Who paused the queue, or empty."""
        return queue_pause(self._connection)

    def pause_queue(self, *, paused: bool, by: str) -> None:
        """Pause or resume; raises Conflict where it is so already."""
        swap_queue(self._connection, paused=paused, by=by)


class Store:
    """The database, migrated and open. ``close`` it when done.

    ``listeners`` are told of every event that commits, whoever wrote it. ``on_progress`` is called
    while a migration goes on, and ``migrations`` is the folder of all there are.
    """

    def __init__(
        self,
        url: str,
        *,
        listeners: Sequence[Listener] = (),
        migrations: Path = MIGRATIONS,
        on_progress: Callable[[], None] = lambda: None,
    ) -> None:
        self._listeners = listeners
        self._engine = create_engine(url)
        self._writing = threading.Lock()
        with translated(f"open the database {self._engine.url.database}"):
            if not is_current(self._engine, migrations):
                from dispatchd.store.migrate import upgrade

                upgrade(self._engine, migrations, on_progress=on_progress)

    def close(self) -> None:
        """Close every connection. The last one folds the log into the database."""
        self._engine.dispose()

    def checkpoint(self) -> None:
        """Move what was committed from the log into the database, beside readers and writers."""
        checkpoint(self._engine)

    def copy(self, target: Path) -> None:
        """Copy the database, as it is at this moment, into a file of its own."""
        copy(Path(self._engine.url.database or ""), target)

    @contextmanager
    def writing(self, *, wait: float = 10.0) -> Iterator[Transaction]:
        """A transaction that may write; waits up to ``wait`` seconds for its turn."""
        with self._turn(wait) as left, translated("write to the database"):
            connection = self._engine.connect().execution_options(**{WRITE: left})
            with connection, connection.begin():
                transaction = Transaction(connection)
                yield transaction
                _reach("before", transaction)
        _reach("after", transaction)
        for event in transaction.told:
            self._pass_on(event)

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """A transaction that reads one state of the database and keeps nobody waiting."""
        with translated("read the database"), self._engine.connect() as connection:
            yield Transaction(connection)

    @contextmanager
    def _turn(self, wait: float) -> Iterator[float]:
        """Our own threads take turns here: SQLite's way to wait is to sleep and look again, for up
        to a tenth of a second, while others overtake. Gives what is left of the seconds.
        """
        until = time.monotonic() + wait
        if not self._writing.acquire(timeout=wait):
            raise StoreError("cannot write to the database: another writer is slow")
        try:
            yield max(until - time.monotonic(), 0)
        finally:
            self._writing.release()

    def _pass_on(self, event: Event) -> None:
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                # It has happened and is on disk: the caller's use case did not fail.
                log.exception("cannot pass on the event %r", event.text)


def _reach(side: str, transaction: Transaction) -> None:
    """The instants around every commit, also by the names of its events: "before-reported"."""
    reach(f"{side}-commit")
    for event in transaction.told:
        reach(f"{side}-{event.kind}")

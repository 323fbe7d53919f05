"""The store: transactions of named queries. Rows go in and domain objects come out."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from dispatchd.store.engine import WRITE, create_engine, translated
from dispatchd.store.history import Events, Knocks
from dispatchd.store.machines import Machines, queue_pause, swap_queue
from dispatchd.store.migrate import upgrade
from dispatchd.store.releases import Assets, Releases
from dispatchd.store.reports import Outbox, Reports, UnclaimedBodies
from dispatchd.store.workloads import Attempts, Workloads


class Transaction:
    """One transaction: everything that is read in it belongs together, and commits together."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self.releases = Releases(connection)
        self.assets = Assets(connection)
        self.workloads = Workloads(connection)
        self.attempts = Attempts(connection)
        self.machines = Machines(connection)
        self.reports = Reports(connection)
        self.outbox = Outbox(connection)
        self.unclaimed = UnclaimedBodies(connection)
        self.events = Events(connection)
        self.knocks = Knocks(connection)

    def queue_paused_by(self) -> str:
        """Who paused the queue, or empty."""
        return queue_pause(self._connection)

    def pause_queue(self, *, paused: bool, by: str) -> None:
        """Pause or resume; raises Conflict where it is so already."""
        swap_queue(self._connection, paused=paused, by=by)


class Store:
    """The database, migrated and open. ``close`` it when done."""

    def __init__(self, url: str) -> None:
        self._engine = create_engine(url)
        with translated(f"open the database {self._engine.url.database}"):
            upgrade(self._engine)

    def close(self) -> None:
        """Close every connection. The last one folds the log into the database."""
        self._engine.dispose()

    @contextmanager
    def writing(self, *, wait: float = 10.0) -> Iterator[Transaction]:
        """A transaction that may write; waits up to ``wait`` seconds for its turn."""
        with translated("write to the database"):
            connection = self._engine.connect().execution_options(**{WRITE: wait})
            with connection, connection.begin():
                yield Transaction(connection)

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """A transaction that reads one state of the database and keeps nobody waiting."""
        with translated("read the database"), self._engine.connect() as connection:
            yield Transaction(connection)

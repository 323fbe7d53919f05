"""One use case's transaction: what is written, and the events that commit with it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Unpack

from dispatchd.domain.event import Kind, Subjects
from dispatchd.domain.lifecycle import Deadlines
from dispatchd.services.clock import Clock
from dispatchd.services.dispatcher.ages import Ages
from dispatchd.services.dispatcher.phases import Phases
from dispatchd.store.store import Store, Transaction


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """The settings that the queue obeys."""

    deadlines: Deadlines = field(default_factory=Deadlines)
    idle: str = "auto"
    max_tries: int = 2
    only_known: bool = False
    report_failures: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """A transaction at one instant."""

    tx: Transaction
    now: datetime

    def tell(self, kind: Kind, text: str, *, by: str = "", **subjects: Unpack[Subjects]) -> None:
        """Add an event of this instant to history."""
        self.tx.tell(kind, text, at=self.now, by=by, **subjects)


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """What every use case needs. ``has_bytes`` says whether a digest can be served right now.

    ``policies`` gives the policy of the moment: settings can be read again.
    """

    store: Store
    clock: Clock
    policies: Callable[[], Policy]
    phases: Phases
    ages: Ages
    has_bytes: Callable[[str], bool]
    wake: Callable[[], None]

    @property
    def policy(self) -> Policy:
        return self.policies()

    @contextmanager
    def unit(self, *, wait: float = 10.0) -> Iterator[Unit]:
        """A writing transaction that waits up to ``wait`` seconds for its turn."""
        with self.store.writing(wait=wait) as tx:
            yield Unit(tx=tx, now=self.clock.now())

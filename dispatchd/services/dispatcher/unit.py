"""One use case's transaction: what is written, and the lines of history that commit with it."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dispatchd.domain.lifecycle import Deadlines
from dispatchd.domain.model import Machine, Workload
from dispatchd.services.clock import Clock
from dispatchd.services.dispatcher.phases import Phases
from dispatchd.store.store import Store, Transaction

log = logging.getLogger("dispatchd.queue")


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """The settings that the queue obeys."""

    deadlines: Deadlines = field(default_factory=Deadlines)
    idle: str = "auto"
    max_tries: int = 2
    only_known: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """A transaction at one instant. ``lines`` are logged when it has committed, not before."""

    tx: Transaction
    now: datetime
    lines: list[str] = field(default_factory=list)

    def tell(
        self,
        kind: str,
        text: str,
        *,
        workload: Workload | None = None,
        machine: Machine | None = None,
        by: str = "",
        **references: Any,
    ) -> None:
        """Write one line of history."""
        named = {
            "workload_id": workload.id if workload else None,
            "release_id": workload.release_id if workload else None,
            "machine_id": machine.id if machine else None,
        }
        self.tx.events.insert(at=self.now, kind=kind, text=text, by=by, **(named | references))
        self.lines.append(f"{text} (by {by})" if by else text)


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """What every use case needs. ``has_bytes`` says whether a digest can be served right now."""

    store: Store
    clock: Clock
    policy: Policy
    phases: Phases
    has_bytes: Callable[[str], bool]
    wake: Callable[[], None]

    @contextmanager
    def unit(self, *, wait: float = 10.0) -> Iterator[Unit]:
        """A writing transaction that waits up to ``wait`` seconds for its turn."""
        with self.store.writing(wait=wait) as tx:
            unit = Unit(tx=tx, now=self.clock.now())
            yield unit
        for line in unit.lines:
            log.info("%s", line)

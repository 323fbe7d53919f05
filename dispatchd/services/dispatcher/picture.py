"""Workloads and all that is shown of them, read once."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from dispatchd.domain.model import (
    Asset,
    Attempt,
    Machine,
    OutboxEntry,
    Release,
    Report,
    State,
    Workload,
)
from dispatchd.services.dispatcher.identity import ALIVE
from dispatchd.store.store import Transaction


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """Some workloads and what they refer to, in one state of the database.

    ``releases``, ``assets`` and all ``machines`` are by id. ``attempts`` (the open one, else the
    last) and ``reports`` (without their bodies) are by workload. ``shared``: the names under which
    two MACs or more ask, with these.
    """

    now: datetime
    paused_by: str
    workloads: Sequence[Workload]
    releases: Mapping[int, Release]
    assets: Mapping[int, Asset]
    machines: Mapping[int, Machine]
    attempts: Mapping[int, Attempt]
    reports: Mapping[int, Sequence[tuple[Report, OutboxEntry]]]
    shared: Mapping[str, Collection[str]]

    @classmethod
    def of(cls, tx: Transaction, workloads: Sequence[Workload], now: datetime) -> "Picture":
        """Reads as often as there are kinds of things, however many workloads they are."""
        ids = [workload.id for workload in workloads]
        return cls(
            now=now,
            paused_by=tx.queue_paused_by(),
            workloads=workloads,
            releases=tx.releases.some({workload.release_id for workload in workloads}),
            assets=tx.assets.some({workload.asset_id for workload in workloads}),
            machines={machine.id: machine for machine in tx.machines.all()},
            attempts=tx.attempts.latest_of_workloads(ids),
            reports=tx.reports.of_workloads(ids),
            shared=tx.machines.shared_names(now - ALIVE),
        )

    def waiting_for(self) -> list[Asset]:
        """The assets of the workloads that wait, in their order."""
        waiting = (one for one in self.workloads if one.state is State.UNASSIGNED)
        return [self.assets[workload.asset_id] for workload in waiting]

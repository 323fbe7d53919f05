"""A report on its way to GitHub, with all that its issue says of it."""

from dataclasses import dataclass, replace
from typing import Self

from dispatchd.domain.event import Subjects
from dispatchd.domain.issue import Provenance
from dispatchd.domain.issue_text import redact
from dispatchd.domain.model import Attempt, Machine, OutboxEntry, Report, Workload
from dispatchd.store.store import Transaction


@dataclass(frozen=True, kw_only=True, slots=True)
class Parcel:
    """A report on its way, with the things that it is about."""

    entry: OutboxEntry
    report: Report
    known: Provenance
    workload: Workload
    machine: Machine
    attempt: Attempt

    @property
    def subjects(self) -> Subjects:
        """What history says of it."""
        return {
            "workload": self.workload,
            "machine": self.machine,
            "attempt": self.attempt,
            "report": self.report,
        }

    @property
    def repository(self) -> tuple[str, str]:
        """Owner and name."""
        owner, _, name = self.entry.report_to.partition("/")
        return owner, name

    def without(self, token: str) -> Self:
        """Return it with no token in what goes out as it came: labels, assignees, milestone."""
        report = self.report
        return replace(
            self,
            report=replace(
                report,
                labels=tuple(redact(one, token) for one in report.labels),
                assignees=tuple(redact(one, token) for one in report.assignees),
                milestone=redact(report.milestone, token),
            ),
        )


def pack(tx: Transaction, entry: OutboxEntry) -> Parcel:
    """Gather what belongs to a delivery."""
    report = tx.reports.get(entry.report_id)
    attempt = tx.attempts.get(report.attempt_id)
    workload = tx.workloads.get(attempt.workload_id)
    machine = tx.machines.get(attempt.machine_id)
    known = Provenance(
        workload=workload.label,
        release=tx.releases.get(workload.release_id).name,
        sha256=tx.assets.get(workload.asset_id).sha256,
        machine=machine.name,
        attempt=attempt.number,
        assigned_at=attempt.assigned_at,
        booted_at=attempt.booted_at,
        received_at=report.received_at,
        late=report.late,
    )
    return Parcel(
        entry=entry,
        report=report,
        known=known,
        workload=workload,
        machine=machine,
        attempt=attempt,
    )

"""Whether a report goes to GitHub."""

from dispatchd.domain.model import Delivery, Machine, OutboxEntry, Report, Workload
from dispatchd.services.dispatcher.unit import Unit


def delivery(unit: Unit, report: Report, workload: Workload, machine: Machine) -> OutboxEntry:
    """The report's way: to GitHub, or it stays here."""
    release = unit.tx.releases.get(workload.release_id)
    files = release.filing and release.report_to and not machine.simulated
    return OutboxEntry(
        report_id=report.id,
        state=Delivery.PENDING if files else Delivery.KEPT,
        report_to=release.report_to if files else "",
        next_at=unit.now,
    )

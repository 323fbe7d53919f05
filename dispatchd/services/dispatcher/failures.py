"""A workload that failed in silence becomes a report of its own, where that is asked for."""

import uuid

from dispatchd.domain.event import Kind
from dispatchd.domain.failure import LABEL, Try, compose_failure
from dispatchd.domain.model import Machine, Report, Workload
from dispatchd.services.dispatcher.deliveries import delivery
from dispatchd.services.dispatcher.unit import Context, Unit


def report_failure(context: Context, unit: Unit, workload: Workload, machine: Machine) -> None:
    """Report that the workload failed, once per run of it; in the transaction that ends it.

    ``machine`` had the last try.
    """
    tx = unit.tx
    release = tx.releases.get(workload.release_id)
    if not (context.policy.report_failures or release.report_failures):
        return
    if tx.reports.failure_on_file(workload.id, workload.run):
        return
    attempts = [
        attempt
        for attempt in tx.attempts.of_workload(workload.id)
        if attempt.run == workload.run and attempt.outcome is not None and attempt.outcome.is_try
    ]
    title, body = compose_failure(
        workload.label,
        release.name,
        [
            Try(
                machine=tx.machines.get(attempt.machine_id).name,
                outcome=str(attempt.outcome),
                assigned_at=attempt.assigned_at,
                booted_at=attempt.booted_at,
                ended_at=attempt.ended_at,
            )
            for attempt in attempts
        ],
    )
    report = Report(
        id=str(uuid.uuid4()),
        attempt_id=attempts[-1].id,
        content_hash=f"failure of run {workload.run}",
        title=title,
        body=body,
        labels=(LABEL,),
        assignees=(),
        milestone="",
        received_at=unit.now,
        late=False,
        failure=True,
    )
    tx.reports.insert(report, delivery(unit, report, workload, machine))
    unit.tell(
        Kind.FAILURE_REPORTED,
        f"{workload.label}: its failure is reported",
        workload=workload,
        machine=machine,
        attempt=attempts[-1],
        report=report,
    )

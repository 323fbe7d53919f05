"""A workload that fails in silence becomes a report of its own, where that is asked for."""

from pathlib import Path

import pytest

from dispatchd.domain.failure import LABEL
from dispatchd.domain.lifecycle import Deadlines
from dispatchd.domain.model import Delivery, OutboxEntry, Report, State
from dispatchd.services.dispatcher.unit import Policy
from tests.dispatcher.lab import Lab, PlayedMachine


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path, Policy(deadlines=Deadlines(), report_failures=True))


def reports(lab: Lab) -> list[tuple[Report, OutboxEntry]]:
    with lab.store.reading() as tx:
        return [(tx.reports.get(report.id), entry) for report, entry in tx.reports.latest(100)]


def fail(lab: Lab, workload_id: int, machine: PlayedMachine) -> None:
    """Let every try of the workload end without a report."""
    while lab.state(workload_id) is not State.FAILED:
        machine.download()
        lab.later(601)


def test_a_workload_that_failed_is_reported_with_its_tries_and_without_addresses(lab: Lab) -> None:
    (workload_id,) = lab.load("host-a.efi")
    fail(lab, workload_id, PlayedMachine(lab, name="epyc-07"))
    ((report, entry),) = reports(lab)
    assert report.title == "host-a.efi failed: no boot"
    assert report.labels == (LABEL,)
    assert report.body.count("| epyc-07 |") == 2
    assert "10.0.0.7" not in report.title + report.body
    assert entry.state is Delivery.PENDING
    assert lab.state(workload_id) is State.FAILED


def test_nothing_is_reported_unless_it_is_asked_for(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    silent, loud = lab.load("host-a.efi"), lab.load("host-b.efi")
    with lab.store.writing() as tx:
        tx.releases.update(lab.workload(loud[0]).release_id, report_failures=True)
    machine = PlayedMachine(lab, name="epyc-07")
    fail(lab, silent[0], machine)
    fail(lab, loud[0], machine)
    assert [report.title for report, _ in reports(lab)] == ["host-b.efi failed: no boot"]


def test_a_workload_that_a_person_stopped_or_unloaded_is_not_reported(lab: Lab) -> None:
    cancelled, unloaded = lab.load("host-a.efi", "host-b.efi")
    machine = PlayedMachine(lab, name="epyc-07")
    machine.download()
    lab.operator.cancel(cancelled, by="alice")
    machine.download()
    with lab.store.writing() as tx:
        release = tx.releases.get(lab.workload(unloaded).release_id)
        tx.releases.unload(release, lab.clock.now())
    lab.later(601)
    assert lab.state(unloaded) is State.FAILED
    assert reports(lab) == []


def test_a_late_report_is_filed_as_well_and_the_failure_is_no_result(lab: Lab) -> None:
    (workload_id,) = lab.load("host-a.efi")
    machine = PlayedMachine(lab, name="epyc-07")
    fail(lab, workload_id, machine)
    machine.report("ubuntu 25.10")
    assert lab.state(workload_id) is State.REPORTED
    assert {(report.title, report.late) for report, _ in reports(lab)} == {
        ("host-a.efi failed: no boot", False),
        ("ubuntu 25.10", True),
    }


def test_one_run_is_reported_once_however_often_it_ends(lab: Lab) -> None:
    (workload_id,) = lab.load("host-a.efi")
    machine = PlayedMachine(lab, name="epyc-07")
    fail(lab, workload_id, machine)
    machine.boot()
    assert lab.state(workload_id) is State.BOOTING
    lab.later(3601)
    assert lab.state(workload_id) is State.FAILED
    assert len(reports(lab)) == 1
    lab.operator.retry(workload_id, on=None, by="alice")
    fail(lab, workload_id, machine)
    assert len(reports(lab)) == 2


def test_a_simulated_machines_failure_is_never_filed(lab: Lab) -> None:
    (workload_id,) = lab.load("host-a.efi", local=True)
    lab.operator.change_machine("sim-1", name=None, pool=None, note=None, simulated=True, by="a")
    fail(lab, workload_id, PlayedMachine(lab, name="sim-1"))
    ((_, entry),) = reports(lab)
    assert (entry.state, entry.report_to) == (Delivery.KEPT, "")


def test_a_try_that_was_given_back_is_no_failure(tmp_path: Path) -> None:
    policy = Policy(deadlines=Deadlines(), report_failures=True, max_tries=1)
    lab = Lab(tmp_path, policy)
    ids = lab.load("host-a.efi", "host-b.efi", "host-c.efi", "host-d.efi")
    PlayedMachine(lab, name="epyc-01", address="10.0.0.1").head()
    bad = PlayedMachine(lab, name="epyc-07")
    for _ in range(3):
        bad.download()
        bad.boot()
    bad.head()
    assert lab.overview.machines().machines[1].held
    assert [lab.state(one) for one in ids].count(State.FAILED) == 0
    assert len(reports(lab)) == 2

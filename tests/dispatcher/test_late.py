"""Beacons that speak after we gave their attempt up, and people who came in between."""

from dispatchd.domain.model import Arrival, State
from tests.dispatcher.lab import Lab, machine


def test_a_late_boot_takes_the_attempt_up_again(lab: Lab) -> None:
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    epyc.download()
    lab.later(600)
    assert lab.workload(only).tries == 1
    assert epyc.boot() == "a.efi"
    assert lab.state(only) is State.BOOTING
    assert lab.workload(only).tries == 0


def test_a_late_report_puts_right_a_failed_workload_and_is_marked(lab: Lab) -> None:
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    epyc.download()
    lab.later(600)
    assert epyc.report() == "a.efi"
    assert lab.state(only) is State.REPORTED
    (row,) = lab.overview.status().workloads
    assert row.reports[0].late


def test_a_late_report_of_a_cancelled_workload_is_filed_and_moves_nothing(lab: Lab) -> None:
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    epyc.download()
    lab.operator.cancel(only, by="alice")
    assert epyc.report() == "a.efi"
    assert lab.workload(only).reason == "cancelled by alice"
    with lab.store.reading() as tx:
        assert len(tx.outbox.due(lab.clock.now(), 10)) == 1


def test_a_late_report_counts_when_the_run_on_another_machine_ends_without_one(lab: Lab) -> None:
    (only,) = lab.load("a.efi")
    slow, other = machine(lab, 1), machine(lab, 2)
    slow.download()
    lab.later(600)
    other.download()
    slow.report()
    assert lab.state(only) is State.DOWNLOADING
    lab.settle_outbox()
    other.boot()
    assert other.download().handed == "poweroff.efi"
    lab.later(0)
    assert lab.state(only) is State.FINISHED


def test_a_late_boot_of_a_workload_that_another_machine_runs_changes_nothing(lab: Lab) -> None:
    (only,) = lab.load("a.efi")
    slow, other = machine(lab, 1), machine(lab, 2)
    slow.download()
    lab.later(600)
    other.download()
    assert slow.boot() == "a.efi"
    assert lab.state(only) is State.DOWNLOADING
    other.boot()
    assert lab.state(only) is State.BOOTING


def test_status_says_what_runs_although_a_later_attempt_has_ended(lab: Lab) -> None:
    lab.load("a.efi")
    slow, other = machine(lab, 1), machine(lab, 2)
    slow.download()
    lab.later(600)
    other.head()
    lab.later(300)
    slow.boot()
    (row,) = lab.overview.status().workloads
    assert (row.state, row.machine) == ("booting", "10.0.0.1")
    assert row.until is not None
    assert row.why == "its beacon spoke on 10.0.0.1; no report yet"


def test_a_late_boot_outweighs_an_ask_that_took_no_byte(lab: Lab) -> None:
    first, second = lab.load("a.efi", "b.efi")
    epyc = machine(lab)
    epyc.download()
    lab.later(600)
    assert epyc.head().handed == "b.efi"
    assert epyc.boot() == "a.efi"
    assert lab.state(first) is State.BOOTING
    assert lab.state(second) is State.UNASSIGNED
    assert lab.workload(second).tries == 0


def test_a_late_boot_after_others_used_up_all_tries_is_the_last_of_them(lab: Lab) -> None:
    (only,) = lab.load("a.efi")
    slow, other = machine(lab, 1), machine(lab, 2)
    lab.missing.add(slow.download().sha256)
    assert slow.head().handed == "wait.efi"
    lab.fetch()
    for _ in range(2):
        other.download()
        other.boot()
    other.head()
    assert (lab.state(only), lab.workload(only).tries) == (State.FAILED, 2)
    slow.boot()
    assert (lab.state(only), lab.workload(only).tries) == (State.BOOTING, 1)
    lab.later(3600)
    assert (lab.state(only), lab.workload(only).tries) == (State.FAILED, 2)


def test_what_is_withdrawn_while_it_runs_is_not_queued_again(lab: Lab) -> None:
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    epyc.download()
    epyc.boot()
    with lab.store.writing() as tx:
        asset_id = tx.workloads.get(only).asset_id
        tx.assets.update(asset_id, arrival=Arrival.GONE, reason="gone from GitHub")
    lab.later(3600)
    assert lab.state(only) is State.FAILED
    assert lab.workload(only).reason == "withdrawn: gone from GitHub"
    assert epyc.head().handed == "poweroff.efi"


def test_a_late_boot_of_a_retried_workload_belongs_to_the_run_before(lab: Lab) -> None:
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    epyc.download()
    lab.operator.cancel(only, by="alice")
    lab.operator.retry(only, on=None, by="alice")
    assert epyc.boot() == "a.efi"
    assert lab.state(only) is State.UNASSIGNED
    epyc.report()
    assert lab.state(only) is State.UNASSIGNED
    assert lab.overview.status().workloads[0].reports[0].late


def test_a_report_after_its_workload_finished_is_filed_as_well(lab: Lab) -> None:
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    epyc.download()
    epyc.report("one")
    lab.settle_outbox()
    lab.later(30)
    assert lab.state(only) is State.FINISHED
    epyc.report("two")
    assert lab.state(only) is State.REPORTED
    lab.settle_outbox()
    lab.later(0)
    assert lab.state(only) is State.FINISHED


def test_nothing_is_late_for_ever(lab: Lab) -> None:
    lab.load("a.efi")
    epyc = machine(lab)
    epyc.download()
    lab.later(600)
    lab.later(86400)
    assert epyc.boot() == epyc.report() == ""


def test_a_get_after_its_workload_was_cancelled_gives_bytes_that_may_report(lab: Lab) -> None:
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    announced = epyc.head()
    lab.operator.cancel(only, by="alice")
    assert epyc.get().sha256 == announced.sha256
    assert epyc.boot() == epyc.report() == "a.efi"
    assert lab.workload(only).reason == "cancelled by alice"


def test_a_download_that_is_resumed_after_we_gave_it_up_boots_after_all(lab: Lab) -> None:
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    epyc.head()
    epyc.get(whole=False)
    lab.later(300)
    assert lab.workload(only).reason == "download stalled"
    offer = lab.asks.resume(epyc.caller)
    assert offer.attempt_id is not None
    lab.observations.first_byte(offer.attempt_id, epyc.caller)
    lab.observations.whole(offer.attempt_id)
    lab.observations.flush()
    assert lab.state(only) is State.UNASSIGNED
    assert epyc.boot() == "a.efi"
    assert lab.state(only) is State.BOOTING
    assert lab.workload(only).tries == 0


def test_a_late_report_lets_a_held_machine_go_on(lab: Lab) -> None:
    lab.load("a.efi", "b.efi", "c.efi", "d.efi")
    machine(lab, 1).download()
    slow = machine(lab, 2, name="slow")
    for _ in range(3):
        slow.download()
        lab.later(600)
    assert slow.head().handed == "wait.efi"
    assert slow.report() == "d.efi"
    assert slow.head().handed == "a.efi"


def test_a_workload_of_an_unloaded_release_is_put_right_too(lab: Lab) -> None:
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    epyc.download()
    with lab.store.writing() as tx:
        tx.releases.unload(tx.releases.get(1), lab.clock.now())
    lab.later(600)
    assert lab.workload(only).reason == "unloaded while it ran"
    epyc.report()
    assert lab.state(only) is State.REPORTED

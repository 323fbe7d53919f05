"""The queue's rules, row by row, on a real database."""

from pathlib import Path

import pytest

from dispatchd.domain.event import Event, Kind
from dispatchd.domain.model import Arrival, State
from dispatchd.errors import Conflict
from dispatchd.services.dispatcher.unit import Policy
from tests.dispatcher.lab import Lab, machine


def test_a_machine_runs_every_workload_once_and_is_switched_off(lab: Lab) -> None:
    first, second = lab.load("a.efi", "b.efi")
    epyc = machine(lab)
    assert epyc.download().handed == "a.efi"
    assert lab.state(first) is State.DOWNLOADING
    assert epyc.boot() == "a.efi"
    assert lab.state(first) is State.BOOTING
    assert epyc.report("one") == "a.efi"
    assert epyc.report("two") == "a.efi"
    assert lab.state(first) is State.REPORTED
    assert epyc.download().handed == "b.efi"
    epyc.boot()
    epyc.report()
    assert epyc.download().handed == "poweroff.efi"
    lab.settle_outbox()
    lab.later(0)
    assert lab.state(first) is lab.state(second) is State.FINISHED


def test_a_head_alone_assigns_and_asking_again_gives_the_same_bytes(lab: Lab) -> None:
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    announced = epyc.head()
    assert lab.state(only) is State.ASSIGNED
    assert epyc.head().sha256 == announced.sha256
    assert epyc.get().sha256 == announced.sha256
    assert epyc.head().sha256 == announced.sha256


def test_two_machines_never_run_the_same_workload(lab: Lab) -> None:
    lab.load("a.efi", "b.efi")
    assert machine(lab, 1).head().handed == "a.efi"
    assert machine(lab, 2).head().handed == "b.efi"


def test_a_get_gives_what_its_head_announced_although_it_was_cancelled(lab: Lab) -> None:
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    announced = epyc.head()
    lab.operator.cancel(only, by="alice")
    lab.restart()
    lab.clock.advance(100)
    assert epyc.get().sha256 == announced.sha256
    lab.clock.advance(21)
    assert epyc.get().handed == "poweroff.efi"


def test_a_get_without_a_head_is_an_ask(lab: Lab) -> None:
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    assert epyc.get(send=False).handed == "a.efi"
    assert lab.state(only) is State.ASSIGNED


def test_a_range_get_never_asks(lab: Lab) -> None:
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    assert lab.asks.resume(epyc.caller).status == 404
    assert lab.state(only) is State.UNASSIGNED
    announced = epyc.head()
    lab.clock.advance(1000)
    assert lab.asks.resume(epyc.caller).sha256 == announced.sha256


def test_rebooting_without_a_report_costs_a_try_and_two_fail_it(lab: Lab) -> None:
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    for _ in range(2):
        epyc.download()
        epyc.boot()
    assert epyc.download().handed == "poweroff.efi"
    assert lab.state(only) is State.FAILED
    assert lab.workload(only).reason == (
        "10.0.0.7: rebooted without a report; 10.0.0.7: rebooted without a report"
    )


def test_a_workload_that_failed_once_waits_behind_those_not_tried(lab: Lab) -> None:
    lab.load("a.efi", "b.efi")
    epyc = machine(lab)
    epyc.download()
    epyc.boot()
    assert epyc.download().handed == "b.efi"


def test_asking_more_than_a_minute_after_the_last_byte_means_it_did_not_boot(lab: Lab) -> None:
    first, _ = lab.load("a.efi", "b.efi")
    epyc = machine(lab)
    epyc.download()
    lab.clock.advance(59)
    assert epyc.download().handed == "a.efi"
    lab.clock.advance(2)
    assert epyc.download().handed == "b.efi"
    assert lab.workload(first).reason == "did not boot"


def test_the_sixth_ask_since_the_last_byte_means_it_did_not_boot(lab: Lab) -> None:
    lab.load("a.efi", "b.efi")
    epyc = machine(lab)
    epyc.download()
    assert [epyc.head().handed for _ in range(6)] == ["a.efi"] * 5 + ["b.efi"]


def test_an_ask_counts_from_a_last_byte_that_is_not_written_down_yet(lab: Lab) -> None:
    only, _ = lab.load("a.efi", "b.efi")
    epyc = machine(lab)
    offer = epyc.get(whole=False)
    assert offer.attempt_id is not None
    lab.phases.progress(offer.attempt_id, offer.size)
    lab.observations.whole(offer.attempt_id)
    assert [epyc.head().handed for _ in range(6)] == ["a.efi"] * 5 + ["b.efi"]
    lab.observations.flush()
    assert lab.workload(only).reason == "did not boot"
    with lab.store.reading() as tx:
        told = [event.kind for event in tx.events.of_workload(only, 100)]
    assert told.count(Kind.WHOLE) == 1


def test_the_sixth_ask_of_a_download_that_never_ended_ends_it(lab: Lab) -> None:
    first, _ = lab.load("a.efi", "b.efi")
    epyc = machine(lab)
    asked = []
    for _ in range(6):
        asked.append(epyc.head().handed)
        epyc.get(whole=False)
    assert asked == ["a.efi"] * 5 + ["b.efi"]
    assert lab.workload(first).reason == "download keeps failing"


def test_asking_for_the_size_only_lapses_without_a_try(lab: Lab) -> None:
    first, second = lab.load("a.efi", "b.efi")
    epyc = machine(lab)
    handed = []
    for _ in range(6):
        handed.append(epyc.head().handed)
        lab.later(300)
    assert handed == ["a.efi", "b.efi"] * 3
    assert lab.workload(first).tries == lab.workload(second).tries == 0
    assert epyc.head().handed == "poweroff.efi"
    assert "too little memory?" in lab.overview.workload(first).why
    assert machine(lab, 8).head().handed == "a.efi"


def test_the_same_report_again_is_kept_once(lab: Lab) -> None:
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    epyc.download()
    assert epyc.report("one") == epyc.report("one") == "a.efi"
    with lab.store.reading() as tx:
        assert len(tx.reports.of_workloads([only])[only]) == 1


def test_a_report_without_a_boot_is_taken(lab: Lab) -> None:
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    epyc.download()
    epyc.report()
    assert lab.state(only) is State.REPORTED


def test_events_tell_workloads_as_they_are_after_them(tmp_path: Path) -> None:
    events: list[Event] = []
    lab = Lab(tmp_path, listeners=[events.append])
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    epyc.download()
    stray = lab.beacons.keep_unclaimed(
        epyc.caller, answer=400, reason="no JSON", title="", body=b"all well"
    )
    lab.operator.claim(stray, only, by="alice")
    lab.settle_outbox()
    lab.later(30)
    told = [(event.kind, event.workload.state) for event in events if event.workload]
    assert told[-3:] == [
        (Kind.REPORTED, State.REPORTED),
        (Kind.CLAIMED, State.REPORTED),
        (Kind.FINISHED, State.FINISHED),
    ]


def test_a_finished_workload_runs_again_when_asked_to(lab: Lab) -> None:
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    epyc.download()
    epyc.report()
    lab.settle_outbox()
    lab.later(30)
    with pytest.raises(Conflict):
        lab.operator.cancel(only, by="alice")
    lab.operator.retry(only, on=None, by="alice")
    assert epyc.download().handed == "a.efi"
    with pytest.raises(Conflict):
        lab.operator.retry(only, on=None, by="alice")


def test_pools_and_pins_are_kept(lab: Lab) -> None:
    lab.load("a.efi", pools=("7003", "9004"))
    lab.operator.change_machine("old", name=None, pool="7003", note=None, simulated=None, by="al")
    pin = lab.operator.change_machine(
        "pin", name=None, pool=None, note=None, simulated=None, by="al"
    )
    lab.load("p.efi", pinned_to=pin)
    assert machine(lab, 1, name="old").head().handed == "a.efi@7003"
    assert machine(lab, 2, name="stranger").head().handed == "wait.efi"
    assert machine(lab, 3, name="pin").head().handed == "p.efi"


def test_a_workload_that_is_pinned_to_a_machine_of_another_pool_says_so(lab: Lab) -> None:
    pin = lab.operator.change_machine(
        "epyc", name=None, pool="7003", note=None, simulated=None, by="al"
    )
    lab.load("a.efi", pools=("9004",), pinned_to=pin)
    assert machine(lab, name="epyc").head().handed == "poweroff.efi"
    (row,) = lab.overview.status().workloads
    assert row.why == (
        "is for epyc, which is not of pool 9004 (dispatchctl machines set epyc pool=9004)"
    )


def test_only_known_machines_are_served_where_the_settings_say_so(tmp_path: Path) -> None:
    lab = Lab(tmp_path, Policy(only_known=True))
    lab.load("a.efi")
    assert machine(lab, 1).head().status == 404
    lab.operator.change_machine("epyc", name=None, pool=None, note=None, simulated=None, by="al")
    assert machine(lab, 2, name="epyc").head().handed == "a.efi"


def test_bytes_that_left_the_cache_are_fetched_again_and_something_else_is_served(
    lab: Lab,
) -> None:
    first, _ = lab.load("a.efi", "b.efi")
    with lab.store.reading() as tx:
        asset = tx.assets.get(lab.workload(first).asset_id)
    lab.missing.add(asset.sha256)
    assert machine(lab).head().handed == "b.efi"
    with lab.store.reading() as tx:
        assert tx.assets.get(asset.id).arrival is Arrival.ARRIVING


def test_a_simulated_machine_runs_local_workloads_only_and_its_reports_stay_here(
    lab: Lab,
) -> None:
    lab.load("github.efi")
    (local,) = lab.load("local.efi", local=True)
    lab.operator.change_machine("sim-1", name=None, pool=None, note=None, simulated=True, by="al")
    simulated = machine(lab, name="sim-1")
    assert simulated.download().handed == "local.efi"
    simulated.report()
    (row,) = [row for row in lab.overview.status().workloads if row.id == local]
    assert row.reports[0].state == "kept"
    assert simulated.download().handed == "poweroff.efi"

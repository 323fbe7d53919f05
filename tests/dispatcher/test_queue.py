"""The queue's rules, row by row, on a real database."""

from pathlib import Path

import pytest

from dispatchd.domain.lifecycle import Deadlines
from dispatchd.domain.model import Arrival, State
from dispatchd.errors import Conflict
from dispatchd.services.dispatcher.unit import Policy
from tests.dispatcher.lab import Lab, PlayedMachine


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def machine(lab: Lab, number: int = 7, **known: str) -> PlayedMachine:
    return PlayedMachine(lab, address=f"10.0.0.{number}", **known)


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


def test_the_sixth_ask_of_a_download_that_never_ended_ends_it(lab: Lab) -> None:
    first, _ = lab.load("a.efi", "b.efi")
    epyc = machine(lab)
    asked = []
    for _ in range(6):
        asked.append(epyc.head().handed)
        epyc.get(whole=False)
    assert asked == ["a.efi"] * 5 + ["b.efi"]
    assert lab.workload(first).reason == "download keeps failing"


@pytest.mark.parametrize(
    ("steps", "seconds", "reason"),
    [
        ("download", 300, "download stalled"),
        ("whole", 600, "no boot"),
        ("boot", 3600, "no report"),
    ],
)
def test_a_deadline_ends_the_attempt_though_nobody_asks(
    lab: Lab, steps: str, seconds: int, reason: str
) -> None:
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    epyc.head()
    epyc.get(whole=steps != "download")
    if steps == "boot":
        epyc.boot()
    lab.later(seconds - 1)
    assert lab.state(only) is not State.UNASSIGNED
    lab.later(1)
    assert lab.state(only) is State.UNASSIGNED
    assert lab.workload(only).reason == reason
    assert lab.workload(only).tries == 1


def test_bytes_that_move_renew_the_deadline(lab: Lab) -> None:
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    epyc.head()
    offer = epyc.get(whole=False)
    assert offer.attempt_id is not None
    for sent in range(1, 5):
        lab.later(200)
        lab.phases.progress(offer.attempt_id, sent)
    assert lab.state(only) is State.DOWNLOADING


def test_a_restart_and_a_jump_of_the_clock_end_nothing(lab: Lab) -> None:
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    epyc.download()
    epyc.boot()
    lab.later(3000)
    lab.restart()
    lab.clock.jump(7200)
    lab.later(3000)
    lab.clock.jump(-7200)
    assert lab.state(only) is State.BOOTING
    lab.later(600)
    assert lab.state(only) is State.UNASSIGNED


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


def test_the_beacon_is_heard_from_another_address_of_the_same_mac(lab: Lab) -> None:
    (only,) = lab.load("a.efi")
    machine(lab, 57, mac="aa:00:00:00:00:01").download()
    assert machine(lab, 58, mac="aa:00:00:00:00:01").boot() == "a.efi"
    assert lab.state(only) is State.BOOTING


def test_nobodys_beacon_is_nobodys(lab: Lab) -> None:
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    assert epyc.boot() == ""
    epyc.head()
    assert epyc.boot() == ""
    assert epyc.report() == ""
    assert lab.state(only) is State.ASSIGNED


def test_a_report_after_poweroff_was_sent_is_nobodys(lab: Lab) -> None:
    lab.load("a.efi")
    epyc = machine(lab)
    epyc.download()
    epyc.report()
    epyc.download()
    assert epyc.report("stray") == ""


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


def test_a_reported_workload_finishes_half_a_minute_after_its_last_report(lab: Lab) -> None:
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    epyc.download()
    epyc.report("one")
    lab.settle_outbox()
    lab.later(29)
    epyc.report("two")
    lab.settle_outbox()
    lab.later(29)
    assert lab.state(only) is State.REPORTED
    lab.later(1)
    assert lab.state(only) is State.FINISHED


def test_a_report_that_is_not_delivered_keeps_its_workload_reported(lab: Lab) -> None:
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    epyc.download()
    epyc.report()
    lab.later(3600)
    assert lab.state(only) is State.REPORTED
    lab.settle_outbox()
    lab.later(0)
    assert lab.state(only) is State.FINISHED


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


def test_a_machine_waits_while_bytes_arrive_or_nothing_was_ever_loaded(lab: Lab) -> None:
    epyc = machine(lab)
    assert epyc.head().handed == "wait.efi"
    lab.load("a.efi", arrival=Arrival.ARRIVING)
    assert b"bytes are still arriving" in epyc.head().body


def test_as_many_machines_wait_as_attempts_may_come_back(lab: Lab) -> None:
    lab.load("a.efi")
    machine(lab, 1).download()
    assert machine(lab, 2).download().handed == "wait.efi"
    assert machine(lab, 3).download().handed == "poweroff.efi"
    assert machine(lab, 2).download().handed == "wait.efi"


def test_nobody_waits_longer_than_four_hours_and_status_says_who(lab: Lab) -> None:
    lab.load("a.efi", arrival=Arrival.ARRIVING)
    epyc = machine(lab)
    for _ in range(24):
        assert epyc.download().handed == "wait.efi"
        lab.clock.advance(600)
    assert epyc.download().handed == "poweroff.efi"
    assert any("10.0.0.7" in line for line in lab.overview.status().attention)
    lab.clock.advance(600)
    assert epyc.download().handed == "wait.efi"


def test_a_paused_queue_makes_machines_wait_and_a_paused_machine_boots_its_next_option(
    lab: Lab,
) -> None:
    lab.load("a.efi")
    epyc = machine(lab, name="epyc")
    lab.operator.pause([], paused=True, by="alice")
    assert b"queue paused by alice" in epyc.head().body
    lab.operator.pause([], paused=False, by="alice")
    lab.operator.pause(["epyc"], paused=True, by="alice")
    assert epyc.head().status == 404
    assert epyc.get().status == 404
    lab.operator.pause(["epyc"], paused=False, by="alice")
    assert epyc.head().handed == "a.efi"


@pytest.mark.parametrize(
    ("idle", "handed"), [("poweroff", "poweroff.efi"), ("wait", "wait.efi"), ("next", "nothing")]
)
def test_the_idle_setting_forces_one_answer(tmp_path: Path, idle: str, handed: str) -> None:
    lab = Lab(tmp_path, Policy(idle=idle))
    assert machine(lab).head().handed.startswith(handed)


def test_only_known_machines_are_served_where_the_settings_say_so(tmp_path: Path) -> None:
    lab = Lab(tmp_path, Policy(only_known=True))
    lab.load("a.efi")
    assert machine(lab, 1).head().status == 404
    lab.operator.change_machine("epyc", name=None, pool=None, note=None, simulated=None, by="al")
    assert machine(lab, 2, name="epyc").head().handed == "a.efi"


def test_three_bad_tries_in_a_row_hold_a_machine_and_give_the_tries_back(lab: Lab) -> None:
    ids = lab.load("a.efi", "b.efi", "c.efi", "d.efi")
    good, bad = machine(lab, 1, name="good"), machine(lab, 2, name="bad")
    good.download()
    for _ in range(3):
        bad.download()
        bad.boot()
    assert b"held" in bad.download().body
    assert [lab.workload(workload).tries for workload in ids] == [0, 0, 0, 0]
    assert any(line.startswith("bad: held") for line in lab.overview.status().attention)
    lab.operator.pause(["bad"], paused=False, by="alice")
    assert bad.head().handed == "b.efi"


def test_a_machine_alone_goes_on_however_bad(lab: Lab) -> None:
    lab.load("a.efi", "b.efi", "c.efi", "d.efi")
    bad = machine(lab)
    for _ in range(3):
        bad.download()
        bad.boot()
    assert bad.download().handed == "d.efi"


def test_two_machines_under_one_name_are_known_by_their_macs(lab: Lab) -> None:
    lab.load("a.efi", "b.efi")
    one = machine(lab, 1, name="epyc", mac="aa:00:00:00:00:01")
    two = machine(lab, 2, name="epyc", mac="aa:00:00:00:00:02")
    assert one.download().handed == "a.efi"
    assert two.download().handed == "b.efi"
    assert one.boot() == "a.efi"
    assert two.boot() == "b.efi"
    assert any("two machines ask" in line for line in lab.overview.status().attention)


def test_an_address_belongs_to_whoever_used_it_last(lab: Lab) -> None:
    lab.load("a.efi", "b.efi")
    machine(lab, 1, mac="aa:00:00:00:00:01").download()
    machine(lab, 1, mac="aa:00:00:00:00:02").download()
    assert machine(lab, 1).boot() == "b.efi"


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


def test_deadlines_can_be_set(tmp_path: Path) -> None:
    lab = Lab(tmp_path, Policy(deadlines=Deadlines(report=5)))
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    epyc.download()
    epyc.boot()
    lab.later(5)
    assert lab.workload(only).reason == "no report"

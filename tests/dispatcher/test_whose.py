"""Who asks, and whose a beacon's message is."""

from dispatchd.domain.model import State
from tests.dispatcher.lab import Lab, PlayedMachine, machine


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


def test_two_machines_under_one_name_are_known_by_their_macs(lab: Lab) -> None:
    lab.load("a.efi", "b.efi")
    one = machine(lab, 1, name="epyc", mac="aa:00:00:00:00:01")
    two = machine(lab, 2, name="epyc", mac="aa:00:00:00:00:02")
    assert one.download().handed == "a.efi"
    assert two.download().handed == "b.efi"
    assert one.boot() == "a.efi"
    assert two.boot() == "b.efi"
    assert any("two machines ask" in line for line in lab.overview.status().attention)
    assert [known.known_by for known in lab.overview.machines().machines] == ["mac", "mac"]


def test_an_address_belongs_to_whoever_used_it_last(lab: Lab) -> None:
    lab.load("a.efi", "b.efi")
    machine(lab, 1, mac="aa:00:00:00:00:01").download()
    machine(lab, 1, mac="aa:00:00:00:00:02").download()
    assert machine(lab, 1).boot() == "b.efi"


def test_a_name_that_two_machines_use_means_neither_although_no_mac_is_seen(lab: Lab) -> None:
    lab.load("a.efi", "b.efi", "c.efi")
    machine(lab, 1, name="epyc", mac="aa:00:00:00:00:01").download()
    machine(lab, 2, name="epyc", mac="aa:00:00:00:00:02").download()
    assert machine(lab, 3, name="epyc").head().handed == "c.efi"
    assert machine(lab, 4, name="epyc").boot() == ""


def test_a_beacon_from_a_port_that_never_booted_is_known_by_its_name(lab: Lab) -> None:
    lab.load("a.efi")
    machine(lab, 1, name="epyc", mac="aa:00:00:00:00:01").download()
    assert machine(lab, 9, mac="aa:00:00:00:00:09").boot() == ""
    assert machine(lab, 9, name="epyc", mac="aa:00:00:00:00:09").boot() == "a.efi"
    assert machine(lab, 8, mac="aa:00:00:00:00:09").report() == "a.efi"


def test_an_address_that_has_changed_hands_credits_nobody(lab: Lab) -> None:
    (only,) = lab.load("a.efi")
    machine(lab, 1, mac="aa:00:00:00:00:01").download()
    assert machine(lab, 1, mac="aa:00:00:00:00:02").report() == ""
    assert lab.state(only) is State.DOWNLOADING
    assert machine(lab, 2, mac="aa:00:00:00:00:01").report() == "a.efi"


def test_a_name_that_never_booted_is_not_credited_with_what_runs_at_its_address(lab: Lab) -> None:
    lab.load("a.efi")
    machine(lab, name="epyc").download()
    stranger = machine(lab, name="stranger")
    assert stranger.boot() == stranger.report() == ""
    assert machine(lab).report() == "a.efi"


def test_what_booted_without_a_name_is_credited_whatever_its_beacon_is_called(lab: Lab) -> None:
    lab.load("a.efi")
    machine(lab).download()
    assert machine(lab, name="epyc").report() == "a.efi"


def test_bytes_by_another_port_count_once_those_by_the_first_are_a_day_old(lab: Lab) -> None:
    lab.load("a.efi", "b.efi")
    first = machine(lab, 1, name="epyc", mac="aa:00:00:00:00:01")
    second = machine(lab, 2, name="epyc", mac="aa:00:00:00:00:02")
    first.download()
    first.report()
    lab.later(86400 + 30)
    lab.settle_outbox()
    lab.later(86400 + 30)
    assert second.download().handed == "b.efi"
    assert first.report("by the other port") == "b.efi"


def test_a_machine_that_was_told_to_wait_has_lost_what_it_ran(lab: Lab) -> None:
    lab.load("a.efi")
    epyc = machine(lab, mac="aa:00:00:00:00:01")
    epyc.download()
    lab.operator.pause([], paused=True, by="alice")
    lab.later(600)
    epyc.head()
    assert epyc.boot() == "a.efi"
    lab.later(3600)
    epyc.download()
    assert epyc.boot() == epyc.report() == ""


def test_what_a_machine_ran_without_a_name_ends_when_it_asks_under_one(lab: Lab) -> None:
    first, _ = lab.load("a.efi", "b.efi")
    machine(lab, mac="aa:00:00:00:00:01").download()
    named = machine(lab, mac="aa:00:00:00:00:01", name="epyc")
    lab.operator.change_machine("epyc", name=None, pool=None, note=None, simulated=None, by="al")
    named.boot()
    assert lab.state(first) is State.BOOTING
    assert named.head().handed == "b.efi"
    assert lab.workload(first).reason == "rebooted without a report"


def test_what_ran_under_a_name_ends_in_time_when_the_machine_is_given_another(lab: Lab) -> None:
    first, _ = lab.load("a.efi", "b.efi")
    machine(lab, mac="aa:00:00:00:00:01", name="old").download()
    renamed = machine(lab, mac="aa:00:00:00:00:01", name="new")
    assert renamed.download().handed == "b.efi"
    assert renamed.boot() == "b.efi"
    assert lab.state(first) is State.DOWNLOADING
    lab.later(600)
    assert lab.workload(first).reason == "no boot"


def test_a_machine_may_speak_ipv4_and_ipv6(lab: Lab) -> None:
    lab.load("a.efi")
    PlayedMachine(lab, address="2001:db8::57", mac="aa:00:00:00:00:01").download()
    assert PlayedMachine(lab, address="10.0.0.57", mac="aa:00:00:00:00:01").boot() == "a.efi"
    assert PlayedMachine(lab, address="2001:db8::57").report() == "a.efi"

"""Who is who on a real network: DHCP, two cards, IPv6, a router, addresses that change hands."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.lab import HERE, HERE_IPV6, Lab
from tests.eventually import eventually
from tests.requirements import require_programs, require_root

pytestmark = pytest.mark.root

MIB = 1 << 20
#: More than the kernel's buffers between two sockets take.
LARGE = 16 * MIB


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    require_root()
    require_programs("ip", "dnsmasq", "busybox", "sysctl")
    settings = "[deadlines]\nstalled = '3s'\ndrain = '1s'\n"
    with Lab(tmp_path, settings=settings) as lab:
        yield lab


def test_a_report_counts_though_dhcp_gives_the_system_another_address_than_the_firmware(
    lab: Lab,
) -> None:
    lab.load("a.efi", "b.efi")
    machine = lab.machine()
    pairs = []
    for image, client_id in (("a.efi", "ff0000000001"), ("b.efi", "ff0000000002")):
        firmware = machine.lease()
        assert firmware.url == "http://10.77.0.1:8080/dispatch"
        assert machine.boot() == image
        system = machine.lease(client_id=client_id)
        assert machine.report(f"of {image}") == (200, 200)
        pairs.append((firmware.address, system.address))
    # dnsmasq lets the first system have the firmware's lease; the next one cannot have it too.
    assert pairs[1][0] != pairs[1][1]
    assert lab.credits() == {"of a.efi": "a.efi", "of b.efi": "b.efi"}
    (known,) = lab.known()
    assert (known["known_by"], known["macs"]) == ("mac", [machine.mac()])


def test_a_report_over_a_card_that_did_not_boot_counts_where_the_path_has_the_name(
    lab: Lab,
) -> None:
    lab.load("a.efi")
    machine = lab.machine("eth0", "eth1")
    machine.lease("eth0")
    assert machine.boot("epyc-07") == "a.efi"
    machine.namespace.ip("link", "set", "eth0", "down")
    machine.lease("eth1", client_id="ff0000000001")
    assert machine.report("no name") == (417, 417)
    assert machine.report("with its name", "epyc-07") == (200, 200)
    # By now the second card is the machine's, too.
    assert machine.report("no name again") == (200, 200)
    assert lab.credits() == {"no name": "", "with its name": "a.efi", "no name again": "a.efi"}
    assert any("1 unclaimed report," in line for line in lab.daemon.status()["attention"])
    (known,) = lab.known()
    assert known["macs"] == [machine.mac("eth0"), machine.mac("eth1")]


@pytest.mark.parametrize("scope", ["global", "link"])
def test_a_machine_without_ipv4_boots_and_reports_and_is_known_by_its_mac(
    lab: Lab, scope: str
) -> None:
    lab.load("a.efi")
    machine = lab.machine()
    (address,) = eventually(lambda: machine.namespace.ipv6("eth0", scope=scope))
    (link_local,) = lab.here.ipv6("lab0", scope="link")
    to = HERE_IPV6 if scope == "global" else f"{link_local}%eth0"
    assert machine.boot(to=to) == "a.efi"
    assert lab.states() == {"a.efi": "downloading"}
    assert machine.report("over IPv6", to=to) == (200, 200)
    assert lab.credits() == {"over IPv6": "a.efi"}
    (known,) = lab.known()
    zone = "" if scope == "global" else "%lab0"
    assert known["addresses"] == [f"{address}{zone}"]
    assert (known["known_by"], known["macs"]) == ("mac", [machine.mac()])


def test_ipv4_and_ipv6_of_one_card_are_one_machine(lab: Lab) -> None:
    lab.load("a.efi", "b.efi")
    machine = lab.machine()
    lease = machine.lease()
    (address,) = eventually(lambda: machine.namespace.ipv6("eth0"))
    # Firmware tries IPv4 first: what it was announced there, it takes over IPv6.
    announced = machine.connect(to=HERE).head()
    assert machine.connect(to=HERE_IPV6).head() == announced
    assert machine.boot(to=HERE_IPV6) == "a.efi"
    assert machine.report("over IPv4", to=HERE) == (200, 200)
    assert machine.report("over IPv6", to=HERE_IPV6) == (200, 200)
    assert lab.credits() == {"over IPv4": "a.efi", "over IPv6": "a.efi"}
    (known,) = lab.known()
    assert set(known["addresses"]) == {lease.address, address}


def test_two_machines_under_a_copied_name_run_their_own_workloads_and_status_says_so(
    lab: Lab,
) -> None:
    lab.load("a.efi", "b.efi")
    original, copy = lab.machine(), lab.machine()
    for machine, image in ((original, "a.efi"), (copy, "b.efi")):
        machine.lease()
        assert machine.boot("epyc-07") == image
    for machine, image in ((original, "a.efi"), (copy, "b.efi")):
        machine.lease(client_id="ff0000000001")
        assert machine.report(f"of {image}", "epyc-07") == (200, 200)
    assert lab.credits() == {"of a.efi": "a.efi", "of b.efi": "b.efi"}
    assert [(one["known_by"], one["macs"]) for one in lab.known()] == [
        ("mac", [copy.mac()]),
        ("mac", [original.mac()]),
    ]
    macs = f"{original.mac()}, {copy.mac()}"
    attention = lab.daemon.status()["attention"]
    assert any(f"two machines ask under this name ({macs})" in line for line in attention)


def test_a_machine_that_vanishes_while_bytes_flow_costs_nobody_else_and_its_workload_goes_on(
    lab: Lab,
) -> None:
    lab.load("a.efi", "b.efi", size=LARGE)
    gone, other = lab.machine(), lab.machine()
    gone.lease()
    other.lease()
    download = gone.connect()
    assert download.begin().status == 200
    gone.unplug()
    download.close()
    assert other.boot() == "b.efi"
    assert other.report("of b.efi") == (200, 200)
    eventually(lambda: lab.states()["a.efi"] == "unassigned")
    assert "download stalled" in lab.daemon.ctl("show", "a.efi")
    assert other.boot() == "a.efi"
    gone.plug()
    gone.lease()
    # All that is left is in flight on the other machine, and may come back.
    assert gone.connect().download().startswith(b"MZ")
    assert lab.states()["a.efi"] == "downloading"
    assert other.report("of a.efi") == (200, 200)
    assert lab.credits() == {"of a.efi": "a.efi", "of b.efi": "b.efi"}


def test_a_machine_whose_cable_was_out_takes_the_rest_and_its_beacon_is_heard(lab: Lab) -> None:
    lab.load("a.efi", size=LARGE)
    machine = lab.machine()
    machine.lease()
    answer = machine.connect().begin()
    machine.unplug()
    eventually(lambda: lab.states() == {"a.efi": "unassigned"})
    machine.plug()
    assert len(answer.read()) == LARGE - 1
    assert machine.report("after all") == (200, 200)
    assert lab.credits() == {"after all": "a.efi"}
    assert lab.states() == {"a.efi": "reported"}


def test_an_address_that_changes_hands_takes_no_credit_with_it(lab: Lab) -> None:
    lab.load("a.efi", "b.efi")
    first, second = lab.machine(), lab.machine()
    lease = first.lease()
    assert first.boot() == "a.efi"
    first.release()
    assert second.lease(wish=lease.address).address == lease.address
    assert second.report("of an old run") == (417, 417)
    assert second.boot() == "b.efi"
    assert second.report("of b.efi") == (200, 200)
    assert first.lease(client_id="ff0000000001").address != lease.address
    assert first.report("of a.efi") == (200, 200)
    assert lab.credits() == {"of an old run": "", "of a.efi": "a.efi", "of b.efi": "b.efi"}


@pytest.mark.parametrize("network", ["10.79.0", "10.77.0"], ids=["routed", "answered-for"])
def test_machines_behind_a_router_are_known_by_address_and_status_says_that_this_is_weak(
    lab: Lab, network: str
) -> None:
    lab.load("a.efi", "b.efi")
    # The second network looks as if it were on our link: the router answers ARP for its machines.
    router = lab.router(f"{network}.129/25")
    one, two = (lab.machine(behind=router) for _ in range(2))
    for number, machine in enumerate((one, two), start=201):
        machine.namespace.address("eth0", f"{network}.{number}/25")
        machine.namespace.ip("route", "add", "default", "via", f"{network}.129")
    assert (one.boot(), two.boot()) == ("a.efi", "b.efi")
    assert one.report("of a.efi") == two.report("of b.efi") == (200, 200)
    assert lab.credits() == {"of a.efi": "a.efi", "of b.efi": "b.efi"}
    known = [(each["known_by"], each["macs"], each["addresses"]) for each in lab.known()]
    assert known == [("address", [], [f"{network}.{number}"]) for number in (201, 202)]
    assert f"{network}.201 (weak)" in lab.daemon.ctl("status")

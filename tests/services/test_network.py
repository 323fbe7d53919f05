"""What we read from the kernel: in the namespace at hand, and in networks of our own."""

import logging
import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from ipaddress import ip_address

import pytest

from dispatchd.services.network import Endpoint, Interface, Neighbours, boot_urls, interfaces
from tests.e2e.netns import Cabled, Namespace, cabled
from tests.eventually import eventually
from tests.requirements import require_root

ANYWHERE = Endpoint(address=ip_address("::"), port=8080, mapped=True)


def named(name: str, found: tuple[Interface, ...]) -> Interface:
    return next(interface for interface in found if interface.name == name)


@pytest.fixture
def lab() -> Iterator[Cabled]:
    with cabled() as lab:
        yield lab


def mac_of_a_peer(lab: Cabled, listen: str, *, peer: str, as_written: str) -> str | None:
    """The MAC behind a TCP connection that ``there`` made from the address ``peer``."""
    family = socket.AF_INET6 if ":" in listen else socket.AF_INET
    with ExitStack() as stack:
        with lab.here.entered():
            listener = stack.enter_context(
                closing(socket.create_server((listen, 0), family=family))
            )
        port = listener.getsockname()[1]
        with lab.there.entered():
            caller = stack.enter_context(
                closing(socket.create_connection((listen, port), 5, source_address=(peer, 0)))
            )
        accepted = stack.enter_context(closing(listener.accept()[0]))
        assert accepted.getpeername()[:2] == caller.getsockname()[:2]
        with lab.here.entered():
            return Neighbours().mac_of(as_written)


def test_loopback_is_listed_with_its_addresses_and_prefixes() -> None:
    loopback = named("lo", interfaces())
    assert loopback.is_loopback
    assert "127.0.0.1/8" in map(str, loopback.addresses)
    assert loopback.index == socket.if_nametoindex("lo")
    assert loopback.hosts == ()


def test_every_interface_the_system_names_is_listed_once() -> None:
    found = [(interface.index, interface.name) for interface in interfaces()]
    assert found == sorted(socket.if_nameindex())


@pytest.mark.root
def test_an_interface_is_read_with_its_kind_state_and_both_families(lab: Cabled) -> None:
    lab.here.bridge("br0")
    with lab.here.entered():
        found = interfaces()
    cable = named("lab0", found)
    assert (cable.kind, cable.is_up) == ("veth", True)
    assert named("br0", found).kind == "bridge"
    assert [str(ip) for ip in cable.hosts] == ["10.77.0.1", "2001:db8:77::1"]
    assert [address.network.prefixlen for address in cable.addresses[:2]] == [24, 64]


@pytest.mark.root
def test_an_interface_whose_far_end_is_down_is_not_up(lab: Cabled) -> None:
    lab.there.ip("link", "set", "machine0", "down")
    with lab.here.entered():
        # The kernel takes note of a lost carrier within a second.
        eventually(lambda: not named("lab0", interfaces()).is_up)


@pytest.mark.root
def test_an_address_being_checked_phased_out_or_link_local_is_not_given_out(lab: Cabled) -> None:
    lab.here.ip("address", "add", "2001:db8:77::2/64", "dev", "lab0", "nodad", "preferred_lft", "0")
    lab.here.run("sysctl", "-qw", "net.ipv6.conf.lab0.dad_transmits=60")
    lab.here.ip("address", "add", "2001:db8:77::3/64", "dev", "lab0")
    lab.here.address("lab0", "169.254.7.7/16")
    with lab.here.entered():
        hosts = named("lab0", interfaces()).hosts
    assert [str(ip) for ip in hosts] == ["10.77.0.1", "2001:db8:77::1"]


@pytest.mark.parametrize(
    ("name", "is_for_guests"),
    [
        ("docker0", True),
        ("br-0123456789ab", True),
        ("veth1a2b3c", True),
        ("virbr0", True),
        ("lxcbr0", True),
        ("vnet3", True),
        ("tap0", True),
        ("flannel.1", True),
        ("eth0", False),
        ("enp1s0f0np0", False),
        ("br0", False),
        ("br-lan", False),
        ("vmbr0", False),
        ("bond0.12", False),
    ],
)
def test_what_engines_make_for_guests_is_known_by_name(name: str, is_for_guests: bool) -> None:
    interface = Interface(name=name, index=7, flags=0, kind="", addresses=())
    assert interface.is_for_guests is is_for_guests


@pytest.mark.parametrize(
    ("bound", "mapped", "address", "covered"),
    [
        ("::", True, "10.0.0.2", True),
        ("::", False, "10.0.0.2", False),
        ("::", False, "2001:db8::2", True),
        ("0.0.0.0", False, "10.0.0.2", True),
        ("0.0.0.0", False, "2001:db8::2", False),
        ("10.0.0.2", False, "10.0.0.2", True),
        ("10.0.0.2", False, "10.0.0.3", False),
        ("::ffff:10.0.0.2", False, "10.0.0.2", True),
        ("127.0.0.1", False, "10.0.0.2", False),
    ],
)
def test_an_endpoint_covers_the_addresses_that_reach_it(
    bound: str, mapped: bool, address: str, covered: bool
) -> None:
    endpoint = Endpoint(address=ip_address(bound), port=8080, mapped=mapped)
    assert endpoint.covers(ip_address(address)) is covered


def test_an_endpoint_is_read_from_its_socket_with_the_port_the_kernel_chose() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = Endpoint.of(listener)
        assert endpoint == Endpoint(
            address=ip_address("127.0.0.1"), port=listener.getsockname()[1], mapped=False
        )


@pytest.mark.parametrize("dual", [True, False])
def test_an_endpoint_knows_whether_its_wildcard_takes_both_families(dual: bool) -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=dual) as listener:
        assert Endpoint.of(listener).mapped is dual


def test_bound_to_loopback_the_boot_url_is_loopback() -> None:
    endpoint = Endpoint(address=ip_address("127.0.0.1"), port=8081)
    assert boot_urls([endpoint], "/dispatch") == ("http://127.0.0.1:8081/dispatch",)


@pytest.mark.root
def test_the_first_boot_url_is_ipv4_on_the_default_routes_interface(lab: Cabled) -> None:
    lab.here.cable("uplink", lab.there, "router0")
    lab.here.address("uplink", "10.88.0.1/24", "2001:db8:88::1/64")
    lab.here.ip("route", "add", "default", "via", "10.88.0.254")
    lab.here.cable("guest", lab.there, "guest0")
    lab.here.bridge("docker0", "guest")
    lab.here.address("docker0", "172.17.0.1/16")
    with lab.here.entered():
        assert boot_urls([ANYWHERE], "/dispatch") == (
            "http://10.88.0.1:8080/dispatch",
            "http://10.77.0.1:8080/dispatch",
            "http://[2001:db8:88::1]:8080/dispatch",
            "http://[2001:db8:77::1]:8080/dispatch",
            "http://172.17.0.1:8080/dispatch",
        )


@pytest.mark.root
def test_a_boot_url_is_named_for_each_endpoint_that_covers_the_address(lab: Cabled) -> None:
    endpoints = [
        Endpoint(address=ip_address("10.77.0.1"), port=80),
        Endpoint(address=ip_address("0.0.0.0"), port=8080),
    ]
    with lab.here.entered():
        assert boot_urls(endpoints, "/d") == ("http://10.77.0.1:80/d", "http://10.77.0.1:8080/d")


@pytest.mark.root
def test_without_a_network_the_boot_urls_are_loopback() -> None:
    require_root()
    with Namespace("alone") as alone, alone.entered():
        assert boot_urls([ANYWHERE], "/dispatch") == (
            "http://127.0.0.1:8080/dispatch",
            "http://[::1]:8080/dispatch",
        )


@pytest.mark.root
@pytest.mark.parametrize(
    ("listen", "peer", "as_written"),
    [
        ("10.77.0.1", "10.77.0.7", "10.77.0.7"),
        ("10.77.0.1", "10.77.0.7", "::ffff:10.77.0.7"),
        ("2001:db8:77::1", "2001:db8:77::7", "2001:db8:77::7"),
        ("2001:db8:77::1", "2001:db8:77::7", "2001:0DB8:77:0::7"),
    ],
)
def test_the_mac_of_a_peer_on_the_link_is_known_while_it_is_connected(
    lab: Cabled, listen: str, peer: str, as_written: str
) -> None:
    assert mac_of_a_peer(lab, listen, peer=peer, as_written=as_written) == lab.there.mac("machine0")


@pytest.mark.root
def test_a_link_local_peer_is_looked_up_on_the_link_that_its_zone_names(lab: Cabled) -> None:
    lab.here.cable("lab1", lab.there, "machine1")
    one, two = "02:00:00:00:00:01", "02:00:00:00:00:02"
    lab.here.ip("neighbour", "add", "fe80::7", "lladdr", one, "dev", "lab0")
    lab.here.ip("neighbour", "add", "fe80::7", "lladdr", two, "dev", "lab1")
    with lab.here.entered():
        neighbours = Neighbours()
        assert neighbours.mac_of("fe80::7%lab0") == one
        assert neighbours.mac_of("fe80::7%lab1") == two
        assert neighbours.mac_of(f"fe80::7%{socket.if_nametoindex('lab1')}") == two
        assert neighbours.mac_of("fe80::7%nowhere") is None


@pytest.mark.root
@pytest.mark.parametrize("state", ["permanent", "reachable", "stale", "delay", "probe"])
def test_a_mac_that_the_kernel_would_send_to_is_believed(lab: Cabled, state: str) -> None:
    mac = "02:00:00:00:00:aa"
    lab.here.ip("neighbour", "add", "10.77.0.9", "lladdr", mac, "dev", "lab0", "nud", state)
    with lab.here.entered():
        assert Neighbours().mac_of("10.77.0.9") == mac


@pytest.mark.root
def test_a_neighbour_that_failed_has_no_mac(lab: Cabled) -> None:
    lab.here.ip("neighbour", "add", "10.77.0.9", "dev", "lab0", "nud", "failed")
    with lab.here.entered():
        assert Neighbours().mac_of("10.77.0.9") is None


@pytest.mark.root
def test_the_mac_of_a_router_of_ours_is_nobodys(lab: Cabled) -> None:
    router, machine = "02:00:00:00:00:fe", "02:00:00:00:00:aa"
    for address, mac in (("10.77.0.254", router), ("10.77.0.9", router), ("10.77.0.10", machine)):
        lab.here.ip("neighbour", "add", address, "lladdr", mac, "dev", "lab0")
    with lab.here.entered():
        neighbours = Neighbours()
        assert neighbours.mac_of("10.77.0.9") == router
        lab.here.ip("route", "add", "default", "via", "10.77.0.254")
        assert neighbours.mac_of("10.77.0.9") is None
        assert neighbours.mac_of("10.77.0.10") == machine


@pytest.mark.root
def test_one_neighbour_is_found_among_a_thousand_and_no_other_is_taken_for_it(lab: Cabled) -> None:
    rows = [f"10.77.{n // 250 + 1}.{n % 250 + 1}" for n in range(1000)]
    batch = "".join(
        f"neighbour add {address} lladdr 02:00:00:00:{n // 256:02x}:{n % 256:02x} dev lab0\n"
        for n, address in enumerate(rows)
    )
    lab.here.run("sh", "-c", f"printf '%s' '{batch}' | ip -batch -")
    with lab.here.entered():
        neighbours = Neighbours()
        assert neighbours.mac_of(rows[0]) == "02:00:00:00:00:00"
        assert neighbours.mac_of(rows[777]) == "02:00:00:00:03:09"
        assert neighbours.mac_of("10.77.9.9") is None


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "", "not an address", "10.0.0.256", "\0"]
)
def test_what_is_no_neighbour_has_no_mac(address: str) -> None:
    assert Neighbours().mac_of(address) is None


def test_out_of_descriptors_nobody_has_a_mac_and_one_warning_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    neighbours = Neighbours()
    with closing(socket.socket()) as last:
        resource.setrlimit(resource.RLIMIT_NOFILE, (last.fileno(), hard))
        try:
            answers = [neighbours.mac_of("192.0.2.77") for _ in range(3)]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert answers == [None, None, None]
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.name for record in warnings] == ["dispatchd.services.network"]
    assert "Too many open files" in warnings[0].getMessage()


@pytest.mark.root
def test_many_threads_ask_at_once_and_each_gets_its_own_answer(lab: Cabled) -> None:
    macs = {f"10.77.0.{n}": f"02:00:00:00:00:{n:02x}" for n in range(20, 40)}
    for address, mac in macs.items():
        lab.here.ip("neighbour", "add", address, "lladdr", mac, "dev", "lab0")
    neighbours, answers = Neighbours(), dict[str, set[str | None]]()

    def ask(address: str) -> None:
        answers[address] = {neighbours.mac_of(address) for _ in range(50)}

    with lab.here.entered():
        threads = [threading.Thread(target=ask, args=(address,)) for address in macs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == {address: {mac} for address, mac in macs.items()}

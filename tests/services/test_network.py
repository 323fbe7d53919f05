"""What we read from the kernel: in the namespace at hand, and in networks of our own."""

import socket
from ipaddress import ip_address

import pytest

from dispatchd.services.network import Endpoint, Interface, boot_urls, interfaces
from tests.e2e.netns import Cabled, Namespace
from tests.eventually import eventually
from tests.requirements import require_root

ANYWHERE = Endpoint(address=ip_address("::"), port=8080, mapped=True)


def named(name: str, found: tuple[Interface, ...]) -> Interface:
    return next(interface for interface in found if interface.name == name)


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

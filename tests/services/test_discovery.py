"""Announcements as a neighbour on the link hears them, in networks of our own."""

import logging
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from ipaddress import ip_address

import pytest
from zeroconf import ServiceInfo, Zeroconf

from dispatchd.services.discovery import SERVICE, Discovery
from dispatchd.services.network import Interface
from tests.e2e.netns import Cabled, Namespace, cabled
from tests.eventually import eventually
from tests.requirements import require_root

#: RFC 1035, section 4.1: one question for the service's PTR records, and the bit that asks for a
#: unicast answer (RFC 6762, section 5.4).
_QUESTION = (
    struct.pack("!6H", 0, 0, 1, 0, 0, 0)
    + b"\x09_dispatch\x04_tcp\x05local\x00"
    + struct.pack("!2H", 12, 0x8001)
)


@pytest.fixture
def lab() -> Iterator[Cabled]:
    """``here`` also has other0 (10.78.0.1) and docker0 (172.17.0.1), which lead to machine1 and
    guest0."""
    with cabled() as lab:
        here, there = lab.here, lab.there
        here.cable("other0", there, "machine1")
        here.cable("port0", there, "guest0")
        here.bridge("docker0", "port0")
        here.address("other0", "10.78.0.1/24")
        here.address("docker0", "172.17.0.1/16")
        there.address("machine1", "10.78.0.7/24")
        there.address("guest0", "172.17.0.7/16")
        yield lab


def discovery(**settings: object) -> Discovery:
    return Discovery(
        **{"port": 8080, "path": "/dispatch", "version": "1.2.3", "interval": 0.05} | settings  # type: ignore[arg-type]
    )


def announces(found: Discovery, **links: tuple[str, ...]) -> None:
    eventually(lambda: found.announced == links)


class Listener:
    """Asks on one link, and hears the answers meant for whoever asked."""

    def __init__(self, namespace: Namespace, address: str) -> None:
        with namespace.entered():
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 0))
        self._socket.setsockopt(
            socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address)
        )

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, *, patience: float = 5.0) -> set[str]:
        """The addresses in the answer to one question; empty where none comes in time."""
        self._socket.sendto(_QUESTION, ("224.0.0.251", 5353))
        self._socket.settimeout(patience)
        try:
            answer = self._socket.recv(9000)
        except TimeoutError:
            return set()
        return {
            address
            for address in ("10.77.0.1", "2001:db8:77::1", "10.78.0.1", "172.17.0.1", "10.80.0.1")
            if ip_address(address).packed in answer
        }


@pytest.mark.root
def test_what_is_announced_says_port_path_version_and_description(lab: Cabled) -> None:
    with ExitStack() as stack:
        with lab.here.entered():
            service = stack.enter_context(discovery(port=8081, description="the lab's"))
        with lab.there.entered():
            observer = stack.enter_context(Zeroconf(interfaces=["10.77.0.7"]))
        info = observer.get_service_info(SERVICE, f"{service.instance}.{SERVICE}", timeout=10_000)
        assert isinstance(info, ServiceInfo)
        assert info.port == 8081
        assert sorted(info.parsed_addresses()) == ["10.77.0.1", "2001:db8:77::1"]
        assert info.decoded_properties == {
            "path": "/dispatch",
            "version": "1.2.3",
            "description": "the lab's",
        }


@pytest.mark.root
def test_each_link_hears_only_its_own_addresses_and_guests_hear_nothing(lab: Cabled) -> None:
    with ExitStack() as stack:
        with lab.here.entered():
            service = stack.enter_context(discovery())
            # Whoever joins the group there makes the kernel take its packets in.
            stack.enter_context(closing(Zeroconf(interfaces=["172.17.0.1"])))
        announces(service, lab0=("10.77.0.1", "2001:db8:77::1"), other0=("10.78.0.1",))
        first = stack.enter_context(Listener(lab.there, "10.77.0.7"))
        second = stack.enter_context(Listener(lab.there, "10.78.0.7"))
        guest = stack.enter_context(Listener(lab.there, "172.17.0.7"))
        for _ in range(3):
            assert first.ask() == {"10.77.0.1", "2001:db8:77::1"}
            assert second.ask() == {"10.78.0.1"}
            assert guest.ask(patience=0.4) == set()


@pytest.mark.root
def test_only_addresses_that_are_listened_on_are_announced(lab: Cabled) -> None:
    with lab.here.entered():
        service = discovery(listens_on=lambda ip: str(ip) == "10.77.0.1")
        with service:
            announces(service, lab0=("10.77.0.1",))


@pytest.mark.root
def test_interfaces_and_addresses_that_come_and_go_are_followed(lab: Cabled) -> None:
    with ExitStack() as stack:
        with lab.here.entered():
            service = stack.enter_context(discovery())
        first = ("10.77.0.1", "2001:db8:77::1")
        announces(service, lab0=first, other0=("10.78.0.1",))
        lab.here.ip("link", "delete", "other0")
        announces(service, lab0=first)
        lab.here.address("lab0", "10.79.0.1/24")
        announces(service, lab0=("10.77.0.1", "10.79.0.1", "2001:db8:77::1"))
        lab.here.ip("address", "del", "10.77.0.1/24", "dev", "lab0")
        announces(service, lab0=("10.79.0.1", "2001:db8:77::1"))
        lab.here.cable("late0", lab.there, "machine9")
        lab.here.address("late0", "10.80.0.1/24")
        lab.there.address("machine9", "10.80.0.7/24")
        announces(service, lab0=("10.79.0.1", "2001:db8:77::1"), late0=("10.80.0.1",))
        late = stack.enter_context(Listener(lab.there, "10.80.0.7"))
        assert late.ask() == {"10.80.0.1"}


@pytest.mark.root
def test_it_starts_without_a_network_and_announces_on_the_first_that_comes() -> None:
    require_root()
    with ExitStack() as stack:
        here = stack.enter_context(Namespace("alone"))
        there = stack.enter_context(Namespace("there"))
        with here.entered():
            service = stack.enter_context(discovery())
        here.cable("lab0", there, "machine0")
        here.address("lab0", "2001:db8:77::1/64")
        announces(service, lab0=("2001:db8:77::1",))


@pytest.mark.root
# zeroconf leaves the socket it could not bind to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_a_port_that_somebody_keeps_for_himself_is_warned_of_once_and_tried_again(
    lab: Cabled, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    lab.here.ip("link", "delete", "other0")
    looks = []

    def looked_at(address: object) -> bool:
        looks.append(address)
        return True

    with ExitStack() as stack:
        with lab.here.entered():
            selfish = stack.enter_context(closing(socket.socket(type=socket.SOCK_DGRAM)))
            selfish.bind(("0.0.0.0", 5353))
            service = stack.enter_context(discovery(listens_on=looked_at))
        eventually(lambda: len(looks) > 10)
        assert service.announced == {}
        selfish.close()
        announces(service, lab0=("10.77.0.1", "2001:db8:77::1"))
    warnings = [
        record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING
    ]
    assert len(warnings) == 1
    assert warnings[0].startswith("cannot announce on lab0 (10.77.0.1, 2001:db8:77::1): ")
    assert "Address already in use" in warnings[0]


def test_interfaces_that_cannot_be_listed_are_warned_of_once_and_listed_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    looks = 0

    def list_them() -> tuple[Interface, ...]:
        nonlocal looks
        looks += 1
        if looks < 5:
            raise OSError("no kernel today")
        return ()

    with discovery(interfaces=list_them, interval=0.01):
        eventually(lambda: looks > 6)
    assert [record.getMessage() for record in caplog.records] == [
        "cannot list the network interfaces: no kernel today: trying again every 0.01 s"
    ]


@pytest.mark.root
def test_stopping_withdraws_the_announcement_and_does_not_wait_for_the_next_look(
    lab: Cabled,
) -> None:
    with ExitStack() as stack:
        with lab.there.entered():
            observer = stack.enter_context(closing(Zeroconf(interfaces=["10.77.0.7"])))
        with lab.here.entered():
            service = stack.enter_context(discovery(interval=3600.0))
        name = f"{service.instance}.{SERVICE}"
        eventually(lambda: len(service.announced) == 2)
        assert observer.get_service_info(SERVICE, name, timeout=10_000) is not None
        cached = observer.cache.entries_with_name
        eventually(lambda: cached(SERVICE))
        before = time.monotonic()
        service.__exit__(None, None, None)
        assert time.monotonic() - before < 30
        eventually(lambda: not cached(SERVICE))
        assert service.announced == {}


def test_every_start_has_a_name_of_its_own() -> None:
    names = {discovery().instance for _ in range(20)}
    assert len(names) > 15
    assert all(len(name) == len("dispatch-0000") for name in names)

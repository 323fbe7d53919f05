"""Whose MAC the kernel knows: in networks of our own."""

import logging
import resource
import socket
import threading
from contextlib import ExitStack, closing

import pytest

from dispatchd.services.neighbours import Neighbours
from tests.e2e.netns import Cabled


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
    assert [record.name for record in warnings] == ["dispatchd.services.neighbours"]
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

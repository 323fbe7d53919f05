"""What an unmodified Avahi finds, as the one in a workload would, from another network stack."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from dispatchd.services.discovery import Discovery
from tests.e2e.avahi import Avahi
from tests.e2e.netns import Namespace
from tests.eventually import eventually
from tests.requirements import require_programs, require_root

pytestmark = pytest.mark.root


@dataclass(frozen=True, kw_only=True, slots=True)
class Lab:
    """``here`` has lab0, other0 and docker0; each leads to one interface of a namespace of its
    own: a machine on lab0, another on other0 and a container on docker0."""

    here: Namespace
    machine: Namespace
    other: Namespace
    container: Namespace


@pytest.fixture
def lab() -> Iterator[Lab]:
    require_root()
    require_programs("ip", "dbus-daemon", "dbus-send", "avahi-daemon", "avahi-browse", "mount")
    with ExitStack() as stack:
        here, machine, other, container = (
            stack.enter_context(Namespace(label))
            for label in ("here", "machine", "other", "container")
        )
        here.cable("lab0", machine, "eth0")
        here.cable("other0", other, "eth0")
        here.cable("port0", container, "eth0")
        here.bridge("docker0", "port0")
        here.address("lab0", "10.77.0.1/24", "2001:db8:77::1/64")
        here.address("other0", "10.78.0.1/24")
        here.address("docker0", "172.17.0.1/16")
        machine.address("eth0", "10.77.0.7/24", "2001:db8:77::7/64")
        other.address("eth0", "10.78.0.7/24")
        container.address("eth0", "172.17.0.7/16")
        yield Lab(here=here, machine=machine, other=other, container=container)


@pytest.fixture
def discovery() -> Discovery:
    return Discovery(port=8080, path="/dispatch", version="1.2.3", description="a lab")


def test_avahi_on_each_link_finds_that_links_addresses_and_a_container_finds_nothing(
    lab: Lab, discovery: Discovery, tmp_path: Path
) -> None:
    machine = Avahi(lab.machine, tmp_path / "machine")
    other = Avahi(lab.other, tmp_path / "other")
    container = Avahi(lab.container, tmp_path / "container")
    with ExitStack() as stack:
        with lab.here.entered():
            stack.enter_context(discovery)
        assert eventually(machine.services) <= {
            ("eth0", discovery.instance, "10.77.0.1", "8080"),
            ("eth0", discovery.instance, "2001:db8:77::1", "8080"),
        }
        assert eventually(other.services) == {("eth0", discovery.instance, "10.78.0.1", "8080")}
        (text,) = machine.texts()
        for entry in ('"path=/dispatch"', '"version=1.2.3"', '"description=a lab"'):
            assert entry in text
        assert container.services() == set()


def test_avahi_forgets_us_when_we_stop(lab: Lab, discovery: Discovery, tmp_path: Path) -> None:
    machine = Avahi(lab.machine, tmp_path / "machine")
    with lab.here.entered(), discovery:
        eventually(machine.services)
    # The records would live for over an hour, had we not said goodbye.
    eventually(lambda: not machine.services())


def test_an_avahi_on_our_own_machine_does_not_stand_in_the_way(
    lab: Lab, discovery: Discovery, tmp_path: Path
) -> None:
    Avahi(lab.here, tmp_path / "here", silent=False)
    machine = Avahi(lab.machine, tmp_path / "machine")
    with lab.here.entered(), discovery:
        assert {found[1] for found in eventually(machine.services)} == {discovery.instance}

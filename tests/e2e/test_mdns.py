"""What an unmodified Avahi finds, as the one in a workload would, from another network stack."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from dispatchd.services.discovery import Discovery
from tests.e2e.netns import Namespace
from tests.eventually import eventually
from tests.requirements import require_programs, require_root

pytestmark = pytest.mark.root

_BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*"/>
    <allow send_requested_reply="true"/>
    <allow receive_requested_reply="true"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
"""

_AVAHI = """[server]
host-name={name}
use-ipv4=yes
use-ipv6=yes
enable-dbus=yes
[publish]
disable-publishing={silent}
[rlimits]
"""


class Avahi:
    """An Avahi with a D-Bus of its own, in a namespace; its /run is its own too."""

    def __init__(self, namespace: Namespace, directory: Path, *, silent: bool = True) -> None:
        directory.mkdir()
        bus = directory / "bus"
        (directory / "bus.conf").write_text(_BUS.format(path=bus))
        (directory / "avahi.conf").write_text(
            _AVAHI.format(name=directory.name, silent="yes" if silent else "no")
        )
        self._namespace = namespace
        self._environ = {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={bus}"}
        namespace.start("dbus-daemon", "--nofork", f"--config-file={directory / 'bus.conf'}")
        eventually(bus.exists)
        # `ip netns exec` has given the shell mounts of its own.
        self.process = namespace.start(
            "sh",
            "-c",
            "mount -t tmpfs tmpfs /run && exec avahi-daemon --no-drop-root --no-chroot"
            f" --no-rlimits --file={directory / 'avahi.conf'}",
            environ=self._environ,
        )
        eventually(self._is_ready)

    def services(self) -> set[tuple[str, str, str, str]]:
        """(interface, instance, address, port) of every service found within a moment."""
        return {(line[1], line[3], line[7], line[8]) for line in self._browse() if line[0] == "="}

    def texts(self) -> set[str]:
        """The TXT records found, as avahi-browse writes them."""
        return {line[9] for line in self._browse() if line[0] == "="}

    def _browse(self) -> list[list[str]]:
        output = self._namespace.run(
            "avahi-browse", "-rpt", "_dispatch._tcp", environ=self._environ
        )
        return [line.split(";", 9) for line in output.splitlines()]

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, "avahi-daemon has ended"
        names = self._namespace.run(
            "dbus-send",
            "--system",
            "--print-reply",
            "--dest=org.freedesktop.DBus",
            "/org/freedesktop/DBus",
            "org.freedesktop.DBus.ListNames",
            environ=self._environ,
        )
        return "org.freedesktop.Avahi" in names


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

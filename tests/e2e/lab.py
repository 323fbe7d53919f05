"""A lab in network namespaces: switches, DHCP, dispatchd, machines whose cables can be pulled."""

import json
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.e2e.daemon import QUIET, RunningDaemon
from tests.e2e.machine import Machine
from tests.e2e.netns import Namespace
from tests.eventually import eventually

HERE, HERE_IPV6, PORT = "10.77.0.1", "2001:db8:77::1", 8080
ROUTER = "10.77.0.2"

# The second to the fourth are README's lines for dnsmasq.
_DHCP = f"""
dhcp-range=10.77.0.50,10.77.0.99,1h
dhcp-vendorclass=set:http,HTTPClient
dhcp-option-force=tag:http,60,HTTPClient
dhcp-boot=tag:http,http://{HERE}:{PORT}/dispatch
dhcp-range=2001:db8:77::,ra-only
enable-ra
dhcp-authoritative
no-ping
port=0
interface=lab0
bind-interfaces
user=root
"""

# What udhcpc has done with a lease: udhcpc sets no address itself.
_TAKE = """#!/bin/sh
case $1 in
deconfig) ip -4 address flush dev "$interface" ;;
bound | renew)
	ip address replace "$ip/$mask" dev "$interface"
	echo "$ip $boot_file"
	;;
esac
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """What DHCP gave: an address, and the boot URL to those who ask for one."""

    address: str
    url: str


class LabMachine:
    """A namespace with network cards, whose cables lead to the switch lab0 of another one."""

    def __init__(self, lab: "Lab", number: int, *, switch: Namespace) -> None:
        self.namespace = lab.namespace(f"machine{number}")
        self._lab = lab
        self._number = number
        self._switch = switch

    def mac(self, card: str = "eth0") -> str:
        return f"02:00:00:00:{self._number:02x}:{int(card.removeprefix('eth')):02x}"

    def insert(self, card: str = "eth0") -> None:
        """A network card whose cable is in the switch."""
        self._switch.cable(self._port(card), self.namespace, card)
        self.namespace.ip("link", "set", card, "down", "address", self.mac(card))
        self._switch.ip("link", "set", self._port(card), "master", "lab0")
        self.namespace.ip("link", "set", card, "up")

    def unplug(self, card: str = "eth0") -> None:
        """Pull the cable, or cut the power: nothing says goodbye."""
        self._switch.ip("link", "set", self._port(card), "down")

    def plug(self, card: str = "eth0") -> None:
        self._switch.ip("link", "set", self._port(card), "up")

    def lease(self, card: str = "eth0", *, client_id: str = "", wish: str = "") -> Lease:
        """Lease an address: as firmware does, which has no client id, or as a system with one.

        ``wish``: the address to ask for, as one that had it once.
        """
        script = str(self._lab.directory / "take")
        asked = ["-n", "-q", "-s", script, *(["-r", wish] if wish else [])]
        said = self.namespace.run("busybox", *_udhcpc(card, client_id), *asked)
        address, _, url = said.strip().partition(" ")
        return Lease(address=address, url=url)

    def release(self, card: str = "eth0", *, client_id: str = "") -> None:
        """Give the lease back."""
        # The address stays until the last packet has found its way.
        client = self.namespace.start("busybox", *_udhcpc(card, client_id), "-R", "-s", "true")
        assert client.stdout is not None
        assert any("obtained" in line for line in client.stdout)
        client.terminate()
        client.wait(10)
        self.namespace.ip("-4", "address", "flush", "dev", card)

    def connect(self, name: str = "", *, to: str = HERE) -> Machine:
        """A connection to dispatchd from in here."""
        with self.namespace.entered():
            return self._lab.keep(Machine(PORT, name, host=to))

    def boot(self, name: str = "", *, to: str = HERE) -> str:
        """Firmware asks and takes what it gets; the name of the image."""
        return self.connect(name, to=to).download().split()[0].decode()

    def report(self, title: str, name: str = "", *, to: str = HERE) -> tuple[int, int]:
        """The beacon speaks: what it is answered to boot and to report."""
        beacon = self.connect(name, to=to)
        body = json.dumps({"title": title}).encode()
        return beacon.status_of("POST", b""), beacon.status_of("PUT", body)

    def _port(self, card: str) -> str:
        return f"m{self._number}{card}"


class Lab:
    """``here``: the namespace with the switch lab0, dnsmasq on it, and dispatchd."""

    def __init__(self, directory: Path, *, settings: str = "") -> None:
        self.directory = directory
        self.here = Namespace("here")
        self.daemon = RunningDaemon(
            directory / "dispatchd",
            listen=f"*:{PORT}",
            settings=f"{QUIET}{settings}",
            prefix=("ip", "netns", "exec", self.here.name),
        )
        self._machines = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.here)
            _hurry(self.here)
            self.here.bridge("lab0")
            self.here.address("lab0", f"{HERE}/24", f"{HERE_IPV6}/64")
            self._serve_dhcp()
            stack.enter_context(self.daemon)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def namespace(self, label: str) -> Namespace:
        """Another one, that ends with the lab."""
        namespace = self._stack.enter_context(Namespace(label))
        _hurry(namespace)
        return namespace

    def keep(self, connection: Machine) -> Machine:
        """Close it with the lab."""
        return self._stack.enter_context(closing(connection))

    def machine(self, *cards: str, behind: Namespace | None = None) -> LabMachine:
        """A machine with these network cards, eth0 if none is named; perhaps behind a router."""
        self._machines += 1
        machine = LabMachine(self, self._machines, switch=behind or self.here)
        for card in cards or ("eth0",):
            machine.insert(card)
        return machine

    def router(self, inside: str) -> Namespace:
        """The router to everywhere, which answers ARP for those behind it, too; ``inside``: its
        address on the switch behind it, with the prefix.
        """
        router = self.namespace("router")
        router.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.default.proxy_arp=1")
        self.here.cable("router", router, "outside")
        self.here.ip("link", "set", "router", "master", "lab0")
        router.address("outside", f"{ROUTER}/24")
        router.bridge("lab0")
        router.address("lab0", inside)
        self.here.ip("route", "add", "default", "via", ROUTER)
        # As dispatchd does all the time: GitHub is behind it.
        self.here.run("busybox", "ping", "-c", "1", ROUTER)
        return router

    def load(self, *names: str, size: int = 1 << 16) -> None:
        """Queue images of these names; each begins with its name."""
        images = self.directory / "images"
        images.mkdir()
        for name in names:
            (images / name).write_bytes(f"{name} ".encode().ljust(size, b"."))
        self.daemon.ctl("load", "--dir", str(images))

    def states(self) -> dict[str, str]:
        """The state of each workload."""
        return {row["name"]: row["state"] for row in self.daemon.status()["workloads"]}

    def known(self) -> list[dict[str, Any]]:
        """The machines, as ``dispatchctl machines`` has them."""
        machines: list[dict[str, Any]] = json.loads(self.daemon.ctl("machines", "--json"))[
            "machines"
        ]
        return machines

    def credits(self) -> dict[str, str]:
        """To which workload each title was credited; "" where it is unclaimed."""
        answer = json.loads(self.daemon.ctl("reports", "--json"))
        return {one["title"]: one["workload"] for one in answer["reports"]} | {
            one["title"]: "" for one in answer["unclaimed"]
        }

    def _serve_dhcp(self) -> None:
        settings = self.directory / "dnsmasq.conf"
        settings.write_text(_DHCP + f"dhcp-leasefile={self.directory}/leases\n")
        take = self.directory / "take"
        take.write_text(_TAKE)
        take.chmod(0o755)
        pid = self.directory / "dnsmasq.pid"
        process = self.here.start(
            "dnsmasq", "--keep-in-foreground", f"--conf-file={settings}", f"--pid-file={pid}"
        )
        eventually(lambda: pid.exists() or process.poll() is not None)
        assert process.poll() is None, process.communicate()[0]


def _hurry(namespace: Namespace) -> None:
    """IPv6 addresses work at once, and routers are asked for at once: a second is saved at each."""
    for setting in ("accept_dad", "router_solicitation_delay"):
        namespace.run("sysctl", "-qw", f"net.ipv6.conf.default.{setting}=0")


def _udhcpc(card: str, client_id: str) -> list[str]:
    who = ["-x", f"0x3d:{client_id}"] if client_id else ["-V", "HTTPClient:Arch:00016:UNDI"]
    return ["udhcpc", "-i", card, "-f", "-t", "8", "-T", "1", "-C", *who]

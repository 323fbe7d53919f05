"""What the kernel knows about the network here: interfaces, and addresses to give out."""

import re
import socket
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv6Address,
    IPv6Interface,
    ip_address,
    ip_interface,
)
from typing import Self

from dispatchd.services import netlink

IPAddress = IPv4Address | IPv6Address

# linux/if.h
UP, LOOPBACK, POINT_TO_POINT, RUNNING, MULTICAST = 0x1, 0x8, 0x10, 0x40, 0x1000

# linux/if_link.h: a row of the table of links
_LINK = struct.Struct("=BxHiII")
_LINK_NAME, _LINK_INFO, _LINK_INFO_KIND = 3, 18, 1

# linux/if_addr.h: a row of the table of addresses
_ADDRESS = struct.Struct("=BBBBi")
_ADDRESS_PEER, _ADDRESS_LOCAL, _ADDRESS_FLAGS = 1, 2, 8
_TEMPORARY, _DAD_FAILED, _DEPRECATED, _TENTATIVE = 0x01, 0x08, 0x20, 0x40

#: Interfaces that container engines and hypervisors make for their own guests. ``br0`` and
#: ``br-lan`` are names that people give, often to the uplink; Docker's are br- and twelve digits.
_GUESTS = re.compile(
    r"docker|br-[0-9a-f]{12}$|veth|virbr|lxc|lxdbr|incusbr|cni|flannel|cali|cilium|podman"
    r"|kube|nerdctl|tap|vnet|vmnet|vboxnet|vif|fwbr|fwpr|fwln"
)

# Documentation prefixes (RFC 5737, RFC 3849): routed like any far address, and nothing is sent.
_FAR_AWAY = ((socket.AF_INET, "203.0.113.1"), (socket.AF_INET6, "2001:db8::1"))
_LOOPBACKS = (IPv4Address("127.0.0.1"), IPv6Address("::1"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Interface:
    """One network interface. ``kind`` is the kernel's word for a virtual one ("bridge", "veth",
    "bond"), empty for hardware. ``addresses`` can be used now, the lasting ones first."""

    name: str
    index: int
    flags: int
    kind: str
    addresses: tuple[IPv4Interface | IPv6Interface, ...]

    @property
    def is_up(self) -> bool:
        """Whether it is switched on and has a carrier."""
        return self.flags & (UP | RUNNING) == UP | RUNNING

    @property
    def is_loopback(self) -> bool:
        """Whether it leads nowhere but here."""
        return bool(self.flags & LOOPBACK)

    @property
    def is_for_guests(self) -> bool:
        """Whether its name is one that container engines and hypervisors give to their own."""
        return _GUESTS.match(self.name) is not None

    @property
    def hosts(self) -> tuple[IPAddress, ...]:
        """Its addresses that a machine on the link can use in a URL: neither link-local (a zone
        does not fit into a URL, and 169.254/16 comes and goes) nor loopback."""
        found = (address.ip for address in self.addresses)
        return tuple(ip for ip in found if not ip.is_link_local and not ip.is_loopback)


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """Where a bound TCP socket listens. ``mapped``: an IPv6 wildcard that takes IPv4 as well."""

    address: IPAddress
    port: int
    mapped: bool = False

    @classmethod
    def of(cls, listener: socket.socket) -> Self:
        """Describe a bound socket, the port the kernel chose included. Raises OSError, and
        ValueError where it is no IP socket."""
        address, port = listener.getsockname()[:2]
        mapped = listener.family == socket.AF_INET6 and not listener.getsockopt(
            socket.IPPROTO_IPV6, socket.IPV6_V6ONLY
        )
        return cls(address=ip_address(address), port=port, mapped=mapped)

    def covers(self, address: IPAddress) -> bool:
        """Whether a connection to this address of ours arrives here."""
        if not self.address.is_unspecified:
            return plain(self.address) == address
        return self.address.version == address.version or self.mapped


def interfaces() -> tuple[Interface, ...]:
    """Return all interfaces by index, with the addresses that the kernel lets us bind to now.

    An IPv6 address still being checked for duplicates, one that failed the check and one that is
    being phased out (RFC 4862, sections 5.4 and 5.5.4) are left out. Raises OSError.
    """
    addresses = _addresses()
    found = []
    for row in netlink.dump(netlink.GET_LINK, _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
        _, _, index, flags, _ = _LINK.unpack_from(row)
        values = dict(netlink.attributes(row, _LINK.size))
        info = dict(netlink.attributes(values.get(_LINK_INFO, b""), 0))
        found.append(
            Interface(
                name=_text(values.get(_LINK_NAME, b"")),
                index=index,
                flags=flags,
                kind=_text(info.get(_LINK_INFO_KIND, b"")),
                addresses=tuple(addresses.get(index, ())),
            )
        )
    return tuple(sorted(found, key=lambda interface: interface.index))


def boot_urls(endpoints: Iterable[Endpoint], path: str) -> tuple[str, ...]:
    """Return the URLs under which firmware can reach us, the likeliest first.

    IPv4 before IPv6, then the interface of the default route, then by index; bridges for guests
    come last. Link-local addresses are left out unless we are bound to one. Loopback is named only
    where nothing else can be. Raises OSError.
    """
    endpoints = tuple(endpoints)
    bound = [plain(end.address) for end in endpoints if not end.address.is_unspecified]
    candidates = dict.fromkeys((*_hosts(), *bound, *_LOOPBACKS))
    # No URL can name the zone of such an address (RFC 6874 was withdrawn, firmware never knew it).
    named = [ip for ip in candidates if ip.version == 4 or not ip.is_link_local]
    outer = [ip for ip in named if not ip.is_loopback]
    return _urls(outer, endpoints, path) or _urls(
        [ip for ip in named if ip.is_loopback], endpoints, path
    )


def _addresses() -> dict[int, list[IPv4Interface | IPv6Interface]]:
    lasting: dict[int, list[IPv4Interface | IPv6Interface]] = {}
    passing: dict[int, list[IPv4Interface | IPv6Interface]] = {}
    for row in netlink.dump(netlink.GET_ADDRESS, _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
        family, prefix, flags, _, index = _ADDRESS.unpack_from(row)
        values = dict(netlink.attributes(row, _ADDRESS.size))
        # On a point-to-point link the one is ours and the other the peer's.
        packed = values.get(_ADDRESS_LOCAL) or values.get(_ADDRESS_PEER)
        if packed is None or family not in (socket.AF_INET, socket.AF_INET6):
            continue
        flags |= int.from_bytes(values.get(_ADDRESS_FLAGS, b""), sys.byteorder)
        is_v6 = family == socket.AF_INET6
        if is_v6 and flags & (_DAD_FAILED | _DEPRECATED | _TENTATIVE):
            continue
        # For IPv4 the same bit says "secondary", which is nothing against an address.
        kept = passing if is_v6 and flags & _TEMPORARY else lasting
        kept.setdefault(index, []).append(ip_interface((packed, prefix)))
    return {
        index: [*lasting.get(index, ()), *passing.get(index, ())] for index in lasting | passing
    }


def _hosts() -> list[IPAddress]:
    """The addresses of this machine that another one can use, the likeliest first."""
    preferred = _preferred()
    ranked = []
    for interface in interfaces():
        if interface.is_up and not interface.flags & POINT_TO_POINT:
            is_default = any(address.ip in preferred for address in interface.addresses)
            for ip in interface.hosts:
                rank = (interface.is_for_guests, ip.version, not is_default, interface.index)
                ranked.append((rank, ip))
    ranked.sort(key=lambda entry: entry[0])
    return [ip for _, ip in ranked]


def _preferred() -> set[IPAddress]:
    """The source addresses that the default routes would give, read without sending anything."""
    found: set[IPAddress] = set()
    for family, address in _FAR_AWAY:
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
            found.add(ip_address(probe.getsockname()[0]))
    return found


def _urls(hosts: Iterable[IPAddress], endpoints: Iterable[Endpoint], path: str) -> tuple[str, ...]:
    found = []
    for ip in hosts:
        host = f"[{ip}]" if ip.version == 6 else str(ip)
        found += [f"http://{host}:{end.port}{path}" for end in endpoints if end.covers(ip)]
    return tuple(dict.fromkeys(found))


def plain(address: IPAddress) -> IPAddress:
    """The IPv4 address behind an IPv4-mapped one (RFC 4291, section 2.5.5.2), else the same."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")

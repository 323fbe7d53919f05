"""Who is on the link: the kernel's neighbour table (ARP, RFC 826, and IPv6's, RFC 4861)."""

import logging
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from dispatchd.services import netlink
from dispatchd.services.network import IPAddress, plain

log = logging.getLogger(__name__)

# linux/rtnetlink.h: a row of the table of routes
_ROUTE = struct.Struct("=8BI")
_ROUTE_GATEWAY = 5

# linux/neighbour.h: a row of the table of neighbours
_NEIGHBOUR = struct.Struct("=BxxxiHBB")
_NEIGHBOUR_ADDRESS, _NEIGHBOUR_MAC = 1, 2
#: States in which the kernel would send to the MAC, the surest first: reachable, probe, delay,
#: permanent, stale.
_TRUSTED = (0x02, 0x10, 0x08, 0x80, 0x04)


class Neighbours:
    """Looks into the kernel's table."""

    def __init__(self) -> None:
        self._complained = False

    def mac_of(self, address: str) -> str | None:
        """Return the MAC behind an address, as ``aa:bb:cc:dd:ee:ff``, or None where the kernel has
        none: a peer behind a router, ourselves, loopback, an entry that failed. A peer on the link
        has an entry once a TCP connection from it stands. A router of ours that answers ARP for
        those behind it (RFC 1027) shows its own MAC for all of them: it is nobody's. Never raises.
        """
        try:
            wanted = plain(ip_address(address))
            mac = None if wanted.is_loopback else _best_mac(wanted, _zone(wanted))
            return None if mac is None or _is_router(mac) else mac.hex(":")
        except ValueError:
            return None
        except OSError as error:
            if not self._complained:
                self._complained = True
                log.warning(
                    "cannot read the neighbour table: %s: machines are known by address", error
                )
            return None


def _best_mac(address: IPAddress, zone: int) -> bytes | None:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    ranked = [
        (_TRUSTED.index(one.state), one.mac)
        for one in _neighbours(family, containing=address.packed)
        if one.address == address.packed and zone in (0, one.index)
    ]
    return min(ranked)[1] if ranked else None


def _is_router(mac: bytes) -> bool:
    """Whether it is the MAC of a gateway of our IPv4 routes."""
    gateways = {
        value
        for row in netlink.dump(netlink.GET_ROUTE, _ROUTE.pack(socket.AF_INET, *[0] * 8))
        for kind, value in netlink.attributes(row, _ROUTE.size)
        if kind == _ROUTE_GATEWAY
    }
    return any(
        one.mac == mac and one.address in gateways
        for one in (_neighbours(socket.AF_INET, containing=mac) if gateways else ())
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Neighbour:
    """An entry of the table with a MAC (6 bytes) that the kernel trusts."""

    address: bytes
    mac: bytes
    index: int
    state: int


def _neighbours(family: int, *, containing: bytes) -> Iterator[_Neighbour]:
    """The entries that tell a MAC, without most of those that have these bytes nowhere."""
    header = _NEIGHBOUR.pack(family, 0, 0, 0, 0)
    for row in netlink.dump(netlink.GET_NEIGHBOUR, header, containing=containing):
        _, index, state, _, _ = _NEIGHBOUR.unpack_from(row)
        values = dict(netlink.attributes(row, _NEIGHBOUR.size))
        mac = values.get(_NEIGHBOUR_MAC, b"")
        if state in _TRUSTED and len(mac) == 6 and any(mac):
            address = values.get(_NEIGHBOUR_ADDRESS, b"")
            yield _Neighbour(address=address, mac=mac, index=index, state=state)


def _zone(address: IPAddress) -> int:
    """The index of the interface that a scoped address names (RFC 4007), 0 without one."""
    zone = address.scope_id if isinstance(address, IPv6Address) else None
    if zone is None:
        return 0
    try:
        return int(zone) if zone.isdigit() else socket.if_nametoindex(zone)
    except OSError as error:
        raise ValueError(f"cannot find the interface {zone!r}") from error

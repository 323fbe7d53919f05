"""Telling the network where we are, so that a beacon finds us without being told (mDNS).

DNS-SD (RFC 6763) over multicast DNS (RFC 6762), by zeroconf.
"""

import asyncio
import logging
import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Self

from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from dispatchd.services import network
from dispatchd.services.network import Interface, IPAddress

log = logging.getLogger(__name__)

SERVICE = "_dispatch._tcp.local."

# linux/in.h, linux/in6.h; the socket module does not name them
_IP_MULTICAST_ALL, _IPV6_MULTICAST_ALL = 49, 29


@dataclass(frozen=True, kw_only=True, slots=True)
class _Link:
    """One interface as it is announced: when any of this changes, it is announced anew."""

    name: str
    index: int
    addresses: tuple[IPAddress, ...]

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(map(str, self.addresses))})"


class Discovery:
    """Announces ``_dispatch._tcp`` on every link that machines can be on, while it is entered.

    Each interface has a responder of its own that speaks of that interface's addresses only: a
    beacon that is told an address on another link (docker0's, say) waits for a connection that
    never comes. Left out are interfaces that are down or without a carrier, loopback,
    point-to-point links, those that cannot multicast, and those made for containers and VMs,
    known by name (`Interface.is_for_guests`): a bridge as such may well be the uplink. Of the
    others, link-local addresses and those that ``listens_on`` denies are left out.

    The interfaces are looked at every ``interval`` seconds. What fails is logged once for each
    interface and tried again; nothing that happens here stops anybody else.
    """

    def __init__(
        self,
        *,
        port: int,
        path: str,
        version: str,
        description: str = "dispatchd",
        listens_on: Callable[[IPAddress], bool] = lambda _: True,
        interfaces: Callable[[], tuple[Interface, ...]] = network.interfaces,
        interval: float = 10.0,
    ) -> None:
        self.instance = f"dispatch-{secrets.token_hex(2)}"
        self._port = port
        self._properties = {"description": description, "version": version, "path": path}
        self._listens_on = listens_on
        self._interfaces = interfaces
        self._interval = interval
        self._responders: dict[_Link, AsyncZeroconf] = {}
        self._complaints: dict[str, str] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._stopping.clear()
        self._thread = threading.Thread(target=self.run, args=(self._stopping,), name="discovery")
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Withdraw the announcements: half a second at most, or two while one is being made."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    @property
    def announced(self) -> Mapping[str, tuple[str, ...]]:
        """The addresses announced now, by the name of their interface."""
        links = tuple(self._responders)
        return MappingProxyType({link.name: tuple(map(str, link.addresses)) for link in links})

    def run(self, stopping: threading.Event) -> None:
        """Announce until ``stopping`` is set, then withdraw."""
        # It says again at every try, often with a traceback, what is said once here.
        logging.getLogger("zeroconf").setLevel(logging.CRITICAL)
        asyncio.run(self._serve(stopping))

    async def _serve(self, stopping: threading.Event) -> None:
        try:
            while not stopping.is_set():
                await self._reconcile()
                await asyncio.to_thread(stopping.wait, self._interval)
        finally:
            await asyncio.gather(*(self._withdraw(link) for link in tuple(self._responders)))

    async def _reconcile(self) -> None:
        try:
            wanted = {link.name: link for link in self._links()}
        except OSError as error:
            self._complain("", f"cannot list the network interfaces: {error}")
            return
        self._complaints.pop("", None)
        known = set(self._responders)
        # Withdrawn first: an interface whose address changed speaks under the same name again.
        await asyncio.gather(*(self._withdraw(link) for link in known - set(wanted.values())))
        await asyncio.gather(*(self._announce(link) for link in set(wanted.values()) - known))
        for name in self._complaints.keys() - wanted.keys() - {""}:
            del self._complaints[name]

    def _links(self) -> list[_Link]:
        found = []
        for interface in self._interfaces():
            if not interface.is_up or not interface.flags & network.MULTICAST:
                continue
            if interface.is_loopback or interface.flags & network.POINT_TO_POINT:
                continue
            addresses = tuple(ip for ip in interface.hosts if self._listens_on(ip))
            if addresses and not interface.is_for_guests:
                link = _Link(name=interface.name, index=interface.index, addresses=addresses)
                found.append(link)
        return found

    async def _announce(self, link: _Link) -> None:
        responder: AsyncZeroconf | None = None
        try:
            responder = AsyncZeroconf(interfaces=_one_of_each_family(link.addresses))
            await responder.zeroconf.async_wait_for_start()
            _keep_to(link, responder)
            # Somebody may already say the same on this link: ourselves, through a second interface.
            sent = await responder.async_register_service(
                self._info(link), cooperating_responders=True
            )
            await sent
        except Exception as error:  # noqa: BLE001 - whatever it is, the other links go on
            self._complain(link.name, f"cannot announce on {link}: {error or type(error).__name__}")
            if responder is not None:
                await _close(responder)
            return
        self._responders[link] = responder
        self._complaints.pop(link.name, None)
        log.info("announcing %s on %s", self.instance, link)

    async def _withdraw(self, link: _Link) -> None:
        await _close(self._responders.pop(link))
        log.info("no longer announcing %s on %s", self.instance, link)

    def _info(self, link: _Link) -> AsyncServiceInfo:
        return AsyncServiceInfo(
            SERVICE,
            f"{self.instance}.{SERVICE}",
            port=self._port,
            properties=self._properties,
            server=f"{self.instance}.local.",
            parsed_addresses=[str(ip) for ip in link.addresses],
        )

    def _complain(self, about: str, message: str) -> None:
        if about not in self._complaints:
            log.warning("%s: trying again every %g s", message, self._interval)
        self._complaints[about] = message


def _one_of_each_family(addresses: tuple[IPAddress, ...]) -> list[str]:
    """The addresses to send from: more than one of a family would say everything twice."""
    first = {ip.version: str(ip) for ip in reversed(addresses)}
    return [first[version] for version in sorted(first)]


def _keep_to(link: _Link, responder: AsyncZeroconf) -> None:
    """Take packets from this link alone. Raises OSError where there is no socket to speak from.

    zeroconf listens on a wildcard socket, and Linux hands it whatever group any process joined on
    any interface: a question that asks for a unicast answer (RFC 6762, section 5.4) would be told
    this link's addresses on another. IP_MULTICAST_ALL off is not enough where there are several
    such sockets: newer kernels let SO_REUSEPORT choose among them after that filter.
    """
    engine = responder.zeroconf.engine
    if not engine.senders:
        raise OSError("none of its addresses can be bound")
    for reader in engine.readers:
        sock: socket.socket = reader.transport.get_extra_info("socket")
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.name.encode())
        except PermissionError:
            # Before Linux 5.7 that took a privilege; those kernels filter well enough.
            sock.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
            if sock.family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)


async def _close(responder: AsyncZeroconf) -> None:
    """Say goodbye (RFC 6762, section 10.1) and close; an interface that is gone hears nothing."""
    try:
        await responder.async_close()
    except Exception as error:  # noqa: BLE001 - nothing is left to do with it
        log.debug("cannot say goodbye: %s", error)

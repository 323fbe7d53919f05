"""The one loop that both faces run in, and the waitress servers that feed it.

Waitress has no way to stop and counts the connections of a whole map as one server's; here each
face has its own workers and its own bound, and stopping lets answers in flight go out.
"""

import errno
import ipaddress
import logging
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.server import BaseWSGIServer

from dispatchd.faces.channel import Channel
from dispatchd.faces.face import Face
from dispatchd.faces.sender import Sender
from dispatchd.wire import counted

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

log = logging.getLogger(__name__)

#: Connections accepted at one turn of the loop.
ACCEPTS = 64
#: Seconds without accepting after the process ran out of descriptors.
PAUSE = 1.0
#: Seconds that a silent connection lives: firmware may be busy for a minute between two requests.
IDLE = 120
#: The largest request that is read at all, in bytes: a report too large is still read to its end,
#: since a sender who is cut off in the middle never sees the answer.
LARGEST_REQUEST = 512 * 1024 * 1024
_OUT_OF_DESCRIPTORS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Server(BaseWSGIServer):
    """One listening socket of a face."""

    channel_class = Channel
    next_channel_cleanup: float = 0

    def __init__(
        self, face: Face, application: "WSGIApplication", listener: socket.socket, map_: Any
    ) -> None:
        self._face = face
        self.sender = face.sender
        self._paused_until = 0.0
        super().__init__(
            application,
            map=map_,
            _start=False,
            _sock=listener,
            dispatcher=face.askers,
            adj=_adjustments(),
            sockinfo=(listener.family, socket.SOCK_STREAM, None, None),
            bind_socket=False,
        )
        self.accepting = True

    def add_task(self, task: Channel) -> None:
        self._face.work(task)

    def on_misfit(self, kind: str, address: str) -> None:
        """Somebody spoke something else than HTTP."""
        self._face.on_misfit(kind, address)

    def getsockname(self) -> tuple[str, str]:
        name = self.socket.getsockname()
        return (name[0], str(name[1])) if isinstance(name, tuple) else ("unix", str(name))

    def readable(self) -> bool:
        """Whether the loop shall watch for new connections; also where idle ones are closed."""
        now = time.time()
        if now >= self.next_channel_cleanup:
            self.next_channel_cleanup = now + self.adj.cleanup_interval
            self.maintenance(now)
        may_accept = bool(self.accepting) and time.monotonic() >= self._paused_until
        return may_accept and not self._face.is_full()

    def handle_accept(self) -> None:
        """Accept what waits, within bounds."""
        for _ in range(ACCEPTS):
            if self._face.is_full():
                return
            try:
                connection, address = self.socket.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _OUT_OF_DESCRIPTORS:
                    # The connection stays pending, and the loop would spin on it.
                    self._paused_until = time.monotonic() + PAUSE
                log.warning("cannot accept a connection: %s", error.strerror)
                return
            self._adopt(connection, address)

    def _adopt(self, connection: socket.socket, address: Any) -> None:
        try:
            connection.setblocking(False)
            if connection.family != socket.AF_UNIX:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.channel_class(self, connection, _plain(address), self.adj, map=self._map)
        except OSError as error:
            # The peer is gone already.
            log.debug("cannot serve a new connection: %s", error)
            connection.close()


class Loop:
    """Serves both faces from the calling thread until it is told to stop.

    ``on_turn`` is called at every turn, once a second at least: it must not block.
    """

    def __init__(self, *, on_turn: Callable[[], None] = lambda: None) -> None:
        self._on_turn = on_turn
        self._map: dict[int, Any] = {}
        self._faces: list[Face] = []
        self._sender = Sender()
        self._stopping = self._hurrying = False

    def serve(
        self,
        application: "WSGIApplication",
        listeners: Sequence[socket.socket],
        *,
        name: str,
        threads: int,
        connections: int,
        on_misfit: Callable[[str, str], None] = lambda _kind, _address: None,
        on_answer: Callable[[], None] = lambda: None,
    ) -> None:
        """Add a face. ``connections`` is its own bound; the listeners are closed with the loop.

        ``on_answer`` is called by one of its workers for each ``ask``.
        """
        face = Face(
            name=name,
            threads=threads,
            connections=connections,
            on_misfit=on_misfit,
            on_answer=on_answer,
            sender=self._sender,
        )
        face.servers = [Server(face, application, listener, self._map) for listener in listeners]
        self._faces.append(face)

    def ask(self) -> None:
        """Have a worker of each face show that it works. Callable from any thread."""
        for face in self._faces:
            face.ask()

    def transfers(self) -> int:
        """Bodies that are still going out from files."""
        return sum(channel.is_sending_file() for face in self._faces for channel in face.channels())

    def stop(self) -> None:
        """Make ``run`` return soon; a second call, at once. Callable from any thread and from a
        signal's handler.
        """
        self._hurrying, self._stopping = self._stopping, True
        # A loop that looked up just now may have closed them already.
        with suppress(OSError):
            for face in self._faces:
                for server in face.servers:
                    server.pull_trigger()

    def run(self, *, drain: float, grace: float) -> None:
        """Serve until ``stop``; then up to ``drain`` seconds more while files go out, and up to
        ``grace`` seconds while a peer that is connected is owed an answer. Who connects then waits
        for the next daemon if the listeners outlive us. Everything is closed when this returns.
        """
        self._sender.start(self._map)
        while not self._stopping:
            self._turn(1.0)
        if self.transfers():
            log.info("draining: %s, up to %.0f s", self._transfers_in_words(), drain)
        self._turn_until(lambda: not self.transfers(), drain)
        if self.transfers():
            log.warning("%s cut off: the machines ask again", self._transfers_in_words())
        for face in self._faces:
            for server in face.servers:
                server.accepting = False
        self._turn_until(lambda: not self._is_busy(), grace)
        for face in self._faces:
            face.shut_down()
            for channel in face.channels():
                channel.handle_close()
        self._sender.stop()
        wasyncore.close_all(self._map)

    def _transfers_in_words(self) -> str:
        return counted(self.transfers(), "transfer")

    def _is_busy(self) -> bool:
        return any(channel.owes_an_answer() for face in self._faces for channel in face.channels())

    def _turn_until(self, is_done: Callable[[], bool], seconds: float) -> None:
        until = time.monotonic() + seconds
        while not (self._hurrying or is_done()) and time.monotonic() < until:
            self._turn(0.1)

    def _turn(self, seconds: float) -> None:
        wasyncore.poll2(seconds, self._map)
        if self._sender.is_dead:
            # Nothing of it can be taken up again: systemd starts a whole daemon.
            raise RuntimeError("the process that sends files has died")
        self._on_turn()


def _adjustments() -> Adjustments:
    return Adjustments(
        ident="dispatchd",
        channel_timeout=IDLE,
        cleanup_interval=10,
        max_request_body_size=LARGEST_REQUEST,
        # A worker never waits for a slow reader: answers are small, and files are not copied.
        outbuf_high_watermark=1 << 62,
        log_socket_errors=False,
        expose_tracebacks=False,
        clear_untrusted_proxy_headers=False,
    )


def _plain(address: Any) -> tuple[str, int | None]:
    """The peer's address as a machine is known by it: IPv4 as IPv4, however it came."""
    if not isinstance(address, tuple):
        return ("", None)
    host, port = address[0], address[1]
    scope = address[3] if len(address) > 3 else 0
    parsed = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return (str(parsed.ipv4_mapped), port)
        if scope and parsed.is_link_local:
            return (f"{parsed}%{socket.if_indextoname(scope)}", port)
    return (str(parsed), port)

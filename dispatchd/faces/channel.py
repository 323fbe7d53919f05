"""The waitress channel of ours: whole files through the kernel, in bounded bursts, observed.

Stock waitress pumps one fast download for as long as its socket takes bytes, so that the HEAD of
another machine waits for seconds, and it cannot tell when a body's first and last byte went out.
Here files go to a process of their own, the sender's. This is the only place that knows waitress's
internals; ``tests/faces/test_channel.py`` pins them.
"""

import errno
import logging
import os
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO

from waitress import wasyncore
from waitress.buffers import ReadOnlyFileBasedBuffer
from waitress.channel import HTTPChannel
from waitress.task import ErrorTask, WSGITask

from dispatchd.faces.sending import GOING, SHORT

log = logging.getLogger(__name__)

#: First byte of a TLS record that carries a handshake (RFC 8446 section 5.1).
TLS_HANDSHAKE = 0x16


class Transfer(ReadOnlyFileBasedBuffer):
    """A part of a file as the body of an answer. Takes the file and closes it once.

    ``on_progress`` is called with the bytes of this body that were handed to the kernel so far; it
    must not block.
    """

    def __init__(
        self,
        file: BinaryIO,
        *,
        offset: int,
        length: int,
        on_progress: Callable[[int], None] = lambda _sent: None,
    ) -> None:
        super().__init__(file)
        self.offset = offset
        self.length = self.remain = length
        self._on_progress = on_progress

    @property
    def sent(self) -> int:
        """Bytes of the body handed to the kernel so far, as far as is known."""
        return self.length - self.remain

    def prepare(self, size: int | None = None) -> int:
        """Waitress asks how much there is; the length was promised in the headers."""
        return self.length

    def reach(self, sent: int) -> int:
        """So many bytes are sent; returns how many of them are new."""
        new = sent - self.sent
        self.remain -= new
        if new:
            try:
                self._on_progress(sent)
            except Exception:
                log.exception("cannot note what was sent")
        return new


class EmptyErrorTask(ErrorTask):
    """What waitress answers by itself, with an empty body: firmware reads none of them."""

    def execute(self) -> None:
        error = self.request.error
        self.status = f"{error.code} {error.reason}"
        if error.code != 500:
            why = error.body.removesuffix(".")
            self.channel.server.on_misfit(f"bad request ({why})", self.channel.addr[0])
        self.set_close_on_finish()
        self.content_length = 0
        self.write(b"")


class PeerTask(WSGITask):
    """Tells the application who its peer is: unix(7), SO_PEERCRED."""

    def get_environment(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environment()
        sock = self.channel.socket
        if sock is not None and sock.family == socket.AF_UNIX:
            size = struct.calcsize("3i")
            peer = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
            pid, uid, _ = struct.unpack("3i", peer)
            environ["dispatchd.peer_pid"], environ["dispatchd.peer_uid"] = pid, uid
        return environ

    def build_response_header(self) -> bytes:
        """The header with its length first: waitress would sort Connection before it, and there are
        boot loaders (shim 16.0) that find the length nowhere else.
        """
        header: bytes = super().build_response_header()
        status, *fields = header.removesuffix(b"\r\n\r\n").split(b"\r\n")
        fields.sort(key=lambda field: not field.startswith(b"Content-Length:"))
        return b"\r\n".join([status, *fields, b"", b""])


class Channel(HTTPChannel):
    """One connection. It sends small answers itself, and lends its socket to the sender for a file:
    for that time (``_order``) nobody here writes to the socket or watches it.
    """

    task_class = PeerTask
    error_task_class = EmptyErrorTask
    _heard = False
    _order: int | None = None

    def received(self, data: bytes) -> bool:
        """Take bytes from the peer; one that speaks TLS is told by closing."""
        if data and not self._heard:
            self._heard = True
            if data[0] == TLS_HANDSHAKE:
                self.server.on_misfit("tls hello", self.addr[0])
                self.will_close = True
                return False
        return bool(super().received(data))

    def is_sending_file(self) -> bool:
        """Whether a file's bytes are still to go out."""
        return any(isinstance(buffer, Transfer) for buffer in list(self.outbufs))

    def owes_an_answer(self) -> bool:
        """Whether a request is here, on its way or about to be: a peer that has just connected and
        said nothing yet is a beacon that will not try again. An idle connection is owed nothing.
        """
        answering = self.total_outbufs_len and not self.is_sending_file()
        return bool(self.requests or self.request is not None or answering or not self._heard)

    def is_asked(self) -> bool:
        """Whether the next request only asks; one that tells something has to wait for the disk."""
        # What waitress cannot read has no command.
        command = getattr(self.requests[0], "command", "") if self.requests else ""
        return command not in ("POST", "PUT", "DELETE")

    def is_idle(self) -> bool:
        """Whether nothing is being answered. A request that never gets whole answers nothing."""
        return not (self.requests or self.total_outbufs_len)

    def writable(self) -> bool:
        """Whether the loop shall watch for room in the socket."""
        return self.will_close or (self._order is None and bool(super().writable()))

    def handle_close(self) -> None:
        with self.outbuf_lock:
            if self._order is not None:
                self.server.sender.forget(self._order)
                # The sender has the same socket open: closing ours would not end the connection.
                with suppress(OSError):
                    self.socket.shutdown(socket.SHUT_RDWR)
                self._order = None
            super().handle_close()

    def on_sent(self, sent: int, how: int) -> None:
        """News from the sender, in the loop's thread."""
        with self.outbuf_lock:
            transfer = self.outbufs[0]
            self.total_outbufs_len -= transfer.reach(sent)
            self.last_activity = time.time()
            if how == GOING:
                return
            self._order = None
            if how == 0:
                # What waitress put behind it takes the next answer.
                self.outbufs.pop(0).close()
                return
        # Only a broken connection says that a body is not whole.
        self.will_close = True
        if how == SHORT:
            log.error("a file became shorter while it was sent to %s: cut", self.addr[0])
        elif how in wasyncore._DISCONNECTED or how == errno.ETIMEDOUT:
            log.debug("%s went away: %s", self.addr[0], os.strerror(how))
        else:
            log.error("cannot send a file to %s: %s", self.addr[0], os.strerror(how))

    def _lend(self, transfer: Transfer) -> None:
        self._order = self.server.sender.order(
            self, self.socket, transfer.file, offset=transfer.offset, length=transfer.length
        )

    def _flush_some(self, do_close: bool = True) -> bool:
        """Send what the socket takes of what comes before the next file; whether any went out."""
        is_sent = False
        while self._order is None:
            buffer = self.outbufs[0]
            if buffer.__len__() > 0:
                if isinstance(buffer, Transfer):
                    self._lend(buffer)
                    break
                count = self.send(buffer.get(self.sendbuf_len), do_close=do_close)
                if not count:
                    break
                buffer.skip(count, True)
                self.total_outbufs_len -= count
                is_sent = True
            elif len(self.outbufs) > 1:
                self.outbufs.pop(0).close()
            else:
                # The last buffer must stay: it takes the next answer.
                break
        if is_sent:
            self.last_activity = time.time()
        return is_sent

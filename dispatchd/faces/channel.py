"""The waitress channel of ours: whole files through the kernel, in bounded bursts, observed.

Stock waitress pumps one fast download for as long as its socket takes bytes, so that the HEAD of
another machine waits for seconds, and it cannot tell when a body's first and last byte went out.
This is the only place that knows its internals; ``tests/faces/test_channel.py`` pins them.
"""

import logging
import os
import socket
import struct
import time
from collections.abc import Callable
from typing import Any, BinaryIO

from waitress import wasyncore
from waitress.buffers import ReadOnlyFileBasedBuffer
from waitress.channel import HTTPChannel
from waitress.task import ErrorTask, WSGITask

log = logging.getLogger(__name__)

#: Bytes that one connection may send before the others have their turn.
BURST = 4 * 1024 * 1024
#: First byte of a TLS record that carries a handshake (RFC 8446 section 5.1).
TLS_HANDSHAKE = 0x16


class Transfer(ReadOnlyFileBasedBuffer):
    """A part of a file as the body of an answer. Takes the file and closes it once.

    ``on_first_byte`` and ``on_progress`` (with the bytes of this body that were handed to the
    kernel so far) are called by the thread that sends, between two bursts: they must not block.
    ``on_end`` is called once, when the body is complete or its connection is gone.
    """

    def __init__(
        self,
        file: BinaryIO,
        *,
        offset: int,
        length: int,
        on_first_byte: Callable[[], None] | None = None,
        on_progress: Callable[[int], None] | None = None,
        on_end: Callable[[int], None] | None = None,
    ) -> None:
        file.seek(offset)
        super().__init__(file)
        self.offset = offset
        self.length = self.remain = length
        self.through_kernel = True
        self._closed = False
        self._on_first_byte = on_first_byte
        self._on_progress = on_progress
        self._on_end = on_end

    @property
    def sent(self) -> int:
        """Bytes of the body handed to the kernel so far."""
        return self.length - self.remain

    def prepare(self, size: int | None = None) -> int:
        """Waitress asks how much there is; the length was promised in the headers."""
        return self.length

    def send_to(self, sock: socket.socket, limit: int) -> int:
        """Send up to ``limit`` bytes with sendfile(2); 0 when the file ends before its length."""
        position = self.offset + self.sent
        count = os.sendfile(sock.fileno(), self.file.fileno(), position, min(limit, self.remain))
        self.remain -= count
        return count

    def observe(self, count: int) -> None:
        """Tell the observers of ``count`` more bytes sent."""
        if count == self.sent and self._on_first_byte is not None:
            self._call(self._on_first_byte)
        if self._on_progress is not None:
            self._call(self._on_progress, self.sent)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self.file.close()
        if self._on_end is not None:
            self._call(self._on_end, self.sent)

    def _call(self, observer: Callable[..., None], *arguments: int) -> None:
        try:
            observer(*arguments)
        except Exception:
            log.exception("cannot note what was sent")


class EmptyErrorTask(ErrorTask):
    """What waitress answers by itself, with an empty body: firmware reads none of them."""

    def execute(self) -> None:
        error = self.request.error
        self.status = f"{error.code} {error.reason}"
        if error.code < 500:
            self.channel.server.on_misfit("bad request", self.channel.addr[0])
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


class Channel(HTTPChannel):
    """One connection. Sends at most ``BURST`` bytes a turn, and files without copying them."""

    task_class = PeerTask
    error_task_class = EmptyErrorTask
    _heard = False

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

    def _flush_some(self, do_close: bool = True) -> bool:
        """Send what the socket takes, up to a burst; whether anything went out."""
        left = BURST
        while left > 0:
            buffer = self.outbufs[0]
            if buffer.__len__() > 0:
                count = self._send_some(buffer, left, do_close)
                if not count:
                    break
                left -= count
                self.total_outbufs_len -= count
            if buffer.__len__() == 0:
                # The last buffer must stay: it takes the next answer.
                if len(self.outbufs) == 1:
                    break
                self.outbufs.pop(0).close()
        if left == BURST:
            return False
        self.last_activity = time.time()
        return True

    def _send_some(self, buffer: Any, limit: int, do_close: bool) -> int:
        if isinstance(buffer, Transfer) and buffer.through_kernel:
            count = self._send_file(buffer, limit, do_close)
            if buffer.through_kernel:
                return count
        chunk = buffer.get(min(limit, self.sendbuf_len))
        if not chunk:
            return self._cut(buffer)
        count = int(self.send(chunk, do_close=do_close))
        if count:
            buffer.skip(count, True)
            if isinstance(buffer, Transfer):
                buffer.observe(count)
        return count

    def _send_file(self, transfer: Transfer, limit: int, do_close: bool) -> int:
        if self.socket is None:
            return 0
        try:
            count = transfer.send_to(self.socket, limit)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno in wasyncore._DISCONNECTED:
                if do_close:
                    self.handle_close()
                return 0
            # A file system that cannot: copy it, as waitress does.
            log.debug("cannot sendfile, copying instead: %s", error)
            transfer.through_kernel = False
            transfer.file.seek(transfer.offset + transfer.sent)
            return 0
        if count:
            transfer.observe(count)
            return count
        return self._cut(transfer)

    def _cut(self, buffer: Any) -> int:
        """The file is shorter than promised: only a broken connection says so."""
        log.error("a file became shorter while it was sent: connection to %s cut", self.addr[0])
        self.will_close = True
        return 0

"""The waitress channel of ours: whole files through the kernel, in bounded bursts, observed.

Stock waitress pumps one fast download for as long as its socket takes bytes, so that the HEAD of
another machine waits for seconds, and it cannot tell when a body's first and last byte went out.
Here files go to a thread of their own, the sender's. This is the only place that knows waitress's
internals; ``tests/faces/test_channel.py`` pins them.
"""

import errno
import logging
import os
import socket
import struct
import time
from collections.abc import Callable
from typing import Any, BinaryIO

from waitress.buffers import ReadOnlyFileBasedBuffer
from waitress.channel import HTTPChannel
from waitress.task import ErrorTask, WSGITask

log = logging.getLogger(__name__)

#: Bytes that one connection may send before the others have their turn.
BURST = 4 * 1024 * 1024
#: Bytes that are copied at a time where the kernel cannot send a file by itself.
COPIED = 256 * 1024
#: What sendfile(2) says of a file that it cannot send; None is Python's, of what is no file.
_NO_SENDFILE = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, None}
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
        super().__init__(file)
        self.offset = offset
        self.length = self.remain = length
        self._is_copied = False
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

    def send_burst(self, sock: socket.socket) -> int:
        """Send what the socket takes, up to ``BURST`` bytes; how many it took.

        Raises EOFError where the file ends before its length, else OSError.
        """
        send = self._copy if self._is_copied else self._send_file
        try:
            count = send(sock, self.offset + self.sent, min(BURST, self.remain))
        except BlockingIOError:
            return 0
        if not count:
            raise EOFError
        self.remain -= count
        if count == self.sent and self._on_first_byte is not None:
            self._call(self._on_first_byte)
        if self._on_progress is not None:
            self._call(self._on_progress, self.sent)
        return count

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self.file.close()
        if self._on_end is not None:
            self._call(self._on_end, self.sent)

    def _send_file(self, sock: socket.socket, position: int, limit: int) -> int:
        try:
            return os.sendfile(sock.fileno(), self.file.fileno(), position, limit)
        except OSError as error:
            if error.errno not in _NO_SENDFILE:
                raise
            log.debug("cannot sendfile, copying instead: %s", error)
            self._is_copied = True
            return self._copy(sock, position, limit)

    def _copy(self, sock: socket.socket, position: int, limit: int) -> int:
        self.file.seek(position)
        chunk = self.file.read(min(limit, COPIED))
        return sock.send(chunk) if chunk else 0

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
    """One connection. It sends small answers itself, and leaves files to the sender: while that has
    it (``_is_lent``), nobody else writes to the socket or watches it.
    """

    task_class = PeerTask
    error_task_class = EmptyErrorTask
    _heard = False
    _is_lent = False

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

    def fileno(self) -> int:
        return int(self.socket.fileno())

    def writable(self) -> bool:
        """Whether the loop shall watch for room in the socket."""
        return self.will_close or (not self._is_lent and bool(super().writable()))

    def handle_close(self) -> None:
        """Close, in the loop's thread: the sender must not meet a socket that is another's."""
        with self.outbuf_lock:
            self._take_back()
            super().handle_close()

    def send_burst(self) -> None:
        """Send a burst of the file. Called by the sender."""
        with self.outbuf_lock:
            if not self._is_lent:
                return
            transfer = self.outbufs[0]
            try:
                self.total_outbufs_len -= transfer.send_burst(self.socket)
            except EOFError:
                # Only a broken connection says so.
                log.error("a file became shorter while it was sent to %s: cut", self.addr[0])
                self.will_close = True
            except (ConnectionError, TimeoutError) as error:
                log.debug("%s went away: %s", self.addr[0], error)
                self.will_close = True
            except OSError as error:
                log.error("cannot send a file to %s: %s", self.addr[0], error)
                self.will_close = True
            self.last_activity = time.time()
            if transfer.remain and not self.will_close:
                return
            self._take_back()
            if not transfer.remain:
                # What waitress put behind it takes the next answer.
                self.outbufs.pop(0).close()
        # What comes next is the loop's.
        self.server.pull_trigger()

    def _lend(self) -> None:
        with self.outbuf_lock:
            self._is_lent = True
            self.server.sender.take(self)

    def _take_back(self) -> None:
        if self._is_lent:
            self.server.sender.release(self)
            self._is_lent = False

    def _flush_some(self, do_close: bool = True) -> bool:
        """Send what the socket takes of what comes before the next file; whether any went out."""
        is_sent = False
        while not self._is_lent:
            buffer = self.outbufs[0]
            if buffer.__len__() > 0:
                if isinstance(buffer, Transfer):
                    self._lend()
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

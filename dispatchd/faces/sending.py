"""The process that sends files: `python -m dispatchd.faces.sending DESCRIPTOR`.

A burst takes the kernel longer than the interpreter, and there are thousands a second: in a thread
of the daemon they would keep every request waiting for the interpreter's lock. Here is none to
share. This process knows descriptors, nothing of machines; it ends when the daemon does.
"""

import errno
import os
import select
import signal
import socket
import struct
import sys
import time
from collections import deque
from contextlib import suppress

#: Bytes that one connection may send before the others have their turn.
BURST = 512 * 1024
#: Bytes that are copied at a time where the kernel cannot send a file by itself.
COPIED = 256 * 1024
#: How far sending stands back behind the daemon's requests: nice(2).
NICE = 5
#: Seconds between two pieces of news of one transfer.
SPACING = 1.0
#: An order: its number, offset and length; with it come the descriptors of socket and file.
ORDER = struct.Struct("=QQQ")
#: News of an order: its number, bytes sent so far, and how it ended: 0 whole, or an errno.
NEWS = struct.Struct("=QQi")
#: Instead of an errno: it goes on; the file ended before the length.
GOING, SHORT = -1, -2
#: What sendfile(2) says of a file that it cannot send.
_NO_SENDFILE = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
#: Seconds until news that found no room is offered again.
_AGAIN = 0.01


class _Transfer:
    """What is left of an order. No dataclass: importing those takes a sixth of our memory."""

    __slots__ = ("file", "is_copied", "length", "number", "position", "sent", "told_at")

    def __init__(self, *, number: int, file: int, position: int, length: int) -> None:
        self.number = number
        self.file = file
        self.position = position
        self.length = length
        self.sent = 0
        self.told_at = 0.0
        self.is_copied = False


class Sending:
    """Sends what is ordered over ``control``, a burst of each in turn, until that is closed.

    Level-triggered epoll(7) does the turns: what has just sent is behind all others that can.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._epoll = select.epoll()
        self._epoll.register(control, select.EPOLLIN)
        self._transfers: dict[int, _Transfer] = {}
        self._untold: deque[bytes] = deque()

    def run(self) -> None:
        while True:
            for descriptor, _ in self._epoll.poll(_AGAIN if self._untold else None):
                if descriptor != self._control.fileno():
                    self._send_burst(descriptor)
                elif not self._take_orders():
                    return
            while self._untold and self._has_told(self._untold[0]):
                self._untold.popleft()

    def _take_orders(self) -> bool:
        """Whether the daemon is still there."""
        while True:
            try:
                order, descriptors, _, _ = socket.recv_fds(self._control, ORDER.size, 2)
            except BlockingIOError:
                return True
            if not order:
                return False
            number, offset, length = ORDER.unpack(order)
            sock, file = descriptors
            self._transfers[sock] = _Transfer(
                number=number, file=file, position=offset, length=length
            )
            _cork(sock, True)
            self._epoll.register(sock, select.EPOLLOUT)

    def _send_burst(self, sock: int) -> None:
        transfer = self._transfers[sock]
        left = transfer.length - transfer.sent
        try:
            if transfer.is_copied:
                chunk = os.pread(transfer.file, min(COPIED, left), transfer.position)
                count = os.write(sock, chunk)
            else:
                count = os.sendfile(sock, transfer.file, transfer.position, min(BURST, left))
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno in _NO_SENDFILE and not transfer.is_copied:
                transfer.is_copied = True
            else:
                self._end(sock, error.errno or errno.EIO)
            return
        transfer.position += count
        transfer.sent += count
        if not count:
            self._end(sock, SHORT)
        elif count == left:
            self._end(sock, 0)
        elif (now := time.monotonic()) - transfer.told_at >= SPACING:
            transfer.told_at = now
            self._has_told(NEWS.pack(transfer.number, transfer.sent, GOING))

    def _end(self, sock: int, how: int) -> None:
        transfer = self._transfers.pop(sock)
        # The daemon has the same socket open: closing ours does not take it off the list.
        self._epoll.unregister(sock)
        _cork(sock, False)
        os.close(sock)
        os.close(transfer.file)
        self._untold.append(NEWS.pack(transfer.number, transfer.sent, how))

    def _has_told(self, news: bytes) -> bool:
        # Never waits: the daemon may be waiting for us to take an order.
        try:
            self._control.send(news)
        except BlockingIOError:
            return False
        return True


def _cork(descriptor: int, is_corked: bool) -> None:
    """Have only full segments sent, as tcp(7) says of TCP_CORK, or send what is left.

    No burst is a multiple of a segment: each would end with a small one, which costs as much as a
    full one.
    """
    sock = socket.socket(fileno=descriptor)
    try:
        # A Unix socket has no segments, and one whose peer is gone sends none.
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, is_corked)
    finally:
        sock.detach()


def main() -> None:
    # A terminal's Ctrl-C and systemd's SIGTERM reach us too; the daemon decides when to end.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # Where processors are scarce a request's answer comes before the next burst. A sandbox that
    # denies it, as the unit's does, costs some milliseconds only.
    with suppress(OSError):
        os.nice(NICE)
    # A daemon that is killed with news unread resets the connection: that is its end, too.
    with socket.socket(fileno=int(sys.argv[1])) as control, suppress(ConnectionError):
        control.setblocking(False)
        Sending(control).run()


if __name__ == "__main__":
    main()

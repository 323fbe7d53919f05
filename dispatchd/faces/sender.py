"""The daemon's side of the process that sends files (``sending``): orders go out, news comes in."""

import itertools
import select
import socket
import subprocess
import sys
from contextlib import suppress
from typing import Any, BinaryIO, Protocol

from waitress import wasyncore

from dispatchd.faces.sending import GOING, NEWS, ORDER


class Lender(Protocol):
    """A connection that lends its socket until a file is sent."""

    def on_sent(self, sent: int, how: int) -> None: ...


class Sender(wasyncore.dispatcher):
    """Takes orders from any thread; lenders hear of them in the loop's thread.

    ``is_dead``: the process ended, unasked.
    """

    is_dead = False

    def __init__(self) -> None:
        self._lenders: dict[int, Lender] = {}
        self._numbers = itertools.count()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, map_: dict[int, Any]) -> None:
        """Start the process; ``map_`` is the loop's."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "dispatchd.faces.sending", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={},
            )
        super().__init__(ours, map=map_)

    def stop(self) -> None:
        """Send no more, whatever is left."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def order(
        self, lender: Lender, sock: socket.socket, file: BinaryIO, *, offset: int, length: int
    ) -> int:
        """Have a part of the file sent; returns the order's number."""
        number = next(self._numbers)
        self._lenders[number] = lender
        while True:
            try:
                socket.send_fds(
                    self.socket,
                    [ORDER.pack(number, offset, length)],
                    [sock.fileno(), file.fileno()],
                )
            except BlockingIOError:
                # Not for long: the process takes orders first, and never waits for us.
                select.select([], [self.socket], [], 1)
            else:
                return number

    def forget(self, number: int) -> None:
        """The lender wants no more news of its order."""
        self._lenders.pop(number, None)

    def writable(self) -> bool:
        return False

    def handle_read(self) -> None:
        with suppress(BlockingIOError):
            while news := self.socket.recv(NEWS.size):
                number, sent, how = NEWS.unpack(news)
                lender = self._lenders.get(number)
                if how != GOING:
                    self.forget(number)
                if lender is not None:
                    lender.on_sent(sent, how)

    def handle_close(self) -> None:
        self.is_dead = True
        self.close()

"""The thread that sends files, so that the loop that reads and answers never waits behind them.

sendfile(2) gives up the interpreter while it runs: the next HEAD is decided and answered meanwhile.
"""

import logging
import os
import select
import threading
from typing import Protocol

log = logging.getLogger(__name__)


class Connection(Protocol):
    """A connection whose next bytes are a file's."""

    def fileno(self) -> int: ...
    def send_burst(self) -> None: ...


class Sender:
    """Lets every connection that it was given send a burst in turn, whenever its peer takes bytes.

    Level-triggered epoll(7) does the turns: what has just sent is behind all others that can.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._connections: dict[int, Connection] = {}
        self._stopping = os.eventfd(0)
        self._epoll.register(self._stopping, select.EPOLLIN)
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Send no more, whatever is left."""
        os.eventfd_write(self._stopping, 1)
        self._thread.join()
        self._epoll.close()
        os.close(self._stopping)

    def take(self, connection: Connection) -> None:
        """Send for the connection from now on. Any thread may call: a waiting epoll hears of it."""
        self._connections[connection.fileno()] = connection
        self._epoll.register(connection.fileno(), select.EPOLLOUT)

    def release(self, connection: Connection) -> None:
        """Send no more for the connection, which is still open. The last burst may still run."""
        self._epoll.unregister(connection.fileno())
        del self._connections[connection.fileno()]

    def _run(self) -> None:
        while True:
            for descriptor, _ in self._epoll.poll():
                if descriptor == self._stopping:
                    return
                # Released since poll looked?
                if connection := self._connections.get(descriptor):
                    connection.send_burst()

"""systemd's end of sd_notify(3), on a socket of our own."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self


class PlayedSystemd:
    """Receives what a service says; each datagram is one message of NAME=value lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(os.fspath(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()

    def message(self, *, within: float = 20) -> dict[str, str]:
        """The next message."""
        self._socket.settimeout(within)
        lines = self._socket.recv(65536).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def until(self, is_it: Callable[[dict[str, str]], bool]) -> dict[str, str]:
        """The next message that is meant; others before it are forgotten."""
        while not is_it(message := self.message()):
            pass
        return message

    def forget(self) -> None:
        """Drop what has arrived so far."""
        self._socket.setblocking(False)
        try:
            while True:
                self._socket.recv(65536)
        except BlockingIOError:
            return

    def is_silent(self, seconds: float) -> bool:
        """Whether nothing arrives for that long."""
        try:
            self.message(within=seconds)
        except TimeoutError:
            return True
        return False

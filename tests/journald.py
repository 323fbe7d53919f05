"""The reading end of journald's native protocol, on a socket of our own."""

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

Entry = dict[str, str]


class PlayedJournal:
    """Receives entries as journald does: in datagrams, and in memory files when they are large."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(os.fspath(path))
        self._socket.settimeout(20)

    @classmethod
    @contextmanager
    def at(cls, path: Path) -> Iterator[Self]:
        """Listen there; the name is gone afterwards, as when journald stops."""
        journal = cls(path)
        try:
            yield journal
        finally:
            journal._socket.close()
            path.unlink()

    def entry(self) -> Entry:
        """The next entry."""
        data, descriptors, _, _ = socket.recv_fds(self._socket, 1 << 20, 1)
        if not descriptors:
            return _parsed(data)
        with open(descriptors[0], "rb") as file:
            file.seek(0)
            return _parsed(file.read())


def _parsed(data: bytes) -> Entry:
    """NAME=value lines, or NAME, a length of 8 bytes and the value."""
    entry = {}
    while data:
        line, _, data = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (length,) = struct.unpack_from("@Q", data)
            value, data = data[8 : 8 + length], data[8 + length + 1 :]
        entry[name.decode()] = value.decode()
    return entry

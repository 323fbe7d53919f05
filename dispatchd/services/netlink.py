"""Reading the kernel's network tables over rtnetlink (rtnetlink(7), netlink(7), RFC 3549).

Only dumps: one request, every row of one table. No privilege is needed. The kernel answers from
memory, so a dump takes well under a millisecond for a table of usual size.
"""

import os
import socket
import struct
from collections.abc import Iterator

# linux/netlink.h
_REQUEST, _DUMP, _INTERRUPTED = 0x1, 0x300, 0x10
_ERROR, _DONE = 2, 3
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_ERRNO = struct.Struct("=i")
#: The two high bits of an attribute's type are flags (nested, network byte order).
_TYPE_MASK = 0x3FFF
#: The kernel never builds a dump message longer than this, however large the table.
_BUFFER = 1 << 16
_PATIENCE = 1.0
_ROUNDS = 3

# linux/rtnetlink.h
GET_LINK, GET_ADDRESS, GET_ROUTE, GET_NEIGHBOUR = 18, 22, 26, 30


def dump(request: int, header: bytes, *, containing: bytes = b"") -> list[bytes]:
    """Return the rows of one table, their netlink headers removed.

    ``header`` is the request's own fixed part (ifinfomsg, ifaddrmsg, rtmsg, ndmsg), filled in as a
    filter. With ``containing``, rows are left out cheaply where a whole message of the kernel holds
    these bytes nowhere; rows without them can still come. A table that changes while it is read is
    read again; after three rounds it is taken as it came. Raises OSError.
    """
    rows: list[bytes] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(_PATIENCE)
        kernel.bind((0, 0))
        for sequence in range(1, _ROUNDS + 1):
            size = _HEADER.size + len(header)
            kernel.send(_HEADER.pack(size, request, _REQUEST | _DUMP, sequence, 0) + header)
            rows, steady = _receive(kernel, sequence, containing)
            if steady:
                break
    return rows


def _receive(kernel: socket.socket, sequence: int, containing: bytes) -> tuple[list[bytes], bool]:
    rows: list[bytes] = []
    steady = True
    while True:
        datagram = kernel.recv(_BUFFER)
        wanted = containing in datagram
        at = 0
        while at + _HEADER.size <= len(datagram):
            size, kind, flags, answers, _ = _HEADER.unpack_from(datagram, at)
            if size < _HEADER.size:
                raise OSError("cannot read the kernel's network tables: malformed message")
            row = datagram[at + _HEADER.size : at + size]
            at += size + 3 & ~3
            if answers != sequence:
                continue
            steady = steady and not flags & _INTERRUPTED
            if kind == _DONE:
                return rows, steady
            if kind == _ERROR:
                code = -_ERRNO.unpack_from(row)[0]
                raise OSError(code, os.strerror(code))
            if wanted:
                rows.append(row)


def attributes(row: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    """Yield (type, value) of the attributes that follow a row's fixed part of ``start`` bytes."""
    at = start
    while at + _ATTRIBUTE.size <= len(row):
        size, kind = _ATTRIBUTE.unpack_from(row, at)
        if size < _ATTRIBUTE.size:
            return
        yield kind & _TYPE_MASK, row[at + _ATTRIBUTE.size : at + size]
        at += size + 3 & ~3

"""How many connections a face may hold, and which of them make room when it is full.

A scanner or a monitor that leaks connections must not keep the machines out: a request that waits
five seconds for its answer is a boot that failed.
"""

import resource
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from typing import Protocol

#: Connections of one address that are left alone: firmware needs two, and its resumes some more.
FEW = 8
#: Descriptors for the database, the cache, GitHub and our own pipes.
RESERVED = 256
#: Descriptors of a connection: its socket, and the file that goes out on it.
EACH = 2
#: Connections that are tried with, however few descriptors there are.
FEWEST = 16


class Connection(Protocol):
    """One of the crowd. ``will_close``: it makes room already."""

    addr: tuple[str, int | None]
    last_activity: float
    will_close: bool

    def is_idle(self) -> bool: ...


def leaving(connections: Iterable[Connection], *, wanted: int) -> list[Connection]:
    """Who closes so that ``wanted`` others find room: of the address that holds most, those that
    were silent longest. Nobody, where none holds more than a few.
    """
    crowds: defaultdict[str, list[Connection]] = defaultdict(list)
    for connection in connections:
        if connection.will_close:
            wanted -= 1
        else:
            crowds[connection.addr[0]].append(connection)
    largest = max(crowds.values(), key=len, default=[])
    idle = sorted((one for one in largest if one.is_idle()), key=lambda one: one.last_activity)
    return idle[: max(min(wanted, len(largest) - FEW), 0)]


def within_descriptors(wanted: int) -> int:
    """So many connections as the descriptors of this process allow; more of these are asked for."""
    needed = RESERVED + EACH * wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Python has "no limit" as -1.
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(min(wanted, (soft - RESERVED) // EACH), FEWEST)

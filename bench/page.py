"""docs/performance.md: what was found, on what, how, and what a miss means."""

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.table import Row, render
from bench.warm import ALONE

PAGE = Path(__file__).parent.parent / "docs/performance.md"

_TEXT = """\
# Performance

Written by `make bench`; `make bench ROUNDS=1` takes a quick look and writes nothing. Change the
bench, not this page.

{table}
Measured on {day}: {machine}.

## How

Everything runs on one machine and talks over loopback, so the figures are ratios: what counts is
dispatchd beside nginx in the same run. Each figure is the median of {rounds} rounds ({alone} for
one machine), and the servers take turns within a round.

- nginx is Debian's, with one worker and `sendfile on`, and no access log; dispatchd is the
  installed program with its database on disk. Both serve the same file of {mib} MiB from the page
  cache.
- A machine asks with HEAD, then with GET, on one connection, as firmware does. For dispatchd each
  is a new machine that is assigned a workload of its own: the queue's transactions are in the
  figures.
- Machines throw the bytes away in the kernel (`MSG_TRUNC`), so that they cost as little as
  possible.
- CPU is what the kernel charged the serving processes, all of their threads, from the first GET
  on.
- TCP's congestion control is the machine's own (named above), for both. bbr arms a timer for each
  packet, which may cost more than sending it: one connection then runs at one of two speeds, by
  chance. Under reno, measured by hand on 2026-11-28, both servers sent 8 to 10 GB/s, and dispatchd
  0.90 to 0.92 times what nginx did: what a GET costs the queue shows where sending costs so little.
- Meanwhile: during a storm one more machine and one more beacon send small requests, one after
  another with 10 ms between them, until the storm is over. nginx is asked for a file of 16 KiB. A
  PUT may take one fsync longer: the p99 of an fsync on the same disk in the same storm.
- Cold: the machines ask while the asset is still fetched, wait as they are told to, and ask
  again. The source is the stand-in for GitHub of the tests, throttled.

A row that says **missed** is a figure below its target: it stays here until the code is better. A
busy or very small machine makes the tails (p99) longer for both servers; run the bench on one
that does nothing else.
"""


def write(rows: Sequence[Row], *, rounds: int, size: int) -> None:
    """Replace the page."""
    PAGE.write_text(
        _TEXT.format(
            table=render(rows),
            day=f"{datetime.now(UTC):%Y-%m-%d}",
            machine=_machine(),
            rounds=rounds,
            alone=rounds * ALONE,
            mib=size >> 20,
        )
    )


def _machine() -> str:
    processor = "an unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            processor = line.partition(":")[2].strip()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    congestion = Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    return (
        f"{processor}, {os.cpu_count()} cores, {memory:.0f} GiB of memory, Linux "
        f"{platform.release().partition('-')[0]} ({congestion}), Python {platform.python_version()}"
    )

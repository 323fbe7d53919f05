"""Instants at which a test may have the daemon die, as in a power cut.

The promise that nothing is lost is broken between two steps of a write, if anywhere, and killing at
random seldom hits there. So each such instant has a name, and ``DISPATCHD_CRASH_AT=NAME`` in the
environment (or ``NAME:N``) is SIGKILL when the process gets there for the first (or Nth) time.

They ship because what is tested must be what runs; unarmed, one costs a comparison of strings.
"""

import os
import signal
from collections.abc import Mapping

_point, _left = "", 0


def arm(environ: Mapping[str, str]) -> None:
    """Choose the instant. Without the variable there is none."""
    global _point, _left
    _point, _, count = environ.get("DISPATCHD_CRASH_AT", "").partition(":")
    _left = int(count or 1)


def reach(point: str) -> None:
    """Die here, if this is the instant that was chosen."""
    global _left
    if point != _point:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

"""Waiting for what happens in another thread, process or the kernel."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_BETWEEN_LOOKS = 0.02


def eventually(look: Callable[[], T], *, within: float = 10.0) -> T:
    """Return what ``look`` gives as soon as it is true; after ``within`` seconds, fail with it."""
    deadline = time.monotonic() + within
    while not (seen := look()):
        assert time.monotonic() < deadline, f"still {seen!r} after {within:g} s"
        threading.Event().wait(_BETWEEN_LOOKS)
    return seen

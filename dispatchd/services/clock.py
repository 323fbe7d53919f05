"""Time, passed in. Wall time is what people and the database see; deadlines run on the other."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """``now`` is UTC and may jump; ``monotonic`` is seconds from an arbitrary start and may not."""

    def now(self) -> datetime: ...
    def monotonic(self) -> float: ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

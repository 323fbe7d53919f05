"""One download under way: what it brings, for whom, and how fast."""

import re
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from dispatchd.domain.model import Asset
from dispatchd.services.clock import Clock

#: Seconds over which a rate is taken.
WINDOW = 30.0
#: Bytes a second below which a download is no longer counted among those that run at a time.
SLOW = 32 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How much of an asset is here; ``rate`` is bytes a second, 0 while nothing comes."""

    arrived: int
    rate: float = 0.0


class Gauge:
    """How many bytes are here, and how fast they came lately. One thread notes, any may look."""

    def __init__(self, clock: Clock, arrived: int) -> None:
        self._clock = clock
        self._marks = deque([(clock.monotonic(), arrived)])
        self._began = self._arrived = arrived

    @property
    def gained(self) -> bool:
        """Whether anything came."""
        return self._arrived > self._began

    def note(self, arrived: int) -> None:
        """That many bytes are here now."""
        now = self._clock.monotonic()
        self._arrived = arrived
        if now - self._marks[-1][0] >= 1:
            self._marks.append((now, arrived))
        while len(self._marks) > 1 and now - self._marks[1][0] >= WINDOW:
            self._marks.popleft()

    def progress(self) -> Progress:
        since, then = self._marks[0]
        elapsed = self._clock.monotonic() - since
        rate = (self._arrived - then) / elapsed if elapsed > 0 else 0.0
        return Progress(arrived=self._arrived, rate=max(rate, 0.0))

    def is_slow(self) -> bool:
        """Whether it has dripped for a whole window: it need not keep others waiting."""
        elapsed = self._clock.monotonic() - self._marks[0][0]
        return elapsed >= WINDOW and self.progress().rate < SLOW


@dataclass(kw_only=True, slots=True)
class Flight:
    """A download of everything that has the same ``key``; ``path`` where it is a file here."""

    key: str
    asset: Asset
    path: Path | None
    gauge: Gauge
    wanted: bool = True


def key_of(asset: Asset) -> str:
    """What a download is of: assets of one key are fetched once, and a break is taken up by it.

    The digest; else what stands for the content where nobody tells it, and only within one run of
    the kernel: after a power cut nothing would show that a file has holes.
    """
    if asset.sha256:
        return asset.sha256
    stamp = re.sub(r"[^0-9]", "", asset.updated_at)
    whose = f"asset-{asset.remote_id}" if asset.url else f"file-{asset.id}"
    return f"{whose}-{stamp}-{asset.size}-{_BOOT}"


def _boot() -> str:
    """What tells this run of the kernel from others (random(4))."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    except OSError:
        return "boot"


_BOOT = _boot()

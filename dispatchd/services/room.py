"""Room in the cache: how large it may become, who needs what is in it, and what leaves first."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dispatchd.domain.event import Kind
from dispatchd.errors import NoRoom
from dispatchd.services.cache import Cache, Entry
from dispatchd.services.clock import Clock
from dispatchd.store.store import Store
from dispatchd.wire import amount

#: The largest cache where the settings name no size, unless half of the file system is less.
LARGEST = 100 << 30
#: What was announced to a machine this lately may still be asked for.
ANNOUNCED = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """A file and who needs it: nobody where ``needed_by`` is empty and it is not ``busy``.

    ``busy``: it is being sent, or was announced to a machine a moment ago.
    """

    entry: Entry
    names: tuple[str, ...]
    needed_by: tuple[str, ...]
    busy: bool
    used_at: datetime

    @property
    def is_free(self) -> bool:
        return not self.needed_by and not self.busy


@dataclass(frozen=True, kw_only=True, slots=True)
class Fill:
    """How full the cache is, in bytes. ``used`` has what is arriving at its whole size, and
    ``unwritten`` is the part of it that the disk does not know of yet."""

    used: int
    unwritten: int
    free: int


class Room:
    """Gives out room for downloads before they begin, so that all of them together fit.

    ``max_size`` bytes at most are kept, 0 for the default; ``min_free`` of the disk stay free.
    """

    def __init__(
        self, store: Store, cache: Cache, clock: Clock, *, max_size: int, min_free: int
    ) -> None:
        self._store = store
        self._cache = cache
        self._clock = clock
        self._lock = threading.Lock()
        self._given: dict[str, int] = {}
        self.resize(max_size=max_size, min_free=min_free)

    def resize(self, *, max_size: int, min_free: int) -> None:
        """Change the bounds. What is here already stays until room is needed."""
        half = shutil.disk_usage(self._cache.directory).total // 2
        self.max_size = int(max_size) or min(LARGEST, half)
        self.min_free = int(min_free)

    @contextmanager
    def given(self, key: str, size: int) -> Iterator[None]:
        """Room for a file of ``size`` bytes while it comes; what nobody needs leaves for it.

        Raises NoRoom where that is not enough; nothing leaves then.
        """
        with self._lock:
            self._make(key, size)
            self._given[key] = size
        try:
            yield
        finally:
            with self._lock:
                del self._given[key]

    def fill(self, besides: str = "") -> Fill:
        """How full the cache is, without the download ``besides``."""
        entries, partials = self._cache.entries(), self._cache.partials()
        # What is whole is still given room for a moment.
        whole = {one.sha256 for one in entries} | {besides}
        given = {key: size for key, size in dict(self._given).items() if key not in whole}
        coming = {key: size for key, size in partials.items() if key not in whole} | given
        return Fill(
            used=sum(one.size for one in entries) + sum(coming.values()),
            unwritten=sum(size - partials.get(key, 0) for key, size in given.items()),
            free=shutil.disk_usage(self._cache.directory).free,
        )

    def held(self) -> list[Held]:
        """Every file, the longest unused first."""
        entries = self._cache.entries()
        digests = [entry.sha256 for entry in entries]
        with self._store.reading() as tx:
            needed, names = tx.needs.labels(), tx.needs.names(digests)
            uses = tx.needs.last_uses(digests)
            announced = tx.needs.announced(self._clock.now() - ANNOUNCED)
        held = [
            Held(
                entry=entry,
                names=tuple(names.get(entry.sha256, ())),
                needed_by=tuple(needed.get(entry.sha256, ())),
                busy=entry.sha256 in announced or self._cache.is_open(entry.sha256),
                used_at=uses.get(entry.sha256) or datetime.fromtimestamp(entry.since, UTC),
            )
            for entry in entries
        ]
        return sorted(held, key=lambda one: one.used_at)

    def remove(self, leaving: list[Held], *, why: str, by: str = "") -> list[Held]:
        """Remove those of these files that still nobody needs, and return them."""
        with self._store.writing() as tx:
            # Asked again: a workload may have been queued since, and now none can be.
            needed = tx.needs.labels()
            announced = tx.needs.announced(self._clock.now() - ANNOUNCED)
            left = [
                one
                for one in leaving
                if one.entry.sha256 not in needed and one.entry.sha256 not in announced
            ]
            tx.needs.bytes_left([one.entry.sha256 for one in left])
            for one in left:
                name = ", ".join(one.names) or one.entry.sha256[:12]
                text = f"{name}: {amount(one.entry.size)} left the cache, {why}"
                tx.tell(Kind.BYTES_REMOVED, text, at=self._clock.now(), by=by)
                self._cache.set_aside(one.entry.sha256)
        self._cache.remove_leaving()
        return left

    def _make(self, key: str, size: int) -> None:
        if size > self.max_size:
            raise NoRoom(
                f"needs {amount(size)}, and [cache] max_size is {amount(self.max_size)}",
                hint="raise [cache] max_size",
            )
        lacking = max(self._lacking(key, size))
        if lacking <= 0:
            return
        leaving: list[Held] = []
        for one in self.held():
            if one.is_free and _size(leaving) < lacking:
                leaving.append(one)
        if _size(leaving) >= lacking:
            self.remove(leaving, why="nobody needs them and others need the room")
        of_cache, of_disk = self._lacking(key, size)
        if of_cache > 0 and of_cache >= of_disk:
            raise NoRoom(
                f"needs {amount(size)}, {amount(of_cache)} more than there is room for",
                hint=f"raise [cache] max_size ({amount(self.max_size)})",
            )
        if of_disk > 0:
            raise NoRoom(
                f"needs {amount(size)}, {amount(of_disk)} more than the disk has free",
                hint=f"free space on the disk of {self._cache.directory}, "
                f"or lower [cache] min_free ({amount(self.min_free)})",
            )

    def _lacking(self, key: str, size: int) -> tuple[int, int]:
        """How many bytes would have to leave: for ``max_size``, and for ``min_free``."""
        fill = self.fill(besides=key)
        unwritten = fill.unwritten + size - self._cache.arrived(key)
        return fill.used + size - self.max_size, self.min_free + unwritten - fill.free


def _size(held: list[Held]) -> int:
    return sum(one.entry.size for one in held)

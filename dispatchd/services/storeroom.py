"""What people ask of the cache: what is in it and for whom, to clear it out, to check it."""

import hashlib
import logging
import threading
from collections.abc import Callable

import msgspec

from dispatchd import wire
from dispatchd.domain.event import Kind
from dispatchd.errors import DispatchError
from dispatchd.services.cache import CHUNK, Cache, Entry
from dispatchd.services.clock import Clock
from dispatchd.services.room import Held, Room
from dispatchd.store.store import Store

log = logging.getLogger(__name__)

#: Seconds between two signs of life.
LOOK = 15.0


class Storeroom:
    """The use cases of `dispatchctl cache`. ``run`` is the thread that checks."""

    def __init__(
        self, store: Store, cache: Cache, room: Room, clock: Clock, *, on_change: Callable[[], None]
    ) -> None:
        self._store = store
        self._cache = cache
        self._room = room
        self._clock = clock
        self._on_change = on_change
        self._lock = threading.Lock()
        self._check: wire.CacheCheck | None = None
        self._awake = threading.Event()

    def wake(self) -> None:
        """There may be something to check, or dispatchd stops."""
        self._awake.set()

    def report(self) -> wire.Cache:
        """What is in the cache, the longest unused first."""
        held, fill = self._room.held(), self._room.fill()
        return wire.Cache(
            directory=str(self._cache.directory),
            used=fill.used,
            max_size=self._room.max_size,
            free=fill.free,
            min_free=self._room.min_free,
            prunable=sum(one.entry.size for one in held if one.is_free),
            files=[_file(one) for one in held],
            check=self._check,
        )

    def prune(self, *, by: str) -> wire.Pruned:
        """Remove what nobody needs."""
        leaving = [one for one in self._room.held() if one.is_free]
        left = self._room.remove(leaving, why="nobody needs them", by=by)
        self._on_change()
        return wire.Pruned(
            files=[_file(one) for one in left], freed=sum(one.entry.size for one in left)
        )

    def verify(self, *, by: str) -> wire.CacheCheck:
        """Begin to read every file again, unless that is under way; ``report`` has the result."""
        with self._lock:
            if self._check is None or self._check.ended_at is not None:
                entries = self._cache.entries()
                self._check = wire.CacheCheck(
                    started_at=self._clock.now(),
                    ended_at=None,
                    checked=0,
                    total=sum(entry.size for entry in entries),
                    corrupt=[],
                )
                log.info("cache: reading %d files again (by %s)", len(entries), by)
            check = self._check
        self.wake()
        return check

    def run(self, stopping: threading.Event) -> None:
        """Notice what is missing, then check whenever somebody asks, until stopped."""
        try:
            self._notice_missing()
        except DispatchError as error:
            log.warning("cannot compare the cache with the queue: %s", error)
        while not stopping.is_set():
            self._awake.wait(LOOK)
            self._awake.clear()
            if self._check is not None and self._check.ended_at is None:
                self._read_all(stopping)

    def _notice_missing(self) -> None:
        """Somebody may have emptied the directory while dispatchd was down."""
        with self._store.writing() as tx:
            missing = [one for one in tx.needs.believed_here() if self._cache.path(one) is None]
            if missing:
                tx.needs.bytes_left(missing)
                text = f"{len(missing)} files left the cache while dispatchd was down"
                tx.tell(Kind.BYTES_LOST, text, at=self._clock.now())
        self._on_change()

    def _read_all(self, stopping: threading.Event) -> None:
        for entry in self._cache.entries():
            if not self._is_right(entry, stopping) and not stopping.is_set():
                self._discard(entry)
        corrupt = self._note(ended=True).corrupt
        log.info("cache: all read again, %s", f"{len(corrupt)} corrupt" if corrupt else "all well")

    def _is_right(self, entry: Entry, stopping: threading.Event) -> bool:
        """Whether the bytes still have their digest; what cannot be read has not."""
        digest = hashlib.sha256()
        try:
            with self._cache.open(entry.sha256) as file:
                while chunk := file.read(CHUNK):
                    digest.update(chunk)
                    self._note(more=len(chunk))
                    if stopping.is_set():
                        return False
        except FileNotFoundError:
            # It left meanwhile.
            return True
        except OSError as error:
            log.error("cache: cannot read %s: %s", entry.sha256, error.strerror)
            return False
        return digest.hexdigest() == entry.sha256

    def _discard(self, entry: Entry) -> None:
        with self._store.writing() as tx:
            name = (
                ", ".join(tx.needs.names([entry.sha256]).get(entry.sha256, [])) or entry.sha256[:12]
            )
            tx.needs.bytes_left([entry.sha256])
            text = f"{name}: its copy in the cache is damaged, fetched again where it is needed"
            tx.tell(Kind.BYTES_CORRUPT, text, at=self._clock.now())
            self._cache.set_aside(entry.sha256)
        self._cache.remove_leaving()
        self._note(corrupt=name)
        self._on_change()

    def _note(self, *, more: int = 0, corrupt: str = "", ended: bool = False) -> wire.CacheCheck:
        with self._lock:
            check = self._check
            assert check is not None  # noqa: S101 - only a check that was begun makes progress
            self._check = msgspec.structs.replace(
                check,
                checked=check.checked + more,
                corrupt=[*check.corrupt, corrupt] if corrupt else check.corrupt,
                ended_at=self._clock.now() if ended else None,
            )
            return self._check


def _file(held: Held) -> wire.CachedFile:
    return wire.CachedFile(
        sha256=held.entry.sha256,
        size=held.entry.size,
        names=list(held.names),
        needed_by=list(held.needed_by),
        used_at=held.used_at,
    )

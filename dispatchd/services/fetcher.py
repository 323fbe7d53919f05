"""Fetches the bytes of loaded assets into the cache: each once, however many want them."""

import logging
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from dispatchd.domain.event import Kind
from dispatchd.domain.lifecycle import Event, advance
from dispatchd.domain.model import Arrival, Asset, State
from dispatchd.errors import DispatchError, Gone, Refused, Unavailable
from dispatchd.services.cache import Cache
from dispatchd.services.clock import Clock
from dispatchd.services.github import RemoteAsset
from dispatchd.store.store import Store

log = logging.getLogger(__name__)

#: Downloads at a time.
AT_ONCE = 3
#: Seconds between two looks for work that nobody announced.
LOOK = 15.0
#: Seconds before the second try of a download, doubled at each up to the second.
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 300.0
#: Downloads with wrong bytes after which a person must look.
WRONG = 3


class Stream(Protocol):
    """Bytes on their way."""

    @property
    def chunks(self) -> Iterator[bytes]: ...


class Source(Protocol):
    """Where assets come from, by their address in the API: what it leads to expires."""

    def open_asset(self, asset: RemoteAsset) -> AbstractContextManager[Stream]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pause:
    tries: int
    wrong: int
    until: float


class Fetcher:
    """Owns the downloads. ``wake`` it when something was loaded.

    ``refresh`` looks for an asset that is gone in its release once more, which may have been made
    again: whether the asset is still wanted, under whatever address it has by then.
    """

    def __init__(
        self,
        store: Store,
        cache: Cache,
        source: Source,
        clock: Clock,
        *,
        refresh: Callable[[Asset], bool],
    ) -> None:
        self._refresh = refresh
        self._store = store
        self._cache = cache
        self._source = source
        self._clock = clock
        self._wake = threading.Event()
        self._arrived: dict[int, int] = {}
        self._pauses: dict[int, _Pause] = {}
        self._busy: set[str] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def wake(self) -> None:
        """There may be something to fetch."""
        self._wake.set()

    def arrived(self, asset_id: int) -> int:
        """Bytes of an arriving asset that are here."""
        return self._arrived.get(asset_id, 0)

    def run(self, stopping: threading.Event) -> None:
        """Fetch what is wanted until stopped."""
        self._stopping = stopping
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fetch") as pool:
            while not stopping.is_set():
                try:
                    for asset in self.due():
                        pool.submit(self._fetch_logged, asset)
                except DispatchError as error:
                    log.warning("cannot look for downloads now: %s", error)
                self._wake.wait(self._until_next())
                self._wake.clear()

    def due(self) -> list[Asset]:
        """Assets to fetch now, one per digest; each is taken by the caller."""
        with self._store.reading() as tx:
            arriving = tx.assets.arriving()
        now = self._clock.monotonic()
        taken = []
        with self._lock:
            for asset in arriving:
                pause = self._pauses.get(asset.id)
                key = asset.sha256 or f"asset {asset.id}"
                if key not in self._busy and (pause is None or pause.until <= now):
                    self._busy.add(key)
                    taken.append(asset)
        return taken

    def fetch(self, asset: Asset) -> None:
        """Bring one asset's bytes into the cache, or note when to try again."""
        try:
            digest = self._bring(asset)
        except Unavailable as error:
            self._put_off(asset, error, wrong=False)
        except Gone as error:
            self._look_again(asset, error)
        except Refused as error:
            self._put_off(asset, error, wrong=True)
        except DispatchError as error:
            self._put_off(asset, error, wrong=False)
        else:
            self._publish(asset, digest)
        finally:
            with self._lock:
                self._busy.discard(asset.sha256 or f"asset {asset.id}")
            self._arrived.pop(asset.id, None)
            self._wake.set()

    def _look_again(self, asset: Asset, error: Gone) -> None:
        try:
            wanted = bool(asset.url) and self._refresh(asset)
        except DispatchError as trouble:
            # The release may be between two lives: its CI deletes it and makes it again.
            self._put_off(asset, trouble, wrong=False)
            return
        if wanted:
            self._put_off(asset, error, wrong=False)
        else:
            self._give_up(asset, f"gone from GitHub: {error}")

    def _fetch_logged(self, asset: Asset) -> None:
        try:
            self.fetch(asset)
        except Exception:
            log.exception("cannot fetch %s", asset.name)

    def _bring(self, asset: Asset) -> str:
        if self._cache.path(asset.sha256) is not None:
            return asset.sha256
        if not asset.url:
            raise Gone("its directory's copy left the cache: load the directory again")

        def progress(arrived: int) -> None:
            self._arrived[asset.id] = arrived
            if self._stopping.is_set():
                raise Unavailable("dispatchd stops")

        with self._source.open_asset(_remote(asset)) as stream:
            return self._cache.put(
                stream.chunks, size=asset.size, sha256=asset.sha256, on_progress=progress
            )

    def _publish(self, asset: Asset, digest: str) -> None:
        """The bytes are whole: every asset row that they are the bytes of can be served."""
        self._pauses.pop(asset.id, None)
        with self._store.writing() as tx:
            for row in tx.assets.arriving():
                same = row.id == asset.id and (row.size, row.url) == (asset.size, asset.url)
                if same or (row.sha256 and row.sha256 == digest):
                    tx.assets.update(row.id, arrival=Arrival.WHOLE, sha256=digest, reason="")
            release = tx.releases.get(asset.release_id)
            text = f"{asset.name}: all {asset.size} bytes are here and verified"
            tx.tell(Kind.BYTES_WHOLE, text, at=self._now(), release=release)

    def _put_off(self, asset: Asset, error: DispatchError, *, wrong: bool) -> None:
        before = self._pauses.get(asset.id)
        tries = (before.tries if before else 0) + 1
        wrongs = (before.wrong if before else 0) + wrong
        if wrongs >= WRONG:
            self._give_up(asset, f"its bytes are wrong: {error}")
            return
        pause = min(FIRST_PAUSE * 2 ** (tries - 1), LONGEST_PAUSE)
        if isinstance(error, Unavailable) and error.retry_at is not None:
            pause = max(pause, (error.retry_at - self._now()).total_seconds())
        pause *= random.uniform(1.0, 1.25)  # noqa: S311 - spreads load, guards nothing
        self._pauses[asset.id] = _Pause(
            tries=tries, wrong=wrongs, until=self._clock.monotonic() + pause
        )
        if self._stopping.is_set():
            return
        with self._store.writing() as tx:
            tx.assets.update(asset.id, reason=str(error))
        log.warning("%s: %s; next try in %.0f s", asset.name, error, pause)

    def _give_up(self, asset: Asset, reason: str) -> None:
        """The bytes cannot be had: nobody shall wait for them."""
        with self._store.writing() as tx:
            tx.assets.update(asset.id, arrival=Arrival.GONE, reason=reason)
            for workload in tx.workloads.of_asset(asset.id):
                if workload.state is State.UNASSIGNED:
                    state = advance(workload.state, Event.WITHDRAW)
                    now = self._now()
                    workload = tx.workloads.swap(
                        workload, state=state, reason=f"withdrawn: {reason}", changed_at=now
                    )
                    text = f"{workload.label}: withdrawn, {reason}"
                    tx.tell(Kind.WITHDRAWN, text, at=now, workload=workload)

    def _until_next(self) -> float:
        now = self._clock.monotonic()
        with self._lock:
            waits = [pause.until - now for pause in self._pauses.values()]
        return min([LOOK, *(max(wait, 0.1) for wait in waits)])

    def _now(self) -> datetime:
        return self._clock.now()


def _remote(asset: Asset) -> RemoteAsset:
    return RemoteAsset(
        id=asset.remote_id,
        name=asset.name,
        size=asset.size,
        content_type=asset.content_type,
        state="uploaded",
        sha256=asset.sha256 or None,
        url=asset.url,
        download_url=asset.download_url,
        updated_at=datetime.fromisoformat(asset.updated_at),
    )

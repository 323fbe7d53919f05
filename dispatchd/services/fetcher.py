"""Fetches the bytes of loaded assets into the cache: each once, however many want them."""

import logging
import random
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from dispatchd.domain.model import Asset
from dispatchd.errors import DispatchError, Gone, NoRoom, Refused, Unauthorized, Unavailable
from dispatchd.services.arrivals import Arrivals
from dispatchd.services.cache import Cache, Stream
from dispatchd.services.clock import Clock
from dispatchd.services.directory import open_file
from dispatchd.services.flight import Flight, Gauge, Progress, key_of
from dispatchd.services.github import RemoteAsset
from dispatchd.services.room import Room
from dispatchd.store.store import Store
from dispatchd.wire import amount

log = logging.getLogger(__name__)

#: Downloads at a time, those that drip included, for each one that the settings allow.
WITH_SLOW = 4
#: Seconds between two looks for work that nobody announced, and for room.
LOOK = 15.0
#: Seconds before the second try of a download, doubled at each up to the second.
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 300.0
#: Downloads with wrong bytes after which a person must look.
WRONG = 3
#: Seconds that a download may take to notice that dispatchd stops; it is taken up again anyway.
STOP = 2.0


class Remote(Protocol):
    """Where assets come from, by their address in the API: what it leads to expires."""

    def open_asset(
        self, asset: RemoteAsset, *, offset: int = 0
    ) -> AbstractContextManager[Stream]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pause:
    """``no_room``: why it does not fit, where that is what it waits for."""

    until: float = 0.0
    tries: int = 0
    wrong: int = 0
    no_room: NoRoom | None = None


class _Ended(Exception):
    """The download is no longer wanted, or dispatchd stops."""


class Fetcher:
    """Owns the downloads. ``wake`` it when something was loaded. ``at_once``: how many run.

    ``refresh`` looks for an asset that is gone in its release once more, which may have been made
    again: whether the asset is still wanted, under whatever address it has by then.
    """

    def __init__(
        self,
        store: Store,
        cache: Cache,
        room: Room,
        remote: Remote,
        clock: Clock,
        *,
        at_once: int,
        refresh: Callable[[Asset], bool],
    ) -> None:
        self._arrivals = Arrivals(store, clock)
        self._cache = cache
        self._room = room
        self._remote = remote
        self._clock = clock
        self._at_once = at_once
        self._refresh = refresh
        self._lock = threading.Lock()
        self._flights: dict[str, Flight] = {}
        self._pauses: dict[str, _Pause] = {}
        self._wake = threading.Event()
        self._stopping = threading.Event()

    def wake(self) -> None:
        """There may be something to fetch."""
        self._wake.set()

    def progress(self, asset: Asset) -> Progress:
        """How far an arriving asset is."""
        key = key_of(asset)
        flight = self._flights.get(key)
        return flight.gauge.progress() if flight else Progress(arrived=self._cache.arrived(key))

    def attention(self, waiting: Iterable[Asset]) -> list[str]:
        """What a person should know of these assets, one for each workload that waits for it."""
        full: set[str] = set()
        sizes: dict[str, int] = {}
        count = 0
        for asset in waiting:
            key = key_of(asset)
            pause = self._pauses.get(key)
            if pause is not None and pause.no_room is not None:
                count += 1
                sizes[key] = asset.size - self._cache.arrived(key)
                full.add(pause.no_room.hint)
        if not full:
            return []
        who = f"{count} workloads wait" if count > 1 else "1 workload waits"
        wanted = amount(sum(sizes.values()))
        return [f"cache full: {who} for {wanted}: {' or '.join(sorted(full))}"]

    def run(self, stopping: threading.Event) -> None:
        """Fetch what is wanted until stopped."""
        self._stopping = stopping
        threads: list[threading.Thread] = []
        while not stopping.is_set():
            threads = [thread for thread in threads if thread.is_alive()]
            try:
                for flight in self.due():
                    name = f"fetch {flight.asset.name}"
                    # A daemon: a source that is silent must not keep dispatchd from ending.
                    thread = threading.Thread(
                        target=self._fetch_logged, args=[flight], name=name, daemon=True
                    )
                    thread.start()
                    threads.append(thread)
            except DispatchError as error:
                log.warning("cannot look for downloads now: %s", error)
            self._wake.wait(self._until_next())
            self._wake.clear()
        until = self._clock.monotonic() + STOP
        for thread in threads:
            thread.join(max(until - self._clock.monotonic(), 0))

    def due(self) -> list[Flight]:
        """What to fetch now, once for each key; it is taken by the caller. Ends what nobody wants.

        A source that drips does not count among those that run at a time.
        """
        wanted = self._arrivals.wanted()
        now = self._clock.monotonic()
        taken: list[Flight] = []
        with self._lock:
            for flight in self._flights.values():
                flight.wanted = flight.key in wanted
            self._pauses = {key: one for key, one in self._pauses.items() if key in wanted}
            self._cache.keep_partials(wanted.keys() | self._flights.keys())
            brisk = sum(not flight.gauge.is_slow() for flight in self._flights.values())
            for key, (asset, path) in wanted.items():
                pause = self._pauses.get(key)
                if key in self._flights or (pause is not None and pause.until > now):
                    continue
                if self._cache.path(asset.sha256) is None:
                    if brisk >= self._at_once or len(self._flights) >= WITH_SLOW * self._at_once:
                        continue
                    brisk += 1
                gauge = Gauge(self._clock, self._cache.arrived(key))
                self._flights[key] = Flight(key=key, asset=asset, path=path, gauge=gauge)
                taken.append(self._flights[key])
        return taken

    def fetch(self, flight: Flight) -> None:
        """Bring one asset's bytes into the cache, or note when to try again."""
        try:
            self._arrivals.publish(flight, self._bring(flight))
            self._forget(flight)
        except _Ended:
            log.info("%s: the download ends, to be taken up when it is wanted", flight.asset.name)
        except NoRoom as error:
            self._wait_for_room(flight, error)
        except Gone as error:
            self._look_again(flight, error)
        except (Unauthorized, Unavailable) as error:
            self._put_off(flight, error, wrong=False)
        except Refused as error:
            # Its bytes are wrong: a browser's address leads to those of a release made again.
            self._look_again(flight, error)
        except DispatchError as error:
            self._put_off(flight, error, wrong=False)
        except Exception:
            # Whatever this is, it is not met again at once.
            self._pause(flight, LOOK, _Pause())
            raise
        finally:
            with self._lock:
                del self._flights[flight.key]
            self._wake.set()

    def _fetch_logged(self, flight: Flight) -> None:
        try:
            self.fetch(flight)
        except Exception:
            log.exception("cannot fetch %s", flight.asset.name)

    def _bring(self, flight: Flight) -> str:
        asset = flight.asset
        if self._cache.path(asset.sha256) is not None:
            return asset.sha256

        def progress(arrived: int) -> None:
            flight.gauge.note(arrived)
            if self._stopping.is_set() or not flight.wanted:
                raise _Ended

        def open_from(offset: int) -> AbstractContextManager[Stream]:
            if flight.path is not None:
                return open_file(flight.path, asset, offset=offset)
            return self._remote.open_asset(_remote(asset), offset=offset)

        with self._room.given(flight.key, asset.size):
            here, size = self._cache.arrived(flight.key), amount(asset.size)
            begins = f"going on after {amount(here)} of" if here else "fetching"
            log.info("%s: %s %s", asset.name, begins, size)
            return self._cache.fill(
                flight.key, open_from, size=asset.size, sha256=asset.sha256, on_progress=progress
            )

    def _look_again(self, flight: Flight, error: Refused) -> None:
        wrong = not isinstance(error, Gone)
        if flight.path is not None:
            if wrong:
                self._put_off(flight, error, wrong=True)
            else:
                self._give_up(flight, str(error))
            return
        try:
            wanted = self._refresh(flight.asset)
        except DispatchError as trouble:
            # The release may be between two lives: its CI deletes it and makes it again.
            self._put_off(flight, trouble, wrong=False)
            return
        if wanted:
            self._put_off(flight, error, wrong=wrong)
        else:
            self._give_up(flight, f"gone from GitHub: {error}")

    def _wait_for_room(self, flight: Flight, error: NoRoom) -> None:
        before = self._pauses.get(flight.key)
        self._pause(flight, LOOK, _Pause(no_room=error))
        if before is None or before.no_room is None:
            log.warning("%s: cache full: %s; %s", flight.asset.name, error, error.hint)
            self._arrivals.note(flight, f"cache full: {error}")

    def _put_off(self, flight: Flight, error: DispatchError, *, wrong: bool) -> None:
        before = self._pauses.get(flight.key, _Pause())
        # What got further may go on at once; what gets nowhere waits longer and longer.
        tries = 1 if flight.gauge.gained and not wrong else before.tries + 1
        if before.wrong + wrong >= WRONG:
            self._give_up(flight, str(error))
            return
        pause = min(FIRST_PAUSE * 2 ** (tries - 1), LONGEST_PAUSE)
        if wrong and before.wrong and flight.path is None:
            # A proxy's page with status 200 passes: what a try more would withdraw gets time first.
            pause = LONGEST_PAUSE
        if isinstance(error, Unavailable) and error.retry_at is not None:
            pause = max(pause, (error.retry_at - self._clock.now()).total_seconds())
        pause *= random.uniform(1.0, 1.25)  # noqa: S311 - spreads load, guards nothing
        self._pause(flight, pause, _Pause(tries=tries, wrong=before.wrong + wrong))
        if self._stopping.is_set():
            return
        self._arrivals.note(flight, str(error))
        log.warning("%s: %s; next try in %.0f s", flight.asset.name, error, pause)

    def _pause(self, flight: Flight, seconds: float, why: _Pause) -> None:
        until = self._clock.monotonic() + seconds
        with self._lock:
            self._pauses[flight.key] = replace(why, until=until)

    def _give_up(self, flight: Flight, reason: str) -> None:
        self._forget(flight)
        self._arrivals.withdraw(flight.asset, reason)

    def _forget(self, flight: Flight) -> None:
        with self._lock:
            self._pauses.pop(flight.key, None)

    def _until_next(self) -> float:
        now = self._clock.monotonic()
        with self._lock:
            waits = [one.until - now for one in self._pauses.values() if one.until > now]
        return min([LOOK, *waits])


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

"""Releases become workloads, and are reconciled when they are loaded again."""

import logging
import threading
from collections.abc import Callable
from dataclasses import replace

import msgspec

from dispatchd import wire
from dispatchd.domain.drift import gone
from dispatchd.domain.event import Kind
from dispatchd.domain.model import Arrival, Asset, Release, Source
from dispatchd.errors import BadRequest, DispatchError, Gone, Unavailable
from dispatchd.services.clock import Clock
from dispatchd.services.directory import find_in_directory
from dispatchd.services.dispatcher.unit import Unit
from dispatchd.services.loading import Loading, note_drift, row
from dispatchd.services.patience import PatientGitHub
from dispatchd.services.sources import Found, GitHub, find_on_github
from dispatchd.store.store import Store

log = logging.getLogger(__name__)

#: Seconds between two looks at releases that were still being uploaded, and at the others.
LOOK, RARELY = 60.0, 600.0


class Catalog:
    """Loads and unloads. Everything is read from the network before anything is written.

    ``wait`` waits so many seconds; true where it was for nothing, because dispatchd stops.
    """

    def __init__(
        self,
        store: Store,
        github: GitHub,
        clock: Clock,
        *,
        max_tries: Callable[[], int],
        wake: Callable[[], None],
        wait: Callable[[float], bool],
    ) -> None:
        self._store = store
        self._github = github
        self._clock = clock
        self._max_tries = max_tries
        self._wake = wake
        self._wait = wait
        self._next_look: dict[int, float] = {}

    def load(self, request: wire.LoadRequest, *, by: str) -> wire.LoadAnswer:
        """Queue a release's bootable assets; with ``plan``, only say what would be queued."""
        if (request.directory is None) == (request.repo is None):
            raise BadRequest("cannot load: name a release, or a directory, and not both")
        patient = PatientGitHub(self._github, self._clock, self._wait)
        found = self._find(request, patient, preflight=True)
        with self._store.writing() as tx:
            unit = Unit(tx=tx, now=self._clock.now())
            loading = Loading(unit=unit, request=request, found=found, tries=self._max_tries())
            answer = loading.plan() if request.plan else loading.write(by)
        self._wake()
        return answer

    def unload(self, release_id: int, *, by: str) -> None:
        """Take a release off the queue; what runs goes on, and is not tried again."""
        with self._store.writing() as tx:
            unit = Unit(tx=tx, now=self._clock.now())
            release = tx.releases.get(release_id)
            tx.releases.unload(release, unit.now)
            unit.tell(Kind.UNLOADED, f"{release.name}: unloaded", by=by, release=release)

    def run(self, stopping: threading.Event) -> None:
        """Look at loaded releases again until stopped."""
        while not stopping.wait(LOOK):
            self.look()

    def look(self) -> None:
        """Look again at releases whose time it is. What cannot be read now stays as it is."""
        try:
            with self._store.reading() as tx:
                loaded = [one for one in tx.releases.loaded() if one.source is Source.GITHUB]
        except DispatchError as error:
            log.warning("cannot look at releases again: %s", error)
            return
        now = self._clock.monotonic()
        for release in loaded:
            if self._next_look.get(release.id, now) > now:
                continue
            pause = LOOK if release.unfinished else RARELY
            self._next_look[release.id] = now + pause
            try:
                self.look_again(release)
            except DispatchError as error:
                log.warning("cannot look at %s again: %s", release.name, error)
                if isinstance(error, Unavailable) and error.retry_at is not None:
                    wait = (error.retry_at - self._clock.now()).total_seconds()
                    self._next_look[release.id] = now + max(pause, wait)

    def look_again(self, release: Release) -> None:
        """Queue what has become whole since the release was loaded, and note how it differs now.

        A release that is gone may be between two lives: nothing is taken from the queue.
        """
        request = _asked(release)
        try:
            found = self._find(request, self._github, preflight=False)
        except Gone:
            found = None
        with self._store.writing() as tx:
            unit = Unit(tx=tx, now=self._clock.now())
            if found is None:
                note_drift(unit, release, _gone(unit, release))
                return
            loading = Loading(unit=unit, request=request, found=found, tries=self._max_tries())
            loading.look_again(release)
        self._wake()

    def refresh(self, asset: Asset) -> bool:
        """Look for an asset in its release as it is now: whether its bytes are still to be had.

        Its address may be another one by then: CI deletes releases and makes them again. Where
        other bytes go by its name now and nothing of it was tried yet, it takes those.
        """
        with self._store.reading() as tx:
            release = tx.releases.get(asset.release_id)
        found = self._find(_asked(release), self._github, preflight=False)
        fresh = next((one for one in found.assets if one.name == asset.name), None)
        if fresh is None:
            return found.unfinished
        both = bool(fresh.sha256 and asset.sha256)
        same = fresh.sha256 == asset.sha256 if both else fresh.size == asset.size
        with self._store.writing() as tx:
            queued = tx.workloads.of_asset(asset.id)
            if not same and any(tx.attempts.of_workload(one.id) for one in queued):
                return False
            known = replace(fresh, sha256=asset.sha256) if same else fresh
            tx.assets.update(asset.id, **row(known))
        if not same:
            log.warning("%s: %s has other bytes now, it takes those", release.name, asset.name)
        return True

    def _find(self, request: wire.LoadRequest, github: GitHub, *, preflight: bool) -> Found:
        if request.directory is not None:
            return find_in_directory(request)
        return find_on_github(github, request, self._clock.now(), preflight=preflight)


def _asked(release: Release) -> wire.LoadRequest:
    """What was asked for when the release was loaded, of the release that was found then."""
    asked = msgspec.json.decode(release.asked, type=wire.LoadRequest) if release.asked else None
    return msgspec.structs.replace(
        asked or wire.LoadRequest(filters=list(release.filters), all_efi=release.all_efi),
        owner=release.owner,
        repo=release.repo,
        tag=release.tag,
    )


def _gone(unit: Unit, release: Release) -> str:
    assets = {asset.id: asset for asset in unit.tx.assets.of_release(release.id)}
    queued = {workload.asset_id for workload in unit.tx.workloads.of_release(release.id)}
    whole = sum(assets[one].arrival is Arrival.WHOLE for one in queued)
    return gone(whole=whole, loaded=len(queued), loaded_at=release.loaded_at)

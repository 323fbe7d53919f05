"""Releases become workloads, and are reconciled when they are loaded again."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from dispatchd import wire
from dispatchd.domain.event import Kind
from dispatchd.domain.lifecycle import Event, advance
from dispatchd.domain.model import Arrival, Asset, Release, Source, State, Workload
from dispatchd.errors import BadRequest, DispatchError
from dispatchd.services.clock import Clock
from dispatchd.services.directory import find_in_directory
from dispatchd.services.dispatcher.operator import find_or_make_machine
from dispatchd.services.dispatcher.unit import Unit
from dispatchd.services.sources import (
    Found,
    FoundAsset,
    GitHub,
    find_on_github,
)
from dispatchd.store.store import Store

log = logging.getLogger(__name__)

#: Seconds between two looks at releases that were still being uploaded.
LOOK = 60.0


class Catalog:
    """Loads and unloads. Everything is read from the network before anything is written."""

    def __init__(
        self,
        store: Store,
        github: GitHub,
        clock: Clock,
        *,
        max_tries: int,
        wake: Callable[[], None],
    ) -> None:
        self._store = store
        self._github = github
        self._clock = clock
        self._max_tries = max_tries
        self._wake = wake

    def load(self, request: wire.LoadRequest, *, by: str) -> wire.LoadAnswer:
        """Queue a release's bootable assets; with ``plan``, only say what would be queued."""
        if (request.directory is None) == (request.repo is None):
            raise BadRequest("cannot load: name a release, or a directory, and not both")
        found = self._find(request, preflight=True)
        with self._store.writing() as tx:
            unit = Unit(tx=tx, now=self._clock.now())
            loading = _Loading(unit=unit, request=request, found=found, tries=self._max_tries)
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
        """Look again, once a minute, at releases that were not complete."""
        while not stopping.wait(LOOK):
            try:
                with self._store.reading() as tx:
                    unfinished = [one for one in tx.releases.loaded() if one.unfinished]
                for release in unfinished:
                    self.look_again(release)
            except DispatchError as error:
                log.warning("cannot look at releases again: %s", error)

    def look_again(self, release: Release) -> None:
        """Queue what has become whole since the release was loaded."""
        request = self._request(release)
        found = self._find(request, preflight=False)
        with self._store.writing() as tx:
            unit = Unit(tx=tx, now=self._clock.now())
            loading = _Loading(unit=unit, request=request, found=found, tries=self._max_tries)
            loading.add_new(release)
        self._wake()

    def refresh(self, asset: Asset) -> bool:
        """Look for an asset in its release as it is now: whether it is still there.

        Its address may be another one by then: CI deletes releases and makes them again.
        """
        with self._store.reading() as tx:
            release = tx.releases.get(asset.release_id)
        found = self._find(self._request(release), preflight=False)
        for fresh in found.assets:
            if fresh.name != asset.name or (asset.sha256 and fresh.sha256 != asset.sha256):
                continue
            if not asset.sha256 and fresh.size != asset.size:
                continue
            with self._store.writing() as tx:
                tx.assets.update(
                    asset.id,
                    remote_id=fresh.remote_id,
                    url=fresh.url,
                    download_url=fresh.download_url,
                    updated_at=fresh.updated_at,
                )
            return True
        return found.unfinished

    def _find(self, request: wire.LoadRequest, *, preflight: bool) -> Found:
        if request.directory is not None:
            return find_in_directory(request)
        return find_on_github(self._github, request, self._clock.now(), preflight=preflight)

    def _request(self, release: Release) -> wire.LoadRequest:
        """What was asked for when the release was loaded."""
        with self._store.reading() as tx:
            queued = tx.workloads.of_release(release.id)
        like = queued[0] if queued else None
        return wire.LoadRequest(
            attempts=like.max_tries if like else None,
            priority=like.priority if like else 0,
            report_timeout=like.report_timeout if like else None,
            owner=release.owner,
            repo=release.repo,
            tag=release.tag,
            filters=list(release.filters),
            all_efi=release.all_efi,
            file=release.filing,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Loading:
    """One load against what is in the queue already."""

    unit: Unit
    request: wire.LoadRequest
    found: Found
    tries: int

    def plan(self) -> wire.LoadAnswer:
        """What would happen to each asset, as far as it can be told without reading its bytes."""
        release = self.unit.tx.releases.by_name(self.found.name)
        known = self.unit.tx.assets.of_release(release.id) if release else []
        workloads = [
            wire.LoadedWorkload(
                id=None,
                name=asset.name,
                pool=pool or None,
                size=asset.size,
                change="unchanged" if any(_is_same(asset, one) for one in known) else "queued",
            )
            for asset in self.found.assets
            for pool in self._pools()
        ]
        return self._answer(release.id if release else None, workloads)

    def write(self, by: str) -> wire.LoadAnswer:
        """Queue what is new, let untried workloads take new bytes, withdraw what is gone."""
        release_id = self._put_release()
        pinned = self._pinned_to()
        lines = [
            self._put(release_id, asset, pool, pinned)
            for asset in self.found.assets
            for pool in self._pools()
        ]
        lines += self._handle_gone(release_id)
        queued = sum(line.change == "queued" for line in lines)
        text = f"{self.found.name}: loaded, {queued} workloads queued"
        release = self.unit.tx.releases.get(release_id)
        self.unit.tell(Kind.LOADED, text, by=by, release=release)
        return self._answer(release_id, lines)

    def add_new(self, release: Release) -> None:
        """Queue assets that were not there before; leave everything else as it is."""
        known = self.unit.tx.assets.of_release(release.id)
        names = {asset.name for asset in known}
        pools = {w.pool for w in self.unit.tx.workloads.of_release(release.id)} or {""}
        for asset in self.found.assets:
            if asset.name not in names:
                for pool in sorted(pools):
                    self._put(release.id, asset, pool, None)
                text = f"{release.name}: {asset.name} is whole now and queued"
                self.unit.tell(Kind.LOADED, text, release=release)
        self.unit.tx.releases.update(
            release.id, unfinished=self.found.unfinished, drift=self._drift(known)
        )

    def _put_release(self) -> int:
        values = {
            "source": self.found.source,
            "owner": self.found.owner,
            "repo": self.found.repo,
            "tag": self.found.tag,
            "directory": self.found.directory,
            "report_to": self.found.report_to,
            "filing": self.request.file and bool(self.found.report_to),
            "filters": tuple(self.request.filters),
            "all_efi": self.request.all_efi,
            "report_failures": self.request.report_failures,
            "loaded_at": self.unit.now,
            "unloaded_at": None,
            "unfinished": self.found.unfinished,
            "drift": "",
        }
        release = self.unit.tx.releases.by_name(self.found.name)
        if release is None:
            return self.unit.tx.releases.insert(name=self.found.name, **values)
        self.unit.tx.releases.update(release.id, **values)
        return release.id

    def _put(
        self, release_id: int, asset: FoundAsset, pool: str, pinned: int | None
    ) -> wire.LoadedWorkload:
        tx = self.unit.tx
        known = [one for one in tx.assets.of_release(release_id) if one.name == asset.name]
        same = next((one for one in known if _is_same(asset, one)), None)
        queued = [
            w
            for w in tx.workloads.of_release(release_id)
            if w.name == asset.name and w.pool == pool
        ]
        if same is not None:
            if same.arrival is Arrival.GONE:
                tx.assets.update(same.id, **_row(asset))
            mine = next((w for w in queued if w.asset_id == same.id), None)
            if mine is not None:
                return _line(mine, asset, "unchanged")
        asset_id = same.id if same else tx.assets.insert(release_id=release_id, **_row(asset))
        untried = next((w for w in queued if self._is_untried(w)), None)
        if untried is not None and same is None:
            changed = tx.workloads.swap(untried, asset_id=asset_id, changed_at=self.unit.now)
            return _line(changed, asset, "replaced", "it takes the new bytes")
        workload_id = tx.workloads.insert(
            release_id=release_id,
            asset_id=asset_id,
            name=asset.name,
            pool=pool,
            pinned_to=pinned,
            priority=self.request.priority,
            max_tries=self.request.attempts or self.tries,
            report_timeout=self.request.report_timeout,
            state=State.UNASSIGNED,
            changed_at=self.unit.now,
        )
        return _line(tx.workloads.get(workload_id), asset, "queued")

    def _handle_gone(self, release_id: int) -> list[wire.LoadedWorkload]:
        """What is queued and no longer upstream runs on from the cache, or is withdrawn."""
        if self.found.source is Source.DIRECTORY or self.found.unfinished or self.request.filters:
            return []
        tx = self.unit.tx
        names = {asset.name for asset in self.found.assets}
        assets = {asset.id: asset for asset in tx.assets.of_release(release_id)}
        lines = []
        for workload in tx.workloads.of_release(release_id):
            asset = assets[workload.asset_id]
            if workload.name in names or workload.state is not State.UNASSIGNED:
                continue
            if asset.arrival is Arrival.WHOLE:
                reason = "gone from GitHub; its bytes are here, it runs on"
                lines.append(_line(workload, asset, "kept", reason))
                continue
            tx.assets.update(asset.id, arrival=Arrival.GONE, reason="gone from GitHub")
            state = advance(workload.state, Event.WITHDRAW)
            reason = "withdrawn: gone from GitHub before its bytes were here"
            changed = tx.workloads.swap(
                workload, state=state, reason=reason, changed_at=self.unit.now
            )
            self.unit.tell(Kind.WITHDRAWN, f"{changed.label}: {reason}", workload=changed)
            lines.append(_line(changed, asset, "withdrawn", reason))
        return lines

    def _drift(self, known: list[Asset]) -> str:
        """How the release differs from what was loaded, in words, or empty."""
        fresh = {asset.name: asset for asset in self.found.assets}
        differ = [a.name for a in known if a.name in fresh and not _is_same(fresh[a.name], a)]
        gone = [asset.name for asset in known if asset.name not in fresh]
        said = [f"{len(differ)} of {len(known)} differ"] if differ else []
        said += [f"{len(gone)} gone"] if gone and not self.found.unfinished else []
        return f"re-made: {', '.join(said)}; load it again to take that over" if said else ""

    def _is_untried(self, workload: Workload) -> bool:
        return workload.state is State.UNASSIGNED and not self.unit.tx.attempts.of_workload(
            workload.id
        )

    def _pools(self) -> list[str]:
        return self.request.pools or [""]

    def _pinned_to(self) -> int | None:
        if self.request.on is None:
            return None
        return find_or_make_machine(self.unit, self.request.on).id

    def _answer(
        self, release_id: int | None, workloads: list[wire.LoadedWorkload]
    ) -> wire.LoadAnswer:
        return wire.LoadAnswer(
            release_id=release_id,
            release=self.found.name,
            workloads=workloads,
            report_to=self.found.report_to or None,
            login=self.found.login,
            notes=list(self.found.notes),
            warnings=list(self.found.warnings),
        )


def _is_same(asset: FoundAsset, known: Asset) -> bool:
    return asset.is_same(
        sha256=known.sha256,
        size=known.size,
        remote_id=known.remote_id,
        updated_at=known.updated_at,
    )


def _row(asset: FoundAsset) -> dict[str, object]:
    return {
        "name": asset.name,
        "size": asset.size,
        "sha256": asset.sha256,
        "media_type": asset.media_type,
        "content_type": asset.content_type,
        "remote_id": asset.remote_id,
        "url": asset.url,
        "download_url": asset.download_url,
        "updated_at": asset.updated_at,
        "arrival": Arrival.ARRIVING,
        "reason": "",
    }


def _line(
    workload: Workload,
    asset: FoundAsset | Asset,
    change: wire.Change,
    reason: str | None = None,
) -> wire.LoadedWorkload:
    return wire.LoadedWorkload(
        id=workload.id,
        name=workload.name,
        pool=workload.pool or None,
        size=asset.size,
        change=change,
        reason=reason,
    )

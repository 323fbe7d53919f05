"""One load against what is in the queue already: what is new, what differs, what is gone."""

from dataclasses import dataclass

import msgspec

from dispatchd import wire
from dispatchd.domain.drift import Drift
from dispatchd.domain.event import Kind
from dispatchd.domain.lifecycle import WITHDRAWN, Event, advance
from dispatchd.domain.model import Arrival, Asset, Release, Source, State, Workload
from dispatchd.services.dispatcher.operator import find_or_make_machine
from dispatchd.services.dispatcher.unit import Unit
from dispatchd.services.sources import Found, FoundAsset


@dataclass(frozen=True, kw_only=True, slots=True)
class Loading:
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
        text = f"{self.found.name}: loaded, {wire.counted(queued, 'workload')} queued"
        release = self.unit.tx.releases.get(release_id)
        self.unit.tell(Kind.LOADED, text, by=by, release=release)
        return self._answer(release_id, lines)

    def look_again(self, release: Release) -> None:
        """Finish what was half uploaded, and say how the release differs; nothing else changes."""
        tx = self.unit.tx
        if release.unfinished:
            names = {asset.name for asset in self._queued_assets(release)}
            for asset in self.found.assets:
                if asset.name not in names:
                    for pool in self._pools():
                        self._put(release.id, asset, pool, self._pinned_to())
                    text = f"{release.name}: {asset.name} is whole now and queued"
                    self.unit.tell(Kind.LOADED, text, release=release)
        drift = self._drift(release).words(since=self.found.changed_at, loaded=release.loaded_at)
        note_drift(self.unit, release, drift)
        tx.releases.update(release.id, unfinished=release.unfinished and self.found.unfinished)

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
            "asked": msgspec.json.encode(self.request).decode(),
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
            mine = next((w for w in queued if w.asset_id == same.id), None)
            if same.arrival is Arrival.GONE:
                tx.assets.update(same.id, **row(asset))
                if mine is not None and mine.reason.startswith(WITHDRAWN):
                    return self._requeue(mine, asset)
            if mine is not None:
                return _line(mine, asset, "unchanged")
        asset_id = same.id if same else tx.assets.insert(release_id=release_id, **row(asset))
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

    def _requeue(self, withdrawn: Workload, asset: FoundAsset) -> wire.LoadedWorkload:
        """What was withdrawn because its bytes were gone is there again."""
        changed = self.unit.tx.workloads.swap(
            withdrawn,
            state=advance(withdrawn.state, Event.RETRY),
            run=withdrawn.run + 1,
            tries=0,
            reason="",
            changed_at=self.unit.now,
        )
        text = f"{changed.label}: there again, to be run"
        self.unit.tell(Kind.RETRIED, text, workload=changed)
        return _line(changed, asset, "queued", "there again")

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
            reason = f"{WITHDRAWN}gone from GitHub before its bytes were here"
            changed = tx.workloads.swap(
                workload, state=state, reason=reason, changed_at=self.unit.now
            )
            self.unit.tell(Kind.WITHDRAWN, f"{changed.label}: {reason}", workload=changed)
            lines.append(_line(changed, asset, "withdrawn", reason))
        return lines

    def _drift(self, release: Release) -> Drift:
        """What was loaded against what is there. Of one name several may be queued, old and new."""
        known = self._queued_assets(release)
        fresh = {asset.name: asset for asset in self.found.assets}
        names = {asset.name for asset in known}
        same = {one.name for one in known if one.name in fresh and _is_same(fresh[one.name], one)}
        return Drift(
            loaded=names,
            differ=(names & fresh.keys()) - same,
            # What is still being uploaded is not gone.
            gone=set() if self.found.unfinished else names - fresh.keys(),
            new=fresh.keys() - names,
        )

    def _queued_assets(self, release: Release) -> list[Asset]:
        rows = {asset.id: asset for asset in self.unit.tx.assets.of_release(release.id)}
        return [rows[one.asset_id] for one in self.unit.tx.workloads.of_release(release.id)]

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


def note_drift(unit: Unit, release: Release, drift: str) -> None:
    """Keep how the release differs; history is told when it begins and when it is another kind."""
    unit.tx.releases.update(release.id, drift=drift)
    if drift.split()[:1] != release.drift.split()[:1]:
        unit.tell(Kind.DRIFTED, f"{release.name}: {drift or 'as it was loaded'}", release=release)


def _is_same(asset: FoundAsset, known: Asset) -> bool:
    return asset.is_same(
        sha256=known.sha256,
        size=known.size,
        remote_id=known.remote_id,
        updated_at=known.updated_at,
    )


def row(asset: FoundAsset) -> dict[str, object]:
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

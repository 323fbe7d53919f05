"""What the database knows of bytes that are to arrive: wanted, whole, in trouble, not to be had."""

from pathlib import Path

from dispatchd.domain.event import Kind
from dispatchd.domain.lifecycle import WITHDRAWN, Event, advance
from dispatchd.domain.model import Arrival, Asset, Source, State
from dispatchd.services.clock import Clock
from dispatchd.services.flight import Flight, key_of
from dispatchd.store.store import Store, Transaction


class Arrivals:
    """The transactions of the fetcher."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def wanted(self) -> dict[str, tuple[Asset, Path | None]]:
        """One asset of each key in queue order, and where its file is if it is one of ours."""
        with self._store.reading() as tx:
            arriving = tx.assets.arriving()
            releases = tx.releases.some({asset.release_id for asset in arriving})
        wanted: dict[str, tuple[Asset, Path | None]] = {}
        for asset in arriving:
            release = releases[asset.release_id]
            local = release.source is Source.DIRECTORY
            path = Path(release.directory) / asset.name if local else None
            wanted.setdefault(key_of(asset), (asset, path))
        return wanted

    def publish(self, flight: Flight, digest: str) -> None:
        """The bytes are whole: every asset that they are the bytes of can be served."""
        asset = flight.asset
        with self._store.writing() as tx:
            for row in tx.assets.arriving():
                if key_of(row) in (flight.key, digest):
                    tx.assets.update(row.id, arrival=Arrival.WHOLE, sha256=digest, reason="")
                    self._drop_repeats(tx, row, digest)
            told = bool(asset.sha256) or flight.path is not None
            verified = " and verified" if told else ", without a digest to verify them by"
            text = f"{asset.name}: all {asset.size} bytes are here{verified}"
            release = tx.releases.get(asset.release_id)
            tx.tell(Kind.BYTES_WHOLE, text, at=self._clock.now(), release=release)

    def note(self, flight: Flight, reason: str) -> None:
        """Say why the bytes do not arrive."""
        with self._store.writing() as tx:
            for row in tx.assets.arriving():
                if key_of(row) == flight.key:
                    tx.assets.update(row.id, reason=reason)

    def withdraw(self, asset: Asset, reason: str) -> None:
        """The bytes cannot be had: nobody shall wait for them."""
        now = self._clock.now()
        with self._store.writing() as tx:
            tx.assets.update(asset.id, arrival=Arrival.GONE, reason=reason)
            for workload in tx.workloads.of_asset(asset.id):
                if workload.state is State.UNASSIGNED:
                    state = advance(workload.state, Event.WITHDRAW)
                    workload = tx.workloads.swap(
                        workload, state=state, reason=f"{WITHDRAWN}{reason}", changed_at=now
                    )
                    text = f"{workload.label}: withdrawn, {reason}"
                    tx.tell(Kind.WITHDRAWN, text, at=now, workload=workload)

    def _drop_repeats(self, tx: Transaction, row: Asset, digest: str) -> None:
        """What was queued again before its digest was known, and is what was there, leaves."""
        for other in tx.assets.of_release(row.release_id):
            if other.id == row.id or (other.name, other.sha256) != (row.name, digest):
                continue
            pools = {workload.pool for workload in tx.workloads.of_asset(other.id)}
            for workload in tx.workloads.of_asset(row.id):
                if workload.pool in pools and tx.workloads.delete_untried(workload):
                    text = f"{workload.label}: the same bytes as before, nothing new to run"
                    tx.tell(Kind.BYTES_KNOWN, text, at=self._clock.now(), workload=workload)

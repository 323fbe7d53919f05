"""Who needs which bytes, by digest."""

from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa

from dispatchd.domain.model import RUNNING, Arrival, State
from dispatchd.store import schema

releases, assets, promises = schema.releases, schema.assets, schema.promises
workloads, attempts = schema.workloads, schema.attempts


def is_needed() -> sa.ColumnElement[bool]:
    """Whether a workload will be sent its bytes, again or for the first time, unless it ends."""
    loaded = sa.select(releases.c.id).where(releases.c.unloaded_at.is_(None))
    queued = (workloads.c.state == State.UNASSIGNED) & workloads.c.release_id.in_(loaded)
    return queued | workloads.c.state.in_([*RUNNING, State.REPORTED])


class Needs:
    """What the cache must keep, and when the rest was used last."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def labels(self) -> dict[str, list[str]]:
        """The workloads that need each digest: those that are queued, running or reported."""
        query = (
            sa.select(assets.c.sha256, workloads.c.name, workloads.c.pool)
            .join(assets, assets.c.id == workloads.c.asset_id)
            .where(is_needed() & (assets.c.sha256 != ""))
            .order_by(workloads.c.id)
        )
        needed: dict[str, list[str]] = {}
        for digest, name, pool in self._connection.execute(query):
            needed.setdefault(digest, []).append(f"{name}@{pool}" if pool else name)
        return needed

    def announced(self, since: datetime) -> set[str]:
        """Digests that machines were promised since then, and may still fetch."""
        query = sa.select(promises.c.sha256).where(promises.c.made_at >= since)
        return set(self._connection.execute(query).scalars())

    def last_uses(self, digests: Collection[str]) -> dict[str, datetime]:
        """When an attempt last began or ended with each of these digests, where one did."""
        used = sa.func.max(sa.func.coalesce(attempts.c.ended_at, attempts.c.assigned_at))
        query = (
            sa.select(assets.c.sha256, used)
            .join(workloads, workloads.c.asset_id == assets.c.id)
            .join(attempts, attempts.c.workload_id == workloads.c.id)
            .where(assets.c.sha256.in_(digests))
            .group_by(assets.c.sha256)
        )
        return {row[0]: row[1] for row in self._connection.execute(query)}

    def names(self, digests: Collection[str]) -> dict[str, list[str]]:
        """What the assets of each of these digests are called."""
        query = sa.select(assets.c.sha256, assets.c.name).where(assets.c.sha256.in_(digests))
        query = query.distinct().order_by(assets.c.name)
        named: dict[str, list[str]] = {}
        for digest, name in self._connection.execute(query):
            named.setdefault(digest, []).append(name)
        return named

    def believed_here(self) -> set[str]:
        """Digests whose bytes count as being in the cache."""
        query = sa.select(assets.c.sha256).where(assets.c.arrival == Arrival.WHOLE).distinct()
        return set(self._connection.execute(query).scalars())

    def bytes_left(self, digests: Collection[str]) -> None:
        """The bytes are no longer in the cache: fetched again where somebody needs them."""
        here = (assets.c.arrival == Arrival.WHOLE) & assets.c.sha256.in_(digests)
        self._connection.execute(
            sa.update(assets).where(here).values(arrival=Arrival.ARRIVING, reason="")
        )

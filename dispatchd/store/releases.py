"""Releases and their assets."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from dispatchd.domain.model import Arrival, Asset, Release
from dispatchd.errors import NotFound, Stale
from dispatchd.store import schema
from dispatchd.store.engine import insert
from dispatchd.store.needs import is_needed

releases, assets = schema.releases, schema.assets

#: Built once: building one costs more than running it.
_KEYS: sa.BindParameter[Any] = sa.bindparam("keys", expanding=True)
_RELEASE = sa.select(releases).where(releases.c.id == sa.bindparam("key"))
_LOADED = sa.select(releases).where(releases.c.unloaded_at.is_(None)).order_by(releases.c.id)
_RELEASES = sa.select(releases).where(releases.c.id.in_(_KEYS))
_ASSET = sa.select(assets).where(assets.c.id == sa.bindparam("key"))
_ASSETS = sa.select(assets).where(assets.c.id.in_(_KEYS))


class Releases:
    """What has been loaded, newest name wins; an unloaded one keeps its rows."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def get(self, release_id: int) -> Release:
        found = self._connection.execute(_RELEASE, {"key": release_id}).mappings().first()
        if found is None:
            raise NotFound(f"cannot find release {release_id}")
        return Release(**found)

    def by_name(self, name: str) -> Release | None:
        row = self._connection.execute(sa.select(releases).where(releases.c.name == name))
        found = row.mappings().first()
        return None if found is None else Release(**found)

    def loaded(self) -> list[Release]:
        """In the order in which they were loaded."""
        return [Release(**row) for row in self._connection.execute(_LOADED).mappings()]

    def some(self, release_ids: Collection[int]) -> dict[int, Release]:
        """Those with these ids, loaded or not."""
        found = self._connection.execute(_RELEASES, {"keys": list(release_ids)})
        return {row["id"]: Release(**row) for row in found.mappings()}

    def any_ever(self) -> bool:
        return self._connection.execute(sa.select(releases.c.id).limit(1)).first() is not None

    def insert(self, **values: Any) -> int:
        return insert(self._connection, releases, **values)

    def update(self, release_id: int, **values: Any) -> None:
        self._connection.execute(
            sa.update(releases).where(releases.c.id == release_id).values(**values)
        )

    def unload(self, before: Release, at: datetime) -> None:
        unchanged = (releases.c.id == before.id) & releases.c.unloaded_at.is_(None)
        result = self._connection.execute(
            sa.update(releases).where(unchanged).values(unloaded_at=at)
        )
        if result.rowcount != 1:
            raise Stale(f"cannot unload {before.name}: it is not loaded")


class Assets:
    """The bootable files of releases, one row per name and content."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def get(self, asset_id: int) -> Asset:
        return Asset(**self._connection.execute(_ASSET, {"key": asset_id}).mappings().one())

    def some(self, asset_ids: Collection[int]) -> dict[int, Asset]:
        """Those with these ids."""
        found = self._connection.execute(_ASSETS, {"keys": list(asset_ids)})
        return {row["id"]: Asset(**row) for row in found.mappings()}

    def of_release(self, release_id: int) -> list[Asset]:
        return [Asset(**row) for row in self._select(assets.c.release_id == release_id)]

    def arriving(self) -> list[Asset]:
        """Assets that are not here and that a workload needs, in queue order."""
        needed = sa.select(schema.workloads.c.asset_id).where(is_needed())
        wanted = (assets.c.arrival == Arrival.ARRIVING) & assets.c.id.in_(needed)
        return [Asset(**row) for row in self._select(wanted)]

    def check_again(self) -> None:
        """Have the bytes that workloads need looked for in the cache, and fetched if not there."""
        needed = sa.select(schema.workloads.c.asset_id).where(is_needed())
        whole = (assets.c.arrival == Arrival.WHOLE) & assets.c.id.in_(needed)
        self._connection.execute(sa.update(assets).where(whole).values(arrival=Arrival.ARRIVING))

    def insert(self, **values: Any) -> int:
        return insert(self._connection, assets, **values)

    def update(self, asset_id: int, **values: Any) -> None:
        self._connection.execute(sa.update(assets).where(assets.c.id == asset_id).values(**values))

    def _select(self, condition: sa.ColumnElement[bool]) -> list[sa.RowMapping]:
        query = sa.select(assets).where(condition).order_by(assets.c.release_id, assets.c.name)
        return list(self._connection.execute(query).mappings())

"""Everything between a release and the cache, on a real database and directory."""

from pathlib import Path

from dispatchd import wire
from dispatchd.domain.model import Arrival, Asset, State, Workload
from dispatchd.services.cache import Cache
from dispatchd.services.catalog import Catalog
from dispatchd.services.fetcher import Fetcher
from dispatchd.services.github import GitHub
from dispatchd.services.room import Room
from dispatchd.services.storeroom import Storeroom
from dispatchd.store.store import Store
from tests.dispatcher.lab import HandClock
from tests.services.github_world import Lab


class Bench:
    """A catalog, a fetcher and their cache, which holds ``max_size`` bytes.

    ``waits`` are the seconds that loads waited for GitHub.
    """

    def __init__(
        self,
        directory: Path,
        world: Lab,
        *,
        max_size: int = 1 << 40,
        at_once: int = 3,
        github: GitHub | None = None,
        clock: HandClock | None = None,
    ) -> None:
        self.directory = directory
        self.world = world
        self.clock = clock or HandClock()
        self.store = Store(f"sqlite:///{directory}/dispatchd.db")
        self._max_size = max_size
        self._at_once = at_once
        self._github = github or world.github
        self.waits: list[float] = []
        self.stopping = False
        self.start()

    def close(self) -> None:
        self.store.close()

    def start(self) -> None:
        """Begin anew on the same database and cache, as after a kill."""
        self.cache = Cache(self.directory / "cache")
        self.room = Room(self.store, self.cache, self.clock, max_size=self._max_size, min_free=0)
        self.catalog = Catalog(
            self.store,
            self._github,
            self.clock,
            max_tries=lambda: 2,
            wake=lambda: None,
            wait=self._wait,
        )
        self.fetcher = Fetcher(
            self.store,
            self.cache,
            self.room,
            self._github,
            self.clock,
            at_once=self._at_once,
            refresh=self.catalog.refresh,
        )
        self.storeroom = Storeroom(
            self.store, self.cache, self.room, self.clock, on_change=lambda: None
        )

    def _wait(self, seconds: float) -> bool:
        """It passes at once, unless dispatchd stops."""
        self.waits.append(seconds)
        self.clock.advance(seconds)
        return self.stopping

    def load(self, tag: str = "devel", **more: object) -> wire.LoadAnswer:
        request = wire.LoadRequest(owner="AMDEPYC", repo="sev-certify", tag=tag, **more)  # type: ignore[arg-type]
        return self.catalog.load(request, by="alice")

    def load_directory(self, directory: Path) -> wire.LoadAnswer:
        return self.catalog.load(wire.LoadRequest(directory=str(directory)), by="alice")

    def fetch(self) -> None:
        """Fetch what is due now."""
        for flight in self.fetcher.due():
            self.fetcher.fetch(flight)

    def fetch_later(self) -> None:
        """Fetch what is due after the longest of the first pauses."""
        self.clock.advance(60)
        self.fetch()

    def assets(self) -> list[Asset]:
        with self.store.reading() as tx:
            releases = tx.releases.loaded()
            return [asset for one in releases for asset in tx.assets.of_release(one.id)]

    def arrivals(self) -> list[Arrival]:
        return [asset.arrival for asset in self.assets()]

    def workloads(self) -> list[Workload]:
        with self.store.reading() as tx:
            return tx.workloads.shown()

    def states(self) -> list[State]:
        return [workload.state for workload in self.workloads()]

    def settle(self, name: str) -> None:
        """A workload of that name ran, and this is the moment at which it is done."""
        with self.store.writing() as tx:
            queued = (one for one in tx.workloads.shown() if one.state is State.UNASSIGNED)
            workload = next(one for one in queued if one.name == name)
            now = self.clock.now()
            machine = tx.machines.insert(at=now)
            attempt = tx.attempts.insert(workload=workload, machine_id=machine.id, at=now)
            tx.attempts.swap(attempt, ended_at=now)
            tx.workloads.swap(workload, state=State.FINISHED)

    def bytes_of(self, name: str) -> bytes:
        """What a machine would be sent."""
        whole = (one for one in self.assets() if one.arrival is Arrival.WHOLE)
        asset = next(one for one in whole if one.name == name)
        with self.cache.open(asset.sha256) as file:
            return file.read()

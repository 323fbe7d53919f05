"""A queue on a real SQLite file, with a clock that tests move and machines that tests play."""

import hashlib
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dispatchd.domain.lifecycle import Deadlines
from dispatchd.domain.model import Arrival, Asset, Source, State, Workload
from dispatchd.services.dispatcher.ages import Ages
from dispatchd.services.dispatcher.asks import Asks
from dispatchd.services.dispatcher.beacons import Beacons, Content
from dispatchd.services.dispatcher.deadlines import Overseer
from dispatchd.services.dispatcher.identity import Caller
from dispatchd.services.dispatcher.idle import Idle
from dispatchd.services.dispatcher.observations import Observations
from dispatchd.services.dispatcher.offers import Offer
from dispatchd.services.dispatcher.operator import Operator
from dispatchd.services.dispatcher.overview import Overview
from dispatchd.services.dispatcher.phases import Phases
from dispatchd.services.dispatcher.unit import Context, Policy
from dispatchd.services.flight import Progress
from dispatchd.store.store import Listener, Store

START = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)


class HandClock:
    """Both clocks, moved by hand."""

    def __init__(self) -> None:
        self._elapsed = 0.0
        self._jump = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self._elapsed + self._jump)

    def monotonic(self) -> float:
        return self._elapsed

    def advance(self, seconds: float) -> None:
        self._elapsed += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back; the other one goes on."""
        self._jump += seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class PlainProgram:
    """A firmware program that is its own text."""

    name: str
    body: bytes
    media_type: str = "application/efi"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.body).hexdigest()


class PlainPrograms:
    """Programs whose bytes tests can read."""

    def poweroff(self, text: str) -> PlainProgram:
        return PlainProgram(name="poweroff.efi", body=text.encode())

    def wait(self, text: str, *, seconds: int) -> PlainProgram:
        return PlainProgram(name="wait.efi", body=f"{text} [{seconds}]".encode())


class NothingArrives:
    """Whatever is not here does not come."""

    def progress(self, asset: Asset) -> Progress:
        return Progress(arrived=0)

    def attention(self, waiting: Iterable[Asset]) -> list[str]:
        return []


class Lab:
    """A queue and the hands that work it."""

    def __init__(
        self,
        directory: Path,
        policy: Policy | None = None,
        *,
        listeners: Sequence[Listener] = (),
    ) -> None:
        self.listeners = listeners
        self.url = f"sqlite:///{directory}/dispatchd.db"
        self.policy = policy or Policy(deadlines=Deadlines())
        self.clock = HandClock()
        self.missing: set[str] = set()
        self.draining = False
        self.loads = 0
        self.news = threading.Event()
        self.start()

    def start(self) -> None:
        """Open the database and begin anew, as after a restart."""
        listeners = [*self.listeners, lambda _: self.news.set()]
        self.store = Store(self.url, listeners=listeners)
        self.phases = Phases(self.clock)
        self.context = Context(
            store=self.store,
            clock=self.clock,
            policies=lambda: self.policy,
            phases=self.phases,
            ages=Ages(self.clock),
            has_bytes=lambda sha256: sha256 not in self.missing,
            wake=lambda: None,
        )
        self.idle = Idle(
            self.context,
            programs=PlainPrograms,
            here=lambda: "10.0.0.2",
            draining=lambda: self.draining,
        )
        self.observations = Observations(self.context)
        self.asks = Asks(self.context, idle=self.idle, observations=self.observations)
        self.beacons = Beacons(self.context)
        self.operator = Operator(self.context)
        self.overseer = Overseer(self.context, news=self.news)
        self.overview = Overview(
            self.context,
            version="1.0.0",
            urls=lambda: ("http://10.0.0.2:8080/dispatch",),
            arrivals=NothingArrives(),
        )

    def restart(self) -> None:
        """Stop and start again."""
        self.store.close()
        self.start()

    def load(
        self,
        *names: str,
        pools: tuple[str, ...] = ("",),
        local: bool = False,
        filing: bool = True,
        arrival: Arrival = Arrival.WHOLE,
        priority: int = 0,
        pinned_to: int | None = None,
        release: str = "",
    ) -> list[int]:
        """Queue assets of these names; returns the workloads' ids."""
        now = self.clock.now()
        with self.store.writing() as tx:
            self.loads += 1
            name = release or f"lab/images@v{self.loads}"
            release_id = tx.releases.insert(
                source=Source.DIRECTORY if local else Source.GITHUB,
                name=name,
                owner="lab",
                repo="images",
                tag="v1",
                report_to="lab/images" if filing else "",
                filing=filing,
                filters=(),
                loaded_at=now,
            )
            ids = []
            for name in names:
                asset_id = tx.assets.insert(
                    release_id=release_id,
                    name=name,
                    size=1000,
                    sha256=hashlib.sha256(f"{release_id} {name}".encode()).hexdigest(),
                    media_type="application/efi",
                    content_type="application/vnd.dispatch+efi",
                    arrival=arrival,
                )
                ids += [
                    tx.workloads.insert(
                        release_id=release_id,
                        asset_id=asset_id,
                        name=name,
                        pool=pool,
                        priority=priority,
                        pinned_to=pinned_to,
                        max_tries=self.policy.max_tries,
                        state=State.UNASSIGNED,
                        changed_at=now,
                    )
                    for pool in pools
                ]
        return ids

    def workload(self, workload_id: int) -> Workload:
        with self.store.reading() as tx:
            return tx.workloads.get(workload_id)

    def state(self, workload_id: int) -> State:
        return self.workload(workload_id).state

    def later(self, seconds: float) -> None:
        """Time passes, and what is due because of it happens."""
        self.overseer.look()
        self.clock.advance(seconds)
        self.overseer.look()

    def fetch(self) -> None:
        """Fetch everything that is needed into the cache."""
        with self.store.writing() as tx:
            for asset in tx.assets.arriving():
                self.missing.discard(asset.sha256)
                tx.assets.update(asset.id, arrival=Arrival.WHOLE)

    def settle_outbox(self) -> None:
        """Deliver everything that waits, as the outbox would."""
        from dispatchd.domain.model import Delivery

        with self.store.writing() as tx:
            for entry in tx.outbox.due(self.clock.now(), 1000):
                tx.outbox.swap(entry, state=Delivery.FILED, url="https://github.com/lab/images/1")


@dataclass(frozen=True, slots=True)
class PlayedMachine:
    """Firmware and beacon of one machine."""

    lab: Lab
    name: str = ""
    mac: str = ""
    address: str = "10.0.0.7"

    @property
    def caller(self) -> Caller:
        return Caller(name=self.name, mac=self.mac, address=self.address)

    def head(self) -> Offer:
        return self.lab.asks.head(self.caller)

    def get(self, *, send: bool = True, whole: bool = True) -> Offer:
        offer = self.lab.asks.get(self.caller)
        if offer.body and offer.machine_id is not None:
            self.lab.observations.program(offer.machine_id, self.caller)
        if send and offer.attempt_id is not None:
            self.lab.observations.first_byte(offer.attempt_id, self.caller)
            if whole:
                self.lab.phases.progress(offer.attempt_id, offer.size)
                self.lab.observations.whole(offer.attempt_id)
        self.lab.observations.flush()
        return offer

    def download(self) -> Offer:
        """HEAD and GET, as firmware does."""
        announced = self.head()
        offer = self.get()
        assert (offer.status, offer.sha256, offer.size) == (
            announced.status,
            announced.sha256,
            announced.size,
        )
        return announced

    def boot(self) -> str:
        return self.lab.beacons.boot(self.caller).workload

    def report(self, title: str = "all well") -> str:
        return self.lab.beacons.report(self.caller, Content(title=title)).workload


def machine(lab: Lab, number: int = 7, **known: str) -> PlayedMachine:
    """A machine at 10.0.0.NUMBER, known by name or MAC where they are given."""
    return PlayedMachine(lab, address=f"10.0.0.{number}", **known)

"""Bytes that are here: nginx and dispatchd in turn, and what small requests wait meanwhile."""

import hashlib
import json
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from bench.machine import Machine
from bench.servers import Dispatchd, Nginx, Process
from bench.storm import Storm
from bench.table import Row, percentile
from dispatchd.domain.model import Arrival, Source, State
from dispatchd.store.store import Store

GIB = 1 << 30
#: Machines at once.
LEVELS = (1, 8, 32)
#: One machine is soon done, and its speed a matter of chance under bbr: so many times the rounds.
ALONE = 5
#: Bytes of the small file that nginx serves meanwhile.
SMALL = 16 << 10
#: Seconds between two requests of the machine that measures answers.
PAUSE = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """What the rounds of one server came to, at one number of machines."""

    rates: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Bytes a second."""
        return median(self.rates)

    @property
    def cost(self) -> float:
        """CPU seconds per GiB."""
        return median(self.costs)


class Bench:
    """Both servers on one asset of ``size`` bytes. Machines have new names in each round."""

    def __init__(self, directory: Path, *, size: int, rounds: int) -> None:
        self._rounds = rounds
        self._storms = 0
        directory.mkdir()
        asset = directory / "asset"
        asset.write_bytes(os.urandom(1 << 20) * (size >> 20))
        self._nginx = Nginx(directory / "nginx")
        os.link(asset, directory / "nginx/www/asset.efi")
        (directory / "nginx/www/small.efi").write_bytes(os.urandom(SMALL))
        self._dispatchd = Dispatchd(directory / "dispatchd")
        workloads = rounds * (ALONE + sum(LEVELS[1:]) + max(LEVELS)) + 2
        _queue(directory / "dispatchd", asset, workloads)

    def rows(self) -> list[Row]:
        """Run it all: some seconds for each round and GiB."""
        with ExitStack() as stack:
            stack.enter_context(self._nginx)
            stack.enter_context(self._dispatchd)
            rows = [row for level in LEVELS for row in self._serving(level)]
            rows += self._answers()
            peak = self._dispatchd.peak_memory() / 1e6
        rows.append(
            Row(
                what="memory of dispatchd, at most",
                measured=f"{peak:.0f} MB",
                target="≤ 100 MB",
                met=peak <= 100,
            )
        )
        return rows

    def _serving(self, level: int) -> list[Row]:
        nginx, ours = Served(), Served()
        for _ in range(self._rounds * (ALONE if level == 1 else 1)):
            for served, server in ((nginx, self._nginx), (ours, self._dispatchd)):
                with self._storm(server, level) as storm:
                    before = server.cpu()
                    storm.begin()
                    outcome = storm.outcome()
                    served.rates.append(outcome.rate)
                    served.costs.append((server.cpu() - before) / outcome.size * GIB)
        who = "1 machine" if level == 1 else f"{level} machines"
        ratio = ours.rate / nginx.rate
        return [
            Row(
                what=f"serving {who}",
                measured=f"{ratio:.2f} × ({ours.rate / 1e9:.2f} GB/s)",
                beside=f"nginx {nginx.rate / 1e9:.2f} GB/s",
                target="≥ 1.0 ×",
                met=ratio >= 1,
            ),
            Row(
                what=f"CPU per GiB, {who}",
                measured=f"{ours.cost:.3f} s",
                beside=f"nginx {nginx.cost:.3f} s",
                target="≤ nginx",
                met=ours.cost <= nginx.cost,
            ),
        ]

    def _answers(self) -> list[Row]:
        level = max(LEVELS)
        small = Machine(self._nginx.port, "/small.efi")
        asking = Machine(self._dispatchd.port, "/dispatch/asking")
        beacon = Machine(self._dispatchd.port, "/dispatch/beacon")
        beacon.announced()
        beacon.download()
        asking.announced()
        theirs = {"small file": lambda: small.timed("GET")}
        scratch = self._dispatchd.directory / "scratch"
        ours = {
            "HEAD": lambda: asking.timed("HEAD"),
            "POST": lambda: beacon.timed("POST"),
            "PUT": lambda: beacon.timed("PUT", _report()),
            "fsync": lambda: _timed_sync(scratch),
        }
        times: dict[str, list[float]] = {name: [] for name in (*theirs, *ours)}
        for _ in range(self._rounds):
            self._probe(self._nginx, level, theirs, times)
            self._probe(self._dispatchd, level, ours, times)
        limit = percentile(times["small file"], 99)
        allowance = percentile(times["fsync"], 99)
        rows = []
        for name in ("HEAD", "POST", "PUT"):
            at_most = limit + (allowance if name == "PUT" else 0)
            worst = percentile(times[name], 99)
            rows.append(
                Row(
                    what=f"{name} meanwhile, {level} machines",
                    measured=f"{_both(times[name])} of {len(times[name])}",
                    beside=f"nginx, a small file: {_both(times['small file'])}",
                    target=f"p99 ≤ {at_most * 1e3:.1f} ms",
                    met=worst <= at_most,
                )
            )
        return rows

    def _probe(
        self,
        server: Process,
        level: int,
        requests: dict[str, Callable[[], float]],
        times: dict[str, list[float]],
    ) -> None:
        """Take the time of small requests, one after another, for as long as a storm lasts."""
        with self._storm(server, level) as storm:
            storm.begin()
            while not storm.is_over():
                for name, request in requests.items():
                    times[name].append(request())
                    time.sleep(PAUSE)

    def _storm(self, server: Process, level: int) -> Storm:
        self._storms += 1
        path = "/asset.efi" if server is self._nginx else f"/dispatch/s{self._storms}m{{}}"
        return Storm(server.port, path, level)


def _queue(directory: Path, asset: Path, count: int) -> None:
    """A database with ``count`` workloads of one asset, and its bytes in the cache."""
    (directory / "state").mkdir()
    (directory / "cache").mkdir()
    with asset.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    os.link(asset, directory / "cache" / digest)
    now = datetime.now(UTC)
    store = Store(f"sqlite:///{directory}/state/dispatchd.db")
    with store.writing() as tx:
        release = tx.releases.insert(
            source=Source.DIRECTORY, name="bench", filing=False, filters=(), loaded_at=now
        )
        for number in range(count):
            name = f"asset-{number:03}.efi"
            asset_id = tx.assets.insert(
                release_id=release,
                name=name,
                size=asset.stat().st_size,
                sha256=digest,
                media_type="application/efi",
                arrival=Arrival.WHOLE,
            )
            tx.workloads.insert(
                release_id=release,
                asset_id=asset_id,
                name=name,
                max_tries=2,
                state=State.UNASSIGNED,
                changed_at=now,
            )
    store.close()


def _report() -> bytes:
    """One that was never sent before."""
    return json.dumps({"title": f"bench {time.perf_counter_ns()}", "body": "x" * 2000}).encode()


def _timed_sync(path: Path) -> float:
    """What the disk takes at this moment to keep a page for good."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(descriptor, bytes(4096))
        begun = time.perf_counter()
        os.fsync(descriptor)
        return time.perf_counter() - begun
    finally:
        os.close(descriptor)


def _both(seconds: list[float]) -> str:
    return f"p50 {median(seconds) * 1e3:.1f}, p99 {percentile(seconds, 99) * 1e3:.1f} ms"

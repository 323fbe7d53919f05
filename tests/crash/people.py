"""The operator, who tries everything at any time, and GitHub on a bad day."""

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dispatchctl.client import Client, Failure
from dispatchd import wire
from tests.crash.ledger import Ledger
from tests.github_standin import GitHubStandIn, faults
from tests.github_standin.world import Asset

TOKEN = "ghp_" + "c3R4" * 9
OWNER, REPO, TAG = "lab", "images", "devel"
ASSETS, SMALL, LARGE = 16, 1 << 16, 3 << 20


@dataclass(frozen=True, kw_only=True)
class Operator:
    """Keeps the queue filled, and interferes."""

    client: Client
    images: Path
    ledger: Ledger
    stopping: threading.Event
    chance: random.Random

    def live(self) -> None:
        """Begin, then do anything at any time."""
        for begin in (self.log_in, self.load):
            while not self.stopping.is_set():
                with suppress(Failure):
                    begin()
                    break
                self.stopping.wait(0.1)
        deeds: list[Callable[[], None]] = [self.load, self.log_in, self._pause, self._cancel]
        while not self.stopping.wait(self.chance.uniform(0.05, 0.3)):
            often = [self._run_again] * 6 + [self._trust]
            try:
                self.chance.choice(often + deeds)()
            except Failure:
                self.ledger.count("commands failed")

    def load(self) -> None:
        """A release whose reports are filed, and a directory whose reports stay."""
        filed = wire.LoadRequest(owner=OWNER, repo=REPO, tag=TAG)
        for request in (wire.LoadRequest(directory=str(self.images)), filed):
            self.client.send("POST", "/v1/releases", request, wire.LoadAnswer)

    def log_in(self) -> None:
        self.client.send("PUT", "/v1/token", wire.TokenRequest(token=TOKEN), wire.TokenAnswer)

    def deliver(self, reports: list[str]) -> None:
        """Have these delivered now, whatever they wait for."""
        for report in reports:
            with suppress(Failure):
                self.client.fetch("POST", f"/v1/reports/{report}/retry")

    def _run_again(self) -> None:
        for workload in self.client.get("/v1/status", wire.Status).workloads:
            if workload.state in ("finished", "failed"):
                self.client.fetch("POST", f"/v1/workloads/{workload.id}/retry")

    def _cancel(self) -> None:
        workloads = self.client.get("/v1/status", wire.Status).workloads
        if workloads:
            workload = self.chance.choice(workloads)
            self.client.fetch("POST", f"/v1/workloads/{workload.id}/cancel")

    def _pause(self) -> None:
        try:
            self.client.fetch("POST", "/v1/queue/pause", wire.PauseRequest())
        finally:
            self.client.fetch("POST", "/v1/queue/resume", wire.PauseRequest())

    def _trust(self) -> None:
        """Let machines go on that are held, and a queue whose resuming a crash prevented."""
        machines = self.client.get("/v1/machines", wire.Machines).machines
        held = [str(one.id) for one in machines if one.held]
        self.client.fetch("POST", "/v1/queue/resume", wire.PauseRequest(machines=held))
        self.client.fetch("POST", "/v1/queue/resume", wire.PauseRequest())


@dataclass(frozen=True, kw_only=True)
class Weather:
    """Has something go wrong at GitHub every now and then, never more than a little at a time.

    ``digests``: those of every asset that there ever was.
    """

    github: GitHubStandIn
    digests: set[str]
    ledger: Ledger
    stopping: threading.Event
    chance: random.Random

    def live(self) -> None:
        issues, anything = "/repos/*/issues", "*"
        while not self.stopping.wait(self.chance.uniform(0.2, 1.2)):
            if self.chance.random() < 0.2:
                self.make_release()
            if self.github.faults.left > 2:
                continue
            soon = int(time.time()) + 1
            method, path, fault = self.chance.choice(
                [
                    ("POST", issues, faults.commit_then_reset()),
                    ("POST", issues, faults.commit_then(502)),
                    ("POST", issues, faults.reset()),
                    ("POST", issues, faults.html(503)),
                    ("POST", issues, faults.secondary_limit(retry_after="1")),
                    ("POST", issues, faults.primary_limit(soon)),
                    ("POST", issues, faults.invalid("labels")),
                    ("POST", issues, faults.invalid("milestone")),
                    ("POST", issues, faults.bad_token()),
                    ("POST", issues, faults.truncated(40)),
                    ("POST", f"{issues}/*/comments", faults.commit_then_reset()),
                    ("POST", f"{issues}/*/comments", faults.reset()),
                    ("GET", anything, faults.html(500)),
                    ("GET", anything, faults.reset()),
                    ("GET", anything, faults.truncated(100)),
                ]
            )
            self.github.faults.next(method, path, fault)
            self.ledger.count("faults")

    def make_release(self) -> None:
        """Delete the release and make it again, with other bytes in one asset, as CI does."""
        before = {one.name: bytes(one.content) for one in self._assets()}
        release = self.github.repositories[f"{OWNER}/{REPO}"].release(TAG)
        changed = self.chance.randrange(ASSETS)
        for number in range(ASSETS):
            name = f"{number}.efi"
            size = LARGE if number == 0 else SMALL
            fresh = number == changed or name not in before
            data = self.chance.randbytes(size) if fresh else before[name]
            self.digests.add(release.asset(name, data).content.sha256)

    def _assets(self) -> list[Asset]:
        releases = self.github.repositories[f"{OWNER}/{REPO}"].releases
        return [asset for release in releases for asset in release.assets]

"""The operator, who tries everything at any time."""

import random
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from dispatchctl.client import Client, Failure
from dispatchd import wire
from tests.crash.ledger import Ledger
from tests.crash.weather import OWNER, RELEASE, REPO, TAG

TOKEN = "ghp_" + "c3R4" * 9
#: Workloads that are on their way to GitHub at a time, about: it takes one issue a second.
BACKLOG = 4


@dataclass(kw_only=True)
class Operator:
    """Logs in, loads, and then does one of ``deeds`` again and again."""

    client: Client
    images: Path
    ledger: Ledger
    stopping: threading.Event
    chance: random.Random
    deeds: Sequence[Callable[["Operator"], None]]
    _claimed: set[str] = field(default_factory=set)

    def live(self) -> None:
        for begin in (self.log_in, self.load):
            while not self.stopping.is_set():
                with suppress(Failure):
                    begin()
                    break
                self.stopping.wait(0.1)
        while not self.stopping.wait(self.chance.uniform(0.05, 0.3)):
            try:
                self.chance.choice(self.deeds)(self)
            except Failure:
                self.ledger.count("commands failed")

    # --- deeds ------------------------------------------------------------------------------------

    def load(self) -> None:
        """A release whose reports are filed, and a directory whose reports stay."""
        filed = wire.LoadRequest(owner=OWNER, repo=REPO, tag=TAG)
        for request in (wire.LoadRequest(directory=str(self.images)), filed):
            self.client.send("POST", "/v1/releases", request, wire.LoadAnswer)

    def unload(self) -> None:
        releases = self.client.get("/v1/releases", wire.Releases).releases
        self.client.fetch("DELETE", f"/v1/releases/{self.chance.choice(releases).id}")
        self.load()

    def prune(self) -> None:
        """Bytes leave that come again with the next try."""
        self.client.fetch("POST", "/v1/cache/prune")

    def back_up(self) -> None:
        with tempfile.TemporaryFile() as file:
            self.client.download("/v1/backup", file)

    def log_in(self) -> None:
        self.client.send("PUT", "/v1/token", wire.TokenRequest(token=TOKEN), wire.TokenAnswer)

    def run_again(self) -> None:
        """Everything whose reports stay."""
        for workload in self._workloads():
            if workload.release != RELEASE:
                self._retry(workload)

    def file_again(self) -> None:
        """A little of what is filed."""
        filed = [one for one in self._workloads() if one.release == RELEASE]
        waiting = sum(one.state == "reported" for one in filed)
        self.chance.shuffle(filed)
        for workload in filed[: max(BACKLOG - waiting, 0)]:
            self._retry(workload)

    def cancel(self) -> None:
        going_on = [one for one in self._workloads() if one.state not in ("finished", "failed")]
        for workload in self.chance.sample(going_on, min(len(going_on), 2)):
            self.client.fetch("POST", f"/v1/workloads/{workload.id}/cancel")

    def pause(self) -> None:
        try:
            self.client.fetch("POST", "/v1/queue/pause", wire.PauseRequest())
        finally:
            self.client.fetch("POST", "/v1/queue/resume", wire.PauseRequest())

    def trust(self) -> None:
        """Let machines go on that are held, and a queue whose resuming a crash prevented."""
        machines = self.client.get("/v1/machines", wire.Machines).machines
        held = [str(one.id) for one in machines if one.held]
        self.client.fetch("POST", "/v1/queue/resume", wire.PauseRequest(machines=held))
        self.client.fetch("POST", "/v1/queue/resume", wire.PauseRequest())

    def claim(self) -> None:
        """Credit what was nobody's to anything.

        Once, and only where its machine knows that it was nobody's: else the machine sends it again
        and it may be taken then, too.
        """
        for body in self.client.get("/v1/reports", wire.Reports).unclaimed:
            known = body.title in self.ledger.unclaimed - self.ledger.unknown
            if known and body.title not in self._claimed:
                self._claimed.add(body.title)
                request = wire.ClaimRequest(workload_id=self.chance.choice(self._workloads()).id)
                self.client.fetch("POST", f"/v1/reports/{body.id}/claim", request)

    def deliver(self) -> None:
        """Have what waits delivered now."""
        reports = self.client.get("/v1/reports", wire.Reports).reports
        self.deliver_again(one.id for one in reports if one.state not in ("filed", "kept"))

    # --- how --------------------------------------------------------------------------------------

    def deliver_again(self, reports: Iterable[str]) -> None:
        for report in reports:
            with suppress(Failure):
                self.client.fetch("POST", f"/v1/reports/{report}/retry")

    def _retry(self, workload: wire.StatusWorkload) -> None:
        if workload.state in ("finished", "failed"):
            self.client.fetch("POST", f"/v1/workloads/{workload.id}/retry")

    def _workloads(self) -> list[wire.StatusWorkload]:
        return self.client.get("/v1/status", wire.Status).workloads

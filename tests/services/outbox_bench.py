"""A queue with reports on their way, and a GitHub to file them on."""

from pathlib import Path

from dispatchd.domain.model import DELIVERED, OutboxEntry
from dispatchd.services.dispatcher.beacons import Content
from dispatchd.services.filing import Tracker
from dispatchd.services.github import Token
from dispatchd.services.outbox import Outbox
from tests.dispatcher.lab import HandClock, PlayedMachine
from tests.dispatcher.lab import Lab as QueueLab
from tests.services.github_world import Lab


class Bench:
    """One machine that reports, and the outbox that delivers. ``connect`` it to a GitHub."""

    world: Lab
    tracker: Tracker
    outbox: Outbox

    def __init__(self, directory: Path, *, report_to: str = "AMDEPYC/sev-certify") -> None:
        self.queue = QueueLab(directory)
        self.clock: HandClock = self.queue.clock
        (self.workload_id,) = self.queue.load("host-a.efi")
        with self.queue.store.writing() as tx:
            tx.releases.update(1, report_to=report_to, filing=True)
        self.machine = PlayedMachine(self.queue, name="epyc-07")
        self.machine.download()

    def connect(self, world: Lab, tracker: Tracker | None = None) -> None:
        """File there from now on."""
        self.world = world
        self.tracker = tracker or world.github
        self.restart()

    def restart(self, *, spacing: float = 0) -> None:
        """An outbox as after a start of dispatchd."""
        self.outbox = Outbox(
            self.queue.store,
            self.tracker,
            self,
            self.clock,
            spacing=lambda: spacing,
            footer=lambda: True,
        )

    def current(self) -> Token | None:
        return self.world.token

    def report(self, title: str = "ubuntu 25.10", **more: object) -> None:
        content = Content(title=title, **more)  # type: ignore[arg-type]
        self.queue.beacons.report(self.machine.caller, content)

    def deliver(self, *, patience: float = 3600) -> None:
        """Step until everything is delivered, or the patience is at its end, in seconds."""
        until = self.clock.monotonic() + patience
        while self.clock.monotonic() < until:
            if not self.outbox.step():
                if all(entry.state in DELIVERED for entry in self.entries()):
                    return
                self.clock.advance(10)

    def entries(self) -> list[OutboxEntry]:
        with self.queue.store.reading() as tx:
            return [entry for _, entry in tx.reports.latest(1000)]

    @property
    def entry(self) -> OutboxEntry:
        (entry,) = self.entries()
        return entry

    @property
    def issues(self) -> list[str]:
        return [issue.title for issue in self.world.repository.issues]

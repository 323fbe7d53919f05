"""One daemon through many lives: killed, restarted, and in the end at peace."""

import hashlib
import os
import random
import re
import signal
import socket
import threading
from contextlib import ExitStack
from pathlib import Path

from dispatchctl.client import Client
from dispatchd.domain.event import Kind
from tests.crash.ledger import Ledger
from tests.crash.machines import Machine
from tests.crash.people import OWNER, REPO, TOKEN, Operator, Weather
from tests.crash.proof import prove_disk, prove_github, undelivered
from tests.e2e.daemon import RunningDaemon
from tests.eventually import eventually
from tests.github_standin import GitHubStandIn

SOURCE = Path(__file__).parents[2] / "dispatchd"
SETTINGS = """
[deadlines]
assigned = "2s"
stalled = "2s"
reask = "1s"
boot = "3s"
report = "3s"
settle = "1s"
drain = "1s"
[github]
api_url = "{api_url}"
issue_spacing = "1s"
[discovery]
enabled = false
"""
#: What happens here often enough to be died at.
EVENTS = (
    Kind.STARTED,
    Kind.LOADED,
    Kind.BYTES_WHOLE,
    Kind.ASSIGNED,
    Kind.DOWNLOADING,
    Kind.WHOLE,
    Kind.BOOTING,
    Kind.REPORTED,
    Kind.FINISHED,
    Kind.REBOOTED,
    Kind.DID_NOT_BOOT,
    Kind.NO_REPORT,
    Kind.STOPPED_BY_HAND,
    Kind.CANCELLED,
    Kind.RETRIED,
    Kind.QUEUE_PAUSED,
    Kind.QUEUE_RESUMED,
    Kind.REPORT_FILED,
    Kind.REPORT_HELD,
)
#: Seconds of a life that is to end at a named instant, where that is not reached, and of others:
#: most from when they serve.
NAMED, UNNAMED = 8.0, 3.0
#: Machines by name and by address.
NAMES = ("one", "two", "", "")
#: Seconds until everything that was reported is an issue.
PEACE = 120.0


def points() -> list[str]:
    """The instants to die at: those that the source names, and around the commit of events."""
    named = {
        point
        for file in sorted(SOURCE.rglob("*.py"))
        for point in re.findall(r'reach\("([a-z-]+)"\)', file.read_text())
    }
    return sorted(named | {f"{side}-{kind}" for side in ("before", "after") for kind in EVENTS})


class Era:
    """A fresh state directory, and what happens on it. Use it as a context."""

    def __init__(self, directory: Path, *, seed: int, ledger: Ledger) -> None:
        self._directory = directory
        self._chance = random.Random(seed)
        self._ledger = ledger
        self._stack = ExitStack()
        self._blamed = 0

    def __enter__(self) -> "Era":
        with self._stack:
            self._github = self._stack.enter_context(GitHubStandIn())
            self._open()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def live(self, point: str = "") -> bool:
        """One life: until ``point`` is reached, or else some instant; whether it was reached."""
        times = self._chance.choice((1, 1, 1, 2))
        self._daemon.spawn({"DISPATCHD_CRASH_AT": f"{point}:{times}"} if point else {})
        if not point and self._chance.random() < 0.8:
            eventually(self._daemon.is_up, within=60)
        ended = self._daemon.ended(NAMED if point else self._chance.uniform(0, UNNAMED))
        if ended not in (None, -signal.SIGKILL):
            self._ledger.blame(f"it ended by itself with {ended}: {self._daemon.log[-5:]}")
        self._daemon.kill()
        self._ledger.count("kills")
        self._look_back()
        return ended is not None

    def settle(self) -> None:
        """A last life without faults: everything that was kept becomes one issue each."""
        self._stopping.set()
        self._daemon.start()
        for thread in self._threads:
            thread.join()
        self._github.faults.clear()
        self._operator.log_in()
        eventually(self._is_delivered, within=PEACE)
        if self._daemon.stop() != 0:
            self._ledger.blame("it did not stop well")
        self._look_back()
        repository = self._github.repositories[f"{OWNER}/{REPO}"]
        self._ledger.counts["reports"] += prove_github(self._directory, repository, self._ledger)

    def _look_back(self) -> None:
        """At what the life that has ended left on disk and in the log."""
        ledger, log = self._ledger, self._daemon.log
        prove_disk(self._directory, ledger)
        ledger.counts["waits explained"] += sum("from the queue: " in line for line in log)
        if ledger.counts["told to wait"] > ledger.counts["waits explained"]:
            ledger.blame("a machine was told to wait instead of being given what was announced")
        if any("Traceback" in line for line in log):
            ledger.blame("it met what it did not expect")
        if len(ledger.wrong) > self._blamed:
            self._blamed = len(ledger.wrong)
            ledger.wrong += log

    def _is_delivered(self) -> bool:
        waiting = undelivered(self._directory)
        self._operator.deliver(waiting)
        return not waiting

    def _open(self) -> None:
        github = self._github
        github.token(TOKEN)
        github.repository(f"{OWNER}/{REPO}").milestone("c3.0")
        boot = self._stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))
        control = self._stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        self._directory.mkdir(parents=True)
        control.bind(os.fspath(self._directory / "control.sock"))
        control.listen()
        self._daemon = RunningDaemon(
            self._directory,
            settings=SETTINGS.format(api_url=github.api_url),
            inherited=(boot, control),
        )
        self._stack.push(self._daemon)
        self._stopping = threading.Event()
        self._port = int(boot.getsockname()[1])
        self._digests: set[str] = set()
        images = self._directory / "images"
        images.mkdir()
        for number in range(8):
            content = self._chance.randbytes(10_000)
            (images / f"local-{number}.efi").write_bytes(content)
            self._digests.add(hashlib.sha256(content).hexdigest())
        self._operator = Operator(
            client=Client(self._directory / "control.sock"),
            images=images,
            ledger=self._ledger,
            stopping=self._stopping,
            chance=self._fork(),
        )
        weather = Weather(
            github=github,
            digests=self._digests,
            ledger=self._ledger,
            stopping=self._stopping,
            chance=self._fork(),
        )
        weather.make_release()
        machines = [self._machine(number, name) for number, name in enumerate(NAMES)]
        lives = [self._operator.live, weather.live, *(machine.live for machine in machines)]
        self._threads = [threading.Thread(target=live) for live in lives]
        for thread in self._threads:
            thread.start()
        self._stack.callback(self._stopping.set)

    def _machine(self, number: int, name: str) -> Machine:
        return Machine(
            label=f"machine {number}",
            name=name,
            address=f"127.0.1.{number + 1}",
            port=self._port,
            workloads=self._digests,
            ledger=self._ledger,
            stopping=self._stopping,
            chance=self._fork(),
        )

    def _fork(self) -> random.Random:
        return random.Random(self._chance.random())

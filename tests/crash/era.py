"""One daemon through many lives: killed, restarted, and in the end at peace."""

import hashlib
import os
import random
import signal
import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from dispatchctl.client import Client
from tests.crash.ledger import Ledger
from tests.crash.machines import Machine
from tests.crash.operator import TOKEN, Operator
from tests.crash.proof import prove_disk, prove_github, spend_looks, undelivered
from tests.crash.scenes import ANYTHING, SCENES, Scene
from tests.crash.weather import OWNER, REPO, Weather
from tests.e2e.daemon import RunningDaemon
from tests.eventually import eventually
from tests.github_standin import GitHubStandIn

SETTINGS = """
[deadlines]
assigned = "2s"
stalled = "2s"
reask = "1s"
boot = "2s"
report = "2s"
settle = "1s"
drain = "1s"
[github]
api_url = "{api_url}"
issue_spacing = "1s"
[discovery]
enabled = false
"""
#: Seconds of a life that is to end at a named instant, where that is not reached, and of others:
#: most from when they serve.
NAMED, UNNAMED = 60.0, 3.0
#: Machines by name and by address.
NAMES = ("one", "two", "", "")
#: Seconds until everything that was reported is an issue.
PEACE = 300.0


class Era:
    """A fresh state directory, and what happens on it. Use it as a context."""

    def __init__(self, directory: Path, *, seed: str, ledger: Ledger) -> None:
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
        scene = SCENES[point] if point else ANYTHING
        self._direct(scene)
        times = self._chance.randint(1, scene.times)
        self._daemon.spawn({"DISPATCHD_CRASH_AT": f"{point}:{times}"} if point else {})
        if scene.stops or (not point and self._chance.random() < 0.8):
            eventually(self._daemon.is_up, within=60)
        if scene.stops:
            self._daemon.signal(signal.SIGTERM)
        ended = self._daemon.ended(NAMED if point else self._chance.uniform(0, UNNAMED))
        if ended not in (None, -signal.SIGKILL):
            self._ledger.blame(f"it ended by itself with {ended}: {self._daemon.log[-5:]}")
        self._daemon.kill()
        self._ledger.count("kills")
        self._look_back()
        return ended == -signal.SIGKILL

    def settle(self) -> None:
        """A last life without faults: everything that was kept becomes one issue each."""
        self._stopping.set()
        spend_looks(self._directory)
        self._daemon.start()
        for thread in self._threads:
            thread.join()
        self._github.faults.clear()
        self._operator.log_in()
        self._deliver()
        if self._daemon.stop() != 0:
            self._ledger.blame("it did not stop well")
        self._look_back()
        repository = self._github.repositories[f"{OWNER}/{REPO}"]
        self._ledger.counts["reports kept"] = len(self._ledger.acknowledged)
        self._ledger.counts["issues"] = prove_github(self._directory, repository, self._ledger)

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
            print(*ledger.wrong[self._blamed :], *log, sep="\n")
            self._blamed = len(ledger.wrong)

    def _direct(self, scene: Scene) -> None:
        """Tell everybody what to do in this life."""
        self._operator.deeds, self._weather.deeds = scene.operator, scene.weather
        for machine in self._machines:
            machine.deeds = scene.machines

    def _deliver(self) -> None:
        until = time.monotonic() + PEACE
        while waiting := undelivered(self._directory):
            if time.monotonic() > until or self._daemon.ended(1.0) is not None:
                self._ledger.blame(f"not delivered: {', '.join(waiting)}")
                return
            self._operator.deliver_again(waiting)

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
            deeds=ANYTHING.operator,
        )
        self._weather = Weather(
            github=github,
            digests=self._digests,
            ledger=self._ledger,
            stopping=self._stopping,
            chance=self._fork(),
            deeds=ANYTHING.weather,
        )
        self._weather.make_release()
        self._machines = [self._machine(number, name) for number, name in enumerate(NAMES)]
        lives = [
            self._operator.live,
            self._weather.live,
            *(machine.live for machine in self._machines),
        ]
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
            deeds=ANYTHING.machines,
        )

    def _fork(self) -> random.Random:
        return random.Random(self._chance.random())

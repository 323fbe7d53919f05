"""What the queue costs with years of history, against what it costs with none."""

import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec

from bench.history import fill
from bench.table import Row
from dispatchd.store.store import Store
from tests.dispatcher.lab import Lab, machine

#: Workloads of the past; and those that each round runs.
FEW, MANY, RUN = 100, 100_000, 20
BIN = Path(sys.executable).parent
P = ParamSpec("P")


def rows(rounds: int) -> list[Row]:
    """Each figure is the median of this many rounds, the two databases by turns."""
    with tempfile.TemporaryDirectory(prefix="dispatchd-bench-") as scratch:
        few, many = Path(scratch) / "few", Path(scratch) / "many"
        for directory, count in ((few, FEW), (many, MANY)):
            directory.mkdir()
            Store(f"sqlite:///{directory}/dispatchd.db").close()
            fill(directory / "dispatchd.db", count)
        return [*_use_cases(few, many, rounds), *_processes(many, rounds)]


def _use_cases(few: Path, many: Path, rounds: int) -> Iterator[Row]:
    """One machine through ``RUN`` workloads in each round."""
    labs = {"few": Lab(few), "many": Lab(many)}
    taken: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds):
        for lab in labs.values():
            _unload(lab)
            lab.load(*(f"run-{number}-{one}.efi" for one in range(RUN)))
        for _ in range(RUN):
            for history, lab in labs.items():
                for step, seconds in _cycle(lab):
                    taken.setdefault((step, history), []).append(seconds)
        for lab in labs.values():
            lab.settle_outbox()
            lab.later(30)
    for step in ("claim", "boot", "report", "status"):
        plain, loaded = (statistics.median(taken[step, history]) for history in labs)
        yield Row(
            what=f"{step} with {MANY} workloads of history",
            measured=f"{1000 * loaded:.2f} ms, {loaded / plain:.2f} ×",
            beside=f"{1000 * plain:.2f} ms with {FEW}",
            target="≤ 1.2 ×",
            met=loaded / plain <= 1.2,
        )


def _unload(lab: Lab) -> None:
    """Take the last round's off the queue: a lab looks at one release at a time."""
    with lab.store.writing() as tx:
        for release in tx.releases.loaded():
            tx.releases.unload(release, lab.clock.now())


def _cycle(lab: Lab) -> Iterator[tuple[str, float]]:
    """A claim, a boot and a report of the next workload, each timed; and a look at the queue."""
    epyc = machine(lab, name="epyc-01", mac="aa:00:00:00:00:01")
    yield "claim", _timed(epyc.head)
    epyc.get()
    yield "boot", _timed(epyc.boot)
    yield "report", _timed(epyc.report)
    yield "status", _timed(lab.overview.status)


def _processes(directory: Path, rounds: int) -> Iterator[Row]:
    """The daemon and dispatchctl as they are started."""
    ready, sizes, status, nothing = [], [], [], []
    for _ in range(rounds):
        with _daemon(directory) as (seconds, process, control):
            ready.append(seconds)
            for _ in range(5):
                nothing.append(_timed(_run, sys.executable, "-c", "pass"))
                status.append(_timed(_run, BIN / "dispatchctl", "--socket", control, "status"))
            sizes.append(_resident(process.pid))
    yield Row(
        what=f"from start to READY with {MANY} workloads of history",
        measured=f"{statistics.median(ready):.2f} s",
        target="≤ 1 s",
        met=statistics.median(ready) <= 1,
    )
    yield Row(
        what="the daemon's memory after that",
        measured=f"{max(sizes) / 1e6:.0f} MB",
        target="≤ 100 MB",
        met=max(sizes) <= 100e6,
    )
    times = statistics.median(status) / statistics.median(nothing)
    yield Row(
        what=f"dispatchctl status of {RUN} workloads, the whole process",
        measured=f"{1000 * statistics.median(status):.0f} ms, {times:.1f} ×",
        beside=f"{1000 * statistics.median(nothing):.0f} ms for python3 -c pass",
        target="≤ 6 ×",
        met=times <= 6,
    )


@contextmanager
def _daemon(directory: Path) -> Iterator[tuple[float, "subprocess.Popen[bytes]", Path]]:
    """A dispatchd on the database: seconds until READY=1, the process, its control socket."""
    control = directory / "control.sock"
    settings = directory / "dispatchd.toml"
    settings.write_text(
        f'state_dir = "{directory}"\ncache_dir = "{directory}/cache"\n'
        f'[boot]\nlisten = "127.0.0.1:0"\n[control]\nsocket = "{control}"\n'
        "[discovery]\nenabled = false\n"
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
        notices.settimeout(60)
        notices.bind(os.fspath(directory / "notify"))
        begun = time.perf_counter()
        process = subprocess.Popen(
            [str(BIN / "dispatchd"), "--config", str(settings)],
            stderr=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "NOTIFY_SOCKET": str(directory / "notify")},
        )
        try:
            while b"READY=1" not in notices.recv(4096):
                pass
            yield time.perf_counter() - begun, process, control
        finally:
            process.terminate()
            process.wait(30)
            (directory / "notify").unlink()


def _resident(pid: int) -> int:
    """Bytes of memory that the process has."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _timed(act: Callable[P, object], *words: P.args, **more: P.kwargs) -> float:
    begun = time.perf_counter()
    act(*words, **more)
    return time.perf_counter() - begun

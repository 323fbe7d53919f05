"""Machines that power on at once, as a process of their own: `python -m bench.storm`.

It says "ready" when every machine has asked what there is, begins to download when it reads a line,
says "flowing" when bytes have reached every machine, and at last prints when each had its first and
its last one. Where the asset is still to come, machines ask from then on, until it is announced.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from bench.machine import Machine

#: Seconds between two asks of a machine that is told to wait.
AGAIN = 0.25


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """Bytes of all machines together, and seconds from the start until each had its first and its
    last one, both sorted.
    """

    size: int
    first: tuple[float, ...]
    last: tuple[float, ...]

    @property
    def rate(self) -> float:
        """Bytes a second, of all together."""
        return self.size / self.last[-1]


class Storm:
    """``path`` is a machine's, with ``{}`` for its number. They ask again while fewer bytes than
    ``at_least`` are announced.
    """

    def __init__(self, port: int, path: str, count: int, *, at_least: int = 0) -> None:
        words = [str(port), path, str(count), str(at_least)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.storm", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._expect("ready")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def begin(self) -> None:
        """Let them download; returns when bytes have reached all of them."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self._expect("flowing")

    def is_over(self) -> bool:
        return self._process.poll() is not None

    def outcome(self) -> Outcome:
        """Wait for the last machine."""
        assert self._process.stdout is not None
        found = json.loads(self._process.stdout.readline())
        self._process.wait()
        first, last = (tuple(sorted(found[name])) for name in ("first", "last"))
        return Outcome(size=found["size"], first=first, last=last)

    def _expect(self, word: str) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == f"{word}\n", f"the machines are not {word}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.storm", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("path")
    parser.add_argument("count", type=int)
    parser.add_argument("at_least", type=int, help="ask again while fewer bytes are announced")
    words = parser.parse_args()
    machines = [Machine(words.port, words.path.format(number)) for number in range(words.count)]
    ready = threading.Barrier(words.count + 1)
    begin, flowing = threading.Event(), threading.Event()
    begun = 0.0
    first: list[float] = []
    last: list[float] = []
    sizes: list[int] = []

    def has_first() -> None:
        first.append(time.perf_counter() - begun)
        if len(first) == words.count:
            flowing.set()

    def power_on(machine: Machine) -> None:
        if not words.at_least:
            machine.announced()
        ready.wait()
        begin.wait()
        while words.at_least and machine.announced() < words.at_least:
            time.sleep(AGAIN)
        sizes.append(machine.download(has_first))
        last.append(time.perf_counter() - begun)

    threads = [threading.Thread(target=power_on, args=[machine]) for machine in machines]
    for thread in threads:
        thread.start()
    ready.wait()
    print("ready", flush=True)
    sys.stdin.readline()
    begun = time.perf_counter()
    begin.set()
    flowing.wait()
    print("flowing", flush=True)
    for thread in threads:
        thread.join()
    assert len(last) == words.count, "a machine did not get its bytes"
    print(json.dumps({"size": sum(sizes), "first": first, "last": last}))


if __name__ == "__main__":
    main()

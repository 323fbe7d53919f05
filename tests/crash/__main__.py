"""The long run: a daemon killed hundreds of times, and what it lost or did twice.

python -m tests.crash --rounds 300 --seed 1

A round is one life of the daemon, ended by SIGKILL at a named instant or at random, and followed by
a look at what is on its disk. After every ``--lives`` of them all is well for once: what was
reported must be one issue each. Exits with 1 where anything was lost, doubled or broken.

What happens follows from the seed, so that a run can be had in pieces, too: ``--skip 100 --rounds
50`` are the rounds 101 to 150 of it.
"""

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

from tests.crash.era import Era
from tests.crash.ledger import Ledger
from tests.crash.scenes import SCENES


def deal(seed: int, lives: int) -> Iterator[list[str]]:
    """How each life ends, era by era: at a named instant or, as often, at any (empty)."""
    ends = _shuffled(random.Random(seed))
    for first in cycle(point for point, scene in SCENES.items() if scene.first):
        yield [first, *islice(ends, lives - 1)]


def _shuffled(chance: random.Random) -> Iterator[str]:
    later = [point for point, scene in SCENES.items() if not scene.first]
    while True:
        yield from chance.sample(later + [""] * len(later), 2 * len(later))


def run(
    directory: Path, *, rounds: int, skip: int, lives: int, seed: int
) -> tuple[Counter[str], list[str]]:
    """Play; returns the counts and what was wrong."""
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for start, ends in zip(range(0, skip + rounds, lives), deal(seed, lives), strict=False):
        if start < skip:
            continue
        ledger = Ledger()
        with Era(directory / str(start), seed=f"{seed} {start}", ledger=ledger) as era:
            for point in ends[: skip + rounds - start]:
                if era.live(point):
                    ledger.count(f"at {point}")
            era.settle()
        counts += ledger.counts
        wrong += [f"rounds from {start + 1}: {line}" for line in ledger.wrong]
        print(f"{counts['kills']} rounds: {summary(counts)}", flush=True)
    return counts, wrong


def summary(counts: Counter[str]) -> str:
    plain = {what: count for what, count in sorted(counts.items()) if not what.startswith("at ")}
    reached = sum(what.startswith("at ") for what in counts)
    words = [f"{count} {what}" for what, count in plain.items()]
    return ", ".join([*words, f"{reached} of {len(SCENES)} named instants reached"])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--skip", type=int, default=0, help="rounds of the run that are left out")
    parser.add_argument("--lives", type=int, default=25, help="rounds on one state directory")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dispatchd-crash-") as directory:
        counts, wrong = run(
            Path(directory),
            rounds=arguments.rounds,
            skip=arguments.skip,
            lives=arguments.lives,
            seed=arguments.seed,
        )
    print("never reached:", ", ".join(p for p in SCENES if not counts[f"at {p}"]) or "none")
    for line in wrong:
        print("WRONG:", line)
    print(f"{len(wrong)} lost, doubled or broken")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

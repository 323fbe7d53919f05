"""The long run: a daemon killed hundreds of times, and what it lost or did twice.

python -m tests.crash --rounds 300 --seed 1

A round is one life of the daemon, ended by SIGKILL at a named instant or at random, and followed by
a look at what is on its disk. After every ``--lives`` of them all is well for once: what was
reported must be one issue each. Exits with 1 where anything was lost, doubled or broken.
"""

import argparse
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.crash.era import Era, points
from tests.crash.ledger import Ledger


def run(directory: Path, *, rounds: int, lives: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Play; returns the counts and what was wrong."""
    chance = random.Random(seed)
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    first = [point for point in points() if point.startswith("migration")]
    later = [point for point in points() if point not in first]
    ends: list[str] = []
    for start in range(0, rounds, lives):
        ledger = Ledger()
        with Era(directory / str(start), seed=chance.randrange(1 << 32), ledger=ledger) as era:
            for life in range(min(lives, rounds - start)):
                if not ends:
                    # As often as at a named instant, at any.
                    ends = later + [""] * len(later)
                    chance.shuffle(ends)
                point = chance.choice(first) if life == 0 else ends.pop()
                if era.live(point):
                    ledger.count(f"at {point}")
            era.settle()
        counts += ledger.counts
        wrong += [f"rounds {start} to {start + lives}: {line}" for line in ledger.wrong]
        print(f"{start + lives} rounds: {summary(counts)}", flush=True)
    return counts, wrong


def summary(counts: Counter[str]) -> str:
    plain = {what: count for what, count in sorted(counts.items()) if not what.startswith("at ")}
    reached = sum(what.startswith("at ") for what in counts)
    words = [f"{count} {what}" for what, count in plain.items()]
    return ", ".join([*words, f"{reached} named instants reached"])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--lives", type=int, default=15, help="rounds on one state directory")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dispatchd-crash-") as directory:
        counts, wrong = run(
            Path(directory), rounds=arguments.rounds, lives=arguments.lives, seed=arguments.seed
        )
    print("never reached:", ", ".join(p for p in points() if not counts[f"at {p}"]) or "none")
    for line in wrong:
        print("WRONG:", line)
    print(f"{len(wrong)} lost, doubled or broken")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

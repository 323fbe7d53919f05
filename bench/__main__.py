"""`python -m bench`: prints the table; with 5 rounds or more it also writes docs/performance.md."""

import argparse
import tempfile
from pathlib import Path

from bench import cold, page, queue, warm
from bench.table import Row, render

#: Fewer rounds are a look, not a result.
ENOUGH = 5


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ENOUGH, help="of each measurement")
    parser.add_argument("--mib", type=int, default=512, help="the size of the asset")
    parser.add_argument(
        "--scratch", type=Path, help="where the files go (default: a temporary one)"
    )
    words = parser.parse_args()
    size = words.mib << 20
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="dispatchd-bench-", dir=words.scratch) as scratch:
        rows += warm.Bench(Path(scratch) / "warm", size=size, rounds=words.rounds).rows()
        rows += cold.rows(Path(scratch) / "cold")
    rows += queue.rows(words.rounds)
    print(render(rows))
    if words.rounds >= ENOUGH:
        page.write(rows, rounds=words.rounds, size=size)


if __name__ == "__main__":
    main()

"""What was found, row by row: a figure, what it is compared with, and whether it is good enough."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

#: What a reader sees of ``Row.met``.
_VERDICTS = {True: "met", False: "**missed**", None: ""}


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line. ``beside`` is what it is compared with; ``met`` is None without a promise."""

    what: str
    measured: str
    beside: str = ""
    target: str = ""
    met: bool | None = None


def render(rows: Iterable[Row]) -> str:
    """The rows as a Markdown table, in columns that line up on a terminal too."""
    cells = [("", "measured", "beside it", "target", "")]
    cells += [(row.what, row.measured, row.beside, row.target, _VERDICTS[row.met]) for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines) + "\n"


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that ``percent`` of all do not exceed."""
    ranked = sorted(values)
    return ranked[max(math.ceil(len(ranked) * percent / 100) - 1, 0)]

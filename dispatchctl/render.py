"""Words and tables for people. A sign never stands without its word."""

import os
import sys
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime

from dispatchd import wire


def table(rows: Sequence[Sequence[str]], header: Sequence[str]) -> str:
    """Aligned columns; the last one is cut on a terminal that is too narrow, never elsewhere."""
    lines = [list(header), *[list(row) for row in rows]]
    widths = [max(width(line[column]) for line in lines) for column in range(len(header))]
    room = os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else 10_000
    said = []
    for line in lines:
        cells = [
            cell + " " * (widths[column] - width(cell)) for column, cell in enumerate(line[:-1])
        ]
        text = "  ".join([*cells, line[-1]]).rstrip()
        said.append(text if width(text) <= room else text[: room - 1] + "…")
    return "\n".join(said)


def harmless(text: str) -> str:
    """Foreign text without what a terminal takes as commands."""
    return "".join(
        "\ufffd" if unicodedata.category(char) == "Cc" and char not in "\n\t" else char
        for char in text.replace("\r\n", "\n")
    )


def width(text: str) -> int:
    """Columns that a terminal needs for the text."""
    if text.isascii():
        return len(text)
    return sum(
        0
        if unicodedata.combining(char) or char == "\ufe0f"
        else 2
        if unicodedata.east_asian_width(char) in "WF"
        else 1
        for char in text
    )


def state(word: wire.State) -> str:
    """The sign and its word."""
    return f"{wire.SIGNS[word]} {word}"


def label(name: str, pool: str | None) -> str:
    """NAME, or NAME@POOL."""
    return f"{name}@{pool}" if pool else name


size = wire.amount


def ago(moment: datetime | None) -> str:
    """How long ago, or "-"."""
    if moment is None:
        return "-"
    seconds = (datetime.now(UTC) - moment).total_seconds()
    return "now" if seconds < 2 else lasting(seconds)


def lasting(seconds: float) -> str:
    """A length of time."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} d"


def progress(arrived: int, total: int, rate: float) -> str:
    """How much of something is here, and how fast the rest comes."""
    said = f"{100 * arrived // max(total, 1)} %"
    if rate >= 1:
        said += f", {size(rate)}/s, {lasting((total - arrived) / rate)} left"
    return said


def clock(moment: datetime | None) -> str:
    """The local time, with the day."""
    return "-" if moment is None else moment.astimezone().strftime("%a %d %b %H:%M:%S")


def time_of_day(moment: datetime) -> str:
    """The local time, of today or soon."""
    return moment.astimezone().strftime("%H:%M:%S")


def delivery(report: wire.StatusReport | wire.Report) -> str:
    """Where a report is, in a few words."""
    if report.url:
        return report.url
    reason = f": {report.error}" if report.error else ""
    words = {
        "pending": "waits for GitHub",
        "kept": "kept here",
        "held": "held",
        "refused": "refused by GitHub",
        "filed": "filed",
    }
    return words[report.state] + reason

"""What dispatchd itself reports of a workload that failed: nobody else would say a word."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

LABEL = "dispatch-failure"


@dataclass(frozen=True, kw_only=True, slots=True)
class Try:
    """One try that ended without a report. ``machine`` is a name and never an address, or empty."""

    machine: str
    outcome: str
    assigned_at: datetime
    booted_at: datetime | None
    ended_at: datetime | None


def compose_failure(workload: str, release: str, tries: Sequence[Try]) -> tuple[str, str]:
    """The title, and the body in Markdown: the reason and the history of the tries."""
    outcome = tries[-1].outcome if tries else "no report"
    rows = [
        f"| {number} | {one.machine or 'an unnamed machine'} | {_time(one.assigned_at)} "
        f"| {_time(one.booted_at)} | {_time(one.ended_at)} | {one.outcome} |"
        for number, one in enumerate(tries, 1)
    ]
    body = [
        f"`{workload}` of `{release}` failed: {len(tries)} tries ended without a report.",
        "",
        "| try | machine | assigned | booted | ended | how it ended |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
        "Should a machine still report, that becomes an issue of its own.",
    ]
    return f"{workload} failed: {outcome}", "\n".join(body)


def _time(moment: datetime | None) -> str:
    return "-" if moment is None else moment.strftime("%Y-%m-%d %H:%M:%S UTC")

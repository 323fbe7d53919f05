"""A report as a GitHub issue: within GitHub's limits, and with a marker to find it by."""

from dataclasses import dataclass
from datetime import datetime

from dispatchd.domain.issue_cut import Cut, cut
from dispatchd.domain.issue_text import scrub

#: GitHub's limits in characters. Those of a body are at most 262 144 bytes of UTF-8, its other one.
LONGEST_TITLE, LONGEST_BODY = 256, 65_536
#: Kept free in a body and in a comment for all that is not the report's own text.
RESERVED = 4096
#: Below this a body that is still too long is left out.
SMALLEST_BODY = 8192
_LONGEST_LINE = 300
UNTITLED = "report without a title"


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """What the footer says of a report. ``machine`` is a name and never an address, or empty."""

    workload: str
    release: str
    sha256: str
    machine: str
    attempt: int
    assigned_at: datetime
    booted_at: datetime | None
    received_at: datetime
    late: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """An issue's title and body, and the comments that carry what its body has no room for."""

    title: str
    body: str
    comments: tuple[str, ...]


def marker(report_id: str, comment: int = 0) -> str:
    """The hidden line that tells the issue of this report, or a comment of it, from every other."""
    part = f" comment={comment}" if comment else ""
    return f"<!-- dispatchd:report={report_id}{part} -->"


def write(
    report_id: str,
    title: str,
    text: str,
    *,
    footer: str,
    dropped: tuple[str, ...],
    room: int,
    token: str | None,
) -> Written:
    """Put a report into words for GitHub.

    ``dropped`` are lines like "labels: why", one for each field that GitHub did not take; a title
    or body among them is replaced. ``room`` is the longest body that it takes, 0 for the usual.
    """
    without = dropped_fields(dropped)
    title, text = compose_title(title, token), scrub(text, token)
    if "title" in without:
        title, text = f"report {report_id}", f"{title}\n\n{text}"
    if "body" in without:
        text = ""
    parts = cut(
        text, (room or LONGEST_BODY) - RESERVED, whole=f"dispatchctl reports show {report_id}"
    )
    said = "".join(f"\n> {_one_line(scrub(line, token))}\n" for line in dropped)
    return Written(
        title=title,
        body=f"{marker(report_id)}\n{parts.body}{said}{footer}",
        comments=_comments(report_id, parts),
    )


def dropped_fields(dropped: tuple[str, ...]) -> set[str]:
    """The names of the fields in lines like "labels: why"."""
    return {line.partition(":")[0] for line in dropped}


def compose_title(title: str, token: str | None) -> str:
    """The report's title on one line, within GitHub's limit."""
    clean = " ".join(scrub(title, token).split()) or UNTITLED
    return clean if len(clean) <= LONGEST_TITLE else clean[: LONGEST_TITLE - 1] + "…"


def _comments(report_id: str, parts: Cut) -> tuple[str, ...]:
    return tuple(
        f"{marker(report_id, number)}\n"
        f"*What the issue has no room for, {number} of {len(parts.rest)}:*\n\n{text}"
        for number, text in enumerate(parts.rest, 1)
    )


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_LINE else line[: _LONGEST_LINE - 1] + "…"


def compose_footer(known: Provenance) -> str:
    """Where the report comes from, for whoever reads the issue."""
    times = [f"assigned {_time(known.assigned_at)}"]
    times += [f"booted {_time(known.booted_at)}"] if known.booted_at else []
    times += [f"reported {_time(known.received_at)}"]
    digest = f" · sha256:{known.sha256}" if known.sha256 else ""
    late = "\n\n**Late:** this report came after its attempt had ended." if known.late else ""
    return (
        f"\n\n---\n<sub>`{known.workload}` of `{known.release}`{digest} · on "
        f"{known.machine or 'an unnamed machine'}, attempt {known.attempt} · "
        f"{', '.join(times)} · by dispatchd</sub>{late}\n"
    )


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")

"""A report as a GitHub issue: within GitHub's limits, and with a marker to find it by."""

from dataclasses import dataclass
from datetime import datetime

from dispatchd.domain.issue_text import scrub

#: GitHub's limits: a title, and a body in characters and in bytes of UTF-8.
LONGEST_TITLE, LONGEST_BODY, MOST_BYTES = 256, 65_536, 262_144
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


def marker(report_id: str) -> str:
    """The hidden line that tells the issue of this report from every other."""
    return f"<!-- dispatchd:report={report_id} -->"


def compose_title(title: str, token: str | None) -> str:
    """The report's title on one line, within GitHub's limit."""
    clean = " ".join(scrub(title, token).split()) or UNTITLED
    return clean if len(clean) <= LONGEST_TITLE else clean[: LONGEST_TITLE - 1] + "…"


def compose_body(
    report_id: str, text: str, *, footer: str, dropped: tuple[str, ...], token: str | None
) -> str:
    """The issue's body: marker, the report's own text, what had to be left out, and the footer.

    A text too long keeps its head and its tail; the whole of it stays with dispatchd.
    """
    head = marker(report_id) + "\n"
    tail = "".join(f"\n> {line}\n" for line in dropped) + footer
    text = scrub(text, token)
    for room in (LONGEST_BODY, LONGEST_BODY // 2, LONGEST_BODY // 4 - 1024):
        body = head + cut(text, room - len(head) - len(tail), report_id) + tail
        if len(body.encode()) <= MOST_BYTES:
            break
    return body


def cut(text: str, room: int, report_id: str) -> str:
    """Keep the head and the tail of a text that is longer than ``room`` characters."""
    if len(text) <= room:
        return text
    said = f"\n\n*[… {{}} characters left out: dispatchctl reports show {report_id} has all …]*\n\n"
    keep = room - len(said) - 64
    first = keep * 2 // 3
    head, tail = text[:first], text[len(text) - (keep - first) :]
    # A fence that the cut opens must not swallow what follows, nor the tail lose its own.
    fence = _open_fence(head)
    closing = f"\n{fence}" if fence else ""
    opening = f"{fence}\n" if fence and _open_fence(text[: len(text) - len(tail)]) else ""
    return head + closing + said.format(len(text) - keep) + opening + tail


def _open_fence(text: str) -> str:
    """The code fence that is open at the end of the text, or empty (CommonMark section 4.5)."""
    fence = ""
    for line in text.splitlines():
        bare = line.strip()
        for mark in ("`", "~"):
            length = len(bare) - len(bare.lstrip(mark))
            if length < 3:
                continue
            if not fence:
                fence = mark * length
            elif fence[0] == mark and length >= len(fence) and bare == mark * length:
                fence = ""
    return fence


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

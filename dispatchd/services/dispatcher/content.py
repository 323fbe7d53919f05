"""What a beacon's PUT says: JSON in, checked content out."""

import msgspec

from dispatchd.domain.issue_text import on_one_line
from dispatchd.errors import BadRequest
from dispatchd.services.dispatcher.beacons import Content

UNTITLED = "report without a title"


class _Payload(msgspec.Struct):
    """The fields that count; unknown ones are ignored and null is absent."""

    title: str
    body: str | None = None
    labels: list[str] | None = None
    assignees: list[str] | None = None
    milestone: str | None = None


_decoder = msgspec.json.Decoder(_Payload)


def parse_content(body: bytes) -> Content:
    """Read a report, or raise BadRequest saying what is wrong with it."""
    try:
        payload = _decoder.decode(body)
    # A lone surrogate or bytes that are no UTF-8, and nesting without end, come as these two.
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise BadRequest(f"cannot read the report: {error}") from error
    return Content(
        # It stands in logs, events and tables: no machine may write lines or commands into those.
        title=on_one_line(payload.title) or UNTITLED,
        body=payload.body or "",
        labels=tuple(payload.labels or ()),
        assignees=tuple(payload.assignees or ()),
        milestone=payload.milestone or "",
    )


def salvage_content(body: bytes) -> Content:
    """The report in a body that a person claims: read if it can be, else quoted as it is."""
    try:
        return parse_content(body)
    except BadRequest as error:
        text = body.decode(errors="replace")
        quoted = "\n".join(f"    {line}" for line in text.splitlines())
        return Content(title="unreadable report", body=f"{error}\n\n{quoted}\n")

"""Range and its conditions, judged by us: RFC 9110 sections 13 and 14.

Werkzeug answers 206 to a false If-Match, and firmware would then splice two images of one size.
"""

from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """The answer's status, and the bytes of the body: ``length`` from ``offset``."""

    status: int
    offset: int = 0
    length: int = 0


def select(
    *,
    size: int,
    etag: str,
    modified: datetime | None,
    range_: str | None,
    if_match: str | None,
    if_unmodified_since: str | None,
    if_range: str | None,
) -> Part:
    """What of ``size`` bytes to send, given the request's headers (None where absent)."""
    if _is_violated(etag, modified, if_match, if_unmodified_since):
        return Part(status=412)
    whole = Part(status=200, length=size)
    if range_ is None or (if_range is not None and if_range.strip() != etag):
        return whole
    asked = parse(range_)
    if asked is None:
        return whole
    first, last = asked
    if first is None:
        # The last so many bytes.
        if not last or not size:
            return Part(status=416)
        offset = max(size - last, 0)
        return Part(status=206, offset=offset, length=size - offset)
    if first >= size:
        return Part(status=416)
    end = size - 1 if last is None else min(last, size - 1)
    return Part(status=206, offset=first, length=end - first + 1)


def parse(range_: str) -> tuple[int | None, int | None] | None:
    """One range as (first, last); None where it is malformed, in other units, or several."""
    unit, _, spec = range_.partition("=")
    first, dash, last = spec.strip().partition("-")
    if unit.strip().lower() != "bytes" or not dash:
        return None
    first, last = first.strip(), last.strip()
    if not all(part == "" or (part.isascii() and part.isdecimal()) for part in (first, last)):
        return None
    if max(len(first), len(last)) > 19 or first == last == "":
        return None
    low, high = int(first) if first else None, int(last) if last else None
    return None if low is not None and high is not None and high < low else (low, high)


def _is_violated(
    etag: str, modified: datetime | None, if_match: str | None, if_unmodified_since: str | None
) -> bool:
    if if_match is not None:
        tags = [tag.strip() for tag in if_match.split(",")]
        return "*" not in tags and etag not in tags
    if if_unmodified_since is None or modified is None:
        return False
    try:
        return modified.replace(microsecond=0) > parsedate_to_datetime(if_unmodified_since)
    except (TypeError, ValueError):
        # Not a date: old firmware sends a weak ETag here. RFC 9110 13.1.4: ignore it.
        return False

"""`reports export`: every report as a file of its own, to read where neither we nor GitHub are."""

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from dispatchctl.client import Client, Failure, segment
from dispatchd import wire


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """What was written."""

    directory: str
    files: int


def write_all(client: Client, directory: Path) -> Export:
    """Write every report as Markdown with its particulars, and what nobody claims as it came."""
    count = 0
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in _files(client):
            fresh = directory / f".{name}.new"
            fresh.write_text(text, encoding="utf-8", errors="replace")
            fresh.replace(directory / name)
            count += 1
    except OSError as error:
        raise Failure(f"cannot write {error.filename}: {error.strerror}") from error
    return Export(directory=str(directory), files=count)


def _files(client: Client) -> Iterator[tuple[str, str]]:
    """Names and texts, the newest first."""
    offset = 0
    while True:
        page = client.get(f"/v1/reports?offset={offset}", wire.Reports)
        for one in page.reports:
            report = client.get(f"/v1/reports/{segment(one.id)}", wire.Report)
            yield _name(report.received_at, report.workload, report.id), _text(report)
        if not page.reports:
            break
        offset += len(page.reports)
    for kept in page.unclaimed:
        body = client.get(f"/v1/reports/{segment(kept.id)}", wire.Unclaimed)
        yield _name(body.received_at, "unclaimed", body.id), _text(body)


def _name(moment: datetime, what: str, identity: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9._@-]", "_", what)
    return f"{moment:%Y%m%dT%H%M%SZ}-{plain}-{identity[:8]}.md"


def _text(report: wire.Report | wire.Unclaimed) -> str:
    """The body after its particulars, as YAML that is JSON value by value."""
    particulars = msgspec.to_builtins(report)
    body = particulars.pop("body")
    lines = [f"{key}: {msgspec.json.encode(value).decode()}" for key, value in particulars.items()]
    return "\n".join(["---", *lines, "---", "", body, ""])

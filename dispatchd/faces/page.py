"""What a person, or a program, sees who opens the boot URL."""

from collections.abc import Callable
from html import escape

import msgspec

from dispatchd import wire
from dispatchd.errors import StoreError

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.2rem .8rem .2rem 0;"
    "border-bottom:1px solid #ddd}.hand{color:#a00}"
)


def render_page(read: Callable[[], wire.Status], *, as_json: bool) -> tuple[bytes, str]:
    """The body and its media type. ``read`` gives the status."""
    try:
        status = read()
    except StoreError as error:
        return f"dispatchd: {error}\n".encode(), "text/plain"
    if as_json:
        return msgspec.json.encode(status), "application/json"
    return _html(status).encode(), "text/html"


def _html(status: wire.Status) -> str:
    rows = "".join(_row(workload) for workload in status.workloads)
    hands = "".join(f'<li class="hand">{escape(line)}</li>' for line in status.attention)
    counts = " · ".join(
        f"{sign} {status.counts[state]} {state}" for state, sign in wire.SIGNS.items()
    )
    table = (
        "<table><tr><th>State<th>Workload<th>Machine<th>Reports</tr>" + rows + "</table>"
        if rows
        else "<p>Nothing is loaded.</p>"
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" '
        f'content="10"><title>dispatchd</title><style>{_STYLE}</style>'
        f"<h1>dispatchd {escape(status.version)}</h1>"
        "<p>This is a UEFI HTTP boot service. A server that boots from this URL is handed the next "
        "workload of the queue; opening it in a browser claims nothing.</p>"
        f"<ul>{hands}</ul>{table}<p>{counts}</p></html>\n"
    )


def _row(workload: wire.StatusWorkload) -> str:
    label = f"{workload.name}@{workload.pool}" if workload.pool else workload.name
    said = f" ({escape(workload.reason)})" if workload.reason else ""
    return (
        f"<tr><td>{wire.SIGNS[workload.state]} {workload.state}{said}<td>{escape(label)}"
        f"<td>{escape(workload.machine or '-')}"
        f"<td>{' '.join(_link(report) for report in workload.reports) or '-'}</tr>"
    )


def _link(report: wire.StatusReport) -> str:
    title = escape(report.title)
    if report.url and report.url.startswith(("https://", "http://")):
        return f'<a href="{escape(report.url)}">{title}</a>'
    return f"{title} [{report.state}]"

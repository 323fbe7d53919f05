"""`status` and `show`: what is happening, and why."""

import threading

import click

from dispatchctl import render
from dispatchctl.cli import Session, dispatchctl, pass_session
from dispatchctl.selector import select
from dispatchd import wire


@dispatchctl.command()
@click.option("--watch", is_flag=True, help="Show it again each second, until Ctrl-C.")
@pass_session
def status(session: Session, watch: bool = False) -> None:
    """What needs a hand first, then the queue, the counts and the boot URLs."""
    if watch and not session.as_json:
        _watch(session)
        return
    session.tell("/v1/status", wire.Status, text)


def _watch(session: Session) -> None:
    from rich.live import Live
    from rich.text import Text

    pause = threading.Event()
    with Live(auto_refresh=False, screen=False) as live:
        while True:
            answer = session.client.get("/v1/status", wire.Status)
            live.update(Text(text(answer)), refresh=True)
            try:
                pause.wait(1)
            except KeyboardInterrupt:
                return


def text(answer: wire.Status) -> str:
    """The whole page."""
    parts = []
    if answer.releases:
        parts.append("\n".join(answer.releases) + (" (queue paused)" if answer.paused else ""))
    elif answer.paused:
        parts.append("queue paused")
    if answer.attention:
        parts.append("\n".join(f"! {line}" for line in answer.attention))
    if answer.workloads:
        rows = [_row(workload) for workload in answer.workloads]
        header = ("State", "Workload", "Machine", "Seen", "Size", "What")
        parts.append(render.table(rows, header))
    else:
        parts.append(
            "Nothing is loaded. Next: dispatchctl load --owner OWNER --repo REPO --tag TAG"
        )
    parts.append(_foot(answer))
    return "\n\n".join(parts)


def _row(workload: wire.StatusWorkload) -> tuple[str, ...]:
    return (
        render.state(workload.state),
        render.label(workload.name, workload.pool),
        _machine(workload),
        render.ago(workload.seen),
        render.size(workload.size),
        what(workload),
    )


def _machine(workload: wire.StatusWorkload) -> str:
    """Its label; an address that is all we know of it may be another's tomorrow."""
    weak = " (weak)" if workload.known_by == "address" else ""
    return f"{workload.machine}{weak}" if workload.machine else "-"


def what(workload: wire.StatusWorkload) -> str:
    """The most telling thing about a workload."""
    said = []
    tries = f"attempt {workload.attempt} of {workload.attempts}"
    if workload.state == "unassigned":
        if workload.bytes != "whole":
            here = render.progress(workload.arrived, workload.size, workload.rate)
            trouble = f", {workload.trouble}" if workload.trouble else ""
            said.append(f"bytes arriving, {here}{trouble}")
        if workload.pinned:
            said.append(f"for {workload.pinned}")
        if workload.reason:
            said.append(workload.why)
    elif workload.reason:
        said.append(workload.reason)
    elif workload.state == "downloading":
        said.append(f"{100 * workload.sent // max(workload.size, 1)} %, {tries}")
    elif workload.state in ("assigned", "booting"):
        said.append(tries)
    if workload.until:
        said[-1] += f", until {render.time_of_day(workload.until)}"
    alike = {(report.state, report.url, report.error) for report in workload.reports}
    if len(workload.reports) > 1 and len(alike) == 1:
        said.append(f"{len(workload.reports)} reports: {render.delivery(workload.reports[0])}")
        return "; ".join(said)
    return "; ".join([*said, *(_report(report) for report in workload.reports)])


def _report(report: wire.StatusReport) -> str:
    late = " (late)" if report.late else ""
    warning = f" ! {report.warning}" if report.warning else ""
    return f"{report.title}{late}: {render.delivery(report)}{warning}"


def _foot(answer: wire.Status) -> str:
    counts = " · ".join(
        f"{wire.SIGNS[state]} {count} {state}" for state, count in answer.counts.items()
    )
    lines = [counts]
    lines += [f"boot URL: {'  '.join(answer.urls)}"] if answer.urls else []
    if answer.knock is None:
        lines.append("last knock: none yet")
    else:
        knock = answer.knock
        who = knock.machine or knock.address
        lines.append(
            f"last knock: {render.ago(knock.at)}, {who}: {knock.request} -> {knock.answer}"
        )
    return "\n".join(lines)


@dispatchctl.command()
@click.argument("workload")
@pass_session
def show(session: Session, workload: str) -> None:
    """One workload: its attempts, reports and history, and why it is where it is."""
    (chosen,) = select(session, [workload], only_one=True)
    session.tell(f"/v1/workloads/{chosen.id}", wire.Workload, _story)


def _story(answer: wire.Workload) -> str:
    row = answer.workload
    digest = f"  sha256:{answer.sha256}" if answer.sha256 else ""
    lines = [
        f"{render.label(row.name, row.pool)}  {row.release}  id {row.id}  "
        f"{render.size(row.size)}{digest}",
        f"{render.state(row.state)}" + (f" on {row.machine}" if row.machine else ""),
        f"why: {answer.why}",
    ]
    if row.until:
        lines.append(f"until {render.time_of_day(row.until)}, else: {row.then}")
    if answer.attempts:
        rows = [
            (
                str(attempt.number),
                attempt.machine,
                render.clock(attempt.assigned_at),
                render.clock(attempt.whole_at),
                render.clock(attempt.booted_at),
                render.clock(attempt.ended_at),
                attempt.outcome or attempt.state,
            )
            for attempt in answer.attempts
        ]
        header = ("Attempt", "Machine", "Assigned", "All bytes", "Booted", "Ended", "Outcome")
        lines += ["", render.table(rows, header)]
    reports = [f"  {_report(report)}" for report in row.reports]
    lines += ["", "Reports" if reports else "Reports  none", *reports]
    lines += ["", "History"]
    lines += [
        f"  {render.clock(event.at)}  {event.text}" + (f" (by {event.by})" if event.by else "")
        for event in answer.history
    ]
    return "\n".join(lines)

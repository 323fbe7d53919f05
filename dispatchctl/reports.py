"""`reports`: what beacons sent, where it is on its way to GitHub, and what nobody claims."""

import getpass
import sys
from pathlib import Path

import click
import msgspec

from dispatchctl import render
from dispatchctl.cli import Session, dispatchctl, pass_session
from dispatchctl.client import Failure, Misused, segment
from dispatchctl.export import write_all
from dispatchctl.selector import select
from dispatchd import wire


@dispatchctl.group()
@click.pass_context
def reports(context: click.Context) -> None:
    """List reports; show, claim, deliver or export them."""
    if context.invoked_subcommand is None:
        context.ensure_object(Session).tell("/v1/reports", wire.Reports, _table)


def _table(answer: wire.Reports) -> str:
    parts = []
    if answer.reports:
        rows = [
            (
                report.id[:8],
                render.clock(report.received_at),
                report.workload,
                report.machine,
                report.title + (" (late)" if report.late else ""),
                render.delivery(report) + (f" ! {report.warning}" if report.warning else ""),
            )
            for report in answer.reports
        ]
        parts.append(
            render.table(rows, ("Id", "Received", "Workload", "Machine", "Title", "Delivery"))
        )
    if answer.unclaimed:
        bodies = [
            (
                body.id[:8],
                render.clock(body.received_at),
                " ".join(filter(None, (body.address, body.mac))),
                f"{body.answer} {body.reason}",
                body.title or "-",
            )
            for body in answer.unclaimed
        ]
        parts.append(
            "Unclaimed: dispatchctl reports claim ID WORKLOAD\n"
            + render.table(bodies, ("Id", "Received", "From", "Answer", "Title"))
        )
    return "\n\n".join(parts) or "No reports yet."


def _resolve(session: Session, word: str) -> str:
    """The id that begins with the word."""
    answer = session.client.get("/v1/reports", wire.Reports)
    ids = [report.id for report in answer.reports] + [body.id for body in answer.unclaimed]
    ids = [identity for identity in ids if identity.startswith(word)]
    if len(ids) > 1:
        raise Failure(f"{word!r} begins more than one id: {', '.join(ids)}")
    return ids[0] if ids else word


@reports.command()
@click.argument("report")
@pass_session
def show(session: Session, report: str) -> None:
    """One report, or unclaimed body, whole."""
    data = session.client.fetch("GET", f"/v1/reports/{segment(_resolve(session, report))}")
    if session.as_json:
        click.echo(data.decode())
        return
    if "answer" in msgspec.json.decode(data):
        body = msgspec.json.decode(data, type=wire.Unclaimed)
        click.echo(f"unclaimed {body.id}\nfrom {body.address} {body.mac or ''}\n{body.reason}")
        click.echo(f"\n{render.harmless(body.body)}")
        return
    answer = msgspec.json.decode(data, type=wire.Report)
    click.echo(f"{answer.title}\n{answer.workload} on {answer.machine}, report {answer.id}")
    click.echo(f"{render.clock(answer.received_at)}  {render.delivery(answer)}")
    for key, words in (("labels", answer.labels), ("assignees", answer.assignees)):
        if words:
            click.echo(f"{key}: {', '.join(words)}")
    if answer.milestone:
        click.echo(f"milestone: {answer.milestone}")
    if answer.warning:
        click.echo(f"! {answer.warning}")
    click.echo(f"\n{render.harmless(answer.body)}")


@reports.command()
@click.argument("report")
@click.argument("workload")
@pass_session
def claim(session: Session, report: str, workload: str) -> None:
    """Credit an unclaimed body to a workload."""
    (chosen,) = select(session, [workload], only_one=True)
    path = f"/v1/reports/{segment(_resolve(session, report))}/claim"
    answer = session.client.send(
        "POST", path, wire.ClaimRequest(workload_id=chosen.id), wire.Report
    )
    session.show(answer, lambda: f"{answer.title}: {answer.workload}, {render.delivery(answer)}")


@reports.command("retry")
@click.argument("words", metavar="REPORT…", nargs=-1)
@click.option("--held", is_flag=True, help="All that are held.")
@click.option("--all", "every", is_flag=True, help="All that are held or refused.")
@pass_session
def retry_(session: Session, words: tuple[str, ...], held: bool, every: bool) -> None:
    """Deliver held, refused or kept reports now."""
    if bool(words) == (held or every):
        raise Misused("name reports, or --held, or --all")
    states = {"held", "refused"} if every else {"held"}
    listed = session.client.get("/v1/reports", wire.Reports)
    ids = [_resolve(session, word) for word in words] or [
        report.id for report in listed.reports if report.state in states
    ]
    sent = [
        session.client.send("POST", f"/v1/reports/{segment(one)}/retry", None, wire.Report)
        for one in ids
    ]
    answer = wire.Reports(reports=sent, unclaimed=[])
    session.show(
        answer,
        lambda: (
            "\n".join(f"{one.title}: {render.delivery(one)}" for one in sent)
            or "There is nothing to deliver again."
        ),
    )


@reports.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@pass_session
def export(session: Session, directory: Path) -> None:
    """Write every report as Markdown, and what nobody claims as it came."""
    answer = write_all(session.client, directory)
    session.show(answer, lambda: f"{wire.counted(answer.files, 'file')} in {answer.directory}")


@dispatchctl.command()
@pass_session
def login(session: Session) -> None:
    """Store the GitHub token that files the issues (asked for, or read from stdin)."""
    token = getpass.getpass("GitHub token: ") if sys.stdin.isatty() else sys.stdin.read()
    request = wire.TokenRequest(token=token.strip())
    answer = session.client.send("PUT", "/v1/token", request, wire.TokenAnswer)
    session.show(
        answer,
        lambda: answer.warning or f"reports will be filed as @{answer.login}",
    )

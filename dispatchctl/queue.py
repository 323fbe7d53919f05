"""`retry`, `cancel`, `pause`, `resume`: what people decide about the queue."""

from collections.abc import Callable
from typing import Any

import click
import msgspec

from dispatchctl import render
from dispatchctl.cli import Session, dispatchctl, pass_session
from dispatchctl.client import Rejected
from dispatchctl.selector import select
from dispatchd import wire

UNFINISHED: tuple[wire.State, ...] = (
    "unassigned",
    "assigned",
    "downloading",
    "booting",
    "reported",
)


def _selection(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.argument("workloads", metavar="WORKLOAD…", nargs=-1),
        click.option("--release", help="All workloads of this release."),
        click.option("--all", "everything", is_flag=True, help="All workloads."),
        click.option("--yes", is_flag=True, help="Do not ask."),
    ):
        function = option(function)
    return function


@dispatchctl.command()
@_selection
@click.option("--on", metavar="MACHINE", help="Run it on this machine only.")
@pass_session
def retry(
    session: Session,
    workloads: tuple[str, ...],
    release: str | None,
    everything: bool,
    yes: bool,
    on: str | None,
) -> None:
    """Run finished or failed workloads again."""
    chosen = select(
        session,
        workloads,
        release=release,
        everything=everything,
        states=("finished", "failed"),
        yes=yes,
    )
    _act(session, chosen, "retry", wire.RetryRequest(on=on), "to be run again")


@dispatchctl.command()
@_selection
@pass_session
def cancel(
    session: Session,
    workloads: tuple[str, ...],
    release: str | None,
    everything: bool,
    yes: bool,
) -> None:
    """Stop unfinished workloads."""
    chosen = select(
        session, workloads, release=release, everything=everything, states=UNFINISHED, yes=yes
    )
    _act(session, chosen, "cancel", None, "cancelled")


def _act(
    session: Session,
    chosen: list[wire.StatusWorkload],
    action: str,
    body: msgspec.Struct | None,
    done: str,
) -> None:
    failures = []
    answers = []
    for workload in chosen:
        label = render.label(workload.name, workload.pool)
        try:
            path = f"/v1/workloads/{workload.id}/{action}"
            answers.append(session.client.send("POST", path, body, wire.Workload))
        except Rejected as error:
            failures.append(error)
        else:
            if not session.as_json:
                click.echo(f"{label}: {done}")
    if session.as_json and answers:
        shown: object = answers[0] if len(chosen) == 1 else answers
        click.echo(msgspec.json.encode(shown).decode())
    for failure in failures[:-1]:
        click.echo(f"error: {failure}", err=True)
    if failures:
        raise failures[-1]


@dispatchctl.command()
@click.argument("machines", metavar="[MACHINE…]", nargs=-1)
@pass_session
def pause(session: Session, machines: tuple[str, ...]) -> None:
    """Hand out nothing new: to anybody, or to these machines."""
    _pause(session, machines, "pause", "paused")


@dispatchctl.command()
@click.argument("machines", metavar="[MACHINE…]", nargs=-1)
@pass_session
def resume(session: Session, machines: tuple[str, ...]) -> None:
    """Go on: the queue, or paused and held machines."""
    _pause(session, machines, "resume", "goes on")


def _pause(session: Session, machines: tuple[str, ...], action: str, done: str) -> None:
    request = wire.PauseRequest(machines=list(machines))
    answer = session.client.send("POST", f"/v1/queue/{action}", request, wire.PauseAnswer)
    session.show(answer, lambda: "\n".join(f"{one}: {done}" for one in machines or ["queue"]))

"""`events`: what happened, when, and by whom."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import click
import msgspec

from dispatchctl import render
from dispatchctl.cli import Session, dispatchctl, pass_session
from dispatchctl.moment import Moment
from dispatchd import wire

#: Seconds between two looks for more.
LOOK = 1.0


@dispatchctl.command()
@click.option("--after", type=int, default=0, help="Only events after the one with this id.")
@click.option("--since", type=Moment(), help="Only events since then: fri, 2h, 14:02, 2026-11-20.")
@click.option("--follow", "-f", is_flag=True, help="Go on with what happens, until Ctrl-C.")
@pass_session
def events(session: Session, after: int, since: datetime | None, follow: bool) -> None:
    """The history: what happened, when, and by whom."""
    found = list(_pages(session, after, since))
    if not follow:
        answer = wire.Events(events=found)
        session.show(answer, lambda: "\n".join(line(event) for event in found))
        return
    pause = threading.Event()
    try:
        while True:
            for event in found:
                click.echo(msgspec.json.encode(event) if session.as_json else line(event))
                after = event.id
            pause.wait(LOOK)
            found = list(_pages(session, after, since))
    except KeyboardInterrupt:
        return


def _pages(session: Session, after: int, since: datetime | None) -> Iterator[wire.Event]:
    """Every event there is; the daemon gives them in pages."""
    from_then = "" if since is None else f"&since={since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    while True:
        answer = session.client.get(f"/v1/events?after={after}{from_then}", wire.Events)
        if not answer.events:
            return
        yield from answer.events
        after = answer.events[-1].id


def line(event: wire.Event) -> str:
    """One event, as people read it."""
    by = f" (by {event.by})" if event.by else ""
    return f"{event.id:>6}  {render.clock(event.at)}  {event.text}{by}"

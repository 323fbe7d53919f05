"""`cache`: the bytes that dispatchd has, for whom, and how full it is."""

import threading

import click

from dispatchctl import render
from dispatchctl.cli import Session, dispatchctl, pass_session
from dispatchctl.client import Failure
from dispatchd import wire

#: Seconds between two looks at a check.
LOOK = 0.5


@dispatchctl.group()
@click.pass_context
def cache(context: click.Context) -> None:
    """List the bytes that are here; remove what nobody needs; check them."""
    if context.invoked_subcommand is None:
        context.ensure_object(Session).tell("/v1/cache", wire.Cache, _page)


def _page(answer: wire.Cache) -> str:
    parts = [_table(answer.files)] if answer.files else []
    lines = [
        f"{answer.directory}: {render.size(answer.used)} of {render.size(answer.max_size)} used, "
        f"{render.size(answer.free)} free on its disk ({render.size(answer.min_free)} stay free)"
    ]
    if answer.prunable:
        lines.append(f"cache prune frees {render.size(answer.prunable)}")
    if answer.check is not None:
        lines.append(_checked(answer.check))
    return "\n\n".join([*parts, "\n".join(lines)])


def _table(files: list[wire.CachedFile]) -> str:
    rows = [
        (
            ", ".join(file.names) or "-",
            render.size(file.size),
            file.sha256[:12],
            render.ago(file.used_at),
            ", ".join(file.needed_by) or "-",
        )
        for file in files
    ]
    return render.table(rows, ("Asset", "Size", "sha256", "Last used", "Needed by"))


def _checked(check: wire.CacheCheck) -> str:
    if check.ended_at is None:
        return f"being checked: {render.size(check.checked)} of {render.size(check.total)}"
    found = f"corrupt: {', '.join(check.corrupt)}" if check.corrupt else "all well"
    return f"checked {render.clock(check.ended_at)}: {render.size(check.checked)}, {found}"


@cache.command()
@pass_session
def prune(session: Session) -> None:
    """Remove what no workload needs that is queued, running or reported."""
    answer = session.client.send("POST", "/v1/cache/prune", None, wire.Pruned)
    session.show(answer, lambda: _pruned(answer))


def _pruned(answer: wire.Pruned) -> str:
    if not answer.files:
        return "Nothing to remove: all of it is needed, or was a moment ago."
    lines = [f"{', '.join(file.names) or file.sha256[:12]}: removed" for file in answer.files]
    return "\n".join([*lines, f"{render.size(answer.freed)} freed"])


@cache.command()
@pass_session
def verify(session: Session) -> None:
    """Read every file again; what is damaged leaves, and is fetched anew where it is needed."""
    check = session.client.send("POST", "/v1/cache/verify", None, wire.CacheCheck)
    pause = threading.Event()
    try:
        while check.ended_at is None:
            pause.wait(LOOK)
            check = session.client.get("/v1/cache", wire.Cache).check or check
    except KeyboardInterrupt:
        click.echo("dispatchd goes on checking (dispatchctl cache)", err=True)
        return
    session.show(check, lambda: _checked(check))
    if check.corrupt:
        raise Failure(
            f"damaged and removed: {', '.join(check.corrupt)}", hint="look at the disk: dmesg"
        )

"""`load`, `unload`, `releases`: what is to be run."""

import re
from pathlib import Path

import click
import msgspec

from dispatchctl import render
from dispatchctl.arrivals import follow
from dispatchctl.cli import Session, dispatchctl, pass_session
from dispatchctl.client import Failure, Misused
from dispatchd import wire

_RELEASE = re.compile(r"([^/@\s]+)/([^/@\s]+)@(\S+)")
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


class Length(click.ParamType[float]):
    """A length of time like "2h" or "1h30m", in seconds."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        found = _DURATION.fullmatch(str(value))
        parts = [int(part or 0) for part in found.groups()] if found else [0]
        if not any(parts):
            self.fail(f'{value!r} is no length of time like "30s", "5m" or "1h30m"', param, ctx)
        return float(parts[0] * 3600 + parts[1] * 60 + parts[2])


@dispatchctl.command()
@click.argument("words", metavar="[OWNER/REPO@TAG] [FILTER…]", nargs=-1)
@click.option("--owner", help="The repository's owner.")
@click.option("--repo", help="The repository.")
@click.option("--tag", help="The release's tag, or latest.")
@click.option("--dir", "directory", type=click.Path(path_type=Path), help="A directory instead.")
@click.option("--pool", help="Once for each of these pools: A,B.")
@click.option("--on", metavar="MACHINE", help="On this machine only.")
@click.option("--no-file", is_flag=True, help="Keep the reports here, file no issues.")
@click.option("--report-to", metavar="OWNER/REPO", help="File the issues there.")
@click.option("--report-failures", is_flag=True, help="Report workloads that fail, too.")
@click.option("--all-efi", is_flag=True, help="Take every *.efi, *.iso and *.img.")
@click.option("--attempts", type=click.IntRange(1, 100), help="Tries of each workload.")
@click.option("--timeout", type=Length(), help="From boot to report, like 2h.")
@click.option("--priority", type=int, default=0, help="Lower runs first; 0 where not said.")
@click.option("--dry-run", is_flag=True, help="Say what would be queued, and stop.")
@click.option("--no-wait", is_flag=True, help="Do not wait for the bytes.")
@pass_session
def load(
    session: Session,
    words: tuple[str, ...],
    owner: str | None,
    repo: str | None,
    tag: str | None,
    directory: Path | None,
    pool: str | None,
    on: str | None,
    no_file: bool,
    report_to: str | None,
    report_failures: bool,
    all_efi: bool,
    attempts: int | None,
    timeout: float | None,
    priority: int,
    dry_run: bool,
    no_wait: bool,
) -> None:
    """Queue a release's bootable assets, or a directory's; FILTERs are parts of their names."""
    named = _RELEASE.fullmatch(words[0]) if words and not (owner or directory) else None
    if named:
        owner, repo, tag = named.groups()
        words = words[1:]
    if directory is None and not (owner and repo and tag):
        raise Misused("name a release: --owner, --repo and --tag, or OWNER/REPO@TAG, or --dir PATH")
    if directory is not None and (owner or repo or tag):
        raise Misused("name a release or --dir, not both")
    request = wire.LoadRequest(
        owner=owner,
        repo=repo,
        tag=tag,
        directory=str(directory.absolute()) if directory else None,
        filters=list(words),
        pools=[one.strip() for one in pool.split(",") if one.strip()] if pool else [],
        on=on,
        file=not no_file,
        report_to=report_to,
        report_failures=report_failures,
        all_efi=all_efi,
        attempts=attempts,
        report_timeout=timeout,
        priority=priority,
    )
    plan = msgspec.structs.replace(request, plan=True)
    planned = session.client.send("POST", "/v1/releases", plan, wire.LoadAnswer)
    if dry_run:
        session.show(planned, lambda: f"{_preview(planned)}\n{_result(planned)}".rstrip())
        return
    if not session.as_json:
        click.echo(_preview(planned))
    answer = session.client.send("POST", "/v1/releases", request, wire.LoadAnswer)
    session.show(answer, lambda: _result(answer))
    if not no_wait and not session.as_json:
        follow(session, {one.id for one in answer.workloads if one.id is not None})


def _preview(plan: wire.LoadAnswer) -> str:
    total = sum({one.name: one.size for one in plan.workloads}.values())
    lines = [
        f"{plan.release}: {wire.counted(len(plan.workloads), 'workload')}, {render.size(total)}"
    ]
    if plan.report_to is None:
        lines.append("reports stay here (dispatchctl reports)")
    else:
        who = f", filed by @{plan.login}" if plan.login else ""
        lines.append(f"reports become issues in {plan.report_to}{who}")
    lines += [f"note: {note}" for note in plan.notes]
    lines += [f"warning: {warning}" for warning in plan.warnings]
    return "\n".join(lines)


def _result(answer: wire.LoadAnswer) -> str:
    rows = [
        (
            one.change,
            str(one.id or "-"),
            render.label(one.name, one.pool),
            render.size(one.size),
            one.reason or "",
        )
        for one in answer.workloads
    ]
    return render.table(rows, ("Change", "Id", "Workload", "Size", "")) if rows else ""


@dispatchctl.command()
@click.argument("release")
@pass_session
def unload(session: Session, release: str) -> None:
    """Take a release off the queue; what runs goes on, and is not tried again."""
    loaded = session.client.get("/v1/releases", wire.Releases).releases
    found = [one for one in loaded if release in (str(one.id), one.name)]
    found = found or [one for one in loaded if release in one.name]
    if len(found) != 1:
        names = ", ".join(one.name for one in found or loaded) or "none is loaded"
        raise Failure(f"cannot tell which release {release!r} is: {names}")
    answer = session.client.send("DELETE", f"/v1/releases/{found[0].id}", None, wire.Releases)
    session.show(answer, lambda: f"{found[0].name}: unloaded")


@dispatchctl.command()
@pass_session
def releases(session: Session) -> None:
    """The loaded releases."""
    session.tell("/v1/releases", wire.Releases, _releases)


def _releases(answer: wire.Releases) -> str:
    if not answer.releases:
        return "Nothing is loaded."
    rows = [
        (
            str(one.id),
            one.name,
            one.report_to or "kept here",
            render.clock(one.loaded_at),
            " ".join(f"{wire.SIGNS[state]} {n}" for state, n in one.counts.items() if n),
            one.drift or "",
        )
        for one in answer.releases
    ]
    return render.table(rows, ("Id", "Release", "Reports to", "Loaded", "Workloads", "Drift"))

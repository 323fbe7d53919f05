"""Which workloads are meant: an id, a name, name@pool, part of a name, or a glob."""

import sys
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase

import click

from dispatchctl import render
from dispatchctl.cli import Session
from dispatchctl.client import Failure, Misused
from dispatchd import wire


def select(
    session: Session,
    words: Sequence[str],
    *,
    release: str | None = None,
    everything: bool = False,
    states: Collection[wire.State] | None = None,
    only_one: bool = False,
    yes: bool = False,
) -> list[wire.StatusWorkload]:
    """The workloads that are meant. ``states``: those that the command can do something with.

    More than one match for a word is listed, and asked about on a terminal.
    """
    if not words and not release and not everything:
        raise Misused("name a WORKLOAD, --release or --all", hint="dispatchctl status lists them")
    shown = session.client.get("/v1/status", wire.Status).workloads
    if release:
        shown = [one for one in shown if release in one.release]
    chosen: dict[int, wire.StatusWorkload] = {}
    doubtful = bool(release or everything) and not words
    for word in words or ["*"]:
        found = match(shown, word)
        if not found:
            raise Failure(f"cannot find a workload {word!r}", hint="dispatchctl status lists them")
        doubtful = doubtful or len(found) > 1
        chosen.update({one.id: one for one in found})
    eligible = [one for one in chosen.values() if states is None or one.state in states]
    if doubtful or len(chosen) > 1:
        if only_one:
            raise Misused(f"{words[0]!r} means more than one:\n{_list(list(chosen.values()))}")
        if not eligible:
            raise Failure(f"none of these {len(chosen)} workloads can be: they are elsewhere")
        _confirm(eligible, yes)
        return eligible
    return list(chosen.values())


def match(shown: Sequence[wire.StatusWorkload], word: str) -> list[wire.StatusWorkload]:
    """What a word means: an exact id or name before anything else."""
    if word.isdecimal():
        found = [one for one in shown if one.id == int(word)]
        if found:
            return found
    labels = {one.id: render.label(one.name, one.pool) for one in shown}
    for exact in (labels, {one.id: one.name for one in shown}):
        found = [one for one in shown if exact[one.id] == word]
        if found:
            return found
    if any(char in word for char in "*?["):
        return [
            one for one in shown if fnmatchcase(one.name, word) or fnmatchcase(labels[one.id], word)
        ]
    return [one for one in shown if word in labels[one.id]]


def _confirm(chosen: list[wire.StatusWorkload], yes: bool) -> None:
    if yes:
        return
    listing = _list(chosen)
    if not sys.stdin.isatty():
        raise Misused(f"that means {len(chosen)} workloads:\n{listing}", hint="--yes for all")
    click.echo(listing)
    click.confirm(f"all {len(chosen)}?", abort=True)


def _list(chosen: list[wire.StatusWorkload]) -> str:
    return "\n".join(
        f"  {one.id:>4}  {render.label(one.name, one.pool)}  {render.state(one.state)}"
        for one in chosen
    )

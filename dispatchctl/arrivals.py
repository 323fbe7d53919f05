"""Bytes on their way into the cache, as `load` shows them until all are here."""

import sys
import threading
from collections.abc import Iterable
from typing import Self

import click

from dispatchctl import render
from dispatchctl.cli import Session
from dispatchctl.client import Failure
from dispatchd import wire

#: Seconds between two looks, and between two lines where there is no terminal to draw on.
LOOK, LINE = 0.5, 10.0


def follow(session: Session, ids: set[int]) -> None:
    """Say of each workload when its bytes are whole. Ctrl-C leaves the daemon at it."""
    waiting, gone = set(ids), 0
    pause = threading.Event()
    page: _Live | _Plain = _Live() if sys.stdout.isatty() else _Plain()
    try:
        with page:
            while waiting:
                shown = session.client.get("/v1/status", wire.Status).workloads
                left = [one for one in shown if one.id in waiting]
                gone += sum(one.bytes == "gone" for one in left)
                arriving = [one for one in left if _arrives(one)]
                for one in left:
                    if one not in arriving:
                        page.say(_end_of(one))
                waiting = {one.id for one in arriving}
                page.update(arriving)
                if waiting:
                    pause.wait(LOOK)
    except KeyboardInterrupt:
        click.echo(f"dispatchd goes on fetching {len(waiting)} (dispatchctl status)")
        return
    if gone:
        raise Failure(f"{gone} of {len(ids)} workloads cannot be run: their bytes are gone")


def _arrives(workload: wire.StatusWorkload) -> bool:
    return workload.bytes == "arriving" and workload.state == "unassigned"


def _end_of(workload: wire.StatusWorkload) -> str:
    said = "all bytes are here" if workload.bytes == "whole" else workload.reason or workload.state
    return f"{render.label(workload.name, workload.pool)}: {said}"


def _assets(arriving: Iterable[wire.StatusWorkload]) -> list[wire.StatusWorkload]:
    """One workload for each asset: those for other pools wait for the same bytes."""
    return list({(one.release, one.name, one.size): one for one in arriving}.values())


def _sum(assets: list[wire.StatusWorkload]) -> str:
    arrived, size = sum(one.arrived for one in assets), sum(one.size for one in assets)
    here = render.progress(arrived, size, sum(one.rate for one in assets))
    return f"in all: {render.size(size - arrived)} to come, {here}"


class _Plain:
    """A line now and then, and whenever something does not go on."""

    def __init__(self) -> None:
        self._looks = 0
        self._said: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """Nothing is left on the screen."""

    def say(self, line: str) -> None:
        click.echo(line)

    def update(self, arriving: list[wire.StatusWorkload]) -> None:
        for one in arriving:
            line = f"{render.label(one.name, one.pool)}: {one.trouble}"
            if one.trouble and line not in self._said:
                self._said.add(line)
                self.say(line)
        self._looks += 1
        if arriving and self._looks % (LINE // LOOK) == 0:
            self.say(_sum(_assets(arriving)))


class _Live:
    """The lines of what arrives, drawn anew in their place."""

    def __init__(self) -> None:
        from rich.live import Live

        self._live = Live(auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.stop()

    def say(self, line: str) -> None:
        self._live.console.print(line, markup=False, highlight=False, emoji=False)

    def update(self, arriving: list[wire.StatusWorkload]) -> None:
        from rich.text import Text

        assets = _assets(arriving)
        lines = [
            f"{one.name}: {render.progress(one.arrived, one.size, one.rate)}"
            + (f", {one.trouble}" if one.trouble else "")
            for one in assets
            if one.arrived or one.trouble
        ]
        lines += [_sum(assets)] if len(assets) > 1 else []
        self._live.update(Text("\n".join(lines)), refresh=True)

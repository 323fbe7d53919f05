"""Reports against a GitHub on a bad day, with the outbox killed in between, for many seeds.

DISPATCHD_ROUNDS is how many: a few in every run of the tests, hundreds when it is asked for.
"""

import os
import random
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from dispatchd.domain.model import Delivery
from dispatchd.services.github import GitHub, Issue, IssueDraft
from tests.github_standin.chaos import Chaos
from tests.services.github_world import SECRET, running_lab
from tests.services.outbox_bench import Bench

ROUNDS = int(os.environ.get("DISPATCHD_ROUNDS", "4"))
REPORTS = 24
#: Shorter than all looks together, and longer than the first two.
LAG = timedelta(seconds=25)


class Killed(BaseException):
    """kill -9: nothing of the outbox runs any more."""


class MortalTracker:
    """The client, of a daemon that may be killed before and after each POST."""

    def __init__(self, github: GitHub, chance: random.Random) -> None:
        self._github = github
        self._chance = chance
        self.mortal = True
        self.kills = 0

    def find_issue(
        self, owner: str, repo: str, *, marker: str, since: datetime | None
    ) -> Issue | None:
        return self._github.find_issue(owner, repo, marker=marker, since=since)

    def milestone(self, owner: str, repo: str, title: str) -> int | None:
        return self._github.milestone(owner, repo, title)

    def comments(self, owner: str, repo: str, number: int) -> list[str]:
        return self._github.comments(owner, repo, number)

    def create_issue(self, owner: str, repo: str, draft: IssueDraft) -> Issue:
        with self._mortally():
            return self._github.create_issue(owner, repo, draft)

    def create_comment(self, owner: str, repo: str, number: int, body: str) -> int:
        with self._mortally():
            return self._github.create_comment(owner, repo, number, body)

    @contextmanager
    def _mortally(self) -> Iterator[None]:
        self._maybe_die()
        yield
        self._maybe_die()

    def _maybe_die(self) -> None:
        if self.mortal and self._chance.random() < 0.1:
            self.kills += 1
            raise Killed


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_bad_day_loses_no_report_and_files_none_twice(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    bench = Bench(tmp_path)
    with running_lab(now=bench.clock.now) as world:
        chaos = Chaos(seed, bench.clock.now)
        world.standin.faults = chaos
        world.standin.api.lag = LAG * chance.random()
        world.repository.milestone("c3.0.0-0")
        world.repository.assignable.add("alice")
        with world.client(timeout=(5.0, 0.3)) as github:
            tracker = MortalTracker(github, chance)
            bench.connect(world, tracker)
            _rage(bench, chance)
            chaos.raging, tracker.mortal = False, False
            world.standin.accounts[SECRET].push = True
            # GitHub may have refused for good what we did not send: a person sends it again.
            for entry in bench.entries():
                if entry.state is Delivery.REFUSED:
                    bench.queue.operator.deliver_again(entry.report_id, by="alice")
            bench.outbox.release_held()
            bench.deliver(patience=3 * 3600)
            _check(bench)
            assert chaos.happened


def _rage(bench: Bench, chance: random.Random) -> None:
    """Reports come while everything goes wrong."""
    for number in range(REPORTS):
        long = chance.random() < 0.15
        bench.report(
            f"report {number}",
            body="a line of a log\n" * (12_000 if long else 3),
            labels=("certificate",),
            assignees=("alice",) if chance.random() < 0.5 else (),
            milestone="c3.0.0-0" if chance.random() < 0.5 else "",
        )
        for _ in range(chance.randint(1, 6)):
            _step(bench, chance)
    for _ in range(200):
        _step(bench, chance)


def _step(bench: Bench, chance: random.Random) -> None:
    try:
        busy = bench.outbox.step()
    except Killed:
        bench.restart()
        return
    if not busy:
        bench.clock.advance(chance.choice([1, 5, 20, 60]))
    if chance.random() < 0.03:
        bench.restart()
    if chance.random() < 0.03:
        account = bench.world.standin.accounts[SECRET]
        account.push = not account.push


def _check(bench: Bench) -> None:
    """Every report is one issue, with each of its comments once and in order."""
    assert Counter(entry.state for entry in bench.entries()) == {Delivery.FILED: REPORTS}
    filed = [
        (re.findall(r"dispatchd:report=(\S+) -->", issue.body or "")[0], issue)
        for issue in bench.world.repository.issues
    ]
    assert Counter(report for report, _ in filed) == Counter(
        {entry.report_id: 1 for entry in bench.entries()}
    )
    by_report = {entry.report_id: entry for entry in bench.entries()}
    for report, issue in filed:
        entry = by_report[report]
        numbers = [int(re.findall(r"comment=(\d+)", one.body)[0]) for one in issue.comments]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) >= entry.comments
        assert entry.url.endswith(f"/{issue.number}")
        if "certificate" not in issue.labels:
            assert "labels" in entry.warning

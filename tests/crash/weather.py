"""GitHub on a bad day."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.crash.ledger import Ledger
from tests.github_standin import GitHubStandIn, faults
from tests.github_standin.world import Asset

OWNER, REPO, TAG = "lab", "images", "devel"
RELEASE, ISSUES = f"{OWNER}/{REPO}@{TAG}", f"/repos/{OWNER}/{REPO}/issues"
ASSETS, SMALL, LARGE = 6, 1 << 16, 3 << 20


@dataclass(kw_only=True)
class Weather:
    """GitHub, where one of ``deeds`` happens every now and then.

    ``digests``: those of every asset that there ever was.
    """

    github: GitHubStandIn
    digests: set[str]
    ledger: Ledger
    stopping: threading.Event
    chance: random.Random
    deeds: Sequence[Callable[["Weather"], None]]

    def live(self) -> None:
        while not self.stopping.wait(self.chance.uniform(0.2, 1.2)):
            self.chance.choice(self.deeds)(self)

    def turn_bad(self) -> None:
        """Something goes wrong, never more than a little at a time."""
        if self.github.faults.left > 2:
            return
        anything, comments = "*", f"{ISSUES}/*/comments"
        soon = int(time.time()) + 1
        method, path, fault = self.chance.choice(
            [
                ("POST", ISSUES, faults.commit_then_reset()),
                ("POST", ISSUES, faults.commit_then(502)),
                ("POST", ISSUES, faults.reset()),
                ("POST", ISSUES, faults.html(503)),
                ("POST", ISSUES, faults.secondary_limit(retry_after="1")),
                ("POST", ISSUES, faults.primary_limit(soon)),
                ("POST", ISSUES, faults.invalid("labels")),
                ("POST", ISSUES, faults.invalid("milestone")),
                ("POST", ISSUES, faults.bad_token()),
                ("POST", ISSUES, faults.truncated(40)),
                ("POST", comments, faults.commit_then_reset()),
                ("POST", comments, faults.reset()),
                ("GET", anything, faults.html(500)),
                ("GET", anything, faults.reset()),
                ("GET", anything, faults.truncated(100)),
            ]
        )
        self._have(method, path, fault)

    def clear_up(self) -> None:
        """Nothing goes wrong any more."""
        self.github.faults.clear()

    def refuse_labels(self) -> None:
        self.clear_up()
        self._have("POST", ISSUES, faults.invalid("labels"))

    def refuse_token(self) -> None:
        self.clear_up()
        self._have("POST", ISSUES, faults.bad_token())

    def refuse_reports(self) -> None:
        self.clear_up()
        no = [{"code": "custom", "message": "no"}]
        self._have("POST", ISSUES, faults.says(422, "Validation Failed", errors=no))

    def make_release(self) -> None:
        """Delete the release and make it again, with other bytes in one asset, as CI does."""
        before = {one.name: bytes(one.content) for one in self._assets()}
        release = self.github.repositories[f"{OWNER}/{REPO}"].release(TAG)
        changed = self.chance.randrange(ASSETS)
        for number in range(ASSETS):
            name = f"{number}.efi"
            size = LARGE if number == 0 else SMALL
            fresh = number == changed or name not in before
            data = self.chance.randbytes(size) if fresh else before[name]
            self.digests.add(release.asset(name, data).content.sha256)

    def _have(self, method: str, path: str, fault: faults.Fault) -> None:
        self.github.faults.next(method, path, fault)
        self.ledger.count("faults")

    def _assets(self) -> list[Asset]:
        releases = self.github.repositories[f"{OWNER}/{REPO}"].releases
        return [asset for release in releases for asset in release.assets]

"""A GitHub on a bad day: faults by chance, the same ones for the same seed."""

import random
import threading
from collections.abc import Callable
from datetime import datetime

from tests.github_standin import faults
from tests.github_standin.faults import Fault, Faults


class Chaos(Faults):
    """Takes the place of the script. ``share`` of all requests go wrong while ``raging``."""

    def __init__(self, seed: int, now: Callable[[], datetime], *, share: float = 0.4) -> None:
        super().__init__()
        self._random = random.Random(seed)
        self._now = now
        self._share = share
        self._streak: list[Fault] = []
        self._never = threading.Event()
        self.raging = True
        self.happened: dict[str, int] = {}

    def take(self, method: str, path: str) -> Fault | None:
        if not self.raging:
            return None
        if self._streak:
            return self._streak.pop()
        if self._random.random() > self._share:
            return None
        kinds = {**self._anywhere(), **(self._writing() if method == "POST" else {})}
        name = self._random.choice(sorted(kinds))
        self.happened[name] = self.happened.get(name, 0) + 1
        return kinds[name]()

    def _anywhere(self) -> dict[str, Callable[[], Fault]]:
        soon = int(self._now().timestamp()) + self._random.randint(1, 900)
        return {
            "reset": faults.reset,
            "502": lambda: faults.html(502),
            "503, later": lambda: faults.says(503, "busy", {"Retry-After": "7"}),
            "429": lambda: faults.says(429, "too many requests", {"Retry-After": "30"}),
            "primary limit": lambda: faults.primary_limit(soon, now=self._now()),
            "secondary limit": lambda: faults.secondary_limit(),
            "secondary limit until a date": lambda: faults.secondary_limit(
                retry_after=faults.http_date(self._now())
            ),
            "401 for a while": lambda: self._for_a_while(faults.bad_token()),
            "403": faults.not_permitted,
            "404 for a while": lambda: self._for_a_while(faults.not_found()),
        }

    def _writing(self) -> dict[str, Callable[[], Fault]]:
        return {
            "done, then reset": faults.commit_then_reset,
            "done, then 500": lambda: faults.commit_then(500),
            "done, then 502": lambda: faults.commit_then(502),
            "done, then 504": lambda: faults.commit_then(504),
            "done, then 408": lambda: faults.commit_then(408),
            "done, then silence": lambda: Fault(commit=True, hold=self._never),
            "done, the answer cut": lambda: faults.truncated(self._random.randint(0, 200)),
            "done, the answer a page": lambda: Fault(
                status=201, commit=True, headers={"Content-Type": "text/html"}, body=b"<html>"
            ),
            "done, the answer empty": lambda: Fault(status=201, commit=True),
            "410": faults.issues_disabled,
            "422 labels": lambda: faults.invalid("labels"),
            "422 assignees": lambda: faults.invalid("assignees", "nobody"),
            "422 milestone": lambda: faults.invalid("milestone", 1),
            "422 title": lambda: faults.invalid("title"),
            "422 body": lambda: faults.too_long("body", 1),
            "422, too quick": lambda: faults.says(422, "It was submitted too quickly"),
        }

    def _for_a_while(self, fault: Fault) -> Fault:
        self._streak = [fault] * self._random.randint(1, 4)
        return fault

"""What the daemon acknowledged and what it must never do, noted by everybody who speaks to it."""

import threading
from collections import Counter
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Ledger:
    """Titles of reports by the answer they got, and what was seen to be wrong.

    ``unknown``: the connection ended without an answer, so the report may be there or not.
    """

    acknowledged: set[str] = field(default_factory=set)
    unclaimed: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def report(self, title: str, status: int | None) -> None:
        """A report was answered with ``status``; None: nobody knows."""
        with self._lock:
            self.counts["PUT"] += 1
            if status == 200:
                self.acknowledged.add(title)
            elif status == 417:
                self.counts["PUT that was nobody's"] += 1
                self.unclaimed.add(title)
            else:
                self.unknown.add(title)

    def count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1

    def blame(self, sentence: str) -> None:
        """Something happened that must not."""
        with self._lock:
            self.wrong.append(sentence)

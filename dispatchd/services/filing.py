"""One report's way to GitHub, step by step: its issue, then the comments that its text needs.

GitHub has no idempotency key. So the intention to post is on disk before every POST, and whatever
is ambiguous afterwards is resolved by looking for the marker before posting again.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from dispatchd.crashpoints import reach
from dispatchd.domain.event import Kind
from dispatchd.domain.issue import Written, compose_footer, dropped_fields, marker, write
from dispatchd.domain.model import Delivery, OutboxEntry, Report
from dispatchd.errors import Gone, Refused, Unauthorized, Unavailable
from dispatchd.services.clock import Clock
from dispatchd.services.github import Issue, IssueDraft, Token
from dispatchd.services.parcel import Parcel
from dispatchd.store.store import Store, Transaction

log = logging.getLogger(__name__)

#: What was made appears in listings some time after its POST: looks, and the time between the first
#: two, doubled at each. Lists have lagged by more than a minute; a report that waits loses nothing.
LOOKS, BETWEEN_LOOKS = 5, timedelta(seconds=10)
#: How far back a look goes before the first POST that may have succeeded: clocks differ.
SKEW = timedelta(days=1)


class Tracker(Protocol):
    """GitHub, as far as filing goes."""

    def find_issue(
        self, owner: str, repo: str, *, marker: str, since: datetime | None
    ) -> Issue | None: ...
    def create_issue(self, owner: str, repo: str, draft: IssueDraft) -> Issue: ...
    def milestone(self, owner: str, repo: str, title: str) -> int | None: ...
    def comments(self, owner: str, repo: str, number: int) -> list[str]: ...
    def create_comment(self, owner: str, repo: str, number: int, body: str) -> int: ...


class Filing:
    """Takes one report one step further: at most one request that writes.

    ``footer``: whether issues say where they come from.
    """

    def __init__(
        self,
        store: Store,
        tracker: Tracker,
        token: Callable[[], Token | None],
        clock: Clock,
        *,
        footer: Callable[[], bool],
    ) -> None:
        self._store = store
        self._tracker = tracker
        self._token = token
        self._clock = clock
        self._footer = footer

    def advance(self, parcel: Parcel) -> bool:
        """Look for what an earlier POST may have made, or post; whether GitHub has it now.

        Raises what the tracker raises; a Refused is then about what was posted, and nothing else.
        """
        token = self._token()
        if token is None:
            raise Unauthorized("there is no token", hint="dispatchctl login")
        parcel = parcel.without(token.value)
        return self._go_on(parcel) if parcel.entry.issue else self._file(parcel)

    # --- the issue --------------------------------------------------------------------------------

    def _file(self, parcel: Parcel) -> bool:
        if parcel.entry.posting_at is not None:
            issue = self._find(parcel)
            if issue is not None:
                self._filed(parcel, issue)
                return True
            if self._looks_again_later(parcel):
                return False
        draft, missing = self._draft(parcel)
        self._intend(parcel, warning=missing)
        reach("outbox-before-post")
        issue = self._tracker.create_issue(*parcel.repository, draft)
        reach("outbox-after-post")
        self._filed(parcel, issue)
        return True

    def _find(self, parcel: Parcel) -> Issue | None:
        entry = parcel.entry
        since = None
        # The last look before another POST trusts no clock, neither ours nor GitHub's.
        if entry.posting_at is not None and entry.looks + 1 < LOOKS:
            since = entry.posting_at - SKEW
        with _reading():
            return self._tracker.find_issue(
                *parcel.repository, marker=marker(entry.report_id), since=since
            )

    def _draft(self, parcel: Parcel) -> tuple[IssueDraft, str]:
        """The issue as it is asked for, and what it has to do without for want of a milestone."""
        report, without = parcel.report, dropped_fields(parcel.entry.dropped)
        milestone, missing = None, ""
        if report.milestone and "milestone" not in without:
            with _reading():
                milestone = self._tracker.milestone(*parcel.repository, report.milestone)
            if milestone is None:
                missing = f"milestone: {parcel.entry.report_to} has none named {report.milestone!r}"
        written = self._written(parcel, missing)
        draft = IssueDraft(
            title=written.title,
            body=written.body,
            labels=() if "labels" in without else report.labels,
            assignees=() if "assignees" in without else report.assignees,
            milestone=milestone,
        )
        return draft, missing

    def _written(self, parcel: Parcel, missing: str = "") -> Written:
        token = self._token()
        return write(
            parcel.report.id,
            parcel.report.title,
            parcel.report.body,
            footer=compose_footer(parcel.known) if self._footer() else "",
            dropped=(*parcel.entry.dropped, missing) if missing else parcel.entry.dropped,
            room=parcel.entry.room,
            token=token.value if token else None,
        )

    def _filed(self, parcel: Parcel, issue: Issue) -> None:
        """The issue is there. What it lacks is compared with what was asked for."""
        comments = self._written(parcel).comments
        with self._store.writing() as tx:
            entry = tx.outbox.get(parcel.report.id)
            said = [*entry.dropped, *filter(None, [entry.warning])]
            known = dropped_fields(tuple(said))
            lost = _lost(parcel.report, issue)
            said += [line for line in lost if dropped_fields((line,)).isdisjoint(known)]
            entry = tx.outbox.swap(
                entry,
                issue=issue.number,
                url=issue.url,
                warning="; ".join(said),
                next_at=self._clock.now(),
                **_SETTLED,
            )
            if not comments:
                self.finish(tx, parcel, entry)
        if said:
            log.warning("%s: %s", issue.url, "; ".join(said))

    # --- the comments -----------------------------------------------------------------------------

    def _go_on(self, parcel: Parcel) -> bool:
        entry, comments = parcel.entry, self._written(parcel).comments
        number = entry.comments + 1
        if number > len(comments):
            self._commented(parcel, entry.comments, last=True)
            return True
        if not self._is_there(parcel, number):
            if entry.posting_at is not None and self._looks_again_later(parcel):
                return False
            self._intend(parcel, warning=entry.warning)
            body = comments[number - 1]
            reach("outbox-before-comment")
            self._tracker.create_comment(*parcel.repository, entry.issue, body)
            reach("outbox-after-comment")
        self._commented(parcel, number, last=number == len(comments))
        return True

    def _is_there(self, parcel: Parcel, number: int) -> bool:
        wanted = marker(parcel.report.id, number)
        with _reading():
            bodies = self._tracker.comments(*parcel.repository, parcel.entry.issue)
        return any(wanted in body for body in bodies)

    def _commented(self, parcel: Parcel, number: int, *, last: bool) -> None:
        with self._store.writing() as tx:
            entry = tx.outbox.swap(
                tx.outbox.get(parcel.report.id),
                comments=number,
                next_at=self._clock.now(),
                **_SETTLED,
            )
            if last:
                self.finish(tx, parcel, entry)

    # --- both -------------------------------------------------------------------------------------

    def _looks_again_later(self, parcel: Parcel) -> bool:
        """After a look in vain: whether there is to be another before a second POST."""
        entry = parcel.entry
        if entry.looks + 1 >= LOOKS:
            return False
        with self._store.writing() as tx:
            tx.outbox.swap(
                tx.outbox.get(entry.report_id),
                looks=entry.looks + 1,
                limited=False,
                next_at=self._clock.now() + BETWEEN_LOOKS * 2**entry.looks,
            )
        return True

    def _intend(self, parcel: Parcel, *, warning: str) -> None:
        """Put on disk that we are about to post."""
        posting_at = parcel.entry.posting_at or self._clock.now()
        with self._store.writing() as tx:
            entry = tx.outbox.get(parcel.report.id)
            tx.outbox.swap(entry, posting_at=posting_at, looks=0, warning=warning)

    def finish(self, tx: Transaction, parcel: Parcel, entry: OutboxEntry) -> None:
        """Nothing is left to do for the report."""
        tx.outbox.swap(entry, state=Delivery.FILED)
        tx.tell(
            Kind.REPORT_FILED,
            f"{parcel.known.workload}: report filed as {entry.url}: {parcel.report.title}",
            at=self._clock.now(),
            **parcel.subjects,
        )


#: A delivery that goes well, whatever went wrong before.
_SETTLED: Final[dict[str, Any]] = {
    "posting_at": None,
    "looks": 0,
    "tries": 0,
    "limited": False,
    "failing_since": None,
    "error": "",
}


@contextmanager
def _reading() -> Iterator[None]:
    """A refusal to be read is GitHub's trouble, or a proxy's: it says nothing about the report."""
    try:
        yield
    except (Unauthorized, Gone):
        raise
    except Refused as error:
        raise Unavailable(str(error), hint=error.hint) from error


def _lost(report: Report, issue: Issue) -> list[str]:
    """What was asked for and is not on the issue: GitHub drops it silently without push rights."""
    milestone = (report.milestone,) if report.milestone else ()
    lines = []
    for field, asked, got in (
        ("labels", report.labels, issue.labels),
        ("assignees", report.assignees, issue.assignees),
        ("milestone", milestone, (issue.milestone or "",)),
    ):
        there = {_folded(one) for one in got}
        missing = [one for one in asked if _folded(one) not in there]
        if missing and field not in issue.unsaid:
            lines.append(f"{field}: GitHub dropped {', '.join(missing)} (push rights needed)")
    return lines


def _folded(name: str) -> str:
    """A name as GitHub compares it."""
    return name.strip().casefold()

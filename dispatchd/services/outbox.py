"""Delivers reports as GitHub issues: exactly one each, whatever GitHub answers or fails to answer.

GitHub has no idempotency key. So the intention to post is on disk before the POST, and whatever is
ambiguous afterwards is resolved by looking for the report's marker before posting again.
"""

import logging
import random
import threading
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from dispatchd.crashpoints import reach
from dispatchd.domain.event import Kind
from dispatchd.domain.issue import Provenance, compose_body, compose_footer, compose_title, marker
from dispatchd.domain.model import Attempt, Delivery, OutboxEntry, Report
from dispatchd.errors import DispatchError, Gone, Refused, Stale, Unauthorized, Unavailable
from dispatchd.services.clock import Clock
from dispatchd.services.github import Issue, IssueDraft, Token
from dispatchd.store.store import Store

log = logging.getLogger(__name__)

#: Longest sleep between two looks for reports, in seconds.
LOOK = 30.0
#: Seconds before the second try, doubled at each, and the most.
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 900.0
#: An issue appears in listings some time after its POST: looks, and seconds between them.
LOOKS, BETWEEN_LOOKS = 3, 15.0
#: Held reports are tried again by themselves after this.
HELD = timedelta(minutes=10)
#: How far back a look goes before the POST that may have succeeded: clocks differ.
SKEW = timedelta(minutes=10)
#: A report that made us fail in a way nobody foresaw is left alone this long.
POISON = timedelta(hours=1)
FIELDS = ("labels", "assignees", "milestone")


class Tracker(Protocol):
    """GitHub, as far as filing goes."""

    def find_issue(
        self, owner: str, repo: str, *, marker: str, since: datetime
    ) -> Issue | None: ...
    def create_issue(self, owner: str, repo: str, draft: IssueDraft) -> Issue: ...
    def milestone(self, owner: str, repo: str, title: str) -> int | None: ...


class Tokens(Protocol):
    """Whence the token comes."""

    def current(self) -> Token | None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class _Parcel:
    """A report with what its issue says of it. ``dropped``: fields that GitHub did not take."""

    entry: OutboxEntry
    report: Report
    known: Provenance
    workload_id: int
    dropped: tuple[str, ...] = ()


class Outbox:
    """One writer: GitHub asks that its content is made by one at a time, and not too quickly.

    ``spacing``: seconds between two issues. ``footer``: whether issues say where they come from.
    """

    def __init__(
        self,
        store: Store,
        tracker: Tracker,
        tokens: Tokens,
        clock: Clock,
        *,
        spacing: float,
        footer: bool,
    ) -> None:
        self._store = store
        self._tracker = tracker
        self._tokens = tokens
        self._clock = clock
        self._spacing = spacing
        self._footer = footer
        self._wake = threading.Event()
        self._looks: dict[str, int] = {}

    def wake(self) -> None:
        """There may be something to deliver, or a new token to do it with."""
        self._wake.set()

    def release_held(self) -> int:
        """Try everything held again, now; returns how many."""
        with self._store.writing() as tx:
            count = tx.outbox.release_held(self._clock.now())
        self._wake.set()
        return count

    def run(self, stopping: threading.Event) -> None:
        """Deliver until stopped."""
        held_at = self._clock.now()
        while not stopping.is_set():
            try:
                if self._clock.now() - held_at >= HELD:
                    held_at = self._clock.now()
                    self.release_held()
                if self.step():
                    stopping.wait(self._spacing)
                    continue
            except DispatchError as error:
                log.warning("cannot look for reports to deliver: %s", error)
            self._wake.wait(self._until_next())
            self._wake.clear()

    def step(self) -> bool:
        """Deliver the report that is due first; whether there was one."""
        with self._store.reading() as tx:
            due = tx.outbox.due(self._clock.now(), 1)
        if not due:
            return False
        entry = due[0]
        try:
            self._deliver(self._pack(entry))
        except Stale:
            log.debug("report %s was changed meanwhile", entry.report_id)
        except Exception:
            log.exception("cannot deliver report %s, next try in an hour", entry.report_id)
            self._postpone(entry, POISON, "an error that dispatchd did not expect")
        return True

    def _deliver(self, parcel: _Parcel) -> None:
        entry = parcel.entry
        try:
            self._make_sure_of_token()
            issue = self._look(parcel) if entry.posting_at else self._post(parcel)
        except Unavailable as error:
            self._put_off(parcel, error)
        except (Unauthorized, Gone) as error:
            self._hold(parcel, error)
        except Refused as error:
            self._mend(parcel, error)
        else:
            if issue is not None:
                self._filed(parcel, issue)

    def _make_sure_of_token(self) -> None:
        if self._tokens.current() is None:
            raise Unauthorized("there is no token", hint="dispatchctl login")

    def _look(self, parcel: _Parcel) -> Issue | None:
        """An earlier POST may have succeeded: look for its issue, more than once, then post."""
        entry = parcel.entry
        owner, _, repo = entry.report_to.partition("/")
        since = (entry.posting_at or self._clock.now()) - SKEW
        found = self._tracker.find_issue(owner, repo, marker=marker(entry.report_id), since=since)
        if found is not None:
            return found
        looks = self._looks.get(entry.report_id, 0) + 1
        self._looks[entry.report_id] = looks
        if looks < LOOKS:
            self._postpone(entry, timedelta(seconds=BETWEEN_LOOKS), entry.error)
            return None
        self._looks.pop(entry.report_id, None)
        return self._post(parcel)

    def _post(self, parcel: _Parcel) -> Issue:
        """File the report. That we are about to is on disk first."""
        owner, _, repo = parcel.entry.report_to.partition("/")
        draft, dropped = self._draft(parcel, owner, repo)
        with self._store.writing() as tx:
            tx.outbox.swap(parcel.entry, posting_at=self._clock.now(), warning="; ".join(dropped))
        reach("outbox-before-post")
        issue = self._tracker.create_issue(owner, repo, draft)
        reach("outbox-after-post")
        return issue

    def _draft(self, parcel: _Parcel, owner: str, repo: str) -> tuple[IssueDraft, tuple[str, ...]]:
        report = parcel.report
        dropped = list(parcel.dropped)
        without = {line.partition(":")[0] for line in dropped}
        milestone = None
        if report.milestone and "milestone" not in without:
            milestone = self._tracker.milestone(owner, repo, report.milestone)
            if milestone is None:
                dropped.append(f"milestone: {owner}/{repo} has none named {report.milestone!r}")
        current = self._tokens.current()
        token = current.value if current else None
        draft = IssueDraft(
            title=compose_title(report.title, token),
            body=compose_body(
                report.id,
                report.body,
                footer=compose_footer(parcel.known) if self._footer else "",
                dropped=tuple(dropped),
                token=token,
            ),
            labels=() if "labels" in without else report.labels,
            assignees=() if "assignees" in without else report.assignees,
            milestone=milestone,
        )
        return draft, tuple(dropped)

    def _filed(self, parcel: _Parcel, issue: Issue) -> None:
        report = parcel.report
        lost = _lost(report, issue)
        with self._store.writing() as tx:
            entry = tx.outbox.get(report.id)
            said = [entry.warning] if entry.warning else []
            said += [line for line in lost if line.partition(":")[0] not in entry.warning]
            tx.outbox.swap(
                entry, state=Delivery.FILED, url=issue.url, error="", warning="; ".join(said)
            )
            attempt = tx.attempts.get(report.attempt_id)
            text = f"{parcel.known.workload}: report filed as {issue.url}: {report.title}"
            tx.tell(
                Kind.REPORT_FILED,
                text,
                at=self._clock.now(),
                workload=tx.workloads.get(parcel.workload_id),
                machine=tx.machines.get(attempt.machine_id),
                attempt=attempt,
                report=report,
            )
        self._looks.pop(report.id, None)
        if said:
            log.warning("%s: %s", issue.url, "; ".join(said))

    def _put_off(self, parcel: _Parcel, error: Unavailable) -> None:
        """Try again later; what certainly did not arrive needs no look first."""
        now = self._clock.now()
        pause = min(FIRST_PAUSE * 2**parcel.entry.tries, LONGEST_PAUSE)
        pause *= random.uniform(1.0, 1.25)  # noqa: S311 - spreads load, guards nothing
        at = max(now + timedelta(seconds=pause), error.retry_at or now)
        with self._store.writing() as tx:
            entry = tx.outbox.get(parcel.entry.report_id)
            posting_at = entry.posting_at
            if not error.ambiguous and parcel.entry.posting_at is None:
                posting_at = None
            tx.outbox.swap(
                entry,
                tries=entry.tries + 1,
                next_at=at,
                posting_at=posting_at,
                error=str(error),
            )
        log.warning("report %s waits: %s", parcel.report.id, error)

    def _hold(self, parcel: _Parcel, error: Refused) -> None:
        """It does not leave until a person acts, or the remedy is found by itself."""
        said = f"{error} ({error.hint})" if error.hint else str(error)
        with self._store.writing() as tx:
            entry = tx.outbox.get(parcel.entry.report_id)
            posting_at = parcel.entry.posting_at
            tx.outbox.swap(entry, state=Delivery.HELD, posting_at=posting_at, error=said)
        log.error("report %s is held here: %s", parcel.report.id, said)

    def _mend(self, parcel: _Parcel, error: Refused) -> None:
        """Leave out the field that GitHub objects to, and say so in the issue; never the result."""
        if error.field in FIELDS and not any(
            line.startswith(f"{error.field}:") for line in parcel.dropped
        ):
            line = f"{error.field}: left out, {error}"
            with self._store.writing() as tx:
                entry = tx.outbox.swap(
                    tx.outbox.get(parcel.report.id), posting_at=None, warning=line
                )
            reach("outbox-before-mended-post")
            self._deliver(replace(parcel, entry=entry, dropped=(*parcel.dropped, line)))
            return
        with self._store.writing() as tx:
            entry = tx.outbox.get(parcel.report.id)
            tx.outbox.swap(entry, state=Delivery.REFUSED, posting_at=None, error=str(error))
        log.error("report %s is refused and stays here: %s", parcel.report.id, error)

    def _postpone(self, entry: OutboxEntry, pause: timedelta, error: str) -> None:
        with self._store.writing() as tx:
            current = tx.outbox.get(entry.report_id)
            tx.outbox.swap(current, next_at=self._clock.now() + pause, error=error)

    def _pack(self, entry: OutboxEntry) -> _Parcel:
        with self._store.reading() as tx:
            report = tx.reports.get(entry.report_id)
            attempt: Attempt = tx.attempts.get(report.attempt_id)
            workload = tx.workloads.get(attempt.workload_id)
            known = Provenance(
                workload=workload.label,
                release=tx.releases.get(workload.release_id).name,
                sha256=tx.assets.get(workload.asset_id).sha256,
                machine=tx.machines.get(attempt.machine_id).name,
                attempt=attempt.number,
                assigned_at=attempt.assigned_at,
                booted_at=attempt.booted_at,
                received_at=report.received_at,
                late=report.late,
            )
        return _Parcel(entry=entry, report=report, known=known, workload_id=workload.id)

    def _until_next(self) -> float:
        with self._store.reading() as tx:
            due = tx.outbox.next_due()
        if due is None:
            return LOOK
        return min(max((due - self._clock.now()).total_seconds(), 0.05), LOOK)


def _lost(report: Report, issue: Issue) -> list[str]:
    """What was asked for and is not on the issue: GitHub drops it silently without push rights."""
    lines = []
    missing = sorted(set(report.labels) - set(issue.labels))
    if missing:
        lines.append(f"labels: GitHub dropped {', '.join(missing)} (push rights needed)")
    wanted = {name.lower() for name in report.assignees}
    if wanted - {name.lower() for name in issue.assignees}:
        lines.append("assignees: GitHub dropped some (push rights needed)")
    if report.milestone and issue.milestone != report.milestone:
        lines.append(f"milestone: the issue does not have {report.milestone!r}")
    return lines

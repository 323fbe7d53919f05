"""The outbox against the stand-in GitHub: one issue per report, whatever goes wrong on the way."""

import re
import threading
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from dispatchd.domain.issue import marker
from dispatchd.domain.issue_cut import MOST_PIECES
from dispatchd.domain.model import Delivery
from dispatchd.services.filing import LOOKS
from dispatchd.services.github import Token
from dispatchd.services.outbox import COMMENT_TRIES
from tests.github_standin.faults import (
    Fault,
    commit_then,
    commit_then_reset,
    invalid,
    primary_limit,
    reset,
    says,
    secondary_limit,
)
from tests.services.github_world import SECRET, running_lab
from tests.services.outbox_bench import Bench

ISSUES = "/repos/AMDEPYC/sev-certify/issues"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    with running_lab(now=bench.clock.now) as world:
        bench.connect(world)
        yield bench
    bench.queue.store.close()


def test_a_report_becomes_one_issue_with_all_that_it_said(bench: Bench) -> None:
    bench.world.repository.milestone("c3.0.0-0")
    bench.world.repository.assignable.add("alice")
    bench.report(
        body="it **works**",
        labels=("certificate", "proc-7003"),
        assignees=("alice",),
        milestone="c3.0.0-0",
    )
    bench.deliver(patience=60)
    (issue,) = bench.world.repository.issues
    assert issue.title == "ubuntu 25.10"
    assert issue.labels == ["certificate", "proc-7003"]
    assert issue.assignees == ["alice"]
    assert issue.milestone is not None
    assert issue.milestone.title == "c3.0.0-0"
    body = issue.body or ""
    assert body.startswith(marker(bench.entry.report_id))
    assert "it **works**" in body
    assert "10.0.0.7" not in body
    assert bench.entry.state is Delivery.FILED
    assert bench.entry.url.endswith(f"/{issue.number}")
    assert bench.entry.warning == ""


def test_an_issue_says_of_which_bytes_it_is_where_they_ran_and_when(bench: Bench) -> None:
    bench.machine.boot()
    bench.clock.advance(480)
    bench.report()
    bench.deliver(patience=60)
    (issue,) = bench.world.repository.issues
    with bench.queue.store.reading() as tx:
        (asset,) = tx.assets.of_release(1)
    footer = (issue.body or "").rpartition("---")[2]
    for said in (
        f"`host-a.efi` of `lab/images@v1` · sha256:{asset.sha256} · on epyc-07, attempt 1",
        "assigned 2026-11-23 07:00:00 UTC, booted 2026-11-23 07:00:00 UTC",
        "reported 2026-11-23 07:08:00 UTC",
    ):
        assert said in footer


@pytest.mark.parametrize(
    "fault",
    [
        Fault(commit=True, reset=True),
        Fault(status=502, commit=True),
        Fault(status=502),
        Fault(reset=True),
        says(429, "too many requests"),
        says(403, "You have exceeded a secondary rate limit", {"Retry-After": "60"}),
        says(503, "unavailable"),
    ],
    ids=["reset-after", "502-after", "502", "reset", "429", "secondary", "503"],
)
def test_whatever_becomes_of_the_post_there_is_one_issue_in_the_end(
    bench: Bench, fault: Fault
) -> None:
    bench.world.standin.faults.next("POST", ISSUES, fault)
    bench.report()
    bench.deliver(patience=1800)
    assert bench.issues == ["ubuntu 25.10"]
    assert bench.entry.state is Delivery.FILED


def test_a_crash_between_the_post_and_its_answer_files_nothing_twice(bench: Bench) -> None:
    bench.report()
    with bench.queue.store.writing() as tx:
        tx.outbox.swap(bench.entry, posting_at=bench.clock.now())
    bench.restart()
    for _ in range(LOOKS - 1):
        assert bench.outbox.step()
        assert bench.issues == []
        bench.clock.advance(100)
        bench.restart()
    bench.deliver(patience=120)
    assert bench.issues == ["ubuntu 25.10"]


def test_an_issue_that_was_made_before_the_crash_is_found(bench: Bench) -> None:
    bench.report()
    bench.deliver(patience=30)
    filed = bench.entry
    with bench.queue.store.writing() as tx:
        at = bench.clock.now()
        tx.outbox.swap(filed, state=Delivery.PENDING, url="", issue=0, posting_at=at)
    bench.restart()
    bench.deliver(patience=60)
    assert bench.issues == ["ubuntu 25.10"]
    assert bench.entry.url == filed.url


def test_without_a_token_reports_are_held_until_there_is_one(bench: Bench) -> None:
    bench.world.token = None
    bench.report()
    bench.deliver(patience=60)
    assert bench.entry.state is Delivery.HELD
    assert "dispatchctl login" in bench.entry.error
    assert any("held" in line for line in bench.queue.overview.status().attention)
    bench.world.token = Token(value=SECRET, source="login")
    bench.deliver(patience=60)
    assert bench.issues == ["ubuntu 25.10"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (says(401, "Bad credentials"), "login"),
        (says(403, "Resource not accessible by personal access token"), "Issues"),
        (says(410, "Issues are disabled for this repo"), "issues"),
        (says(404, "Not Found"), "AMDEPYC/sev-certify"),
    ],
    ids=["401", "403", "410", "404"],
)
def test_what_a_person_must_mend_is_held_with_the_remedy(
    bench: Bench, fault: Fault, said: str
) -> None:
    bench.world.standin.faults.next("POST", ISSUES, fault)
    bench.report()
    bench.deliver(patience=60)
    assert bench.entry.state is Delivery.HELD
    assert said in bench.entry.error
    bench.deliver(patience=60)
    assert bench.issues == ["ubuntu 25.10"]


def test_an_unknown_assignee_and_milestone_are_left_out_and_the_issue_says_so(
    bench: Bench,
) -> None:
    bench.report(assignees=("nobody",), milestone="c9.9", labels=("certificate",))
    bench.deliver(patience=60)
    (issue,) = bench.world.repository.issues
    assert issue.labels == ["certificate"]
    assert "> milestone:" in (issue.body or "")
    assert "> assignees:" in (issue.body or "")
    assert bench.entry.state is Delivery.FILED
    assert "assignees" in bench.entry.warning


def test_what_github_drops_silently_becomes_a_warning(bench: Bench) -> None:
    bench.world.standin.token(SECRET, push=False)
    bench.world.repository.milestone("c3.0")
    bench.report(labels=("certificate",), milestone="c3.0")
    bench.deliver(patience=60)
    assert bench.entry.state is Delivery.FILED
    assert "certificate" in bench.entry.warning
    assert "milestone" in bench.entry.warning


def test_a_report_that_is_refused_stays_here_and_blocks_nobody(bench: Bench) -> None:
    refused = says(422, "Validation Failed", errors=[{"code": "custom", "message": "no"}])
    bench.world.standin.faults.next("POST", ISSUES, refused)
    bench.report("one")
    bench.report("two")
    bench.deliver(patience=60)
    assert sorted(entry.state for entry in bench.entries()) == [
        Delivery.FILED,
        Delivery.REFUSED,
    ]
    assert len(bench.issues) == 1


def long_text() -> str:
    """Three comments' worth of a log in a fence, and the verdict after it."""
    lines = "".join(f"{number:06} é a line of the log\n" for number in range(9000))
    return f"verdict first\n```\n{lines}```\nverdict last\n"


def put_together(bench: Bench) -> str:
    """What the issue and its comments say, without what was added at the cuts."""
    (issue,) = bench.world.repository.issues
    head, said, tail = re.split(r"\n\n\*\[… (.*) …\]\*\n\n", issue.body or "")
    assert f"are in {len(issue.comments)} comments below" in said
    pieces = [re.split(r":\*\n\n", one.body, maxsplit=1)[1] for one in issue.comments]
    return "".join(re.sub(r"\A```\n|```\Z", "", one) for one in [head, *pieces, tail])


def test_a_log_too_long_keeps_its_head_and_tail_and_the_rest_follows_in_comments(
    bench: Bench,
) -> None:
    bench.report(body=long_text())
    bench.deliver(patience=120)
    (issue,) = bench.world.repository.issues
    assert bench.entry.state is Delivery.FILED
    assert len(issue.comments) == 3
    for body in [issue.body or "", *(one.body for one in issue.comments)]:
        assert len(body) <= 65_536
        assert body.count("```") % 2 == 0
    assert "verdict first" in (issue.body or "")
    assert "verdict last" in (issue.body or "")
    assert [line for line in put_together(bench).splitlines() if " é " in line] == [
        line for line in long_text().splitlines() if " é " in line
    ]


@pytest.mark.parametrize("lost", [1, 2, 3])
@pytest.mark.parametrize(
    "fault", [commit_then_reset(), commit_then(502), reset()], ids=["reset-after", "502", "reset"]
)
def test_a_series_of_comments_goes_on_where_it_stopped(
    bench: Bench, fault: Fault, lost: int
) -> None:
    bench.report(body=long_text())
    while bench.entry.comments < lost - 1 or not bench.entry.issue:
        bench.outbox.step()
    bench.world.standin.faults.next("POST", f"{ISSUES}/1/comments", fault)
    bench.outbox.step()
    bench.restart()
    bench.deliver(patience=300)
    (issue,) = bench.world.repository.issues
    numbers = [re.findall(r"comment=(\d+)", one.body)[0] for one in issue.comments]
    assert numbers == ["1", "2", "3"]
    assert bench.entry.state is Delivery.FILED


def test_an_issue_that_takes_no_comments_is_filed_with_a_warning(bench: Bench) -> None:
    locked = says(403, "Unable to create comment because issue is locked.")
    bench.world.standin.faults.next("POST", f"{ISSUES}/1/comments", locked, times=COMMENT_TRIES + 1)
    bench.report(body=long_text())
    bench.deliver(patience=900)
    assert bench.entry.state is Delivery.FILED
    assert "comments: 0 are there" in bench.entry.warning
    assert "locked" in bench.entry.warning


def test_more_than_ten_comments_are_not_made_and_the_issue_says_where_the_rest_is(
    bench: Bench,
) -> None:
    bench.report(body="x" * 1_000_000)
    bench.deliver(patience=300)
    (issue,) = bench.world.repository.issues
    assert len(issue.comments) == MOST_PIECES
    assert f"dispatchctl reports show {bench.entry.report_id} has all" in (issue.body or "")


def test_a_body_that_github_finds_too_long_is_cut_smaller(bench: Bench) -> None:
    bench.world.standin.api.longest_body = 20_000
    bench.report(body=long_text())
    bench.deliver(patience=300)
    (issue,) = bench.world.repository.issues
    assert len(issue.body or "") <= 20_000
    assert all(len(one.body) <= 20_000 for one in issue.comments)
    assert bench.entry.state is Delivery.FILED


def test_a_body_that_github_never_takes_is_left_out_and_the_issue_says_so(bench: Bench) -> None:
    bench.world.standin.api.longest_body = 1000
    bench.report(body="a line\n" * 1000)
    bench.deliver(patience=300)
    (issue,) = bench.world.repository.issues
    assert "> body: left out" in (issue.body or "")
    assert bench.entry.state is Delivery.FILED


def test_a_title_that_github_does_not_take_moves_into_the_body(bench: Bench) -> None:
    bench.world.standin.faults.next("POST", ISSUES, invalid("title"))
    bench.report("a bad title")
    bench.deliver(patience=60)
    (issue,) = bench.world.repository.issues
    assert issue.title == f"report {bench.entry.report_id}"
    assert "a bad title" in (issue.body or "")


def test_a_token_never_reaches_an_issue(bench: Bench) -> None:
    bench.report(title=f"leak {SECRET}", body=f"export TOKEN={SECRET}\x00")
    bench.deliver(patience=60)
    (issue,) = bench.world.repository.issues
    assert SECRET not in issue.title + (issue.body or "")
    assert "\x00" not in (issue.body or "")


# --- who waits for whom ---------------------------------------------------------------------------


def posts(bench: Bench, repository: str = "AMDEPYC/sev-certify") -> int:
    """How often an issue was asked for."""
    return len(bench.world.standin.received("POST", f"/repos/{repository}/issues"))


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [
        (says(429, "slow down", {"Retry-After": "100"}), 100),
        (secondary_limit(), 60),
        (says(403, "API rate limit exceeded"), 60),
        (says(403, "You have been temporarily blocked from content creation."), 60),
        (says(422, "Validation Failed: it was submitted too quickly"), 60),
    ],
    ids=["429", "secondary", "primary-in-words", "content", "too-quickly"],
)
def test_a_limit_holds_the_whole_writer_restarts_or_not(
    bench: Bench, limit: Fault, seconds: float
) -> None:
    bench.world.standin.faults.next("POST", ISSUES, limit)
    for title in ("one", "two", "three"):
        bench.report(title)
    asked = 1
    while bench.clock.monotonic() < seconds:
        bench.outbox.step()
        assert len(bench.world.standin.requests) == asked
        bench.clock.advance(5)
        bench.restart()
    bench.deliver(patience=60)
    assert sorted(bench.issues) == ["one", "three", "two"]


def test_a_primary_limit_is_waited_for_until_its_reset(bench: Bench) -> None:
    now = bench.clock.now()
    limit = primary_limit(int(now.timestamp()) + 1800, now=now)
    bench.world.standin.faults.next("POST", ISSUES, limit)
    bench.report()
    bench.deliver(patience=1790)
    assert bench.issues == []
    bench.deliver(patience=60)
    assert bench.issues == ["ubuntu 25.10"]


def test_a_limit_that_is_repeated_is_waited_for_longer_each_time(bench: Bench) -> None:
    bench.world.standin.faults.next("POST", ISSUES, secondary_limit(), times=3)
    bench.report()
    bench.deliver(patience=60 + 120 + 230)
    assert bench.issues == []
    bench.deliver(patience=60)
    assert bench.issues == ["ubuntu 25.10"]
    assert posts(bench) == 4


def test_a_token_that_is_refused_is_tried_with_one_report_and_then_now_and_then(
    bench: Bench,
) -> None:
    bench.world.standin.accounts.clear()
    for title in ("one", "two", "three"):
        bench.report(title)
    bench.deliver(patience=50)
    assert posts(bench) == 1
    assert {entry.state for entry in bench.entries()} == {Delivery.HELD}
    bench.deliver(patience=3600)
    assert posts(bench) < 15
    bench.world.standin.token(SECRET)
    bench.deliver(patience=700)
    assert sorted(bench.issues) == ["one", "three", "two"]


def test_another_token_lets_everything_go_at_once(bench: Bench) -> None:
    bench.world.standin.accounts.clear()
    for title in ("one", "two"):
        bench.report(title)
    bench.deliver(patience=50)
    bench.world.standin.token("ghp_another")
    bench.world.token = Token(value="ghp_another", source="systemd credential")
    bench.deliver(patience=20)
    assert sorted(bench.issues) == ["one", "two"]


def test_a_repository_that_is_gone_holds_up_no_other(bench: Bench) -> None:
    other = bench.world.standin.repository("lab/other")
    bench.report("to nowhere")
    bench.report("to nowhere, too")
    with bench.queue.store.writing() as tx:
        for _, entry in tx.reports.latest(10):
            tx.outbox.swap(entry, report_to="lab/nowhere")
        tx.releases.update(1, report_to="lab/other")
    bench.report("to the other")
    bench.deliver(patience=60)
    assert [issue.title for issue in other.issues] == ["to the other"]
    assert posts(bench, "lab/nowhere") == 1
    assert sorted(entry.state for entry in bench.entries()) == ["filed", "held", "held"]
    nowhere = bench.world.standin.repository("lab/nowhere")
    bench.deliver(patience=700)
    assert len(nowhere.issues) == 2


def test_a_report_that_alone_is_not_permitted_holds_up_no_other(bench: Bench) -> None:
    spam = says(403, "Content is not allowed here")
    bench.world.standin.faults.next("POST", ISSUES, spam)
    for title in ("one", "two", "three"):
        bench.report(title)
    bench.deliver(patience=50)
    assert len(bench.issues) == 2
    bench.deliver(patience=700)
    assert len(bench.issues) == 3


def test_a_report_that_breaks_us_holds_up_no_other(bench: Bench) -> None:
    bench.report("poison")
    with bench.queue.store.writing() as tx:
        tx.outbox.swap(bench.entry, report_to="not a repository")
    bench.report("two")
    bench.deliver(patience=60)
    assert bench.issues == ["two"]


def test_no_token_reaches_an_issue_whatever_part_of_the_report_it_stands_in(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    foreign = "github_pat_" + "Z9" * 30
    bench.world.repository.assignable.add("alice")
    bench.report(
        f"title {SECRET}",
        body=f"body {foreign}",
        labels=("proc-9", SECRET, f"x {foreign}"),
        assignees=("alice", SECRET),
        milestone=f"c3 {SECRET}",
    )
    bench.deliver(patience=60)
    (issue,) = bench.world.repository.issues
    assert "proc-9" in issue.labels
    told = f"{issue} {bench.entry} {caplog.text}"
    for token in (SECRET, foreign):
        assert token not in told
        assert not any(token in str(one.body) for one in bench.world.standin.requests)


# --- looking before posting again -----------------------------------------------------------------


@pytest.mark.parametrize("lag", [5, 25, 60, 120])
def test_an_issue_that_appears_late_in_listings_is_waited_for(bench: Bench, lag: int) -> None:
    bench.world.standin.api.lag = timedelta(seconds=lag)
    bench.world.standin.faults.next("POST", ISSUES, commit_then_reset())
    bench.report()
    bench.deliver(patience=300)
    assert bench.issues == ["ubuntu 25.10"]


def test_what_the_first_post_made_is_found_after_a_second_one_failed_too(bench: Bench) -> None:
    faults = bench.world.standin.faults
    faults.next("POST", ISSUES, commit_then(502))
    bench.report()
    bench.outbox.step()
    hidden = bench.world.repository.issues.pop()
    faults.next("POST", ISSUES, says(503, "busy"))
    while posts(bench) < 2:
        bench.clock.advance(10)
        bench.outbox.step()
    bench.world.repository.issues.append(hidden)
    bench.deliver(patience=300)
    assert bench.issues == ["ubuntu 25.10"]
    assert posts(bench) == 2


@pytest.mark.parametrize("hours", [-14, 14, 24 * 400])
def test_a_clock_that_is_wrong_makes_no_second_issue(bench: Bench, hours: int) -> None:
    bench.world.standin.faults.next("POST", ISSUES, commit_then_reset())
    bench.report()
    bench.clock.jump(hours * 3600)
    bench.outbox.step()
    bench.clock.jump(-hours * 3600)
    bench.deliver(patience=300)
    assert bench.issues == ["ubuntu 25.10"]
    assert posts(bench) == 1


def test_a_clock_that_was_right_when_it_was_set_back_keeps_no_report_waiting(bench: Bench) -> None:
    bench.world.standin.faults.next("POST", ISSUES, says(503, "busy"), times=2)
    bench.report()
    bench.outbox.step()
    bench.clock.jump(-3600)
    bench.deliver(patience=900)
    assert bench.issues == ["ubuntu 25.10"]


def test_people_who_ask_again_and_again_do_not_shorten_the_looks(bench: Bench) -> None:
    bench.world.standin.api.lag = timedelta(seconds=60)
    bench.world.standin.faults.next("POST", ISSUES, commit_then_reset())
    bench.report()
    bench.outbox.step()
    for _ in range(10):
        bench.queue.operator.deliver_again(bench.entry.report_id, by="alice")
        bench.outbox.release_held()
        bench.outbox.step()
    bench.deliver(patience=300)
    assert bench.issues == ["ubuntu 25.10"]


def test_a_listing_that_is_refused_says_nothing_about_the_report(bench: Bench) -> None:
    faults = bench.world.standin.faults
    faults.next("POST", ISSUES, commit_then_reset())
    faults.next("GET", ISSUES, says(422, "Validation Failed"))
    bench.report()
    bench.deliver(patience=300)
    assert bench.entry.state is Delivery.FILED
    assert bench.issues == ["ubuntu 25.10"]


def test_a_repository_that_was_renamed_under_way_gets_one_issue(bench: Bench) -> None:
    bench.world.standin.faults.next("POST", ISSUES, commit_then_reset())
    bench.report(body=long_text())
    bench.outbox.step()
    bench.world.standin.rename("AMDEPYC/sev-certify", "AMDEPYC/certify")
    bench.deliver(patience=300)
    assert bench.issues == ["ubuntu 25.10"]
    assert bench.entry.state is Delivery.FILED
    assert len(bench.world.repository.issues[0].comments) == 3


# --- what GitHub keeps ----------------------------------------------------------------------------


def test_names_are_compared_as_github_does(bench: Bench) -> None:
    bench.world.repository.issue("another", labels=("Certificate",))
    bench.world.repository.assignable.add("alice")
    bench.report(labels=("certificate",), assignees=("alice",))
    bench.deliver(patience=60)
    assert bench.world.repository.issues[-1].labels == ["Certificate"]
    assert bench.entry.warning == ""


def test_a_label_that_may_not_be_made_is_left_out_and_the_issue_says_so(bench: Bench) -> None:
    unauthorized = {"resource": "Repository", "field": "label", "code": "unauthorized"}
    words = "You do not have permission to create labels on this repository."
    bench.world.standin.faults.next("POST", ISSUES, says(403, words, errors=[unauthorized]))
    bench.report(labels=("new",))
    bench.deliver(patience=60)
    (issue,) = bench.world.repository.issues
    assert "> labels: left out" in (issue.body or "")
    assert "labels" in bench.entry.warning


def test_a_milestone_that_is_made_in_time_is_found(bench: Bench) -> None:
    bench.report("one", milestone="c3.1")
    bench.deliver(patience=60)
    bench.world.repository.milestone("c3.1")
    bench.report("two", milestone="c3.1")
    bench.deliver(patience=60)
    assert [issue.milestone is not None for issue in bench.world.repository.issues] == [False, True]


def test_no_text_of_ours_or_of_githubs_carries_the_token(bench: Bench) -> None:
    bench.world.standin.faults.next("POST", ISSUES, invalid("assignees", SECRET))
    bench.report(
        title=SECRET, body=f"{SECRET}\n{long_text()}", assignees=(SECRET,), milestone=SECRET
    )
    bench.deliver(patience=120)
    sent = [one.body for one in bench.world.standin.requests if one.method == "POST"]
    assert len(sent) == 5
    assert not [body for body in sent[1:] if SECRET.encode() in body]


class Patience(threading.Event):
    """Ends the writer when it has nothing left, and notes how long it waited after each POST."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self._bench = bench
        self.waits: list[tuple[int, float]] = []

    def wait(self, timeout: float | None = None) -> bool:
        posted = [one for one in self._bench.world.standin.requests if one.method == "POST"]
        self.waits.append((len(posted), timeout or 0))
        if all(entry.state is Delivery.FILED for entry in self._bench.entries()):
            self.set()
        return self.is_set()


def test_everything_that_is_written_is_spaced_comments_too(bench: Bench) -> None:
    bench.report("one", body=long_text())
    bench.report("two")
    bench.restart(spacing=3)
    patience = Patience(bench)
    bench.outbox.run(patience)
    assert {timeout for _, timeout in patience.waits} == {3}
    posted = [count for count, _ in patience.waits]
    assert posted[-1] == 5
    assert all(after - before <= 1 for before, after in pairwise([0, *posted]))

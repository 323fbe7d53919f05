"""The GitHub client against a stand-in that holds both to GitHub's own description."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from dispatchd.errors import BadRequest, Gone, Refused, Unauthorized, Unavailable
from dispatchd.services.github import IssueDraft, Token
from tests.github_standin import faults
from tests.services.github_world import NOW, REPO, SECRET, Lab, running_lab

DRAFT = IssueDraft(title="ubuntu 25.10", body="<!-- dispatchd:report=1 -->\nfine")
MARKER = "<!-- dispatchd:report=1 -->"


@pytest.fixture
def lab() -> Iterator[Lab]:
    with running_lab() as running:
        yield running


# --- releases -------------------------------------------------------------------------------------


def test_a_prerelease_is_found_by_its_tag_with_everything_about_its_assets(lab: Lab) -> None:
    release = lab.repository.release("devel", prerelease=True, published_at=NOW)
    asset = release.asset("host.efi", b"bytes")
    found = lab.github.release_by_tag(*REPO, "devel")
    assert (found.tag, found.prerelease, found.immutable) == ("devel", True, False)
    assert found.published_at == NOW
    (one,) = found.assets
    assert (one.id, one.name, one.size, one.state) == (asset.id, "host.efi", 5, "uploaded")
    assert one.sha256 == asset.content.sha256
    assert one.content_type == "application/vnd.dispatch+efi"
    assert one.updated_at == NOW


def test_every_request_says_who_asks_which_version_and_with_what_right(lab: Lab) -> None:
    lab.repository.release("devel")
    lab.github.release_by_tag(*REPO, "devel")
    (request,) = lab.standin.requests
    assert request.headers["user-agent"] == "dispatchd/1.0.0"
    assert request.headers["accept"] == "application/vnd.github+json"
    assert request.headers["x-github-api-version"] == "2022-11-28"
    assert request.headers["authorization"] == f"Bearer {SECRET}"


def test_a_slash_in_a_tag_stays_inside_its_segment(lab: Lab) -> None:
    lab.repository.release("v1/rc 1?")
    assert lab.github.release_by_tag(*REPO, "v1/rc 1?").tag == "v1/rc 1?"
    assert lab.standin.requests[0].path.endswith("/releases/tags/v1%2Frc%201%3F")


@pytest.mark.parametrize("name", ["", ".", "..", "\ud800"])
def test_what_can_be_no_name_is_not_asked_for(lab: Lab, name: str) -> None:
    with pytest.raises(BadRequest):
        lab.github.release_by_tag("AMDEPYC", name, "devel")
    assert lab.standin.requests == []


def test_the_latest_release_is_never_a_prerelease(lab: Lab) -> None:
    lab.repository.release("v1", published_at=NOW - timedelta(days=2))
    lab.repository.release("v2", published_at=NOW - timedelta(days=1))
    lab.repository.release("devel", prerelease=True, published_at=NOW)
    assert lab.github.latest_release(*REPO).tag == "v2"


def test_a_release_that_is_not_there_is_gone_and_named(lab: Lab) -> None:
    lab.repository.release("draft", draft=True)
    for tag in ("devel", "draft"):
        with pytest.raises(Gone, match=f"release {tag} of AMDEPYC/sev-certify.*404") as caught:
            lab.github.release_by_tag(*REPO, tag)
        assert "private and this token may not see it" in caught.value.hint


def test_a_private_repository_without_a_token_is_gone_and_the_hint_is_login(lab: Lab) -> None:
    lab.repository.private = True
    lab.token = None
    with pytest.raises(Gone) as caught:
        lab.github.repository(*REPO)
    assert "dispatchctl login" in caught.value.hint


@pytest.mark.parametrize("count", [30, 100, 130])
def test_a_list_of_assets_that_was_cut_is_completed(lab: Lab, count: int) -> None:
    release = lab.repository.release("devel")
    for number in range(count):
        release.asset(f"host-{number}.efi", b"x")
    lab.standin.embedded_assets = 30
    found = lab.github.release_by_tag(*REPO, "devel")
    assert [one.name for one in found.assets] == [one.name for one in release.assets]


def test_a_digest_of_another_kind_counts_as_none(lab: Lab) -> None:
    release = lab.repository.release("devel")
    release.asset("old.efi", b"x", digest=None)
    release.asset("new.efi", b"x", digest="sha512:" + "0" * 128)
    release.asset("half.efi", b"x", state="open")
    found = lab.github.release_by_tag(*REPO, "devel")
    assert [one.sha256 for one in found.assets[:2]] == [None, None]
    assert found.assets[2].state == "open"


def test_a_renamed_repository_is_followed(lab: Lab) -> None:
    lab.repository.release("devel")
    lab.standin.rename("AMDEPYC/sev-certify", "AMDEPYC/certify")
    assert lab.github.release_by_tag(*REPO, "devel").tag == "devel"
    assert lab.github.repository(*REPO).full_name == "AMDEPYC/certify"


# --- who and where --------------------------------------------------------------------------------


def test_a_repository_says_whether_we_may_push(lab: Lab) -> None:
    assert lab.github.repository(*REPO).push is True
    lab.standin.accounts[SECRET].push = False
    lab.repository.has_issues = False
    found = lab.github.repository(*REPO)
    assert (found.push, found.has_issues, found.private) == (False, False, False)
    lab.token = None
    assert lab.github.repository(*REPO).push is None


def test_the_login_is_the_tokens_account_and_none_without(lab: Lab) -> None:
    assert lab.github.login() == "lab-bot"
    lab.token = None
    assert lab.github.login() is None
    assert len(lab.standin.requests) == 1


def test_an_apps_token_has_no_account(lab: Lab) -> None:
    lab.token = Token(value="ghs_" + "a1B2" * 9, source="login")
    lab.standin.token(lab.token.value)
    assert lab.github.login() is None
    del lab.standin.accounts[lab.token.value]
    with pytest.raises(Unauthorized, match="401"):
        lab.github.login()


def test_a_wrong_token_is_unauthorized_and_says_where_it_came_from(lab: Lab) -> None:
    lab.token = Token(value="ghp_wrong", source="GITHUB_TOKEN")
    with pytest.raises(Unauthorized, match="token from GITHUB_TOKEN") as caught:
        lab.github.login()
    assert caught.value.hint == "change the GITHUB_TOKEN and restart dispatchd"
    assert "ghp_wrong" not in str(caught.value)


def test_a_token_with_a_line_break_is_never_sent(lab: Lab) -> None:
    lab.token = Token(value="ghp_a\r\nX-Evil: 1", source="GITHUB_TOKEN")
    with pytest.raises(Unauthorized, match="foreign character"):
        lab.github.login()
    assert lab.standin.requests == []


# --- issues ---------------------------------------------------------------------------------------


def test_an_issue_is_made_by_one_post_with_everything_in_it(lab: Lab) -> None:
    milestone = lab.repository.milestone("c3.0.0-0")
    draft = IssueDraft(
        title="ubuntu 25.10 SEV version 3.0.0-0",
        body="line\n\u2713 \U0001f600",
        labels=("certificate", "os-arch-", "proc-9005"),
        assignees=("lab-bot",),
        milestone=milestone.number,
    )
    issue = lab.github.create_issue(*REPO, draft)
    assert (issue.number, issue.title, issue.body) == (1, draft.title, draft.body)
    assert (issue.labels, issue.assignees) == (draft.labels, draft.assignees)
    assert issue.milestone == "c3.0.0-0"
    assert issue.url.endswith("/AMDEPYC/sev-certify/issues/1")
    assert [one.method for one in lab.standin.requests] == ["POST"]


def test_what_is_not_asked_for_is_not_sent(lab: Lab) -> None:
    lab.github.create_issue(*REPO, DRAFT)
    assert lab.standin.requests[0].json == {"title": DRAFT.title, "body": DRAFT.body}


def test_without_push_right_the_answer_shows_what_was_dropped(lab: Lab) -> None:
    lab.standin.accounts[SECRET].push = False
    lab.repository.milestone("c1")
    draft = IssueDraft(title="t", body="b", labels=("x",), assignees=("lab-bot",), milestone=1)
    issue = lab.github.create_issue(*REPO, draft)
    assert (issue.labels, issue.assignees, issue.milestone) == ((), (), None)


def test_a_post_to_a_renamed_repository_stays_a_post(lab: Lab) -> None:
    lab.standin.rename("AMDEPYC/sev-certify", "AMDEPYC/certify")
    assert lab.github.create_issue(*REPO, DRAFT).number == 1
    assert [one.method for one in lab.standin.requests] == ["POST", "POST"]
    assert len(lab.repository.issues) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_post_is_not_followed_to_another_origin(lab: Lab, status: int) -> None:
    elsewhere = {"Location": f"{lab.standin.store_url}/elsewhere"}
    fault = faults.says(status, "Moved", elsewhere)
    lab.standin.faults.next("POST", "*/issues", fault)
    with pytest.raises(Unavailable) as caught:
        lab.github.create_issue(*REPO, DRAFT)
    assert not caught.value.ambiguous
    assert [one.port for one in lab.standin.requests] == ["api"]


def test_an_issue_is_found_by_its_marker_among_many_and_never_by_search(lab: Lab) -> None:
    mine = lab.repository.issue("t", f"{MARKER}\nfine", created_at=NOW)
    for number in range(250):
        lab.repository.issue(f"{number}", "other", created_at=NOW + timedelta(seconds=number))
    found = lab.github.find_issue(*REPO, marker=MARKER, since=NOW - timedelta(minutes=10))
    assert found is not None
    assert found.number == mine.number
    assert {one.path for one in lab.standin.requests} == {"/repos/AMDEPYC/sev-certify/issues"}
    assert len(lab.standin.requests) == 3


def test_looking_for_an_issue_ends_at_what_is_older(lab: Lab) -> None:
    old = lab.repository.issue("t", MARKER, created_at=NOW - timedelta(days=9))
    for number in range(150):
        one = lab.repository.issue("o", "o", created_at=NOW - timedelta(days=8, seconds=number))
        one.updated_at = NOW
    old.updated_at = NOW
    assert lab.github.find_issue(*REPO, marker=MARKER, since=NOW - timedelta(hours=1)) is None
    assert len(lab.standin.requests) == 1


def test_a_pull_request_and_a_closed_issue_are_told_apart(lab: Lab) -> None:
    closed = lab.repository.issue("t", MARKER, created_at=NOW)
    closed.state = "closed"
    lab.repository.issue("t", MARKER, created_at=NOW, pull_request=True)
    found = lab.github.find_issue(*REPO, marker=MARKER, since=NOW)
    assert found is not None
    assert found.number == closed.number


def test_an_open_milestone_of_exactly_that_title_is_preferred(lab: Lab) -> None:
    for number in range(120):
        lab.repository.milestone(f"c{number}")
    lab.repository.milestone("c3.0", state="closed")
    assert lab.github.milestone(*REPO, "c3.0") == 121
    lab.repository.milestone("c3.0")
    assert lab.github.milestone(*REPO, "c3.0") == 122
    assert lab.github.milestone(*REPO, "C3.0") is None


def test_comments_are_added_and_listed_in_order(lab: Lab) -> None:
    issue = lab.repository.issue("t")
    bodies = [f"part {number}" for number in range(101)]
    ids = [lab.github.create_comment(*REPO, issue.number, body) for body in bodies]
    assert ids == sorted(set(ids))
    assert lab.github.comments(*REPO, issue.number) == bodies
    with pytest.raises(Gone, match=r"sev-certify#99"):
        lab.github.create_comment(*REPO, 99, "x")


@pytest.mark.parametrize(
    ("draft", "field"),
    [
        (IssueDraft(title="t" * 257, body=""), "title"),
        (IssueDraft(title="t", body="b" * 65537), "body"),
        (IssueDraft(title="t", body="", assignees=("nobody",)), "assignees"),
        (IssueDraft(title="t", body="", milestone=9), "milestone"),
    ],
)
def test_a_refused_field_is_named(lab: Lab, draft: IssueDraft, field: str) -> None:
    with pytest.raises(Refused, match=r"422") as caught:
        lab.github.create_issue(*REPO, draft)
    assert caught.value.field == field
    assert lab.repository.issues == []


def test_text_that_is_no_unicode_is_refused_before_it_is_sent(lab: Lab) -> None:
    with pytest.raises(Refused, match="Unicode"):
        lab.github.create_issue(*REPO, IssueDraft(title="\ud800", body=""))
    assert lab.standin.requests == []

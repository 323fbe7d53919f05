"""Every way in which GitHub, or the way to it, can say no."""

import socket
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from dispatchd.errors import ConfigError, Forbidden, Gone, Refused, Unauthorized, Unavailable
from dispatchd.services.github import GitHub, IssueDraft, Token
from tests.github_standin import faults
from tests.github_standin.faults import Fault
from tests.services.github_world import NOW, REPO, SECRET, Lab, running_lab

DRAFT = IssueDraft(title="t", body="b")


@pytest.fixture
def lab() -> Iterator[Lab]:
    with running_lab() as running:
        yield running


def refused_post(lab: Lab, fault: Fault) -> Unavailable:
    lab.standin.faults.next("POST", "*/issues", fault)
    with pytest.raises(Unavailable) as caught:
        lab.github.create_issue(*REPO, DRAFT)
    assert len(lab.standin.received("POST")) == 1
    return caught.value


@pytest.mark.parametrize(
    "fault",
    [
        faults.commit_then_reset(),
        faults.reset(),
        faults.commit_then(502),
        faults.commit_then(500),
        faults.says(503, "Service unavailable"),
        Fault(status=201, commit=True, headers={"Content-Type": "application/json"}),
        Fault(status=201, commit=True, body=b'{"number": "1"}'),
        Fault(status=201, commit=True, body=b"[" * 100_000),
        Fault(status=200, commit=True, body=b"{}"),
        Fault(status=202, commit=True, body=b'{"message": "later"}'),
        faults.truncated(20),
        faults.html(403),
    ],
)
def test_a_post_whose_outcome_is_unknown_is_ambiguous_and_not_repeated(
    lab: Lab, fault: Fault
) -> None:
    assert refused_post(lab, fault).ambiguous


def test_a_post_that_is_not_answered_in_time_is_ambiguous(lab: Lab) -> None:
    released = threading.Event()
    lab.standin.faults.next("POST", "*/issues", faults.slow(released))
    with lab.client(timeout=(5.0, 0.2)) as impatient, pytest.raises(Unavailable) as caught:
        impatient.create_issue(*REPO, DRAFT)
    released.set()
    assert caught.value.ambiguous
    assert len(lab.repository.issues) == 1


def test_a_connection_that_was_never_made_is_not_ambiguous(lab: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    github = lab.client(api_url=f"http://127.0.0.1:{port}")
    with github, pytest.raises(Unavailable, match="connection refused") as caught:
        github.create_issue(*REPO, DRAFT)
    assert not caught.value.ambiguous
    assert "proxy" in caught.value.hint


def test_a_name_that_does_not_resolve_says_so(lab: Lab) -> None:
    lab.token = None
    github = lab.client(api_url="http://github.invalid")
    with github, pytest.raises(Unavailable, match=r"no answer from github\.invalid"):
        github.repository(*REPO)


def test_an_unknown_outcome_while_reading_is_not_ambiguous(lab: Lab) -> None:
    lab.standin.faults.next("GET", "*", faults.reset())
    with pytest.raises(Unavailable) as caught:
        lab.github.repository(*REPO)
    assert not caught.value.ambiguous


# --- limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [403, 429])
def test_a_secondary_limit_waits_as_long_as_it_says(lab: Lab, status: int) -> None:
    error = refused_post(lab, faults.secondary_limit(status=status, retry_after="17"))
    assert error.retry_at == NOW + timedelta(seconds=17)
    assert not error.ambiguous
    assert "rate limit" in str(error)


@pytest.mark.parametrize(
    "fault",
    [
        faults.secondary_limit(),
        faults.secondary_limit(status=429),
        faults.says(429, "Too many"),
        faults.html(429),
        faults.says(403, "You have been temporarily blocked from content creation."),
        faults.says(422, "Validation Failed", errors=[{"message": "was submitted too quickly"}]),
        faults.secondary_limit(retry_after="soon"),
        Fault(status=429, headers={"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "?"}),
    ],
)
def test_a_limit_that_names_no_time_waits_a_minute(lab: Lab, fault: Fault) -> None:
    error = refused_post(lab, fault)
    assert error.retry_at == NOW + timedelta(seconds=60)
    assert not error.ambiguous


@pytest.mark.parametrize("status", [403, 429])
def test_a_used_up_hour_waits_for_the_reset_by_githubs_clock(lab: Lab, status: int) -> None:
    an_hour_off = NOW + timedelta(hours=1)
    date = an_hour_off.strftime("%a, %d %b %Y %H:%M:%S GMT")
    limit = faults.primary_limit(int(an_hour_off.timestamp()) + 300, status=status)
    fault = Fault(status=status, headers={**limit.headers, "Date": date}, body=limit.body)
    assert refused_post(lab, fault).retry_at == NOW + timedelta(seconds=301)


def test_a_wait_is_never_longer_than_a_day(lab: Lab) -> None:
    error = refused_post(lab, faults.secondary_limit(retry_after="999999999"))
    assert error.retry_at == NOW + timedelta(days=1)


def test_the_stand_ins_own_limit_is_understood(lab: Lab) -> None:
    lab.standin.remaining = 0
    lab.token = None
    with pytest.raises(Unavailable, match="rate limit") as caught:
        lab.github.repository(*REPO)
    assert caught.value.retry_at is not None
    assert "dispatchctl login" in caught.value.hint


# --- what a person must mend ----------------------------------------------------------------------


def test_a_missing_permission_is_named_even_when_the_hour_is_used_up(lab: Lab) -> None:
    denied = faults.not_permitted("issues=write")
    headers = {**denied.headers, "X-RateLimit-Remaining": "0"}
    fault = Fault(status=403, headers=headers, body=denied.body)
    lab.standin.faults.next("POST", "*/issues", fault)
    with pytest.raises(Unauthorized, match=r"403.*Resource not accessible") as caught:
        lab.github.create_issue(*REPO, DRAFT)
    assert "issues=write" in caught.value.hint


def test_single_sign_on_names_the_address_to_go_to(lab: Lab) -> None:
    url = "https://github.com/orgs/lab/sso?authorization_request=A"
    lab.standin.faults.next("GET", "*", faults.single_sign_on(url))
    with pytest.raises(Unauthorized, match="single sign-on") as caught:
        lab.github.repository(*REPO)
    assert caught.value.hint.endswith(url)


def test_a_token_that_expired_is_unauthorized(lab: Lab) -> None:
    lab.standin.faults.next("POST", "*/issues", faults.bad_token())
    with pytest.raises(Unauthorized, match=r"token from login \(401\)") as caught:
        lab.github.create_issue(*REPO, DRAFT)
    assert caught.value.hint == "store another token: dispatchctl login"


def test_filing_without_a_token_asks_for_one(lab: Lab) -> None:
    lab.token = None
    with pytest.raises(Unauthorized, match="there is none") as caught:
        lab.github.create_issue(*REPO, DRAFT)
    assert "dispatchctl login" in caught.value.hint


def test_an_archived_repository_is_not_a_matter_of_the_token(lab: Lab) -> None:
    lab.repository.archived = True
    with pytest.raises(Unauthorized, match="archived") as caught:
        lab.github.create_issue(*REPO, DRAFT)
    assert "--report-to" in caught.value.hint


def test_disabled_issues_and_a_missing_repository_are_told_apart(lab: Lab) -> None:
    lab.repository.has_issues = False
    with pytest.raises(Gone, match=r"issues are disabled .*410") as disabled:
        lab.github.create_issue(*REPO, DRAFT)
    assert "enable" in disabled.value.hint
    with pytest.raises(Gone, match=r"lab/none.*404"):
        lab.github.create_issue("lab", "none", DRAFT)


@pytest.mark.parametrize("field", ["title", "body", "labels", "assignees", "milestone"])
def test_each_field_that_is_refused_is_named(lab: Lab, field: str) -> None:
    lab.standin.faults.next("POST", "*/issues", faults.invalid(field, "x"))
    with pytest.raises(Refused, match=f"{field} 'x' is invalid") as caught:
        lab.github.create_issue(*REPO, DRAFT)
    assert caught.value.field == field


def test_a_refusal_in_another_shape_is_still_a_refusal(lab: Lab) -> None:
    for errors in (["that is bad"], "that is bad", [{"field": 7}], 7):
        fault = faults.says(422, "Validation Failed", errors=errors)
        lab.standin.faults.next("POST", "*/issues", fault)
        with pytest.raises(Refused, match="Validation Failed") as caught:
            lab.github.create_issue(*REPO, DRAFT)
        assert caught.value.field is None


@pytest.mark.parametrize(
    ("status", "error", "part"),
    [
        (422, {"resource": "Label", "field": "name", "code": "invalid"}, "labels"),
        (422, {"resource": "Issue", "field": "assignee", "code": "invalid"}, "assignees"),
        (422, {"resource": "Issue", "code": "custom", "message": "body is too long"}, "body"),
        (422, "milestone is invalid", "milestone"),
        (403, {"resource": "Repository", "field": "label", "code": "unauthorized"}, "labels"),
        (410, {"resource": "Milestone", "code": "missing"}, "milestone"),
        (404, {"resource": "Issue", "field": "assignees", "code": "missing"}, "assignees"),
    ],
)
def test_the_part_of_an_issue_that_is_refused_is_found_however_it_is_named(
    lab: Lab, status: int, error: object, part: str
) -> None:
    lab.standin.faults.next("POST", "*/issues", faults.says(status, "Not so", errors=[error]))
    with pytest.raises(Refused) as caught:
        lab.github.create_issue(*REPO, DRAFT)
    assert caught.value.field == part


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"error": "no"}'])
@pytest.mark.parametrize(
    ("status", "error"),
    [(401, Unauthorized), (403, Forbidden), (404, Gone), (410, Gone), (422, Refused)],
)
def test_a_refusal_without_words_counts_by_its_status(
    lab: Lab, status: int, error: type[Refused], body: bytes
) -> None:
    lab.standin.faults.next("POST", "*/issues", Fault(status=status, body=body))
    with pytest.raises(error) as caught:
        lab.github.create_issue(*REPO, DRAFT)
    assert type(caught.value) is error


def test_a_limit_in_a_gateways_words_leaves_open_whether_it_was_done(lab: Lab) -> None:
    lab.standin.faults.next("POST", "*/issues", faults.says(503, "rate limit of the gateway"))
    with pytest.raises(Unavailable) as caught:
        lab.github.create_issue(*REPO, DRAFT)
    assert (caught.value.limited, caught.value.ambiguous) == (True, True)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"x"', b"\xff", b'{"full_name": 1}'])
def test_an_answer_that_is_none_is_unavailable_and_names_what_was_asked(
    lab: Lab, body: bytes
) -> None:
    lab.standin.faults.next("GET", "*", Fault(status=200, body=body))
    with pytest.raises(Unavailable, match="cannot look at the repository AMDEPYC/sev-certify"):
        lab.github.repository(*REPO)


def test_foreign_words_are_made_fit_for_one_line(lab: Lab) -> None:
    lab.standin.faults.next("GET", "*", faults.says(403, "no\r\n\x1b[31m" + "x" * 5000))
    with pytest.raises(Unauthorized) as caught:
        lab.github.repository(*REPO)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


# --- where the token goes -------------------------------------------------------------------------


def test_a_next_page_on_another_origin_is_not_asked_for(lab: Lab) -> None:
    elsewhere = f'<{lab.standin.store_url}/repos/x>; rel="next"'
    lab.standin.faults.next("GET", "*/milestones", Fault(headers={"Link": elsewhere}))
    with pytest.raises(Refused, match="names an address on"):
        lab.github.milestone(*REPO, "c1")
    assert [one.port for one in lab.standin.requests] == ["api"]


def test_a_list_without_an_end_is_given_up(lab: Lab) -> None:
    again = f"<{lab.standin.api_url}/repos/AMDEPYC/sev-certify/milestones>; rel=next"
    lab.standin.faults.next("GET", "*/milestones", Fault(headers={"Link": again}), times=200)
    with pytest.raises(Unavailable, match="200 pages"):
        lab.github.milestone(*REPO, "c1")


def test_a_token_does_not_travel_over_plain_http(lab: Lab) -> None:
    with pytest.raises(ConfigError, match="unencrypted"):
        lab.client(api_url="http://github.example")
    lab.token = None
    with lab.client(api_url="http://github.example") as github:
        lab.token = Token(value=SECRET, source="login")
        with pytest.raises(Unauthorized, match="unencrypted"):
            github.login()


@pytest.mark.parametrize("url", ["", "github.com", "ftp://x", "https://u:p@x", "https://x:99999"])
def test_an_address_that_is_none_is_a_mistake_in_the_settings(lab: Lab, url: str) -> None:
    with pytest.raises(ConfigError, match="api_url"):
        GitHub(
            api_url=url,
            token=lambda: None,
            proxy="",
            ca_bundle="",
            version="1",
            now=lambda: NOW,
        )


def test_a_ca_bundle_that_is_missing_is_a_mistake_in_the_settings() -> None:
    with pytest.raises(ConfigError, match=r"ca_bundle '/nowhere\.pem'"):
        GitHub(
            api_url="https://github.example",
            token=lambda: None,
            proxy="",
            ca_bundle="/nowhere.pem",
            version="1",
            now=lambda: NOW,
        )


def test_netrc_and_the_environment_change_nothing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("default login u password p\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    lab.token = None
    lab.github.repository(*REPO)
    assert "authorization" not in lab.standin.requests[0].headers


def test_the_proxy_of_the_settings_is_used(lab: Lab) -> None:
    lab.token = None
    github = lab.client(proxy=lab.standin.store_url)
    with github, pytest.raises(Unavailable, match="unexpected answer 404"):
        github.repository(*REPO)
    (request,) = lab.standin.requests
    assert request.port == "store"
    assert request.target == f"{lab.standin.api_url}/repos/AMDEPYC/sev-certify"


def test_a_token_is_hidden_wherever_it_is_printed() -> None:
    token = Token(value=SECRET, source="login")
    assert SECRET not in f"{token} {token!r} {[token]}"
    assert str(token) == "token from login"

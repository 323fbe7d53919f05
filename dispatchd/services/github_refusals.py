"""What it means when GitHub says no: a status, headers and a body become one of our errors.

Rate limits follow GitHub's "Rate limits for the REST API" and "Best practices": Retry-After first,
then x-ratelimit-reset, else a minute. A 403 is one of three things: a limit, a missing permission,
or single sign-on; only the first goes away by itself.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import msgspec

from dispatchd.errors import (
    DispatchError,
    Forbidden,
    Gone,
    Refused,
    Unauthorized,
    Unavailable,
)

#: What GitHub's messages say when it wants us to slow down, whatever the status.
_LIMITED = re.compile(
    r"rate limit|abuse detection|temporarily blocked from content creation|submitted too quickly",
    re.IGNORECASE,
)
_NO_HEADER_WAIT = timedelta(seconds=60)
_LONGEST_WAIT = timedelta(hours=24)
#: Parts of an issue by the words that GitHub has for them.
_PARTS = {
    "title": "title",
    "body": "body",
    "label": "labels",
    "assignee": "assignees",
    "milestone": "milestone",
}
_PART = re.compile("|".join(_PARTS), re.IGNORECASE)
_SSO_URL = re.compile(r"url=(https?://[^\s;,]+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What a request was for: ``what`` completes "cannot …"; ``token_source`` is empty without.

    ``writes``: a repetition would do it twice.
    """

    what: str
    token_source: str
    writes: bool = False


class _Detail(msgspec.Struct, frozen=True):
    resource: str | None = None
    field: str | None = None
    code: str | None = None
    message: str | None = None
    value: object = None


class _Problem(msgspec.Struct, frozen=True):
    message: str = ""
    errors: list[_Detail | str] | str | None = None


def refusal(
    asked: Asked, status: int, headers: Mapping[str, str], body: bytes, now: datetime
) -> DispatchError:
    """Return what to raise for an answer that is not the one hoped for."""
    problem = _problem(body)
    said = printable(problem.message) if problem else ""
    slow_down = _LIMITED.search(" ".join([said, *_messages(problem)])) is not None
    if slow_down or (status in (403, 429) and _is_limit(status, headers, said)):
        return _limited(asked, status, headers, said, now)
    if status >= 500 or status == 408:
        return Unavailable(
            f"cannot {asked.what}: GitHub answered {status}{_quote(said)}",
            hint="GitHub has trouble (githubstatus.com): try again later",
            retry_at=_retry_after(headers, now),
            ambiguous=asked.writes,
        )
    if 300 <= status < 400:
        return Unavailable(
            f"cannot {asked.what}: GitHub sends us elsewhere ({status}), and not within its API",
            hint="set [github] api_url to the address that GitHub itself uses",
        )
    if status == 401:
        return _unauthenticated(asked)
    if problem is None or status < 400:
        return Unavailable(
            f"cannot {asked.what}: unexpected answer {status} "
            f"({headers.get('content-type') or 'no content type'}) from GitHub, or from a proxy",
            hint="is [github] api_url right, and no proxy or login page in between?",
            ambiguous=asked.writes,
        )
    field = _part(status, problem) if asked.writes else None
    if field is None and status == 403:
        return _forbidden(asked, headers, said)
    if field is None and status in (404, 410):
        return _gone(asked, status, said)
    return _invalid(asked, status, problem, field)


def printable(text: str) -> str:
    """Return foreign text fit for a message: one line, no control characters, not too long."""
    line = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return line if len(line) <= 200 else line[:199] + "…"


def _problem(body: bytes) -> _Problem | None:
    """What a body says; one that is empty or says something else in JSON has no message."""
    if not body.strip():
        return _Problem()
    try:
        return msgspec.json.decode(body, type=_Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:
        # GitHub documents more than one shape of "errors": the message alone still says what it is.
        content = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    message = content.get("message") if isinstance(content, dict) else None
    return _Problem(message=message if isinstance(message, str) else "")


def _quote(said: str) -> str:
    return f' ("{said}")' if said else ""


# --- limits ---------------------------------------------------------------------------------------


def _is_limit(status: int, headers: Mapping[str, str], said: str) -> bool:
    # The last request before the limit may be one that is forbidden for good.
    if "required" in headers.get("x-github-sso", "") or said.startswith("Resource not accessible"):
        return False
    return status == 429 or "retry-after" in headers or headers.get("x-ratelimit-remaining") == "0"


def _limited(
    asked: Asked, status: int, headers: Mapping[str, str], said: str, now: datetime
) -> Unavailable:
    retry_at = _retry_after(headers, now)
    if retry_at is None and headers.get("x-ratelimit-remaining") == "0":
        retry_at = _reset(headers, now)
    if retry_at is None:
        retry_at = now + _NO_HEADER_WAIT
    return Unavailable(
        f"cannot {asked.what}: GitHub's rate limit is reached until "
        f"{retry_at:%Y-%m-%d %H:%M:%S} UTC{_quote(said)}",
        hint="try again then"
        if asked.token_source
        else "try again then; with a token the limit is far higher: dispatchctl login",
        retry_at=retry_at,
        limited=True,
        ambiguous=asked.writes and status >= 500,
    )


def _retry_after(headers: Mapping[str, str], now: datetime) -> datetime | None:
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", value):
        return now + min(timedelta(seconds=int(value)), _LONGEST_WAIT)
    until = _http_date(value)
    return None if until is None else _after(until, headers, now)


def _reset(headers: Mapping[str, str], now: datetime) -> datetime | None:
    value = headers.get("x-ratelimit-reset", "")
    if not re.fullmatch(r"[0-9]{1,11}", value):
        return None
    return _after(datetime.fromtimestamp(int(value), UTC), headers, now) + timedelta(seconds=1)


def _after(until: datetime, headers: Mapping[str, str], now: datetime) -> datetime:
    # Reckoned from GitHub's own clock where it tells the time: ours may be wrong.
    server_now = _http_date(headers.get("date", "")) or now
    return now + min(max(until - server_now, timedelta()), _LONGEST_WAIT)


def _http_date(value: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


# --- the rest of the 4xx --------------------------------------------------------------------------


def _unauthenticated(asked: Asked) -> Unauthorized:
    if asked.token_source:
        return Unauthorized(
            f"cannot {asked.what}: GitHub does not accept the token from {asked.token_source} "
            "(401): it is mistyped, expired or revoked",
            hint=_another(asked),
        )
    return Unauthorized(
        f"cannot {asked.what}: GitHub wants a token (401) and there is none",
        hint="store one: dispatchctl login",
    )


def _another(asked: Asked) -> str:
    """How to give another token: a stored one counts only where none is given from outside."""
    if asked.token_source in ("", "login"):
        return "store another token: dispatchctl login"
    return f"change the {asked.token_source} and restart dispatchd"


def _forbidden(asked: Asked, headers: Mapping[str, str], said: str) -> Forbidden:
    sso = headers.get("x-github-sso", "")
    if "required" in sso:
        url = _SSO_URL.search(sso)
        return Forbidden(
            f"cannot {asked.what}: the organisation wants the token authorised for "
            "single sign-on (403)",
            hint=f"authorise the token: {url[1]}"
            if url
            else "authorise the token for the organisation in GitHub's settings, Tokens",
        )
    wanted = printable(headers.get("x-accepted-github-permissions", ""))
    if wanted:
        hint = f"give the token the permission {wanted}, or {_another(asked)}"
    elif "archived" in said:
        hint = "un-archive the repository, or load with --report-to another one"
    else:
        hint = (
            "a fine-grained token needs Contents: read and Issues: write, a classic one repo; "
            f"{_another(asked)}"
        )
    return Forbidden(f"cannot {asked.what}: not permitted (403){_quote(said)}", hint=hint)


def _gone(asked: Asked, status: int, said: str) -> Gone:
    if status == 410 and "issue" in said.lower():
        return Gone(
            f"cannot {asked.what}: issues are disabled in that repository (410)",
            hint="enable them in its settings, or load with --report-to another one",
        )
    if status == 410:
        return Gone(
            f"cannot {asked.what}: it was there and is gone (410){_quote(said)}",
            hint="look at the repository on GitHub",
        )
    return Gone(
        f"cannot {asked.what}: GitHub finds no such thing (404)",
        hint="misspelt, or removed, or private and this token may not see it"
        if asked.token_source
        else "misspelt, or removed, or private and there is no token: dispatchctl login",
    )


def _invalid(asked: Asked, status: int, problem: _Problem, field: str | None) -> Refused:
    words = [printable(problem.message), *(_words(one) for one in _details(problem))]
    return Refused(
        f"cannot {asked.what}: GitHub refuses it ({status}): "
        + (printable(", ".join(word for word in words if word)) or "it does not say why"),
        hint=f"change {field}" if field else "",
        field=field,
    )


def _part(status: int, problem: _Problem) -> str | None:
    """Which part of an issue is to blame: GitHub names it in a field or in words, if at all."""
    if status == 413:
        return "body"
    details = _details(problem)
    # Where a label is wrong, the field is the label's own: its name.
    named = [one.field or "" for one in details] + [one.resource or "" for one in details]
    spoken = [one.message or "" for one in details]
    if status == 422:
        spoken.append(problem.message)
    for text in named + spoken:
        found = {part.lower() for part in _PART.findall(text)}
        if len(found) == 1:
            return _PARTS[found.pop()]
    return None


def _details(problem: _Problem) -> list[_Detail]:
    errors = problem.errors or []
    listed = [errors] if isinstance(errors, str) else errors
    return [_Detail(message=one) if isinstance(one, str) else one for one in listed]


def _messages(problem: _Problem | None) -> list[str]:
    return [one.message for one in _details(problem) if one.message] if problem else []


def _words(detail: _Detail) -> str:
    if detail.message:
        return detail.message
    value = "" if detail.value is None else repr(detail.value)
    return " ".join(word for word in (detail.field, value, "is", detail.code) if word)

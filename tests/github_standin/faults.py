"""What a test may have go wrong: the next request that fits gets this instead of a good answer."""

import fnmatch
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Fault:
    """``status`` with ``headers`` and ``body`` is answered, after the request was carried out where
    ``commit`` is set. ``reset`` breaks the connection instead. Without either the good answer goes
    out, damaged: its headers changed by ``headers``, its body cut after ``truncate`` bytes,
    ``corrupt``, held back after ``held_after`` bytes until ``hold`` is set, or no faster than
    ``rate`` bytes a second.
    """

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    commit: bool = False
    reset: bool = False
    truncate: int | None = None
    corrupt: bool = False
    hold: threading.Event | None = None
    rate: float | None = None
    held_after: int = 1


class Faults:
    """The script: ``next`` adds a line to it, ``take`` is the server's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._script: list[tuple[str, str, Fault]] = []

    def next(self, method: str, path: str, fault: Fault, *, times: int = 1) -> None:
        """The next ``times`` requests of ``method`` whose path fits the shell pattern ``path``."""
        with self._lock:
            self._script += [(method, path, fault)] * times

    def take(self, method: str, path: str) -> Fault | None:
        with self._lock:
            for index, (wanted, pattern, fault) in enumerate(self._script):
                if wanted == method and fnmatch.fnmatchcase(path, pattern):
                    del self._script[index]
                    return fault
        return None

    def clear(self) -> None:
        """All is well again."""
        with self._lock:
            self._script.clear()

    @property
    def left(self) -> int:
        """How many faults have not happened yet."""
        with self._lock:
            return len(self._script)


def says(
    status: int, message: str, headers: Mapping[str, str] | None = None, **more: object
) -> Fault:
    """GitHub's JSON error with that status."""
    content = {"message": message, "documentation_url": "https://docs.github.com/rest", **more}
    return Fault(
        status=status,
        headers={"Content-Type": "application/json; charset=utf-8", **(headers or {})},
        body=json.dumps(content).encode(),
    )


def commit_then_reset() -> Fault:
    """It is done, and nobody hears of it."""
    return Fault(commit=True, reset=True)


def reset() -> Fault:
    """Nothing is done, and nobody hears of it."""
    return Fault(reset=True)


def commit_then(status: int) -> Fault:
    """It is done, and a gateway in front says otherwise."""
    return Fault(
        status=status,
        commit=True,
        headers={"Content-Type": "text/html"},
        body=b"<html><body><h1>Server Error</h1></body></html>",
    )


def html(status: int) -> Fault:
    """A page for people, from a gateway or a proxy."""
    return Fault(
        status=status, headers={"Content-Type": "text/html"}, body=b"<html>Whoa there!</html>"
    )


def bad_token() -> Fault:
    return says(401, "Bad credentials")


def not_permitted(permissions: str = "issues=write") -> Fault:
    return says(
        403,
        "Resource not accessible by personal access token",
        {"X-Accepted-GitHub-Permissions": permissions},
    )


def single_sign_on(url: str) -> Fault:
    return says(
        403,
        "Resource protected by organization SAML enforcement. You must grant your personal token "
        "access to this organization.",
        {"X-GitHub-SSO": f"required; url={url}"},
    )


def primary_limit(reset_at: int, *, status: int = 403, now: datetime | None = None) -> Fault:
    """The hour's requests are used up until ``reset_at`` (seconds since 1970).

    ``now`` is what GitHub's clock says in the answer, where it is not the machine's.
    """
    return says(
        status,
        "API rate limit exceeded for user ID 1.",
        {
            "X-RateLimit-Limit": "5000",
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Used": "5000",
            "X-RateLimit-Reset": str(reset_at),
            **({"Date": http_date(now)} if now else {}),
        },
    )


def http_date(moment: datetime) -> str:
    """An instant in UTC as HTTP has it."""
    return f"{moment:%a, %d %b %Y %H:%M:%S GMT}"


def secondary_limit(*, status: int = 403, retry_after: str | None = None) -> Fault:
    return says(
        status,
        "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
        {"Retry-After": retry_after} if retry_after else {},
    )


def not_found() -> Fault:
    return says(404, "Not Found")


def issues_disabled() -> Fault:
    return says(410, "Issues are disabled for this repo")


def invalid(field_name: str, value: object = None) -> Fault:
    """422 that names one field."""
    error = {"resource": "Issue", "field": field_name, "code": "invalid", "value": value}
    return says(422, "Validation Failed", errors=[error])


def too_long(field_name: str, maximum: int) -> Fault:
    error = {
        "resource": "Issue",
        "code": "custom",
        "field": field_name,
        "message": f"{field_name} is too long (maximum is {maximum} characters)",
    }
    return says(422, "Validation Failed", errors=[error])


def truncated(after: int) -> Fault:
    """The body ends early."""
    return Fault(truncate=after)


def wrong_bytes() -> Fault:
    """As many bytes as announced, but others."""
    return Fault(corrupt=True)


def slow(until: threading.Event, *, after: int = 1) -> Fault:
    """``after`` bytes of the body, and the rest not before ``until`` is set."""
    return Fault(hold=until, held_after=after)


def throttled(rate: float) -> Fault:
    """The body takes its time: so many bytes a second."""
    return Fault(rate=rate)


def expired_signature() -> Fault:
    """What the asset store says to a signed address that is too old."""
    return Fault(
        status=403,
        headers={"Content-Type": "application/xml"},
        body=b'<?xml version="1.0"?><Error><Code>AuthenticationFailed</Code></Error>',
    )

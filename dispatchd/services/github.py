"""GitHub as dispatchd needs it: releases, assets, issues.

Every call raises Unavailable (try again), Unauthorized, Gone or Refused (a person must act), and
nothing else of its own; BadRequest where the caller's words cannot be a name. No call repeats
itself: a second POST is for the caller to decide, who has looked first.
"""

from collections.abc import Callable, Container, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from dispatchd.errors import BadRequest, Forbidden, Gone, Refused, Unavailable
from dispatchd.services.github_answers import (
    AssetAnswer,
    CommentAnswer,
    Issue,
    IssueAnswer,
    IssueDraft,
    MilestoneAnswer,
    ReleaseAnswer,
    RemoteAsset,
    RemoteRelease,
    Repository,
    RepositoryAnswer,
    UserAnswer,
    parse,
)
from dispatchd.services.github_download import AssetStream, open_asset
from dispatchd.services.github_refusals import Asked, refusal
from dispatchd.services.github_transport import (
    API_VERSION,
    Answer,
    Stream,
    Token,
    Transport,
)

__all__ = [
    "AssetStream",
    "GitHub",
    "Issue",
    "IssueDraft",
    "RemoteAsset",
    "RemoteRelease",
    "Repository",
    "Token",
]

T = TypeVar("T")
_JSON = {
    "Accept": "application/vnd.github+json",
    "X-GitHub-Api-Version": API_VERSION,
    "Accept-Encoding": "gzip",
}
#: Releases that are read again under the condition that they have changed.
_REMEMBERED = 100
#: Bounds a listing whose links never end.
_PAGES = 200
_PER_PAGE = 100
#: Pages of a hundred issues, the newest first, among which ours must be.
_LOOKED_AT = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class _Known:
    """A release as it was read with this token."""

    etag: str
    token: Token | None
    release: RemoteRelease


class GitHub:
    """A client of one GitHub. Threads may share it. ``timeout`` is (connect, read) in seconds.

    ``token`` is asked at every request. Raises ConfigError where the settings cannot work.
    """

    def __init__(
        self,
        *,
        api_url: str,
        token: Callable[[], Token | None],
        proxy: str,
        ca_bundle: str,
        version: str,
        now: Callable[[], datetime],
        timeout: tuple[float, float] = (10.0, 30.0),
    ) -> None:
        self._now = now
        self._releases: dict[str, _Known] = {}
        self._transport = Transport(
            api_url=api_url,
            token=token,
            proxy=proxy,
            ca_bundle=ca_bundle,
            version=version,
            timeout=timeout,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give up the idle connections."""
        self._transport.close()

    # --- releases ---------------------------------------------------------------------------------

    def release_by_tag(self, owner: str, repo: str, tag: str) -> RemoteRelease:
        """Return the published release of exactly that tag; a prerelease counts, a draft not."""
        asked = self._transport.asked(f"read the release {tag} of {owner}/{repo}")
        return self._release(asked, f"{self._repo(owner, repo)}/releases/tags/{_segment(tag)}")

    def latest_release(self, owner: str, repo: str) -> RemoteRelease:
        """Return what GitHub calls the latest release: never a prerelease."""
        asked = self._transport.asked(f"read the latest release of {owner}/{repo}")
        return self._release(asked, f"{self._repo(owner, repo)}/releases/latest")

    def _release(self, asked: Asked, url: str) -> RemoteRelease:
        """Read a release, or learn that it is as it was: that costs nothing of the rate limit.

        By its ETag alone, which is another one for each token: GitHub answers If-Modified-Since
        with 304 though assets were added.
        """
        token, known = self._transport.token(), self._releases.get(url)
        if known is not None and (known.token != token or not known.etag):
            known = None
        headers = {**_JSON, "If-None-Match": known.etag} if known else _JSON
        stream = self._transport.api(asked, "GET", url, headers=headers)
        whole = self._checked(asked, stream, {200, 304} if known else {200})
        if known is not None and whole.status == 304:
            return known.release
        answer = parse(whole.body, ReleaseAnswer, asked=asked.what)
        if answer.draft:
            raise Gone(
                f"cannot {asked.what}: it is a draft", hint="publish the release on GitHub first"
            )
        assets = answer.assets
        # The embedded list has been seen cut at a page's length; 30 divides 90, 100 does not.
        if assets and (len(assets) % 30 == 0 or len(assets) % 100 == 0):
            pages = f"{url.rsplit('/releases/', 1)[0]}/releases/{answer.id}/assets?per_page=100"
            paged = {one.id: one for page in self._pages(asked, pages, AssetAnswer) for one in page}
            return answer.value([*({one.id: one for one in assets} | paged).values()])
        release = answer.value(assets)
        if len(self._releases) >= _REMEMBERED:
            self._releases.clear()
        etag = whole.headers.get("etag", "")
        self._releases[url] = _Known(etag=etag, token=token, release=release)
        return release

    def open_asset(
        self, asset: RemoteAsset, *, offset: int = 0
    ) -> AbstractContextManager[AssetStream]:
        """Open an asset for reading from ``offset``; check ``offset`` of what you get.

        With a token by the API, else by the public address, and by the API if that has trouble.
        Raises Gone where the asset is no more: the release may have been made again.
        """
        return open_asset(self._transport, asset, offset=offset, now=self._now)

    # --- who and where ----------------------------------------------------------------------------

    def repository(self, owner: str, repo: str) -> Repository:
        asked = self._transport.asked(f"look at the repository {owner}/{repo}")
        return self._get(asked, self._repo(owner, repo), RepositoryAnswer).value()

    def has_token(self) -> bool:
        return self._transport.token() is not None

    def login(self) -> str | None:
        """Return the account that the token acts as; None without a token, or for an app's."""
        token = self._transport.token()
        if token is None:
            return None
        asked = self._transport.asked("ask whose the token is")
        try:
            return self._get(asked, f"{self._transport.api_url}/user", UserAnswer).login
        except Forbidden:
            if token.value.startswith("ghs_"):
                return None
            raise

    # --- issues -----------------------------------------------------------------------------------

    def milestone(self, owner: str, repo: str, title: str) -> int | None:
        """Return the number of the milestone of exactly that title, an open one first."""
        asked = self._transport.asked(f"list the milestones of {owner}/{repo}")
        url = f"{self._repo(owner, repo)}/milestones?state=all&per_page=100"
        closed = None
        for page in self._pages(asked, url, MilestoneAnswer):
            for one in page:
                if one.title == title and one.state == "open":
                    return one.number
                if one.title == title:
                    closed = one.number
        return closed

    def find_issue(
        self, owner: str, repo: str, *, marker: str, since: datetime | None
    ) -> Issue | None:
        """Return the newest issue with ``marker`` in its body.

        Issues that nobody touched since then are not asked for, and pages that are older not read;
        None trusts no clock and reads the newest ones. By listing: the search and the label filters
        lag behind and have made duplicates.
        """
        asked = self._transport.asked(f"look for the issue in {owner}/{repo}")
        query = {
            "state": "all",
            "sort": "created",
            "direction": "desc",
            "per_page": "100",
        }
        if since is not None:
            query["since"] = f"{since:%Y-%m-%dT%H:%M:%SZ}"
        url = f"{self._repo(owner, repo)}/issues?{urlencode(query)}"
        for page in islice(self._pages(asked, url, IssueAnswer), _LOOKED_AT):
            for one in page:
                if one.pull_request is None and marker in (one.body or ""):
                    return one.value()
            if since is not None and page and page[-1].is_older_than(since):
                return None
        return None

    def create_issue(self, owner: str, repo: str, draft: IssueDraft) -> Issue:
        """Make one issue by one POST. Compare the answer with the draft: without push right GitHub
        drops labels, assignees and the milestone and says nothing.

        An Unavailable that is ambiguous may have made it: find_issue before trying again.
        """
        asked = self._transport.asked(f"file an issue in {owner}/{repo}", writes=True)
        content: dict[str, object] = {"title": draft.title, "body": draft.body}
        if draft.labels:
            content["labels"] = draft.labels
        if draft.assignees:
            content["assignees"] = draft.assignees
        if draft.milestone is not None:
            content["milestone"] = draft.milestone
        return self._post(asked, f"{self._repo(owner, repo)}/issues", content, IssueAnswer).value()

    def create_comment(self, owner: str, repo: str, number: int, body: str) -> int:
        """Add one comment to an issue by one POST, and return its id."""
        asked = self._transport.asked(f"comment on {owner}/{repo}#{number}", writes=True)
        url = f"{self._repo(owner, repo)}/issues/{number}/comments"
        return self._post(asked, url, {"body": body}, CommentAnswer).id

    def comments(self, owner: str, repo: str, number: int) -> list[str]:
        """Return the bodies of an issue's comments, oldest first."""
        asked = self._transport.asked(f"read the comments of {owner}/{repo}#{number}")
        url = f"{self._repo(owner, repo)}/issues/{number}/comments?per_page=100"
        return [one.body or "" for page in self._pages(asked, url, CommentAnswer) for one in page]

    # --- requests ---------------------------------------------------------------------------------

    def _repo(self, owner: str, repo: str) -> str:
        return f"{self._transport.api_url}/repos/{_segment(owner)}/{_segment(repo)}"

    def _get(self, asked: Asked, url: str, shape: type[T]) -> T:
        return parse(self._answer(asked, url).body, shape, asked=asked.what)

    def _pages(self, asked: Asked, url: str, shape: type[T]) -> Iterator[list[T]]:
        following: str | None = url
        before: bytes | None = None
        for number in range(1, _PAGES + 1):
            if following is None:
                return
            answer = self._answer(asked, following)
            page: list[T] = parse(answer.body, list[shape], asked=asked.what)  # type: ignore[valid-type]
            yield page
            following = answer.next_url
            if "link" not in answer.headers and len(page) >= _PER_PAGE and answer.body != before:
                # Some in front of GitHub drop the links: ask until a page is not full.
                following = f"{url}&page={number + 1}"
            before = answer.body
        raise Unavailable(f"cannot {asked.what}: the list has more than {_PAGES} pages")

    def _answer(self, asked: Asked, url: str) -> Answer:
        return self._checked(asked, self._transport.api(asked, "GET", url, headers=_JSON), {200})

    def _post(self, asked: Asked, url: str, content: dict[str, object], shape: type[T]) -> T:
        try:
            body = msgspec.json.encode(content)
        except UnicodeEncodeError as error:
            raise Refused(f"cannot {asked.what}: its text is no valid Unicode") from error
        headers = {**_JSON, "Content-Type": "application/json; charset=utf-8"}
        stream = self._transport.api(asked, "POST", url, headers=headers, body=body)
        answer = self._checked(asked, stream, {201})
        return parse(answer.body, shape, asked=asked.what, ambiguous=True)

    def _checked(self, asked: Asked, stream: Stream, hoped: Container[int]) -> Answer:
        try:
            answer = stream.answer()
        finally:
            stream.close()
        if answer.status not in hoped:
            raise refusal(asked, answer.status, answer.headers, answer.body, self._now())
        return answer


def _segment(value: str) -> str:
    """Return ``value`` as one segment of a path; a slash becomes %2F, as GitHub wants it."""
    if not value or value in (".", ".."):
        raise BadRequest(f"cannot ask GitHub for {value!r}: that is no name")
    try:
        return quote(value, safe="")
    except UnicodeEncodeError as error:
        raise BadRequest(f"cannot ask GitHub for {value!r}: that is no valid Unicode") from error

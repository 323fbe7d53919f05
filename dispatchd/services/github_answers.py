"""What GitHub's answers say, as frozen values: parsed once, typed from there on.

Shapes follow GitHub's OpenAPI description of its REST API, version 2022-11-28. Only the keys that
we read are named; all others may come and go.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import msgspec

from dispatchd.errors import Unavailable

T = TypeVar("T")
#: For what was not dated.
LONG_AGO = datetime.fromtimestamp(0, UTC)
Count = Annotated[int, msgspec.Meta(ge=0)]
_SHA256 = re.compile(r"sha256:([0-9a-fA-F]{64})")


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteAsset:
    """One file of a release. Only ``state`` "uploaded" can be downloaded; ``size`` is bytes.

    ``sha256`` is lower-case hex, None where GitHub gave no digest or one of another kind.
    ``url`` is its address in the API, ``download_url`` the one for browsers.
    """

    id: int
    name: str
    size: int
    content_type: str
    state: str
    sha256: str | None
    url: str
    download_url: str
    updated_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteRelease:
    """A published release with all its assets. ``updated_at`` is its own newest change.

    ``created_at`` is the date of the commit, as GitHub has it.
    """

    id: int
    tag: str
    name: str
    prerelease: bool
    immutable: bool
    created_at: datetime
    published_at: datetime
    updated_at: datetime
    assets: tuple[RemoteAsset, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Repository:
    """``push``: whether the token may write, None where GitHub does not say (without a token)."""

    full_name: str
    private: bool
    has_issues: bool
    archived: bool
    push: bool | None


@dataclass(frozen=True, kw_only=True, slots=True)
class IssueDraft:
    """An issue to be made. ``milestone`` is a number, not a title."""

    title: str
    body: str
    labels: tuple[str, ...] = ()
    assignees: tuple[str, ...] = ()
    milestone: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Issue:
    """An issue as GitHub keeps it: without push right, what was asked for may be missing.

    ``url`` is for people, ``milestone`` is its title; of ``unsaid`` fields the answer says nothing.
    """

    number: int
    url: str
    title: str
    body: str
    labels: tuple[str, ...]
    assignees: tuple[str, ...]
    milestone: str | None
    unsaid: frozenset[str] = frozenset()


class _Struct(msgspec.Struct, frozen=True, kw_only=True):
    """Lenient towards keys we do not know, and towards the lack of those we can do without."""


class AssetAnswer(_Struct, frozen=True, kw_only=True):
    id: int
    name: str
    size: Count
    url: str
    content_type: str = ""
    state: str = "uploaded"
    browser_download_url: str = ""
    updated_at: datetime = LONG_AGO
    digest: str | None = None

    def value(self) -> RemoteAsset:
        digest = _SHA256.fullmatch(self.digest or "")
        return RemoteAsset(
            id=self.id,
            name=self.name,
            size=self.size,
            content_type=self.content_type,
            state=self.state,
            sha256=digest[1].lower() if digest else None,
            url=self.url,
            download_url=self.browser_download_url or self.url,
            updated_at=_utc(self.updated_at),
        )


class ReleaseAnswer(_Struct, frozen=True, kw_only=True):
    id: int
    tag_name: str
    assets: list[AssetAnswer]
    prerelease: bool = False
    draft: bool = False
    created_at: datetime = LONG_AGO
    name: str | None = None
    immutable: bool | None = None
    published_at: datetime | None = None
    updated_at: datetime | None = None

    def value(self, assets: list[AssetAnswer]) -> RemoteRelease:
        published_at = _utc(self.published_at or self.created_at)
        return RemoteRelease(
            id=self.id,
            tag=self.tag_name,
            name=self.name or self.tag_name,
            prerelease=self.prerelease,
            immutable=bool(self.immutable),
            created_at=_utc(self.created_at),
            published_at=published_at,
            updated_at=max(_utc(self.updated_at or published_at), published_at),
            assets=tuple(asset.value() for asset in assets),
        )


class _Permissions(_Struct, frozen=True, kw_only=True):
    push: bool | None = None


class RepositoryAnswer(_Struct, frozen=True, kw_only=True):
    full_name: str
    private: bool = False
    has_issues: bool = True
    archived: bool = False
    permissions: _Permissions | None = None

    def value(self) -> Repository:
        return Repository(
            full_name=self.full_name,
            private=self.private,
            has_issues=self.has_issues,
            archived=self.archived,
            push=self.permissions.push if self.permissions else None,
        )


class UserAnswer(_Struct, frozen=True, kw_only=True):
    login: str


class _Label(_Struct, frozen=True, kw_only=True):
    name: str | None = None


class MilestoneAnswer(_Struct, frozen=True, kw_only=True):
    number: int
    title: str
    state: str = "open"


class IssueAnswer(_Struct, frozen=True, kw_only=True):
    """``pull_request`` stands in the listing's items that are no issues."""

    number: int
    html_url: str = ""
    title: str = ""
    created_at: datetime | None = None
    labels: list[_Label | str] | msgspec.UnsetType | None = msgspec.UNSET
    body: str | None = None
    assignees: list[UserAnswer | str] | msgspec.UnsetType | None = msgspec.UNSET
    milestone: MilestoneAnswer | msgspec.UnsetType | None = msgspec.UNSET
    pull_request: object = None

    def is_older_than(self, moment: datetime) -> bool:
        return self.created_at is not None and _utc(self.created_at) < moment

    def value(self) -> Issue:
        labels = [one if isinstance(one, str) else one.name for one in self.labels or ()]
        people = [one if isinstance(one, str) else one.login for one in self.assignees or ()]
        return Issue(
            number=self.number,
            url=self.html_url,
            title=self.title,
            body=self.body or "",
            labels=tuple(name for name in labels if name),
            assignees=tuple(people),
            milestone=self.milestone.title if self.milestone else None,
            unsaid=frozenset(
                field
                for field in ("labels", "assignees", "milestone")
                if getattr(self, field) is msgspec.UNSET
            ),
        )


class CommentAnswer(_Struct, frozen=True, kw_only=True):
    id: int = 0
    body: str | None = None


def _utc(moment: datetime) -> datetime:
    """GitHub says Z; where nothing is said, UTC is meant."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def parse(body: bytes, shape: type[T], *, asked: str, ambiguous: bool = False) -> T:
    """Return the JSON body as ``shape``; raises Unavailable where it is none of that.

    ``asked`` completes "cannot …". ``ambiguous`` marks the answer to a request that writes.
    """
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        got = "an empty answer" if not body.strip() else f"an answer we do not understand ({error})"
        raise Unavailable(
            f"cannot {asked}: GitHub sent {got}",
            hint="is [github] api_url right, and no proxy or login page in between?",
            ambiguous=ambiguous,
        ) from error

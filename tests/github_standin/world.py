"""What the stand-in keeps: repositories, their releases and issues, and who may do what."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from tests.github_standin.content import Content


@dataclass(kw_only=True)
class Account:
    """Whom a token acts as. ``push``: in every repository; ``private``: sees the private ones."""

    login: str
    push: bool = True
    private: bool = True


@dataclass(kw_only=True)
class Asset:
    id: int
    name: str
    content: Content
    content_type: str
    state: str
    digest: str | None
    updated_at: datetime


@dataclass(kw_only=True)
class Release:
    id: int
    tag: str
    prerelease: bool
    draft: bool
    immutable: bool
    published_at: datetime
    _ids: Callable[[], int] = field(repr=False)
    assets: list[Asset] = field(default_factory=list)

    def asset(
        self,
        name: str,
        data: bytes | None = None,
        *,
        size: int = 0,
        content_type: str = "application/vnd.dispatch+efi",
        state: str = "uploaded",
        digest: str | None = "",
        updated_at: datetime | None = None,
    ) -> Asset:
        """Add a file: ``data``, or ``size`` bytes made up. ``digest`` None as for old assets."""
        content = Content(data, size=size, seed=name)
        asset = Asset(
            id=self._ids(),
            name=name,
            content=content,
            content_type=content_type,
            state=state,
            digest=f"sha256:{content.sha256}" if digest == "" else digest,
            updated_at=updated_at or self.published_at,
        )
        self.assets.append(asset)
        return asset


@dataclass(kw_only=True)
class Milestone:
    id: int
    number: int
    title: str
    state: str


@dataclass(kw_only=True)
class Comment:
    id: int
    user: str
    body: str
    created_at: datetime


@dataclass(kw_only=True)
class Issue:
    id: int
    number: int
    title: str
    body: str | None
    user: str
    labels: list[str]
    assignees: list[str]
    milestone: Milestone | None
    created_at: datetime
    updated_at: datetime
    state: str = "open"
    pull_request: bool = False
    comments: list[Comment] = field(default_factory=list)


@dataclass(kw_only=True)
class Repository:
    id: int
    full_name: str
    private: bool
    has_issues: bool
    archived: bool
    _world: "World" = field(repr=False)
    releases: list[Release] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    milestones: list[Milestone] = field(default_factory=list)
    issues: list[Issue] = field(default_factory=list)
    assignable: set[str] = field(default_factory=set)

    def release(
        self,
        tag: str,
        *,
        prerelease: bool = False,
        draft: bool = False,
        immutable: bool = False,
        published_at: datetime | None = None,
    ) -> Release:
        """Add a release without assets; one of that tag that was there is deleted."""
        self.delete_release(tag)
        release = Release(
            id=self._world.new_id(),
            tag=tag,
            prerelease=prerelease,
            draft=draft,
            immutable=immutable,
            published_at=published_at or self._world.now(),
            _ids=self._world.new_id,
        )
        self.releases.append(release)
        return release

    def delete_release(self, tag: str) -> None:
        self.releases = [one for one in self.releases if one.tag != tag]

    def milestone(self, title: str, *, state: str = "open") -> Milestone:
        number = len(self.milestones) + 1
        milestone = Milestone(id=self._world.new_id(), number=number, title=title, state=state)
        self.milestones.append(milestone)
        return milestone

    def issue(
        self,
        title: str,
        body: str | None = None,
        *,
        user: str = "octocat",
        labels: tuple[str, ...] = (),
        assignees: tuple[str, ...] = (),
        milestone: Milestone | None = None,
        created_at: datetime | None = None,
        pull_request: bool = False,
    ) -> Issue:
        """Add an issue as it is; labels that are not there yet are made, as GitHub does."""
        created_at = created_at or self._world.now()
        issue = Issue(
            id=self._world.new_id(),
            number=len(self.issues) + 1,
            title=title,
            body=body,
            user=user,
            labels=[self._label(name) for name in labels],
            assignees=list(assignees),
            milestone=milestone,
            created_at=created_at,
            updated_at=created_at,
            pull_request=pull_request,
        )
        self.issues.append(issue)
        return issue

    def comment(self, issue: Issue, user: str, body: str) -> Comment:
        now = self._world.now()
        comment = Comment(id=self._world.new_id(), user=user, body=body, created_at=now)
        issue.comments.append(comment)
        issue.updated_at = now
        return comment

    def _label(self, name: str) -> str:
        for one in self.labels:
            if one.casefold() == name.casefold():
                return one
        self.labels.append(name)
        return name


class World:
    """All of it. ``now`` is the clock that issues and releases are dated by."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.now = now
        self.accounts: dict[str, Account] = {}
        self.repositories: dict[str, Repository] = {}
        self.renamed: dict[str, str] = {}
        self.new_id = itertools.count(1001).__next__
        #: Releases list this many assets at most, though there are more.
        self.embedded_assets = 1000

    def token(
        self, value: str, *, login: str = "lab-bot", push: bool = True, private: bool = True
    ) -> Account:
        """Let a token in."""
        self.accounts[value] = Account(login=login, push=push, private=private)
        return self.accounts[value]

    def repository(
        self,
        full_name: str,
        *,
        private: bool = False,
        has_issues: bool = True,
        archived: bool = False,
    ) -> Repository:
        """Add OWNER/NAME."""
        repository = Repository(
            id=self.new_id(),
            full_name=full_name,
            private=private,
            has_issues=has_issues,
            archived=archived,
            _world=self,
        )
        self.repositories[full_name.lower()] = repository
        return repository

    def rename(self, old: str, new: str) -> None:
        """Give a repository another name; the old one is answered with a redirect from now on."""
        repository = self.repositories.pop(old.lower())
        repository.full_name = new
        self.repositories[new.lower()] = repository
        self.renamed[old.lower()] = new.lower()

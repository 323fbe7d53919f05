"""What GitHub's answers look like: its own published examples, with our values put in."""

import copy
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from tests.github_standin.contract import description
from tests.github_standin.world import (
    Account,
    Asset,
    Comment,
    Issue,
    Milestone,
    Release,
    Repository,
    World,
)

JSON = dict[str, Any]


def moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Shapes:
    """``api`` and ``web`` are the addresses that stand for api.github.com and github.com."""

    def __init__(self, world: World, api: str, web: str) -> None:
        self._world = world
        self._api = api
        self._web = web

    def _example(self, example_name: str, /, **values: object) -> JSON:
        example = copy.deepcopy(description()["components"]["examples"][example_name]["value"])
        text = json.dumps(example).replace("https://api.github.com", self._api)
        shape: JSON = json.loads(text)
        return shape | values

    def user(self, login: str) -> JSON:
        """A simple user; the whole one only ``me`` gives."""
        owner: JSON = self._example("issue")["user"]
        return owner | {"login": login, "id": sum(login.encode()), "url": f"{self._api}/users/x"}

    def me(self, account: Account) -> JSON:
        name = "private-user-response-with-public-and-private-profile-information"
        return self._example(name, login=account.login, user_view_type="private")

    def repository(self, repository: Repository, account: Account | None) -> JSON:
        owner, _, name = repository.full_name.partition("/")
        shape = self._example(
            "full-repository",
            id=repository.id,
            name=name,
            full_name=repository.full_name,
            owner=self.user(owner),
            private=repository.private,
            has_issues=repository.has_issues,
            has_discussions=True,  # required, and missing in the example
            archived=repository.archived,
            url=f"{self._api}/repos/{repository.full_name}",
            html_url=f"{self._web}/{repository.full_name}",
        )
        del shape["permissions"]
        if account is not None:
            shape["permissions"] = {"admin": False, "push": account.push, "pull": True}
        return shape

    def asset(self, repository: Repository, release: Release, asset: Asset) -> JSON:
        base = f"{self._api}/repos/{repository.full_name}/releases"
        download = f"{self._web}/{repository.full_name}/releases/download"
        return self._example(
            "release-asset",
            id=asset.id,
            url=f"{base}/assets/{asset.id}",
            browser_download_url=f"{download}/{quote(release.tag, safe='')}/{asset.name}",
            name=asset.name,
            label=None,
            state=asset.state,
            content_type=asset.content_type,
            size=asset.content.size,
            digest=asset.digest,
            created_at=moment(asset.updated_at),
            updated_at=moment(asset.updated_at),
        )

    def release(self, repository: Repository, release: Release) -> JSON:
        base = f"{self._api}/repos/{repository.full_name}/releases/{release.id}"
        listed = release.assets[: self._world.embedded_assets]
        return self._example(
            "release",
            id=release.id,
            url=base,
            assets_url=f"{base}/assets",
            html_url=f"{self._web}/{repository.full_name}/releases/tag/{quote(release.tag)}",
            tag_name=release.tag,
            name=release.tag,
            draft=release.draft,
            prerelease=release.prerelease,
            immutable=release.immutable,
            created_at=moment(release.published_at),
            published_at=None if release.draft else moment(release.published_at),
            assets=[self.asset(repository, release, asset) for asset in listed],
        )

    def milestone(self, repository: Repository, milestone: Milestone) -> JSON:
        base = f"{self._api}/repos/{repository.full_name}/milestones/{milestone.number}"
        return self._example(
            "milestone",
            id=milestone.id,
            url=base,
            number=milestone.number,
            title=milestone.title,
            state=milestone.state,
        )

    def label(self, repository: Repository, name: str) -> JSON:
        return {
            "id": repository.labels.index(name) + 1,
            "node_id": "LA_kw",
            "url": f"{self._api}/repos/{repository.full_name}/labels/{quote(name)}",
            "name": name,
            "description": None,
            "color": "ededed",
            "default": False,
        }

    def issue(self, repository: Repository, issue: Issue) -> JSON:
        base = f"{self._api}/repos/{repository.full_name}/issues/{issue.number}"
        assignees = [self.user(login) for login in issue.assignees]
        page = "pull" if issue.pull_request else "issues"
        shape = self._example(
            "issue",
            id=issue.id,
            url=base,
            repository_url=f"{self._api}/repos/{repository.full_name}",
            comments_url=f"{base}/comments",
            html_url=f"{self._web}/{repository.full_name}/{page}/{issue.number}",
            number=issue.number,
            state=issue.state,
            state_reason=None,
            title=issue.title,
            body=issue.body,
            user=self.user(issue.user),
            labels=[self.label(repository, name) for name in issue.labels],
            assignees=assignees,
            assignee=assignees[0] if assignees else None,
            milestone=self.milestone(repository, issue.milestone) if issue.milestone else None,
            comments=len(issue.comments),
            created_at=moment(issue.created_at),
            updated_at=moment(issue.updated_at),
            closed_at=None,
            closed_by=None,
        )
        if not issue.pull_request:
            shape.pop("pull_request", None)
        return shape

    def comment(self, repository: Repository, issue: Issue, comment: Comment) -> JSON:
        base = f"{self._api}/repos/{repository.full_name}/issues"
        page = f"{self._web}/{repository.full_name}/issues/{issue.number}"
        return self._example(
            "issue-comment",
            id=comment.id,
            url=f"{base}/comments/{comment.id}",
            html_url=f"{page}#issuecomment-{comment.id}",
            issue_url=f"{base}/{issue.number}",
            body=comment.body,
            user=self.user(comment.user),
            created_at=moment(comment.created_at),
            updated_at=moment(comment.created_at),
        )

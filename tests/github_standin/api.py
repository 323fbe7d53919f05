"""The first port: the REST API, as far as a client like ours can see it."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar
from urllib.parse import urlencode

from tests.github_standin.reply import Received, Reply, error_reply, json_reply
from tests.github_standin.shapes import Shapes
from tests.github_standin.store import AssetStore
from tests.github_standin.world import Account, Issue, Repository, World

T = TypeVar("T")
LONGEST_TITLE = 256
LONGEST_BODY = 65536


class Api:
    """Answers as GitHub documents it, its limits and its silent ways included."""

    def __init__(self, world: World, shapes: Shapes, store: AssetStore, url: str) -> None:
        self._world = world
        self._shapes = shapes
        self._store = store
        self.url = url
        #: Characters that an issue's body or a comment may have.
        self.longest_body = LONGEST_BODY
        #: How long after its POST an issue or a comment appears in listings.
        self.lag = timedelta()
        #: False: assets come from the API itself, as GitHub reserves to do.
        self.redirects_assets = True

    def repository_of(self, request: Received) -> Repository | None:
        """Return the repository that a path names, by its name or by /repositories/ID."""
        match request.segments:
            case ["repos", owner, name, *_]:
                return self._world.repositories.get(f"{owner}/{name}".lower())
            case ["repositories", number, *_]:
                every = self._world.repositories.values()
                return next((one for one in every if str(one.id) == number), None)
        return None

    def answer(self, request: Received) -> Reply:
        if not request.headers.get("user-agent"):
            return error_reply(403, "Request forbidden by administrative rules.")
        if request.headers.get("x-github-api-version", "2022-11-28") != "2022-11-28":
            return error_reply(400, "That is no supported version of the API")
        words = request.headers.get("authorization", "").split()
        account = self._world.accounts.get(words[1]) if len(words) == 2 else None
        if words and account is None:
            return error_reply(401, "Bad credentials")
        if request.segments == ["user"]:
            if account is None:
                return error_reply(401, "Requires authentication")
            if words[1].startswith("ghs_"):
                return error_reply(403, "Resource not accessible by integration")
            return json_reply(200, self._shapes.me(account))
        moved = self._moved(request)
        if moved is not None:
            return moved
        repository = self.repository_of(request)
        hidden = repository and repository.private and not (account and account.private)
        if repository is None or hidden:
            return error_reply(404, "Not Found")
        skipped = 3 if request.segments[0] == "repos" else 2
        call = _Call(self, self._world, self._shapes, self._store, request, repository, account)
        return call.answer(request.segments[skipped:])

    def _moved(self, request: Received) -> Reply | None:
        match request.segments:
            case ["repos", owner, name, *rest]:
                now_called = self._world.renamed.get(f"{owner}/{name}".lower())
                if now_called is None:
                    return None
                number = self._world.repositories[now_called].id
                query = f"?{urlencode(request.query)}" if request.query else ""
                address = "/".join([self.url, "repositories", str(number), *rest]) + query
                status = 301 if request.method == "GET" else 307
                return error_reply(status, "Moved Permanently", Location=address)
        return None


@dataclass
class _Call:
    """One request about one repository."""

    api: Api
    world: World
    shapes: Shapes
    store: AssetStore
    request: Received
    repository: Repository
    account: Account | None

    def answer(self, path: list[str]) -> Reply:
        match self.request.method, path:
            case "GET", []:
                return json_reply(200, self.shapes.repository(self.repository, self.account))
            case "GET", ["releases", *rest]:
                return self.releases(rest)
            case "GET", ["milestones"]:
                return self.milestones()
            case "GET", ["issues"]:
                return self.issues()
            case "POST", ["issues"]:
                return self.create_issue()
            case method, ["issues", number, "comments"]:
                found = (one for one in self.repository.issues if str(one.number) == number)
                issue = next(found, None)
                if issue is None:
                    return error_reply(404, "Not Found")
                return self.comments(issue) if method == "GET" else self.create_comment(issue)
        return error_reply(404, "Not Found")

    # --- releases ---------------------------------------------------------------------------------

    def releases(self, path: list[str]) -> Reply:
        published = [one for one in self.repository.releases if not one.draft]
        match path:
            case ["tags", tag]:
                chosen = next((one for one in published if one.tag == tag), None)
            case ["latest"]:
                full = [one for one in published if not one.prerelease]
                chosen = max(full, key=lambda one: one.published_at, default=None)
            case ["assets", number]:
                return self.asset(number)
            case [number, "assets"]:
                chosen = next((one for one in published if str(one.id) == number), None)
                if chosen is not None:
                    release = chosen
                    return self.paged(
                        release.assets,
                        lambda asset: self.shapes.asset(self.repository, release, asset),
                    )
            case _:
                chosen = None
        if chosen is None:
            return error_reply(404, "Not Found")
        reply = json_reply(200, self.shapes.release(self.repository, chosen))
        # GitHub's is another one for each token.
        of_token = self.request.headers.get("authorization", "").encode()
        reply.headers["ETag"] = f'W/"{hashlib.sha256(of_token + reply.body).hexdigest()}"'
        if self.request.headers.get("if-none-match") == reply.headers["ETag"]:
            return Reply(status=304, headers={"ETag": reply.headers["ETag"]})
        return reply

    def asset(self, number: str) -> Reply:
        for release in self.repository.releases:
            for asset in release.assets:
                if str(asset.id) != number:
                    continue
                if self.request.headers.get("accept") != "application/octet-stream":
                    return json_reply(200, self.shapes.asset(self.repository, release, asset))
                if self.api.redirects_assets:
                    return Reply(status=302, headers={"Location": self.store.sign(asset)})
                return Reply(
                    status=200,
                    headers={"Content-Type": "application/octet-stream"},
                    content=asset.content,
                    stop=asset.content.size,
                )
        return error_reply(404, "Not Found")

    # --- issues -----------------------------------------------------------------------------------

    def milestones(self) -> Reply:
        state = self.request.query.get("state", "open")
        listed = [one for one in self.repository.milestones if state in (one.state, "all")]
        return self.paged(listed, lambda one: self.shapes.milestone(self.repository, one))

    def issues(self) -> Reply:
        query = self.request.query
        state, creator = query.get("state", "open"), query.get("creator")
        since = datetime.fromisoformat(query["since"]) if "since" in query else None
        listed = [
            one
            for one in self.repository.issues
            if state in (one.state, "all")
            and creator in (None, one.user)
            and (since is None or one.updated_at >= since)
            and self.is_listed(one.created_at)
        ]
        updated = query.get("sort") == "updated"
        listed.sort(key=lambda one: (one.updated_at if updated else one.created_at, one.number))
        if query.get("direction", "desc") == "desc":
            listed.reverse()
        return self.paged(listed, self.issue_shape)

    def issue_shape(self, issue: Issue) -> dict[str, object]:
        shape = self.shapes.issue(self.repository, issue)
        if issue.pull_request:
            url = f"{self.api.url}/repos/{self.repository.full_name}/pulls/{issue.number}"
            parts = {"url": url, "html_url": url, "diff_url": url, "patch_url": url}
            shape["pull_request"] = parts
        return shape

    def create_issue(self) -> Reply:
        refused = self.may_write()
        if refused is not None or self.account is None:
            return refused or error_reply(404, "Not Found")
        content = self.content()
        if content is None:
            return error_reply(400, "Problems parsing JSON")
        title, body = str(content["title"]), content.get("body")
        long = _too_long("title", title, LONGEST_TITLE) or _too_long(
            "body", body, self.api.longest_body
        )
        if long is not None:
            return long
        milestone = None
        labels, assignees = content.get("labels") or [], content.get("assignees") or []
        if not self.account.push:
            labels, assignees = [], []
        elif content.get("milestone") is not None:
            number = content["milestone"]
            found = (one for one in self.repository.milestones if one.number == number)
            milestone = next(found, None)
            if milestone is None:
                return _invalid("milestone", number)
        assert isinstance(labels, list)
        assert isinstance(assignees, list)
        people = {one.login for one in self.world.accounts.values()} | self.repository.assignable
        for login in assignees:
            if login not in people:
                return _invalid("assignees", login)
        issue = self.repository.issue(
            title,
            None if body is None else str(body),
            user=self.account.login,
            labels=tuple(labels),
            assignees=tuple(assignees),
            milestone=milestone,
        )
        shape = self.issue_shape(issue)
        return json_reply(201, shape, {"Location": str(shape["url"])})

    def comments(self, issue: Issue) -> Reply:
        listed = [one for one in issue.comments if self.is_listed(one.created_at)]
        return self.paged(listed, lambda one: self.shapes.comment(self.repository, issue, one))

    def create_comment(self, issue: Issue) -> Reply:
        refused = self.may_write()
        if refused is not None or self.account is None:
            return refused or error_reply(404, "Not Found")
        content = self.content()
        if content is None:
            return error_reply(400, "Problems parsing JSON")
        body = str(content["body"])
        long = _too_long("body", body, self.api.longest_body)
        if long is not None:
            return long
        comment = self.repository.comment(issue, self.account.login, body)
        shape = self.shapes.comment(self.repository, issue, comment)
        return json_reply(201, shape, {"Location": str(shape["url"])})

    # --- what they share --------------------------------------------------------------------------

    def is_listed(self, created_at: datetime) -> bool:
        return not self.api.lag or created_at + self.api.lag <= self.world.now()

    def may_write(self) -> Reply | None:
        if self.account is None:
            return error_reply(401, "Requires authentication")
        if self.repository.archived:
            return error_reply(403, "Repository was archived so is read-only.")
        if not self.repository.has_issues:
            return error_reply(410, "Issues are disabled for this repo")
        return None

    def content(self) -> dict[str, object] | None:
        try:
            content = json.loads(self.request.body)
        except ValueError:
            return None
        return content if isinstance(content, dict) else None

    def paged(self, items: Sequence[T], shape: Callable[[T], object]) -> Reply:
        query = self.request.query
        size, number = min(int(query.get("per_page", 30)), 100), int(query.get("page", 1))
        shown = items[(number - 1) * size : number * size]
        headers = {}
        if number * size < len(items):
            following = urlencode(query | {"page": str(number + 1)})
            address = f"{self.api.url}{self.request.path}?{following}"
            headers["Link"] = f'<{address}>; rel="next", <{address}>; rel="last"'
        return json_reply(200, [shape(one) for one in shown], headers)


def _too_long(field: str, text: object, maximum: int) -> Reply | None:
    if not isinstance(text, str) or len(text) <= maximum:
        return None
    message = f"{field} is too long (maximum is {maximum} characters)"
    error = {"resource": "Issue", "code": "custom", "field": field, "message": message}
    return error_reply(422, "Validation Failed", errors=[error])


def _invalid(field: str, value: object) -> Reply:
    error = {"resource": "Issue", "field": field, "code": "invalid", "value": value}
    return error_reply(422, "Validation Failed", errors=[error])

"""Answers of a server that is GitHub-like and no more: what we can do without may be missing."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from dispatchd.domain.issue import marker
from dispatchd.services.github import GitHub, IssueDraft, Token
from tests.services.github_world import NOW, REPO, SECRET

BYTES = b"bytes of an asset"


class LeanGitHub:
    """Answers in HTTP/1.0 with the least that could be called GitHub.

    ``links``: whether lists say where they go on; ``pages``: whether they do go on; ``chunked``:
    whether bodies come in chunks, of HTTP/1.1; ``path``: where its API begins.
    """

    def __init__(self, *, links: bool, pages: bool, chunked: bool, path: str = "") -> None:
        self.links = links
        self.pages = pages
        self.chunked = chunked
        self.path = path
        self.issues: list[dict[str, object]] = []
        self.asked: list[str] = []
        self.url = ""

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        self.asked.append(f"{method} {target}")
        parts = urlsplit(target)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        if not parts.path.startswith(f"{self.path}/"):
            return 404, {}, b""
        match method, parts.path.removeprefix(self.path).split("/")[1:]:
            case "POST", ["repos", _, _, "issues"]:
                issue = {"number": len(self.issues) + 1, "body": json.loads(body)["body"]}
                self.issues.append(issue)
                return _json(201, {"number": issue["number"]})
            case "GET", ["repos", _, _, "issues"]:
                return self._page(self.issues[::-1], parts.path, query)
            case "GET", ["repos", _, _, "releases", "tags", tag]:
                asset = {"id": 7, "name": "a.efi", "size": len(BYTES), "url": f"{self.url}/asset"}
                return _json(
                    200,
                    {
                        "id": 1,
                        "tag_name": tag,
                        "assets": [asset],
                        "published_at": "2026-11-23T07:00:00",
                    },
                )
            case "GET", ["asset"]:
                return 302, {"location": "store/a?sig=x"}, b""
            case "GET", ["store", "a"]:
                return 200, {}, BYTES
            case "GET", ["repos", owner, name]:
                return _json(200, {"full_name": f"{owner}/{name}"})
        return 404, {}, b""

    def _page(
        self, items: list[dict[str, object]], path: str, query: dict[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        size, number = int(query["per_page"]), int(query.get("page", 1))
        number = number if self.pages else 1
        headers = {}
        if self.links and number * size < len(items):
            following = (
                f"{self.url.removesuffix(self.path)}{path}?per_page={size}&page={number + 1}"
            )
            headers["link"] = f"<{following}>; rel=next"
        return _json(200, items[(number - 1) * size : number * size], headers)


def _json(
    status: int, value: object, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    kind = {"content-type": "application/json"}
    return status, kind | (headers or {}), json.dumps(value).encode()


@contextmanager
def serving(lean: LeanGitHub) -> Iterator[GitHub]:
    """A client of it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1" if lean.chunked else "HTTP/1.0"

        def _handle(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, headers, body = lean.answer(self.command, self.path, sent)
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if lean.chunked:
                self.send_header("transfer-encoding", "chunked")
                self.send_header("connection", "close")
                body = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
                body += b"0\r\n\r\n"
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = True

        do_GET = do_POST = _handle  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        lean.url = f"http://127.0.0.1:{server.server_address[1]}{lean.path}"
        thread = threading.Thread(target=server.serve_forever, args=[0.02])
        thread.start()
        client = GitHub(
            api_url=lean.url,
            token=lambda: Token(value=SECRET, source="login"),
            proxy="",
            ca_bundle="",
            version="1.0.0",
            now=lambda: NOW,
        )
        try:
            with client:
                yield client
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(params=[False, True], ids=["closing", "chunked"])
def lean(request: pytest.FixtureRequest) -> LeanGitHub:
    return LeanGitHub(links=False, pages=True, chunked=request.param)


def test_an_answer_with_a_number_alone_is_an_issue_and_warns_of_nothing(lean: LeanGitHub) -> None:
    with serving(lean) as github:
        issue = github.create_issue(*REPO, IssueDraft(title="t", body="b", labels=("x",)))
    assert issue.number == 1
    assert issue.unsaid == {"labels", "assignees", "milestone"}


def test_an_issue_is_found_in_a_list_without_dates_and_without_links(lean: LeanGitHub) -> None:
    with serving(lean) as github:
        github.create_issue(*REPO, IssueDraft(title="t", body=marker("mine")))
        for number in range(250):
            lean.issues.append({"number": number + 2, "body": "another"})
        found = github.find_issue(*REPO, marker=marker("mine"), since=NOW - timedelta(days=1))
    assert found is not None
    assert found.number == 1
    assert len(lean.asked) == 4


def test_a_list_that_never_goes_on_is_read_to_its_end(lean: LeanGitHub) -> None:
    lean.pages = False
    lean.issues = [{"number": number, "body": "another"} for number in range(250)]
    with serving(lean) as github:
        assert github.find_issue(*REPO, marker=marker("mine"), since=None) is None
    assert len(lean.asked) == 2


def test_links_that_are_there_are_followed(lean: LeanGitHub) -> None:
    lean.links = True
    lean.issues = [{"number": number, "body": marker(str(number))} for number in range(250)]
    with serving(lean) as github:
        found = github.find_issue(*REPO, marker=marker("0"), since=None)
    assert found is not None
    assert len(lean.asked) == 3


def test_a_release_needs_little_and_its_store_may_be_near(lean: LeanGitHub) -> None:
    with serving(lean) as github:
        release = github.release_by_tag(*REPO, "devel")
        (asset,) = release.assets
        assert (asset.name, asset.state, asset.sha256) == ("a.efi", "uploaded", None)
        assert release.published_at == NOW
        with github.open_asset(asset) as stream:
            assert b"".join(stream.chunks) == BYTES


def test_a_repository_that_says_nothing_of_itself_is_one_to_try(lean: LeanGitHub) -> None:
    with serving(lean) as github:
        found = github.repository(*REPO)
    assert (found.has_issues, found.archived, found.push) == (True, False, None)


def test_an_api_below_a_path_is_asked_there_for_everything() -> None:
    """As GitHub Enterprise Server has it."""
    lean = LeanGitHub(links=True, pages=True, chunked=False, path="/api/v3")
    lean.issues = [{"number": number, "body": marker(str(number))} for number in range(150)]
    with serving(lean) as github:
        assert github.repository(*REPO).full_name == "AMDEPYC/sev-certify"
        (asset,) = github.release_by_tag(*REPO, "devel").assets
        with github.open_asset(asset) as stream:
            assert b"".join(stream.chunks) == BYTES
        assert github.create_issue(*REPO, IssueDraft(title="t", body="b")).number == 151
        assert github.find_issue(*REPO, marker=marker("0"), since=None) is not None
    assert all(" /api/v3/" in asked for asked in lean.asked)

"""A request as it came in, and an answer before it goes out."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.github_standin.content import Content


@dataclass(frozen=True, kw_only=True)
class Received:
    """One request. ``port`` is "api" or "store"; header names are lower case."""

    port: str
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query))

    @property
    def segments(self) -> list[str]:
        """The path's parts, decoded one by one: %2F in a part is a slash of its own."""
        return [unquote(part) for part in self.path.strip("/").split("/")]

    @property
    def json(self) -> object:
        return json.loads(self.body)


@dataclass(kw_only=True)
class Reply:
    """``body``, or the bytes of ``content`` from ``start`` to ``stop``.

    ``sent`` is how many of them went out.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    content: Content | None = None
    start: int = 0
    stop: int = 0
    sent: int = 0

    @property
    def length(self) -> int:
        return len(self.body) if self.content is None else self.stop - self.start

    def pieces(self) -> Iterator[bytes]:
        if self.content is None:
            yield self.body
        else:
            yield from self.content.read(self.start, self.stop)


def json_reply(status: int, value: object, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(
        status=status,
        headers={"Content-Type": "application/json; charset=utf-8", **(headers or {})},
        body=json.dumps(value).encode(),
    )


def error_reply(status: int, message: str, *, errors: object = None, **headers: str) -> Reply:
    value = {"message": message, "documentation_url": "https://docs.github.com/rest"}
    extra = {"status": str(status)} if errors is None else {"errors": errors}
    return json_reply(
        status, value | extra, {name.replace("_", "-"): text for name, text in headers.items()}
    )

"""GitHub's published description of its API, held against what client and stand-in say."""

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from openapi_core import Config, OpenAPI
from openapi_core.datatypes import RequestParameters
from openapi_core.exceptions import OpenAPIError
from openapi_core.templating.responses.exceptions import ResponseNotFound
from werkzeug.datastructures import Headers, ImmutableMultiDict

DESCRIPTION = Path(__file__).parent.parent / "github_openapi" / "api.github.com.cut.json"
_HOST = "https://api.github.com"
#: GitHub gives these everywhere and describes them in places only.
_ANYWHERE = frozenset({301, 302, 304, 307, 401, 403, 404, 410, 422, 429})
# The library's registries are shared and make no promise about threads.
_lock = threading.Lock()


@cache
def description() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(DESCRIPTION.read_text(encoding="utf-8"))
    for schema in _schemas(loaded):
        if schema.get("nullable") and "enum" in schema and None not in schema["enum"]:
            schema["enum"] = [*schema["enum"], None]
    return loaded


def _schemas(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _schemas(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _schemas(inner)


@cache
def _openapi() -> OpenAPI:
    return OpenAPI.from_dict(description(), config=Config(spec_validator_cls=None))


@dataclass(kw_only=True)
class Request:
    """One request as openapi-core wants to see it. ``target`` is the path with its query."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    host_url: str = _HOST
    path: str = field(init=False)
    content_type: str = field(init=False)
    parameters: RequestParameters = field(init=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.target)
        self.method = self.method.lower()
        self.path = parts.path
        self.content_type = self.headers.get("content-type", "").lower()
        self.parameters = RequestParameters(
            query=ImmutableMultiDict(parse_qsl(parts.query, keep_blank_values=True)),
            header=Headers(dict(self.headers)),
        )


@dataclass(kw_only=True)
class Answer:
    status_code: int
    headers: Headers
    data: bytes
    content_type: str


def request_violation(request: Request) -> str | None:
    """Return what is wrong with a client's request, None if nothing."""
    try:
        with _lock:
            _openapi().validate_request(request)
    except OpenAPIError as error:
        return f"request {request.method} {request.target}: {_words(error)}"
    return None


def answer_violation(
    request: Request, status: int, headers: Mapping[str, str], body: bytes
) -> str | None:
    """Return what GitHub would not have answered like that, None if it would have."""
    kind = headers.get("Content-Type", "").lower()
    if kind == "application/octet-stream":
        return None
    answer = Answer(
        status_code=status, headers=Headers(dict(headers)), data=body, content_type=kind
    )
    try:
        with _lock:
            _openapi().validate_response(request, answer)
    except ResponseNotFound:
        return None if status in _ANYWHERE else f"answer {status} to {request.target}: undescribed"
    except OpenAPIError as error:
        return f"answer {status} to {request.method} {request.target}: {_words(error)}"
    return None


def _words(error: BaseException) -> str:
    causes: list[str] = []
    current: BaseException | None = error
    while current is not None:
        details = getattr(current, "schema_errors", ())
        causes += [str(current)[:300], *(str(one.message)[:300] for one in details)]
        current = current.__cause__
    return "; ".join(causes)

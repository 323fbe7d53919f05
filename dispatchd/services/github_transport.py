"""Requests to GitHub and what can go wrong on the way: the only file that knows `requests`.

The token goes to the API's own origin and nowhere else. Redirects are followed by hand: `requests`
would turn a redirected POST into a GET, and would add credentials of its own. ~/.netrc is never
read. Addresses of the asset store are signed, so no message and no log line names one.
"""

import logging
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from urllib.parse import urljoin, urlsplit

import requests
import requests.auth
import urllib3.exceptions
from requests.utils import get_environ_proxies

from dispatchd.errors import ConfigError, DispatchError, Refused, Unauthorized, Unavailable
from dispatchd.services.github_origin import (
    api_origin,
    is_loopback,
    origin_of,
    place,
    trusted,
)
from dispatchd.services.github_refusals import Asked

#: Largest JSON answer that is read: a hundred issues with the longest bodies GitHub takes.
_LARGEST_ANSWER = 64 << 20
#: What a break in the middle of it loses.
_CHUNK = 64 << 10
#: `requests` limits each read, not the whole: this bounds an answer that drips.
_LONGEST_ANSWER = 120.0
#: Those after which method and body may stay the same.
REDIRECTS = frozenset({301, 302, 307, 308})
API_VERSION = "2022-11-28"


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """A secret and whence it comes ("systemd credential", "GITHUB_TOKEN", "login")."""

    value: str = field(repr=False)
    source: str

    def __str__(self) -> str:
        return f"token from {self.source}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A whole answer. Header names are lower case; ``next_url`` is the Link to the next page."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    next_url: str | None


class Stream:
    """An answer whose body is still to come. Close it."""

    def __init__(self, response: requests.Response, asked: Asked) -> None:
        self._response = response
        self._asked = asked
        self.status = response.status_code
        self.headers = {name.lower(): value for name, value in response.headers.items()}

    def target(self) -> str | None:
        """Return the absolute address that a redirect leads to; None if it is no redirect."""
        location = self.headers.get("location")
        if self.status not in REDIRECTS or not location:
            return None
        return urljoin(self._response.url, location)

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes; raises Unavailable when the connection breaks before the end."""
        got = 0
        try:
            for chunk in self._response.iter_content(_CHUNK):
                got += len(chunk)
                yield chunk
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise Unavailable(
                f"cannot {self._asked.what}: the connection broke after {got} bytes "
                f"({_reason(error)})",
                hint="try again later",
                ambiguous=self._asked.writes,
            ) from error

    def read(self) -> bytes:
        """Return the whole body; raises Unavailable when it is broken, too large or too slow."""
        body = bytearray()
        deadline = time.monotonic() + _LONGEST_ANSWER
        for chunk in self.chunks():
            body += chunk
            if len(body) > _LARGEST_ANSWER or time.monotonic() > deadline:
                raise Unavailable(
                    f"cannot {self._asked.what}: the answer is too large or too slow "
                    f"({len(body)} bytes so far)",
                    ambiguous=self._asked.writes,
                )
        return bytes(body)

    def answer(self) -> Answer:
        body = self.read()
        links = self._response.links
        return Answer(
            status=self.status,
            headers=self.headers,
            body=body,
            next_url=links["next"]["url"] if "url" in links.get("next", {}) else None,
        )

    def close(self) -> None:
        self._response.close()


class _Bearer(requests.auth.AuthBase):
    """Puts the token on requests to the API's origin; an object also wins over ~/.netrc."""

    def __init__(self, token: Token, origin: tuple[str, str, int]) -> None:
        self._token = token
        self._origin = origin

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if origin_of(request.url or "") == self._origin:
            request.headers["Authorization"] = f"Bearer {self._token.value}"
        return request


class Transport:
    """Two sessions: one that may carry the token, and a bare one for every other origin.

    ``proxy`` is used for everything where it is set; else the environment says. ``timeout`` is
    (connect, read) in seconds. Raises ConfigError where these settings cannot work.
    """

    def __init__(
        self,
        *,
        api_url: str,
        token: Callable[[], Token | None],
        proxy: str,
        ca_bundle: str,
        version: str,
        timeout: tuple[float, float],
    ) -> None:
        self.api_url = api_url.rstrip("/")
        self._token = token
        self._proxies = {"http": proxy, "https": proxy} if proxy else None
        self._timeout = timeout
        self._origin = api_origin(api_url)
        self._secure = self._origin[0] == "https" or is_loopback(self._origin[1])
        # urllib3 logs every address at DEBUG, with its query: the signed ones are secrets.
        logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)
        verify = trusted(ca_bundle)
        self._api = _session(version, verify)
        self._bare = _session(version, verify)
        if not self._secure and token() is not None:
            raise ConfigError(self._insecure(), hint="use https://")

    def close(self) -> None:
        self._api.close()
        self._bare.close()

    def token(self) -> Token | None:
        """Return the token as it is now; raises Unauthorized where it could not be sent."""
        token = self._token()
        if token is None:
            return None
        if not self._secure:
            raise Unauthorized(self._insecure(), hint="use https://")
        if not token.value.isascii() or not token.value.isprintable() or " " in token.value:
            raise Unauthorized(
                f"cannot use the token from {token.source}: "
                "it contains a space, a line break or another foreign character",
                hint="store it again: dispatchctl login",
            )
        return token

    def asked(self, what: str, *, writes: bool = False) -> Asked:
        token = self.token()
        return Asked(what=what, token_source=token.source if token else "", writes=writes)

    def same_origin(self, url: str) -> bool:
        """Whether the token may go there."""
        return origin_of(url) == self._origin

    def api(
        self,
        asked: Asked,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        follow: frozenset[int] = REDIRECTS,
    ) -> Stream:
        """Send one request to the API, following one redirect within its origin, same method.

        GitHub answers 301 (GET) and 307 (other) for a repository that was renamed. Raises
        Unavailable, Refused and Unauthorized.
        """
        self._require_origin(asked, url)
        stream = self._send(self._api, asked, method, url, headers, body)
        target = stream.target()
        if target is None or stream.status not in follow or not self.same_origin(target):
            return stream
        stream.close()
        return self._send(self._api, asked, method, target, headers, body)

    def bare(self, asked: Asked, url: str, *, headers: Mapping[str, str]) -> Stream:
        """GET from anywhere, without the token and without following redirects."""
        return self._send(self._bare, asked, "GET", url, headers, None)

    def _require_origin(self, asked: Asked, url: str) -> None:
        if not self.same_origin(url):
            raise Refused(
                f"cannot {asked.what}: GitHub names an address on {place(url)}, "
                f"not on {place(self.api_url)}",
                hint="set [github] api_url to the address that GitHub itself uses",
            )

    def _send(
        self,
        session: requests.Session,
        asked: Asked,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
    ) -> Stream:
        token = self.token() if session is self._api else None
        try:
            response = session.request(
                method,
                url,
                data=body,
                headers=dict(headers),
                auth=_Bearer(token, self._origin) if token else None,
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
                proxies=self._proxies_for(url),
            )
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise _unreachable(asked, url, error) from error
        return Stream(response, asked)

    def _proxies_for(self, url: str) -> dict[str, str]:
        if self._proxies is not None:
            return self._proxies
        if is_loopback(urlsplit(url).hostname or ""):
            return {}
        return dict(get_environ_proxies(url, no_proxy=None))

    def _insecure(self) -> str:
        return (
            f"cannot use [github] api_url {self.api_url!r}: "
            "the token would travel unencrypted over plain http"
        )


def _session(version: str, verify: str | bool) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.verify = verify
    session.headers["User-Agent"] = f"dispatchd/{version}"
    # Without cookies a session has no state, so that threads may share it.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session


# --- no answer ------------------------------------------------------------------------------------


def _unreachable(asked: Asked, url: str, error: Exception) -> DispatchError:
    # Whatever is not known to have failed before the first byte may have been carried out.
    sent = not _is_before_sending(error)
    return Unavailable(
        f"cannot {asked.what}: no answer from {place(url)} ({_reason(error)})",
        hint="check the network, DNS, [github] proxy and HTTPS_PROXY; then try again",
        ambiguous=asked.writes and sent,
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those inside it: `requests` hides the cause in args and ``reason``."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        # Not __context__: what the caller was handling has nothing to do with it.
        waiting += [one.__cause__, getattr(one, "reason", None), *one.args]


def _is_before_sending(error: Exception) -> bool:
    never_connected = (
        requests.exceptions.ConnectTimeout,
        requests.exceptions.ProxyError,
        requests.exceptions.InvalidURL,
        requests.exceptions.InvalidSchema,
        requests.exceptions.InvalidHeader,
        urllib3.exceptions.NewConnectionError,
        ssl.SSLCertVerificationError,
    )
    return any(isinstance(one, never_connected) for one in _chain(error))


def _reason(error: Exception) -> str:
    """Say why in a few words of our own: those of the libraries quote the whole address."""
    chain = list(_chain(error))
    for kind, words in _REASONS:
        if any(isinstance(one, kind) for one in chain):
            return words
    for one in reversed(chain):
        if isinstance(one, OSError) and one.strerror:
            return one.strerror.lower()
    return type(chain[-1]).__name__


_REASONS: tuple[tuple[type[BaseException], str], ...] = (
    (ssl.SSLCertVerificationError, "its certificate is not trusted: see [github] ca_bundle"),
    (urllib3.exceptions.NameResolutionError, "its name does not resolve"),
    (requests.exceptions.ConnectTimeout, "connecting timed out"),
    (requests.exceptions.ReadTimeout, "it did not answer in time"),
    (urllib3.exceptions.ReadTimeoutError, "it fell silent"),
    (ConnectionRefusedError, "connection refused"),
    (ConnectionResetError, "connection reset"),
    (urllib3.exceptions.IncompleteRead, "it ended too early"),
    (requests.exceptions.ProxyError, "the proxy cannot be used"),
    (requests.exceptions.InvalidProxyURL, "the proxy's address is wrong"),
)

"""Downloading one asset of a release: from the API or the public address to the store behind it.

An asset is answered with its bytes or with a redirect to a store, whose signed address lives for
minutes: it is asked for anew every time, and nobody gets to see it.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

from dispatchd.errors import Gone, Refused, Unavailable
from dispatchd.services.github_answers import RemoteAsset
from dispatchd.services.github_origin import origin_of, place
from dispatchd.services.github_refusals import Asked, refusal
from dispatchd.services.github_transport import API_VERSION, Stream, Transport

#: github.com, its download service and a content network in front of it.
_HOPS = 5
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")


@dataclass(frozen=True, kw_only=True, slots=True)
class AssetStream:
    """The bytes of an asset from ``offset`` on, 0 where the source would not start later.

    ``total`` is the size of the whole asset as this answer has it, None where it does not say.
    Iterating raises Unavailable when the connection breaks.
    """

    chunks: Iterator[bytes]
    offset: int
    total: int | None


@contextmanager
def open_asset(
    transport: Transport, asset: RemoteAsset, *, offset: int, now: Callable[[], datetime]
) -> Iterator[AssetStream]:
    """See GitHub.open_asset."""
    asked = transport.asked(f"download {asset.name}")
    stream = _open(transport, asked, asset, offset)
    if stream.status == 416 and offset:
        stream.close()
        stream = _open(transport, asked, asset, 0)
    try:
        yield _asset_stream(asked, stream, offset, now())
    finally:
        stream.close()


def _open(transport: Transport, asked: Asked, asset: RemoteAsset, offset: int) -> Stream:
    headers = {"Accept": "application/octet-stream", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    if not asked.token_source:
        with suppress(Unavailable):
            stream = transport.bare(asked, asset.download_url, headers=headers)
            stream = _to_store(transport, asked, stream, asset.download_url, headers)
            if stream.status < 500:
                return stream
            stream.close()
    stream = transport.api(
        asked,
        "GET",
        asset.url,
        headers={**headers, "X-GitHub-Api-Version": API_VERSION},
        follow=frozenset({301, 307, 308}),
    )
    return _to_store(transport, asked, stream, asset.url, headers)


def _to_store(
    transport: Transport, asked: Asked, stream: Stream, url: str, headers: dict[str, str]
) -> Stream:
    """Follow redirects to where the bytes are, without the token."""
    for _ in range(_HOPS):
        target = stream.target()
        if target is None:
            return stream
        stream.close()
        if origin_of(url)[0] == "https" != origin_of(target)[0]:
            raise Refused(
                f"cannot {asked.what}: {place(url)} sends us to {place(target)} without encryption"
            )
        url = target
        stream = transport.bare(asked, url, headers=headers)
        if stream.status in (400, 401, 403, 404, 410):
            stream.close()
            # The asset was there a moment ago: the signed address has expired or was damaged.
            raise Unavailable(
                f"cannot {asked.what}: {place(url)} answered {stream.status}",
                hint="it is tried again with a new address",
            )
    stream.close()
    raise Unavailable(f"cannot {asked.what}: more than {_HOPS} redirects")


def _asset_stream(asked: Asked, stream: Stream, offset: int, now: datetime) -> AssetStream:
    if stream.status in (404, 410):
        raise Gone(
            f"cannot {asked.what}: it is no longer there ({stream.status})",
            hint="the release may have been made again: load it again",
        )
    if stream.status not in (200, 206):
        raise refusal(asked, stream.status, stream.headers, stream.read(), now)
    if stream.headers.get("content-encoding", "identity") != "identity":
        raise Unavailable(
            f"cannot {asked.what}: it comes encoded as {stream.headers['content-encoding']}",
            hint="is a proxy changing it?",
        )
    if stream.status == 200:
        length = stream.headers.get("content-length", "")
        total = int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None
        return AssetStream(chunks=stream.chunks(), offset=0, total=total)
    given = stream.headers.get("content-range", "")
    matched = _CONTENT_RANGE.fullmatch(given)
    if matched is None or int(matched[1]) != offset:
        raise Unavailable(
            f"cannot {asked.what}: asked for bytes from {offset}, got {given or 'none'!r}"
        )
    return AssetStream(chunks=stream.chunks(), offset=offset, total=int(matched[3]))

"""The second port: what github.com and its asset store do, for browsers and signed addresses."""

import re
import secrets

from tests.github_standin.content import Content
from tests.github_standin.reply import Received, Reply
from tests.github_standin.world import Asset, World


class AssetStore:
    """Hands out bytes to whoever has a signed address. ``url`` is where it listens."""

    def __init__(self, world: World, url: str) -> None:
        self._world = world
        self._url = url
        self._signed: dict[str, Content] = {}
        #: False: it ignores Range, as some content networks do.
        self.ranges = True
        self._replies: list[Reply] = []

    @property
    def served(self) -> int:
        """Bytes of assets that went out, whoever got them."""
        return sum(reply.sent for reply in self._replies)

    def sign(self, asset: Asset) -> str:
        """Return an address of the asset's bytes that holds a secret of its own."""
        signature = secrets.token_urlsafe(24)
        self._signed[signature] = asset.content
        return f"{self._url}/store/{asset.id}?sp=r&sig={signature}"

    def answer(self, request: Received) -> Reply:
        if "authorization" in request.headers:
            return _xml(400, "InvalidArgument: Only one auth mechanism allowed")
        if request.segments[0] == "store":
            content = self._signed.get(request.query.get("sig", ""))
            if content is None:
                return _xml(403, "AuthenticationFailed")
            reply = self._bytes(request, content)
            self._replies.append(reply)
            return reply
        return self._browser(request)

    def _browser(self, request: Received) -> Reply:
        match request.segments:
            case [owner, name, "releases", "download", tag, file]:
                repository = self._world.repositories.get(f"{owner}/{name}".lower())
                for release in repository.releases if repository else ():
                    for asset in release.assets:
                        public = repository is not None and not repository.private
                        if public and (release.tag, asset.name) == (tag, file):
                            return Reply(status=302, headers={"Location": self.sign(asset)})
        return Reply(status=404, headers={"Content-Type": "text/plain"}, body=b"Not Found")

    def _bytes(self, request: Received, content: Content) -> Reply:
        headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if wanted is None or not self.ranges:
            return Reply(status=200, headers=headers, content=content, stop=content.size)
        start = int(wanted[1])
        if start >= content.size:
            headers["Content-Range"] = f"bytes */{content.size}"
            return Reply(status=416, headers=headers)
        stop = min(int(wanted[2]) + 1, content.size) if wanted[2] else content.size
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{content.size}"
        return Reply(status=206, headers=headers, content=content, start=start, stop=stop)


def _xml(status: int, code: str) -> Reply:
    return Reply(
        status=status,
        headers={"Content-Type": "application/xml"},
        body=f"<Error><Code>{code}</Code></Error>".encode(),
    )

"""What a load finds: the release and its assets, from GitHub or from a directory, in one shape."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from dispatchd import wire
from dispatchd.domain.media import EXTENSION, boot_type, select
from dispatchd.domain.model import Source
from dispatchd.errors import BadRequest, Gone, Refused, Unavailable
from dispatchd.services.github import RemoteAsset, RemoteRelease, Repository

#: A release that nobody touched for this long is complete, whatever it lacks.
RESTED = timedelta(minutes=15)
OF_AN_APP = "the token is an app's: if it is GitHub Actions' own, its issues start no workflow"
_OWNER_REPO = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})/[A-Za-z0-9._-]{1,100}")


class GitHub(Protocol):
    """The client, as far as loading goes."""

    def release_by_tag(self, owner: str, repo: str, tag: str) -> RemoteRelease: ...
    def latest_release(self, owner: str, repo: str) -> RemoteRelease: ...
    def repository(self, owner: str, repo: str) -> Repository: ...
    def login(self) -> str | None: ...
    def has_token(self) -> bool: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundAsset:
    """One bootable file. ``sha256`` is empty where GitHub does not tell it."""

    name: str
    size: int
    sha256: str
    content_type: str
    media_type: str
    remote_id: int = 0
    url: str = ""
    download_url: str = ""
    updated_at: str = ""

    def is_same(self, *, sha256: str, size: int, remote_id: int, updated_at: str) -> bool:
        """Whether the bytes are these, as far as anybody can tell without reading them."""
        if self.sha256 and sha256:
            return self.sha256 == sha256
        return (self.remote_id, self.updated_at, self.size) == (remote_id, updated_at, size)


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A release as it is now. ``unfinished``: some of it is still being uploaded.

    ``changed_at`` is when anything about it was changed last.
    """

    source: Source
    name: str
    owner: str = ""
    repo: str = ""
    tag: str = ""
    directory: str = ""
    report_to: str = ""
    assets: tuple[FoundAsset, ...] = ()
    unfinished: bool = False
    changed_at: datetime | None = None
    login: str | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def find_on_github(
    github: GitHub, request: wire.LoadRequest, now: datetime, *, preflight: bool
) -> Found:
    """Ask GitHub for the release, and (``preflight``) what will go wrong when issues are filed."""
    owner, repo, tag = request.owner or "", request.repo or "", request.tag or ""
    if not tag or not _OWNER_REPO.fullmatch(f"{owner}/{repo}"):
        raise BadRequest(
            f"cannot load {owner}/{repo}@{tag}: that names no release",
            hint="dispatchctl load --owner OWNER --repo REPO --tag TAG",
        )
    notes: list[str] = []
    release = _release(github, owner, repo, tag, notes)
    name = f"{owner}/{repo}@{release.tag}"
    rested = all(now - moment >= RESTED for moment in _touched(release))
    uploaded = [asset for asset in release.assets if asset.state == "uploaded"]
    chosen, note = select(uploaded, filters=request.filters, all_efi=request.all_efi, rested=rested)
    notes += [note] if note else []
    empty = ", ".join(asset.name for asset in chosen if not asset.size)
    chosen = [asset for asset in chosen if asset.size]
    open_assets = [asset.name for asset in release.assets if asset.state != "uploaded"]
    warnings = [f"still being uploaded: {name}, queued when it is whole" for name in open_assets]
    if preflight and not chosen and not open_assets and rested:
        raise Refused(f"cannot load {name}: {_nothing(release, request)}", hint=_remedy(release))
    if empty:
        warnings.append(f"empty, so not queued: {empty}")
    unverified = ", ".join(asset.name for asset in chosen if asset.sha256 is None)
    if unverified:
        warnings.append(f"no sha256 on GitHub, only the size can be checked: {unverified}")
    login, report_to = None, ""
    if preflight:
        login, report_to = _preflight(github, request, f"{owner}/{repo}", warnings)
    if not chosen:
        warnings.append("nothing to run yet: it is looked at again every minute")
    return Found(
        source=Source.GITHUB,
        name=name,
        owner=owner,
        repo=repo,
        tag=release.tag,
        report_to=report_to,
        assets=tuple(_asset(asset) for asset in chosen),
        unfinished=bool(open_assets) or not rested,
        changed_at=max(_touched(release)),
        login=login,
        notes=tuple(notes),
        warnings=tuple(warnings),
    )


def _release(github: GitHub, owner: str, repo: str, tag: str, notes: list[str]) -> RemoteRelease:
    try:
        return github.release_by_tag(owner, repo, tag)
    except Gone:
        if tag != "latest":
            raise
        release = github.latest_release(owner, repo)
        notes.append(f"no tag is named latest: the latest release is {release.tag}")
        return release


def _touched(release: RemoteRelease) -> list[datetime]:
    return [release.published_at, release.updated_at, *(a.updated_at for a in release.assets)]


def _nothing(release: RemoteRelease, request: wire.LoadRequest) -> str:
    names = ", ".join(asset.name for asset in release.assets[:10]) or "it has no assets at all"
    if request.filters:
        return f"no bootable asset matches {' or '.join(request.filters)} (it has: {names})"
    return f"it has no bootable asset (it has: {names})"


def _remedy(release: RemoteRelease) -> str:
    if any(EXTENSION.search(asset.name) for asset in release.assets):
        return "--all-efi takes every *.efi, *.iso and *.img"
    return "assets are marked by the content type application/vnd.dispatch+efi, +iso or +img"


def _preflight(
    github: GitHub, request: wire.LoadRequest, home: str, warnings: list[str]
) -> tuple[str | None, str]:
    """Who files where; what will go wrong is added to the warnings.

    That it cannot be told is one more of these: what is filed later need not be known today.
    """
    if not request.file:
        return None, ""
    report_to = request.report_to or home
    check_target(report_to)
    login = None
    try:
        login = github.login()
        repository = github.repository(*report_to.split("/"))
    except (Unavailable, Refused) as error:
        warnings.append(f"whether {report_to} takes the reports is not known: {error.told}")
        return login, report_to
    if not github.has_token():
        warnings.append("no token: reports wait here until dispatchctl login")
    elif login is None:
        warnings.append(OF_AN_APP)
    elif repository.push is False:
        warnings.append(
            f"@{login} may not push to {report_to}: GitHub drops labels, assignees and milestone"
        )
    if not repository.has_issues:
        warnings.append(f"issues are disabled in {report_to}: reports wait until they are enabled")
    if repository.archived:
        warnings.append(f"{report_to} is archived: GitHub takes no issues there")
    return login, report_to


def check_target(report_to: str) -> None:
    """Raise BadRequest unless it is OWNER/REPO."""
    if not _OWNER_REPO.fullmatch(report_to):
        raise BadRequest(f"cannot report to {report_to!r}: that is no OWNER/REPO")


def _asset(asset: RemoteAsset) -> FoundAsset:
    media_type = boot_type(asset.name, asset.content_type)
    return FoundAsset(
        name=asset.name,
        size=asset.size,
        sha256=asset.sha256 or "",
        content_type=asset.content_type,
        media_type=media_type or "",
        remote_id=asset.id,
        url=asset.url,
        download_url=asset.download_url,
        updated_at=asset.updated_at.isoformat(),
    )

"""The settings: what there is to say, and what it must be. Durations are seconds and sizes are
bytes once they are read.
"""

import ipaddress
import re
import shlex
import shutil
from pathlib import Path
from typing import Annotated, Literal

import msgspec

#: Seconds. Reports may come late, and what nobody claimed is kept as long.
SHORTEST_MEMORY = 7 * 86400
_LISTEN = re.compile(r"(\*|\[[0-9A-Fa-f:.]+\]|[0-9.]+):(\d{1,5})")


class Duration(float):
    """A length of time in seconds, written like "1h30m"."""


class Age(Duration):
    """The same, and empty for an age that nothing reaches: 0."""


class Size(int):
    """A number of bytes, written like "100GiB"."""


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file: an unknown key is an error, not a surprise."""


class Boot(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    listen: str | list[str] = "*:8080"
    path: str = "/dispatch"
    allow: list[str] = []
    machines: Literal["any", "known"] = "any"
    poweroff: str = ""
    wait: str = ""

    def addresses(self) -> list[tuple[str, int]]:
        """(address or "*", port) of every listener."""
        words = [self.listen] if isinstance(self.listen, str) else self.listen
        return [_listen(word) for word in words]

    def networks(self) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
        """Who may knock; empty for everyone."""
        return [ipaddress.ip_network(word, strict=False) for word in self.allow]

    def check(self) -> None:
        if not self.addresses():
            raise ValueError("listen: names no address")
        try:
            self.networks()
        except ValueError as error:
            raise ValueError(f"allow: {error}") from error
        plain = re.fullmatch(r"(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+", self.path)
        # Requests are compared without their extension: a path with one would never be found.
        if not plain or re.search(r"\.(efi|iso|img)$", self.path, re.IGNORECASE):
            raise ValueError(f'path: {self.path!r} is no path like "/dispatch"')


class Control(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    socket: str = ""


class Queue(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    idle: Literal["auto", "poweroff", "wait", "next"] = "auto"
    attempts: Annotated[int, msgspec.Meta(ge=1, le=100)] = 2


class Deadlines(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    assigned: Duration = Duration(300)
    stalled: Duration = Duration(300)
    reask: Duration = Duration(60)
    boot: Duration = Duration(600)
    report: Duration = Duration(3600)
    settle: Duration = Duration(30)
    late: Duration = Duration(86400)
    drain: Duration = Duration(90)


class CacheSection(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    #: 0: the least of 100 GiB and half of the file system.
    max_size: Size = Size(0)
    min_free: Size = Size(2 << 30)
    downloads: Annotated[int, msgspec.Meta(ge=1, le=64)] = 3


class GitHub(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    api_url: str = "https://api.github.com"
    proxy: str = ""
    ca_bundle: str = ""
    issue_spacing: Duration = Duration(3)

    def check(self) -> None:
        if not re.fullmatch(r"https?://[^/?#\s]+(/[^?#\s]*)?", self.api_url):
            raise ValueError(f"api_url: {self.api_url!r} is no http or https URL")
        if self.proxy and not re.fullmatch(r"https?://[^/?#\s]+/?", self.proxy):
            raise ValueError(f'proxy: {self.proxy!r} is no URL like "http://proxy:3128"')


class Reports(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    footer: bool = True
    failures: bool = False


class History(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    keep: Age = Age(0)

    def check(self) -> None:
        if 0 < self.keep < SHORTEST_MEMORY:
            raise ValueError("keep: less than 7d, and what is late could not be told from new")


class Hooks(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    command: str = ""
    timeout: Duration = Duration(30)

    def check(self) -> None:
        try:
            words = shlex.split(self.command)
        except ValueError as error:
            raise ValueError(f"command: {self.command!r} is no command line: {error}") from error
        if words and shutil.which(words[0]) is None:
            raise ValueError(f"command: {words[0]} cannot be run")


class Discovery(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    enabled: bool = True


class File(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file, as it is written."""

    state_dir: str = ""
    cache_dir: str = ""
    database: str = ""
    boot: Boot = Boot()
    control: Control = Control()
    queue: Queue = Queue()
    deadlines: Deadlines = Deadlines()
    cache: CacheSection = CacheSection()
    github: GitHub = GitHub()
    reports: Reports = Reports()
    history: History = History()
    hooks: Hooks = Hooks()
    discovery: Discovery = Discovery()


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What dispatchd was told, every path resolved. ``source`` is the file, or None."""

    source: Path | None
    state_dir: Path
    cache_dir: Path
    database: str
    socket: Path
    poweroff: Path | None
    wait: Path | None
    boot: Boot
    queue: Queue
    deadlines: Deadlines
    cache: CacheSection
    github: GitHub
    reports: Reports
    history: History
    hooks: Hooks
    discovery: Discovery


def _listen(word: str) -> tuple[str, int]:
    found = _LISTEN.fullmatch(word.strip())
    host = found[1].strip("[]") if found else ""
    if not found or int(found[2]) > 65535 or not _is_address(host):
        raise ValueError(f'listen: {word!r} is no "*:8080", "10.0.0.2:8080" or "[::1]:8080"')
    return host, int(found[2])


def _is_address(host: str) -> bool:
    try:
        return host == "*" or bool(ipaddress.ip_address(host))
    except ValueError:
        return False

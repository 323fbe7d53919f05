"""The settings: one TOML file, checked whole before anything starts.

Every value is resolved here, so that nothing else looks at the environment for a path. Durations
are seconds and sizes are bytes once they are read.
"""

import difflib
import ipaddress
import os
import re
import shlex
import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from dispatchd.errors import ConfigError

SYSTEM_FILE = Path("/etc/dispatchd/dispatchd.toml")
_DURATION = re.compile(r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?")
#: Seconds. Beyond it is a slip of the hand, and soon more than clocks and waits can count.
_LONGEST = 10 * 365 * 86400
#: Seconds. Reports may come late, and what nobody claimed is kept as long.
SHORTEST_MEMORY = 7 * 86400
_SIZE = re.compile(r"(\d{1,15})\s*(B|KiB|MiB|GiB|TiB)")
_LISTEN = re.compile(r"(\*|\[[0-9A-Fa-f:.]+\]|[0-9.]+):(\d{1,5})")
_UNITS = {"B": 0, "KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}


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


class _File(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
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


def load(path: Path | None, environ: Mapping[str, str], *, is_root: bool) -> Settings:
    """Read the settings: ``path``, else DISPATCHD_CONFIG, else /etc/dispatchd/dispatchd.toml.

    Raises ConfigError naming the file, the key and the reason.
    """
    named = path or (Path(environ["DISPATCHD_CONFIG"]) if environ.get("DISPATCHD_CONFIG") else None)
    source = named or (SYSTEM_FILE if _is_there(SYSTEM_FILE) else None)
    file = _read(source) if source else _File()
    try:
        return _resolve(file, source, environ, is_root=is_root)
    except ValueError as error:
        raise ConfigError(f"cannot use {source or 'the settings'}: {error}") from error


def _is_there(path: Path) -> bool:
    """Where nobody lets us look counts as there: reading it then says what is wrong."""
    try:
        return path.exists()
    except PermissionError:
        return True


def _read(source: Path) -> _File:
    try:
        table = tomllib.loads(source.read_text())
    except OSError as error:
        raise ConfigError(
            f"cannot read the settings {source}: {error.strerror}",
            hint="--config and DISPATCHD_CONFIG name the file",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the settings {source}: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"cannot read the settings {source}: nested too deeply") from error
    try:
        return msgspec.convert(table, _File, dec_hook=_decode)
    except msgspec.ValidationError as error:
        message, hint = _explain(str(error), table)
        raise ConfigError(f"cannot use {source}: {message}", hint=hint) from error


def _decode(kind: type, value: Any) -> Any:
    """A duration or a size from the words of the file."""
    if not isinstance(value, str):
        raise TypeError(f"Expected `str`, got `{type(value).__name__}`")
    if kind is Age and not value.strip():
        return Age(0)
    if issubclass(kind, Duration):
        found = _DURATION.fullmatch(value.replace(" ", ""))
        parts = [int(part or 0) for part in found.groups()] if found else [0]
        if not any(parts):
            raise ValueError(f'{value!r} is no length of time like "30s", "5m" or "1h30m"')
        days, hours, minutes, seconds = parts
        length = days * 86400 + hours * 3600 + minutes * 60 + seconds
        if length > _LONGEST:
            raise ValueError(f"{value!r} is longer than ten years")
        return kind(length)
    if not value.strip():
        return Size(0)
    match = _SIZE.fullmatch(value.strip())
    if not match:
        raise ValueError(f'{value!r} is no size like "500MiB" or "100GiB"')
    return Size(int(match[1]) << _UNITS[match[2]])


def _explain(error: str, table: dict[str, Any]) -> tuple[str, str]:
    """Msgspec's sentence as "[section] key: reason", and the nearest key for a misspelt one."""
    reason, _, place = error.partition(" - at `")
    keys = [key for key in place.rstrip("`").lstrip("$").split(".") if key]
    unknown = re.search(r"unknown field `(.+)`", reason)
    hint = ""
    if unknown:
        section = keys[0] if keys else ""
        shape = getattr(_File(), section) if section else _File()
        near = difflib.get_close_matches(unknown[1], shape.__struct_fields__, n=1)
        hint = f"did you mean {near[0]}?" if near else "see the example in packaging/systemd"
        keys.append(unknown[1])
        reason = "unknown key"
    where = f"[{keys[0]}] {'.'.join(keys[1:])}" if len(keys) > 1 else ".".join(keys)
    value: Any = table
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    said = f" (it says {value!r})" if value is not None and not unknown else ""
    return f"{where}: {reason}{said}", hint


def _resolve(
    file: _File, source: Path | None, environ: Mapping[str, str], *, is_root: bool
) -> Settings:
    for name in ("boot", "history", "github", "hooks"):
        try:
            getattr(file, name).check()
        except ValueError as error:
            raise ValueError(f"[{name}] {error}") from error
    home = Path(environ.get("HOME", "/"))
    state = _directory(source, "state_dir", file.state_dir, environ.get("STATE_DIRECTORY"))
    if state is None:
        xdg = Path(environ.get("XDG_STATE_HOME") or home / ".local/state") / "dispatchd"
        state = Path("/var/lib/dispatchd") if is_root else xdg
    cache = _directory(source, "cache_dir", file.cache_dir, environ.get("CACHE_DIRECTORY"))
    if cache is None:
        xdg = Path(environ.get("XDG_CACHE_HOME") or home / ".cache") / "dispatchd"
        cache = Path("/var/cache/dispatchd") if is_root else xdg
    database = file.database or f"sqlite:///{state}/dispatchd.db"
    if not database.startswith("sqlite:///"):
        raise ValueError(f"database: {database!r} is not a sqlite:/// URL: SQLite for now")
    if database.removeprefix("sqlite:///") in ("", ":memory:") or not database.isprintable():
        raise ValueError(f"database: {database!r} names no file: a restart would lose everything")
    return Settings(
        source=source,
        state_dir=state,
        cache_dir=cache,
        database=database,
        socket=_socket(source, file, environ, state, is_root=is_root),
        poweroff=_file(source, "[boot] poweroff", file.boot.poweroff),
        wait=_file(source, "[boot] wait", file.boot.wait),
        boot=file.boot,
        queue=file.queue,
        deadlines=file.deadlines,
        cache=file.cache,
        github=file.github,
        reports=file.reports,
        history=file.history,
        hooks=file.hooks,
        discovery=file.discovery,
    )


def _path(source: Path | None, key: str, word: str) -> Path:
    """A path that the settings name; relative to the file that names it."""
    if not word.isprintable():
        raise ValueError(f"{key}: {word!r} is no path")
    try:
        path = Path(word).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{key}: {word!r} is in the home of a user who is not here") from error
    return path if path.is_absolute() or source is None else source.parent / path


def _directory(source: Path | None, key: str, named: str, given: str | None) -> Path | None:
    """What the file names, else what systemd gives (the first of a list)."""
    if named:
        return _path(source, key, named)
    return Path(given.split(":")[0]) if given else None


def _socket(
    source: Path | None, file: _File, environ: Mapping[str, str], state: Path, *, is_root: bool
) -> Path:
    if file.control.socket:
        return _path(source, "[control] socket", file.control.socket)
    if environ.get("RUNTIME_DIRECTORY"):
        return Path(environ["RUNTIME_DIRECTORY"].split(":")[0]) / "control.sock"
    if is_root:
        return Path("/run/dispatchd/control.sock")
    if environ.get("XDG_RUNTIME_DIR"):
        return Path(environ["XDG_RUNTIME_DIR"]) / "dispatchd/control.sock"
    return state / "control.sock"


def _file(source: Path | None, key: str, word: str) -> Path | None:
    """A file that the settings name and that is there."""
    if not word:
        return None
    path = _path(source, key, word)
    if not os.access(path, os.R_OK) or not path.is_file():
        raise ValueError(f"{key}: {path} cannot be read")
    return path


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

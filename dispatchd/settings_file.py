"""Reading the settings: one TOML file, checked whole before anything starts.

Every value is resolved here, so that nothing else looks at the environment for a path.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from dispatchd.errors import ConfigError
from dispatchd.settings import Age, Duration, File, Settings, Size

SYSTEM_FILE = Path("/etc/dispatchd/dispatchd.toml")
_DURATION = re.compile(r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?")
#: Seconds. Beyond it is a slip of the hand, and soon more than clocks and waits can count.
_LONGEST = 10 * 365 * 86400
_SIZE = re.compile(r"(\d{1,15})\s*(B|KiB|MiB|GiB|TiB)")
_UNITS = {"B": 0, "KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}


def load(
    path: Path | None,
    environ: Mapping[str, str],
    *,
    is_root: bool,
    system: Path = SYSTEM_FILE,
) -> Settings:
    """Read the settings: ``path``, else DISPATCHD_CONFIG, else the ``system``'s if it is there.

    Raises ConfigError naming the file, the key and the reason.
    """
    named = path or (Path(environ["DISPATCHD_CONFIG"]) if environ.get("DISPATCHD_CONFIG") else None)
    source = named or (system if _is_there(system) else None)
    file = _read(source) if source else File()
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


def _read(source: Path) -> File:
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
        return msgspec.convert(table, File, dec_hook=_decode)
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
        shape = getattr(File(), section) if section else File()
        near = difflib.get_close_matches(unknown[1], shape.__struct_fields__, n=1)
        hint = f"did you mean {near[0]}?" if near else "see the example in packaging/systemd"
        keys.append(unknown[1])
        reason = "unknown key"
    where = f"[{keys[0]}] {'.'.join(keys[1:])}" if len(keys) > 1 else ".".join(keys)
    value: Any = table
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    choices = _choices(keys)
    if choices:
        return f"{where}: {value!r} is not one of {', '.join(choices)}", hint
    said = f" (it says {value!r})" if value is not None and not unknown else ""
    return f"{where}: {reason}{said}", hint


def _choices(keys: Sequence[str]) -> tuple[str, ...]:
    """The words of a key that knows only some."""
    kind: Any = File
    for key in keys:
        kind = get_type_hints(kind).get(key) if isinstance(kind, type) else None
    return get_args(kind) if get_origin(kind) is Literal else ()


def _resolve(
    file: File, source: Path | None, environ: Mapping[str, str], *, is_root: bool
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
    bundle = _readable(source, "[github] ca_bundle", file.github.ca_bundle)
    return Settings(
        source=source,
        state_dir=state,
        cache_dir=cache,
        database=database,
        socket=_socket(source, file, environ, state, is_root=is_root),
        poweroff=_readable(source, "[boot] poweroff", file.boot.poweroff),
        wait=_readable(source, "[boot] wait", file.boot.wait),
        boot=file.boot,
        queue=file.queue,
        deadlines=file.deadlines,
        cache=file.cache,
        github=msgspec.structs.replace(file.github, ca_bundle=str(bundle or "")),
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
    source: Path | None, file: File, environ: Mapping[str, str], state: Path, *, is_root: bool
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


def _readable(source: Path | None, key: str, word: str) -> Path | None:
    """A file that the settings name and that is there."""
    if not word:
        return None
    path = _path(source, key, word)
    if not os.access(path, os.R_OK) or not path.is_file():
        raise ValueError(f"{key}: {path} cannot be read")
    return path

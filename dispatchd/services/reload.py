"""Reading the settings again while everything runs."""

import logging
import threading
from collections.abc import Callable

import msgspec

from dispatchd.domain.event import Kind
from dispatchd.errors import DispatchError
from dispatchd.services.clock import Clock
from dispatchd.services.systemd import Systemd
from dispatchd.settings import Section, Settings
from dispatchd.store.store import Store

log = logging.getLogger(__name__)

#: What is opened or read once, at the start. Everything else is asked for at each use.
FIXED = frozenset(
    {
        "state_dir",
        "cache_dir",
        "database",
        "[boot] listen",
        "[boot] path",
        "[control] socket",
        "[github] api_url",
        "[github] proxy",
        "[github] ca_bundle",
        "[discovery] enabled",
        "[cache] downloads",
        "[deadlines] drain",
    }
)
#: Where the settings keep a path that was resolved, by the key that names it.
_RESOLVED = {"socket": "[control] socket", "poweroff": "[boot] poweroff", "wait": "[boot] wait"}


class Reload:
    """What SIGHUP does. ``read`` reads the settings, and ``apply`` takes them over."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        systemd: Systemd,
        *,
        read: Callable[[], Settings],
        current: Callable[[], Settings],
        apply: Callable[[Settings], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._systemd = systemd
        self._read = read
        self._current = current
        self._apply = apply
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin, in a thread: this is called from a signal's handler."""
        threading.Thread(target=self.run, name="reload", daemon=True).start()

    def run(self) -> None:
        """Take over what can change while running, and say what cannot."""
        with self._lock:
            self._systemd.reloading()
            try:
                self._take_over(self._read())
            except DispatchError as error:
                log.error("the settings stay as they were: %s", error.told)
            finally:
                self._systemd.ready()

    def _take_over(self, fresh: Settings) -> None:
        before, wanted = flat(self._current()), flat(fresh)
        changed = [name for name, value in wanted.items() if before[name] != value]
        waiting = [name for name in changed if name in FIXED]
        self._apply(merged(self._current(), fresh))
        now = [name for name in changed if name not in FIXED]
        text = f"settings read again: {', '.join(now) or 'nothing'} changed"
        if waiting:
            text += f"; {', '.join(waiting)} will after a restart (systemctl restart dispatchd)"
        with self._store.writing() as tx:
            tx.tell(Kind.RELOADED, text, at=self._clock.now())


def flat(settings: Settings) -> dict[str, object]:
    """Every setting by the name that people know it by, like "[boot] path"."""
    named: dict[str, object] = {}
    for name, value in msgspec.structs.asdict(settings).items():
        if isinstance(value, Section):
            inner = msgspec.structs.asdict(value)
            named |= {f"[{name}] {key}": setting for key, setting in inner.items()}
        elif name != "source":
            named[_RESOLVED.get(name, name)] = value
    return named


def merged(old: Settings, fresh: Settings) -> Settings:
    """The fresh settings, with what is fixed as it was."""
    kept: dict[str, object] = {}
    for name in msgspec.structs.asdict(fresh):
        before, section = getattr(old, name), getattr(fresh, name)
        if isinstance(section, Section):
            keys = [key for key in msgspec.structs.asdict(section) if f"[{name}] {key}" in FIXED]
            values = {key: getattr(before, key) for key in keys}
            kept[name] = msgspec.structs.replace(section, **values)
        elif _RESOLVED.get(name, name) in FIXED:
            kept[name] = before
    return msgspec.structs.replace(fresh, **kept)

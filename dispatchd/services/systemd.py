"""What systemd is told of us, sd_notify(3). Without systemd nobody is told, and nothing fails."""

import os
import time
from collections.abc import Mapping

import sdnotify

#: Seconds that one request for more time asks for, and between two of them.
MORE, BETWEEN = 30.0, 5.0
#: Seconds until what systemd does not take is dropped.
PATIENCE = 0.5


class Systemd:
    """The service manager. Any thread, and a signal's handler, may speak to it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._notifier = sdnotify.SystemdNotifier() if environ.get("NOTIFY_SOCKET") else None
        if self._notifier is not None and self._notifier.socket is not None:
            # The loop that feeds machines speaks too: a stuck service manager may not stop it.
            self._notifier.socket.settimeout(PATIENCE)
        self._asked_at = -BETWEEN
        #: Seconds without a sign of life after which it kills us; None: it does not watch us.
        self.watchdog = _watchdog(environ)

    def close(self) -> None:
        """Say nothing more."""
        if self._notifier is not None and self._notifier.socket is not None:
            self._notifier.socket.close()

    def ready(self) -> None:
        """Serving: for the first time, or with settings read again."""
        self._say("READY=1")

    def stopping(self) -> None:
        self._say("STOPPING=1")

    def reloading(self) -> None:
        self._say(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def status(self, words: str) -> None:
        """The line that `systemctl status` shows."""
        self._say(f"STATUS={words}")

    def alive(self) -> None:
        self._say("WATCHDOG=1")

    def wait_longer(self) -> None:
        """Starting or stopping takes longer, and goes on: call it at every step of the way."""
        now = time.monotonic()
        if now - self._asked_at >= BETWEEN:
            self._asked_at = now
            self._say(f"EXTEND_TIMEOUT_USEC={MORE * 1e6:.0f}")

    def _say(self, message: str) -> None:
        if self._notifier is not None:
            self._notifier.notify(message)


def _watchdog(environ: Mapping[str, str]) -> float | None:
    """WATCHDOG_USEC in seconds, where it is meant for this process: sd_watchdog_enabled(3)."""
    word = environ.get("WATCHDOG_USEC", "")
    pid = environ.get("WATCHDOG_PID", "")
    if not word.isdecimal() or not int(word) or (pid and pid != str(os.getpid())):
        return None
    return int(word) / 1e6

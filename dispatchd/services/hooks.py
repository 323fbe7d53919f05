"""Runs a command of the operator's after each committed event: a power cycle, a mail, a chat.

One at a time and in the order of the events, so that nothing it does overtakes itself. It never
keeps the queue waiting: events wait for it in memory, and what waits when dispatchd ends is not
told again.
"""

import logging
import os
import queue
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import BinaryIO, Protocol

from dispatchd.domain.event import Event
from dispatchd.services.journal import fields

log = logging.getLogger(__name__)

#: Events that may wait for their turn.
WAITING = 1000
#: Seconds between two looks at whether to stop.
LOOK = 0.1
#: Bytes of a failed command's output that the log shows.
TAIL = 300
#: Characters of a variable: the kernel takes 128 KiB (execve(2)).
LONGEST = 4000
#: What a command inherits. Not what we were given to keep: the token, sockets, credentials.
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "USER", "LOGNAME")


class Stopping(Protocol):
    """Whether to stop: a threading.Event's part of it."""

    def is_set(self) -> bool: ...
    def wait(self, timeout: float | None = None) -> bool: ...


class Hooks:
    """``command``: a command line, or empty. ``timeout``: seconds that one run may take.

    Both are asked for at each event.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        command: Callable[[], str],
        timeout: Callable[[], float],
    ) -> None:
        self._environ = {name: environ[name] for name in INHERITED if name in environ}
        self._command = command
        self._timeout = timeout
        self._waiting: queue.Queue[Event] = queue.Queue(WAITING)
        self._dropping = False

    def tell(self, event: Event) -> None:
        """Take an event that has been committed: a listener of the store. Never blocks."""
        if not self._command():
            return
        try:
            self._waiting.put_nowait(event)
            self._dropping = False
        except queue.Full:
            if not self._dropping:
                log.warning("the hook is too slow: it is not told from %r on", event.text)
            self._dropping = True

    def run(self, stopping: Stopping) -> None:
        """Run the command for each event until stopped; what runs then is killed."""
        while not stopping.is_set():
            with suppress(queue.Empty):
                self._run(self._waiting.get(timeout=LOOK), stopping)

    def _run(self, event: Event, stopping: Stopping) -> None:
        words = shlex.split(self._command())
        if not words:
            return
        # Not a pipe: what the command leaves running may hold it open for ever.
        with tempfile.TemporaryFile() as output:
            try:
                process = subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**self._environ, **variables(event)},
                    start_new_session=True,
                )
            except OSError as error:
                log.warning("cannot run the hook %s: %s", words[0], error.strerror)
                return
            ended = self._wait(process, stopping)
            if ended != 0 and not stopping.is_set():
                log.warning("the hook %s %s", _verdict(ended), _about(event, output))

    def _wait(self, process: subprocess.Popen[bytes], stopping: Stopping) -> int | None:
        """Its exit status, or None where it was killed: it took too long, or we stop."""
        until = time.monotonic() + self._timeout()
        while process.poll() is None:
            if time.monotonic() > until or stopping.wait(LOOK):
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return None
        return process.returncode


def variables(event: Event) -> dict[str, str]:
    """What the command is told, as the log is (docs/journal.md), and what it needs besides."""
    named = {name: str(value) for name, value in fields(event) if name != "MESSAGE_ID"}
    named["TEXT"] = event.text
    if event.machine is not None:
        named["ADDRESS"], named["MAC"] = event.machine.address, event.machine.mac
    return {f"DISPATCHD_{name}": _plain(value) for name, value in named.items()}


def _plain(value: str) -> str:
    """What a variable can hold: the wire sends NUL, what UTF-8 cannot hold, and megabytes."""
    return value[:LONGEST].replace("\0", "").encode(errors="replace").decode()


def _verdict(ended: int | None) -> str:
    return "took too long and was killed" if ended is None else f"failed with status {ended}"


def _about(event: Event, output: BinaryIO) -> str:
    output.seek(max(output.seek(0, os.SEEK_END) - TAIL, 0))
    said = " ".join(output.read().decode(errors="replace").split())
    return f"after {event.text!r}" + (f": {said}" if said else "")

"""The log: structured entries for journald, or plain lines on stderr.

Every event of the queue is one entry with the fields that docs/journal.md lists, so that
`journalctl WORKLOAD=…` tells one workload's story.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from logging_journald import JournaldTransport

from dispatchd.domain.event import Event, Severity

log = logging.getLogger("dispatchd.queue")

SOCKET = Path("/run/systemd/journal/socket")
#: Seconds that a thread may wait for a journald that is busy or stuck.
PATIENCE = 2.0
_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}
_LEVEL = {
    Severity.INFO: logging.INFO,
    Severity.WARNING: logging.WARNING,
    Severity.ERROR: logging.ERROR,
}


def tell(event: Event) -> None:
    """Log an event that has been committed: a listener of the store."""
    text = f"{event.text} (by {event.by})" if event.by else event.text
    log.log(_LEVEL[event.kind.severity], "%s", text, extra={"event": event})


class JournalFormatter(logging.Formatter):
    """Prefixes every line, a traceback's too: journald makes each an entry of its own."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_priority(record)}>"
        return "\n".join(prefix + line for line in super().format(record).splitlines())


class JournalHandler(logging.StreamHandler[TextIO]):
    """One entry a record, by journald's own protocol; lines on the stream where that fails."""

    def __init__(self, stream: TextIO, socket: Path) -> None:
        super().__init__(stream)
        # Not connected: journald makes its socket anew when it is restarted.
        self._transport = JournaldTransport(socket, connected=False)
        self._transport.socket.settimeout(PATIENCE)
        self.setFormatter(JournalFormatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._transport.send(_entry(record))
        except Exception:  # noqa: BLE001 - a line of the log never fails who wrote it
            super().emit(record)

    def close(self) -> None:
        self._transport.socket.close()
        super().close()


def configure(environ: Mapping[str, str], stream: TextIO, *, socket: Path = SOCKET) -> None:
    """Log to ``stream`` from INFO on; to journald where that is what the stream is."""
    handler: logging.StreamHandler[TextIO]
    if not _is_journal(environ, stream):
        handler = logging.StreamHandler(stream)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    elif socket.exists():
        handler = JournalHandler(stream, socket)
    else:
        handler = logging.StreamHandler(stream)
        handler.setFormatter(JournalFormatter("%(message)s"))
    handler.addFilter(_is_ours_or_an_error)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def _priority(record: logging.LogRecord) -> int:
    return _PRIORITY.get(record.levelno, 2)


_PLAIN = logging.Formatter("%(message)s")


def _entry(record: logging.LogRecord) -> Iterator[tuple[str, str | int]]:
    """The fields of a record's entry (systemd.journal-fields(7)); a traceback is in its message."""
    # Text from the wire or from a path may hold what UTF-8 cannot.
    yield "MESSAGE", _PLAIN.format(record).encode(errors="replace").decode()
    yield "PRIORITY", _priority(record)
    yield "SYSLOG_IDENTIFIER", "dispatchd"
    yield "CODE_FILE", record.pathname
    yield "CODE_LINE", record.lineno
    yield "CODE_FUNC", record.funcName
    event = getattr(record, "event", None)
    if isinstance(event, Event):
        yield from fields(event)


def fields(event: Event) -> Iterator[tuple[str, str | int]]:
    """What an event adds to its entry; nothing for what it is not about."""
    yield "MESSAGE_ID", event.kind.message_id
    yield "EVENT", event.kind.value
    if event.by:
        yield "BY", event.by
    if event.workload is not None:
        yield "WORKLOAD", event.workload.name
        if event.workload.pool:
            yield "POOL", event.workload.pool
    if event.machine is not None:
        yield "MACHINE", event.machine.label
    if event.release is not None:
        yield "RELEASE", event.release.name
    if event.attempt is not None:
        yield "ATTEMPT", event.attempt.number
    if event.report is not None:
        yield "REPORT", event.report.id


def _is_ours_or_an_error(record: logging.LogRecord) -> bool:
    """Our own lines say what the libraries' would; theirs show addresses with signatures in them.

    Asked of the record and not set on their loggers: a library may set its own level at any time.
    """
    return record.name.partition(".")[0] == "dispatchd" or record.levelno >= logging.ERROR


def _is_journal(environ: Mapping[str, str], stream: TextIO) -> bool:
    """Whether the stream is the one that systemd connected: JOURNAL_STREAM, systemd.exec(5)."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"

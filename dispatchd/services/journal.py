"""The log: plain lines on stderr, or lines with a priority for journald (sd-daemon(3))."""

import logging
import os
from collections.abc import Mapping
from typing import TextIO

_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}


class JournalFormatter(logging.Formatter):
    """Prefixes every line, a traceback's too: journald makes each an entry of its own."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_PRIORITY.get(record.levelno, 2)}>"
        return "\n".join(prefix + line for line in super().format(record).splitlines())


def configure(environ: Mapping[str, str], stream: TextIO) -> None:
    """Log to ``stream`` from INFO on; for journald where that is what the stream is."""
    handler = logging.StreamHandler(stream)
    if _is_journal(environ, stream):
        handler.setFormatter(JournalFormatter("%(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.addFilter(_is_ours_or_an_error)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


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

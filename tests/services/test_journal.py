"""The log as a terminal shows it, and as journald reads it."""

import io
import logging
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from dispatchd.services.journal import configure

log = logging.getLogger("dispatchd.tests")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The logging that other tests have."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def journal_of(path: Path) -> Mapping[str, str]:
    """What systemd sets where stderr is the journal (systemd.exec(5))."""
    status = path.stat()
    return {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}


def speak() -> None:
    log.debug("each request")
    log.info("workload %s: assigned -> downloading", 12)
    log.warning("GitHub is slow")
    log.error("no token")
    log.critical("the end")


def test_a_terminal_gets_the_time_and_the_level() -> None:
    stream = io.StringIO()
    configure({}, stream)
    speak()
    lines = stream.getvalue().splitlines()
    words = ["INFO workload 12: assigned -> downloading", "WARNING GitHub is slow"]
    words += ["ERROR no token", "CRITICAL the end"]
    assert [re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ", "", line) for line in lines] == words


def test_the_journal_gets_a_priority_and_no_time(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with path.open("w") as stream:
        configure(journal_of(path), stream)
        speak()
    assert path.read_text().splitlines() == [
        "<6>workload 12: assigned -> downloading",
        "<4>GitHub is slow",
        "<3>no token",
        "<2>the end",
    ]


def test_every_line_of_a_traceback_has_its_priority(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with path.open("w") as stream:
        configure(journal_of(path), stream)
        try:
            int("on\ntwo lines")
        except ValueError:
            log.exception("cannot count")
            log.error("on\ntwo lines")
    lines = path.read_text().splitlines()
    assert "<3>Traceback (most recent call last):" in lines
    assert all(line.startswith("<3>") for line in lines)
    assert lines[-2:] == ["<3>on", "<3>two lines"]


def test_stderr_that_was_sent_elsewhere_is_not_the_journal(tmp_path: Path) -> None:
    other, path = tmp_path / "other", tmp_path / "log"
    other.touch()
    with path.open("w") as stream:
        configure(journal_of(other), stream)
        speak()
    assert "<6>" not in path.read_text()
    assert "INFO workload 12" in path.read_text()


def test_what_libraries_say_of_addresses_stays_out() -> None:
    stream = io.StringIO()
    configure({}, stream)
    logging.getLogger("urllib3.connectionpool").warning("https://x/?signature=secret")
    logging.getLogger("alembic.runtime.migration").info("Running upgrade")
    assert stream.getvalue() == ""


def test_a_closed_or_unreal_stream_is_no_journal() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    stream.close()
    configure({"JOURNAL_STREAM": "1:2"}, stream)
    formatter = logging.getLogger().handlers[0].formatter
    assert formatter is not None
    assert "asctime" in (formatter._fmt or "")

"""The log as a terminal shows it, and as journald reads it."""

import io
import logging
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from dispatchd.domain.event import Event, Kind
from dispatchd.domain.model import State
from dispatchd.services.journal import configure, tell
from tests.dispatcher.lab import START, Lab, PlayedMachine
from tests.journald import PlayedJournal

log = logging.getLogger("dispatchd.tests")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The logging that other tests have."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


def journal_of(path: Path) -> Mapping[str, str]:
    """What systemd sets where stderr is the journal (systemd.exec(5))."""
    status = path.stat()
    return {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[PlayedJournal]:
    """A journald that the log goes to; what it does not take goes to the file ``stderr``."""
    path = tmp_path / "stderr"
    with PlayedJournal.at(tmp_path / "socket") as journal, path.open("w") as stream:
        configure(journal_of(path), stream, socket=journal.path)
        yield journal


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


def test_a_journal_without_its_socket_gets_lines_with_a_priority(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with path.open("w") as stream:
        configure(journal_of(path), stream, socket=tmp_path / "none")
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
        configure(journal_of(path), stream, socket=tmp_path / "none")
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


def test_journald_gets_an_entry_with_where_it_comes_from(journal: PlayedJournal) -> None:
    log.warning("GitHub is slow: %s", "502")
    entry = journal.entry()
    assert (entry["MESSAGE"], entry["PRIORITY"]) == ("GitHub is slow: 502", "4")
    assert (entry["SYSLOG_IDENTIFIER"], entry["CODE_FILE"]) == ("dispatchd", __file__)
    assert "MESSAGE_ID" not in entry


def test_a_traceback_is_one_entry(journal: PlayedJournal) -> None:
    try:
        int("no number")
    except ValueError:
        log.exception("cannot count\nto two")
    log.info("next")
    lines = journal.entry()["MESSAGE"].splitlines()
    assert lines[:3] == ["cannot count", "to two", "Traceback (most recent call last):"]
    assert "no number" in lines[-1]
    assert journal.entry()["MESSAGE"] == "next"


def test_an_entry_that_is_too_large_for_a_datagram_arrives_whole(journal: PlayedJournal) -> None:
    text = "long " * 1_000_000
    log.info("%s", text)
    assert journal.entry()["MESSAGE"] == text


def test_text_that_utf_8_cannot_hold_is_logged_all_the_same(journal: PlayedJournal) -> None:
    log.info("cannot read %s", os.fsdecode(b"caf\xe9.efi"))
    assert journal.entry()["MESSAGE"] == "cannot read caf?.efi"


def test_what_a_text_says_never_becomes_a_field(journal: PlayedJournal) -> None:
    log.info("harmless\nPRIORITY=0\nWORKLOAD=other.efi")
    entry = journal.entry()
    assert entry["MESSAGE"].endswith("WORKLOAD=other.efi")
    assert (entry["PRIORITY"], entry.get("WORKLOAD")) == ("6", None)


def test_a_journald_that_restarts_gets_the_entries_after_it(tmp_path: Path) -> None:
    path, stderr = tmp_path / "socket", tmp_path / "stderr"
    with stderr.open("w") as stream:
        with PlayedJournal.at(path) as before:
            configure(journal_of(stderr), stream, socket=path)
            log.info("before")
            assert before.entry()["MESSAGE"] == "before"
        log.info("while it was away")
        with PlayedJournal.at(path) as after:
            log.info("after")
            assert after.entry()["MESSAGE"] == "after"
    assert stderr.read_text() == "<6>while it was away\n"


def test_one_workloads_story_can_be_searched_for(journal: PlayedJournal, tmp_path: Path) -> None:
    lab = Lab(tmp_path, listeners=[tell])
    (only,) = lab.load("host.efi", pools=("9004",), release="lab/images@v1")
    lab.operator.change_machine("epyc-07", name=None, pool="9004", note=None, simulated=None, by="")
    epyc = PlayedMachine(lab, name="epyc-07")
    epyc.download()
    epyc.boot()
    epyc.report()
    lab.settle_outbox()
    lab.operator.cancel(only, by="alice")
    assert lab.state(only) is State.FAILED
    entries = [journal.entry() for _ in range(7)]
    assert [entry["EVENT"] for entry in entries] == [
        "machine-set",
        "assigned",
        "downloading",
        "whole",
        "booting",
        "reported",
        "attempt-cancelled",
    ]
    assert all(entry["MESSAGE_ID"] == Kind(entry["EVENT"]).message_id for entry in entries)
    told = [entry["MACHINE"] for entry in entries]
    assert told == ["epyc-07"] * 7
    for entry in entries[1:]:
        assert (entry["WORKLOAD"], entry["POOL"]) == ("host.efi", "9004")
        assert (entry["RELEASE"], entry["ATTEMPT"]) == ("lab/images@v1", "1")
    with lab.store.reading() as tx:
        ((report, _),) = tx.reports.latest(10)
    assert entries[5]["REPORT"] == report.id
    assert (entries[6]["BY"], entries[6]["MESSAGE"][-10:]) == ("alice", "(by alice)")
    lab.store.close()


def test_what_fails_to_hear_of_an_event_does_not_undo_it(tmp_path: Path) -> None:
    def fail(event: Event) -> None:
        raise OSError(event.text)

    heard: list[Event] = []
    lab = Lab(tmp_path, listeners=[fail, heard.append])
    lab.operator.pause([], paused=True, by="alice")
    with lab.store.reading() as tx:
        assert tx.queue_paused_by() == "alice"
    assert [(event.kind, event.by) for event in heard] == [(Kind.QUEUE_PAUSED, "alice")]
    assert heard[0].at == START
    lab.store.close()


def test_an_event_of_a_transaction_that_failed_is_not_told(tmp_path: Path) -> None:
    heard: list[Event] = []
    lab = Lab(tmp_path, listeners=[heard.append])
    with pytest.raises(ZeroDivisionError), lab.context.unit() as unit:
        unit.tell(Kind.QUEUE_PAUSED, "queue paused")
        raise ZeroDivisionError
    assert heard == []
    lab.store.close()

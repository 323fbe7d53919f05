"""A short look at what `python -m tests.crash` does at length: the daemon dies, nothing is lost."""

import http.client
import re
import signal
from pathlib import Path

import pytest

from tests.crash.era import Era
from tests.crash.ledger import Ledger
from tests.crash.scenes import INSTANTS
from tests.e2e.daemon import QUIET, RunningDaemon
from tests.e2e.test_wire import ask, load
from tests.eventually import eventually

SOURCE = Path(__file__).parents[2] / "dispatchd"
#: Around the writes that a promise hangs on; empty: at any instant.
ENDS = (
    "migration-before-commit",
    "",
    "token-before-rename",
    "cache-before-rename",
    "before-assigned",
    "observation-before-write",
    "before-reported",
    "after-reported",
    "outbox-before-post",
    "",
    "outbox-after-post",
    "before-attempt-rebooted",
    "before-stopped",
    "",
)


def test_nothing_is_lost_or_doubled_however_the_daemon_dies(tmp_path: Path) -> None:
    ledger = Ledger()
    with Era(tmp_path / "era", seed="20261125", ledger=ledger) as era:
        missed = [end for end in ENDS if not era.live(end) and end]
        era.settle()
    assert not ledger.wrong, "\n".join(ledger.wrong)
    assert not missed
    assert ledger.acknowledged


def test_there_is_a_scene_for_every_instant_that_the_source_names() -> None:
    text = "".join(file.read_text() for file in SOURCE.rglob("*.py"))
    named = set(re.findall(r'reach\("([a-z-]+)"\)', text))
    assert named
    assert named <= INSTANTS.keys()
    assert INSTANTS.keys() - named == {"before-commit", "after-commit"}


@pytest.mark.parametrize("instant", ["before-downloading", "after-downloading", "before-whole"])
def test_who_was_sent_bytes_before_the_crash_is_known_after_it(
    tmp_path: Path, instant: str
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.efi").write_bytes(b"a" * 100_000)
    daemon = RunningDaemon(tmp_path / "dispatchd", settings=QUIET)
    daemon.spawn({"DISPATCHD_CRASH_AT": instant})
    eventually(daemon.is_up)
    load(daemon, tmp_path)
    ask(daemon, "HEAD")
    try:
        body = ask(daemon, "GET")[1]
    except (OSError, http.client.HTTPException):
        body = b""
    assert daemon.ended(30) == -signal.SIGKILL
    with daemon:
        if not body:
            ask(daemon, "GET")
        assert ask(daemon, "PUT", body=b'{"title": "it ran"}')[0].status == 200

"""`dispatchctl events`: everything that happened, and who did it."""

import getpass
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.daemon import BIN, CUT_OFF, RunningDaemon

#: What people can do, and how history calls it.
ACTIONS = {
    "pause": "queue-paused",
    "resume": "queue-resumed",
    "machines set epyc-07 pool=9004": "machine-set",
    "pause epyc-07": "machine-paused",
    "resume epyc-07": "machine-resumed",
    "machines forget epyc-07": "machine-forgotten",
    "cancel a.efi": "cancelled",
    "retry a.efi": "retried",
    "backup copy.db": "backed-up",
    "login": "logged-in",
    "unload images": "unloaded",
}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[RunningDaemon]:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.efi").write_bytes(b"a" * 1000)
    with RunningDaemon(tmp_path / "d", settings=CUT_OFF) as daemon:
        daemon.ctl("load", "--dir", str(tmp_path / "images"))
        yield daemon


def test_history_knows_who_did_what(
    daemon: RunningDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in ACTIONS:
        daemon.ctl(*words.split(), stdin="ghp_" + "x1Y2" * 9 if words == "login" else "")
    events = json.loads(daemon.ctl("events", "--json"))["events"]
    done = {event["kind"]: event["by"] for event in events if event["by"]}
    assert done == dict.fromkeys(["loaded", *ACTIONS.values()], getpass.getuser())
    assert f"queue paused (by {getpass.getuser()})" in daemon.ctl("events")


def test_history_is_shown_since_a_moment_and_after_an_event(daemon: RunningDaemon) -> None:
    everything = daemon.ctl("events").splitlines()
    assert daemon.ctl("events", "--since", "1h").splitlines() == everything
    assert daemon.ctl("events", "--since", "yesterday").splitlines() == everything
    first = everything[0].split()[0]
    assert daemon.ctl("events", "--after", first).splitlines() == everything[1:]
    assert daemon.ctl("events", "--since", "2999-01-01") == ""
    assert "is no moment like" in daemon.ctl("events", "--since", "soon", status=2)


def test_history_is_followed_until_ctrl_c(daemon: RunningDaemon) -> None:
    following = subprocess.Popen(
        [BIN / "dispatchctl", "--socket", daemon.socket, "events", "--follow"],
        stdout=subprocess.PIPE,
        text=True,
    )
    with following:
        assert following.stdout is not None
        assert "serves" in following.stdout.readline()
        daemon.ctl("pause")
        while "queue paused" not in following.stdout.readline():
            pass
        following.send_signal(signal.SIGINT)
        assert following.wait(20) == 0

"""dispatchctl against a real dispatchd: what it prints, and how it exits."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatchctl.cli import dispatchctl
from dispatchd import wire
from tests.e2e.daemon import BIN, CUT_OFF, RunningDaemon

DOCUMENTED = Path(__file__).parents[2] / "docs/dispatchctl.md"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[RunningDaemon]:
    images = tmp_path / "images"
    images.mkdir()
    for name in ("a", "b"):
        (images / f"{name}.efi").write_bytes(name.encode() * 1000)
    with RunningDaemon(tmp_path / "dispatchd", settings=CUT_OFF) as daemon:
        yield daemon


@pytest.fixture
def loaded(daemon: RunningDaemon, tmp_path: Path) -> RunningDaemon:
    daemon.ctl("load", "--dir", str(tmp_path / "images"))
    return daemon


def test_an_empty_queue_says_what_to_do_next(daemon: RunningDaemon) -> None:
    assert "Next: dispatchctl load" in daemon.ctl()
    assert "last knock: none yet" in daemon.ctl("status")


def test_json_may_stand_before_or_after_the_command(loaded: RunningDaemon) -> None:
    before = json.loads(loaded.ctl("--json", "status"))
    after = json.loads(loaded.ctl("status", "--json"))
    assert before == after
    row = before["workloads"][0]
    assert {"id", "name", "pool", "release", "state", "reason", "machine", "attempt"} <= set(row)
    assert {"attempts", "size", "sent", "seen", "reports"} <= set(row)
    assert list(before["counts"]) == list(wire.SIGNS)
    assert {"version", "url", "urls", "paused", "attention"} <= set(before)


@pytest.mark.parametrize(
    "command", ["status", "machines", "reports", "releases", "events", "show a.efi"]
)
def test_every_table_is_json_too_wherever_the_option_stands(
    loaded: RunningDaemon, command: str
) -> None:
    words = command.split()
    assert json.loads(loaded.ctl(*words, "--json")) == json.loads(loaded.ctl("--json", *words))


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        ("frobnicate", "no such command 'frobnicate'", "dispatchctl --help"),
        ("load --priority x", "invalid value for '--priority'", "dispatchctl load --help"),
        ("show", "missing argument 'WORKLOAD'", "dispatchctl show --help"),
    ],
)
def test_a_wrong_command_line_is_an_error_and_a_hint_like_any_other(
    daemon: RunningDaemon, words: str, said: str, hint: str
) -> None:
    printed = daemon.ctl(*words.split(), status=2)
    assert printed.startswith(f"error: {said}")
    assert printed.endswith(f"hint: {hint}\n")


def test_cancel_and_retry_take_names_globs_and_everything(loaded: RunningDaemon) -> None:
    assert loaded.ctl("cancel", "a.efi") == "a.efi: cancelled\n"
    assert loaded.states() == ["failed", "unassigned"]
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    assert f"cancelled by {user}" in loaded.ctl("show", "a.efi")
    assert "hint: --yes" in loaded.ctl("cancel", "*.efi", status=2)
    assert loaded.ctl("cancel", "*.efi", "--yes") == "b.efi: cancelled\n"
    loaded.ctl("cancel", "b.efi", status=1)
    loaded.ctl("retry", "--all", "--yes")
    assert loaded.states() == ["unassigned", "unassigned"]
    assert "cannot find a workload 'c'" in loaded.ctl("retry", "c", status=1)


def test_machines_are_named_set_listed_and_forgotten(daemon: RunningDaemon) -> None:
    daemon.ctl("machines", "set", "epyc-07", "pool=9004", "note=rack 3")
    daemon.ctl("machines", "name", "aa:bb:cc:dd:ee:ff", "epyc-08")
    said = daemon.ctl("machines")
    assert "epyc-07" in said
    assert "9004" in said
    assert "aa:bb:cc:dd:ee:ff" in said
    daemon.ctl("machines", "set", "epyc-07", "colour=red", status=2)
    daemon.ctl("machines", "name", "aa:bb:cc:dd:ee:ff", "epyc-07", status=1)
    daemon.ctl("machines", "forget", "epyc-07")
    assert "epyc-07" not in daemon.ctl("machines")


def test_pause_and_resume_say_so_in_status(daemon: RunningDaemon) -> None:
    daemon.ctl("pause")
    assert "queue paused" in daemon.ctl("status")
    daemon.ctl("resume")
    assert "queue paused" not in daemon.ctl("status")


def test_simulate_never_plays_with_anything_but_a_directory(daemon: RunningDaemon) -> None:
    said = daemon.ctl("simulate", status=1)
    assert "no directory is loaded" in said


def test_loading_again_and_unloading(loaded: RunningDaemon, tmp_path: Path) -> None:
    again = loaded.ctl("load", "--dir", str(tmp_path / "images"))
    assert "unchanged" in again
    assert "images" in loaded.ctl("releases")
    loaded.ctl("unload", "images")
    assert loaded.status()["workloads"] == []
    loaded.ctl("unload", "images", status=1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["load", "--owner", "a"], "name a release"),
        (["load", "--dir", "/x", "--tag", "y"], "not both"),
        (["load", "a/b@c", "--timeout", "soon"], "no length of time"),
        (["nonsense"], "no such command"),
        (["status", "--nonsense"], "no such option"),
    ],
)
def test_a_wrong_command_line_exits_2(daemon: RunningDaemon, words: list[str], said: str) -> None:
    assert said in daemon.ctl(*words, status=2)


def test_a_directory_that_cannot_be_read_exits_1(daemon: RunningDaemon) -> None:
    assert "cannot load /nowhere" in daemon.ctl("load", "--dir", "/nowhere", status=1)


def test_login_reads_a_pipe_and_keeps_the_token_secret(daemon: RunningDaemon) -> None:
    daemon.ctl("login", stdin="two words\n", status=1)
    token = "ghp_" + "x1Y2" * 9
    assert token not in daemon.ctl("login", stdin=f"{token}\n")
    stored = daemon.directory / "state/github-token"
    assert stored.read_text() == f"{token}\n"
    assert stored.stat().st_mode & 0o777 == 0o600
    assert token not in "\n".join(daemon.log)


def test_without_a_daemon_it_exits_3_with_a_hint(tmp_path: Path) -> None:
    done = subprocess.run(
        [BIN / "dispatchctl", "--socket", tmp_path / "none.sock"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "XDG_RUNTIME_DIR": ""},
    )
    assert done.returncode == 3
    assert "error: cannot reach dispatchd" in done.stderr
    assert "hint: systemctl status dispatchd" in done.stderr
    assert done.stdout == ""


def test_every_command_has_help_and_is_documented() -> None:
    text = DOCUMENTED.read_text()
    for name, command in dispatchctl.commands.items():
        assert command.help
        assert f"`{name}" in text or f"`{name}`" in text

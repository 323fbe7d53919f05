"""The settings: what is said of a wrong one, and where things are without any."""

import subprocess
import sys
from pathlib import Path

import pytest

from dispatchd import settings_file
from dispatchd.errors import ConfigError
from dispatchd.settings import Settings
from tests.requirements import require_root

EXAMPLE = Path(__file__).parents[1] / "packaging/systemd/dispatchd.toml"


def load(tmp_path: Path, text: str, **environ: str) -> Settings:
    path = tmp_path / "dispatchd.toml"
    path.write_text(text)
    return settings_file.load(path, {"HOME": "/home/alice"} | environ, is_root=False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[boot", "dispatchd.toml"),
        ("statedir = 'x'", "statedir: unknown key"),
        ("[boot]\nliste = 'x'", r"\[boot\] liste: unknown key"),
        ("[boot]\nlisten = 'x'", r"\[boot\] listen: 'x' is no"),
        ("[boot]\nlisten = '*:99999'", r"\[boot\] listen"),
        ("[boot]\nlisten = []", r"\[boot\] listen: names no address"),
        ("[boot]\nallow = ['10.0.0.0/40']", r"\[boot\] allow"),
        ("[boot]\nmachines = 'some'", r"\[boot\] machines: 'some' is not one of any, known"),
        ("[boot]\npath = 'dispatch'", r"\[boot\] path"),
        ("[boot]\nwait = '/nowhere.efi'", r"\[boot\] wait: /nowhere.efi cannot be read"),
        ("[queue]\nattempts = 0", r"\[queue\] attempts"),
        (
            "[queue]\nidle = 'off'",
            r"\[queue\] idle: 'off' is not one of auto, .*next",
        ),
        ("[deadlines]\nboot = '10'", r"\[deadlines\] boot: '10' is no length of time"),
        ("[deadlines]\nboot = 10", r"\[deadlines\] boot"),
        ("[cache]\nmax_size = '10 GB'", r"\[cache\] max_size: '10 GB' is no size"),
        ("[github]\napi_url = 'github'", r"\[github\] api_url"),
        ("[github]\nproxy = 'proxy'", r"\[github\] proxy: 'proxy' is no URL"),
        ("[github]\nca_bundle = '/no.pem'", r"\[github\] ca_bundle: /no.pem cannot be read"),
        ("[reports]\nfooter = 'yes'", r"\[reports\] footer"),
        ("database = 'postgresql://x'", "database: .*SQLite for now"),
        ("database = 'sqlite:///'", "database: .*names no file"),
        ("database = 'sqlite:///:memory:'", "database: .*names no file"),
        ("state_dir = '~nobody-of-this-name/x'", "state_dir: .*home of a user"),
        ('cache_dir = "a\\u0000b"', "cache_dir: .* is no path"),
        ('[control]\nsocket = "a\\u0000b"', r"\[control\] socket: .* is no path"),
        ('[boot]\nwait = "a\\u0000b"', r"\[boot\] wait: .* is no path"),
        ("[boot]\nlisten = '10.0.0.999:80'", r"\[boot\] listen: '10.0.0.999:80' is no"),
        ("[boot]\nlisten = ':8080'", r"\[boot\] listen: ':8080' is no"),
        ("[boot]\nlisten = [8080]", r"\[boot\] listen"),
        ("[boot]\npath = '/a/../b'", r"\[boot\] path"),
        ("[boot]\npath = '/dispatch.efi'", r"\[boot\] path"),
        ("[deadlines]\nboot = '0s'", r"\[deadlines\] boot: '0s' is no length of time"),
        ("[deadlines]\nlate = '99999999h'", r"\[deadlines\] late: .*longer than ten years"),
        (f"[deadlines]\nlate = '{'9' * 400}h'", r"\[deadlines\] late: .*is no length"),
        (f"[cache]\nmax_size = '{'9' * 5000}GiB'", r"\[cache\] max_size: .*is no size"),
        ("[queue]\nattempts = true", r"\[queue\] attempts"),
        ("[reports]\nfailure = true", r"\[reports\] failure: unknown key"),
        ("[hooks]\nrun = 'x'", r"\[hooks\] run: unknown key"),
        ("[hooks]\ncommand = '/nowhere/hook'", r"\[hooks\] command: /nowhere/hook cannot be run"),
        ("[hooks]\ncommand = '\"'", r"\[hooks\] command: .* is no command line"),
        ("[hook]\ncommand = 'x'", "hook: unknown key"),
        ("boot = 1", "boot: "),
        (f"x = {'[' * 20000}", "nested too deeply"),
    ],
)
def test_a_wrong_value_names_file_key_and_reason(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        load(tmp_path, text)
    assert "dispatchd.toml" in str(caught.value)


def test_a_misspelt_key_gets_the_nearest_one_as_a_hint(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "[deadlines]\nstaled = '5m'")
    assert caught.value.hint == "did you mean stalled?"


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: No such file"):
        settings_file.load(tmp_path / "nowhere.toml", {}, is_root=False)
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        settings_file.load(None, {"DISPATCHD_CONFIG": "/nowhere.toml"}, is_root=False)


def test_a_file_that_is_no_text_or_no_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "dispatchd.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"dispatchd\.toml: .*decode"):
        settings_file.load(path, {}, is_root=False)
    with pytest.raises(ConfigError, match="Is a directory"):
        settings_file.load(tmp_path, {}, is_root=False)


def test_the_file_in_etc_is_read_where_no_other_is_named(tmp_path: Path) -> None:
    system, named, other = (tmp_path / name for name in ("system", "named", "other"))
    for number, path in enumerate((system, named, other), start=1):
        path.write_text(f"[queue]\nattempts = {number}")
    environ = {"DISPATCHD_CONFIG": str(named)}

    def read(path: Path | None, environ: dict[str, str]) -> Settings:
        return settings_file.load(path, environ, is_root=False, system=system)

    assert read(None, {}).source == system
    assert read(None, environ).queue.attempts == 2
    assert read(other, environ).queue.attempts == 3
    system.unlink()
    assert read(None, {}).source is None


def test_a_file_in_etc_that_may_not_be_read_is_not_passed_over(tmp_path: Path) -> None:
    """As somebody who may not look into its directory, in a process of its own."""
    require_root()
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    script = (
        "import os, sys; from pathlib import Path; from dispatchd import settings_file, errors\n"
        "os.setuid(65534); system = Path(sys.argv[1])\n"
        "try: settings_file.load(None, {}, is_root=False, system=system)\n"
        "except errors.ConfigError as error: print(error)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", script, closed / "dispatchd.toml"],
        check=True,
        capture_output=True,
        text=True,
        cwd=EXAMPLE.parents[2],
    ).stdout
    assert said.endswith("dispatchd.toml: Permission denied\n")


def test_what_the_file_names_wins_and_is_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "wait.efi").touch()
    read = load(
        tmp_path,
        "state_dir = 'state'\ncache_dir = '/srv/cache'\n"
        "[boot]\nwait = 'wait.efi'\n[control]\nsocket = 'control.sock'\n",
        STATE_DIRECTORY="/var/lib/a",
        CACHE_DIRECTORY="/var/cache/a",
        RUNTIME_DIRECTORY="/run/a",
    )
    assert (read.state_dir, read.cache_dir) == (tmp_path / "state", Path("/srv/cache"))
    assert (read.socket, read.wait) == (tmp_path / "control.sock", tmp_path / "wait.efi")
    assert read.database == f"sqlite:///{tmp_path}/state/dispatchd.db"


def test_values_are_read(tmp_path: Path) -> None:
    read = load(
        tmp_path,
        "[boot]\nlisten = ['10.0.0.2:80', '[::1]:8080']\nallow = ['10.0.0.0/8']\n"
        "[deadlines]\nboot = '1h30m'\nreask = '90s'\n[cache]\nmax_size = '5GiB'\n",
    )
    assert read.boot.addresses() == [("10.0.0.2", 80), ("::1", 8080)]
    assert float(read.deadlines.boot) == 5400.0
    assert float(read.deadlines.reask) == 90.0
    assert read.cache.max_size == 5 << 30


def test_directories_follow_systemd_then_the_user(tmp_path: Path) -> None:
    given = load(
        tmp_path,
        "",
        STATE_DIRECTORY="/var/lib/a:/var/lib/b",
        CACHE_DIRECTORY="/var/cache/a",
        RUNTIME_DIRECTORY="/run/a",
    )
    assert (given.state_dir, given.cache_dir) == (Path("/var/lib/a"), Path("/var/cache/a"))
    assert given.socket == Path("/run/a/control.sock")
    own = load(tmp_path, "", XDG_RUNTIME_DIR="/run/user/1")
    assert own.state_dir == Path("/home/alice/.local/state/dispatchd")
    assert own.cache_dir == Path("/home/alice/.cache/dispatchd")
    assert own.database == "sqlite:////home/alice/.local/state/dispatchd/dispatchd.db"
    assert own.socket == Path("/run/user/1/dispatchd/control.sock")
    root = settings_file.load(tmp_path / "dispatchd.toml", {}, is_root=True)
    assert root.socket == Path("/run/dispatchd/control.sock")
    assert root.state_dir == Path("/var/lib/dispatchd")


def test_the_example_names_every_key_with_its_default(tmp_path: Path) -> None:
    lines = [line.removeprefix("#") for line in EXAMPLE.read_text().splitlines()]
    text = "\n".join(line for line in lines if " = " in line or line.startswith("["))
    named = load(tmp_path, text)
    (tmp_path / "empty.toml").touch()
    plain = settings_file.load(tmp_path / "empty.toml", {"HOME": "/"}, is_root=True)
    for section in ("queue", "deadlines", "cache", "github", "reports", "discovery"):
        assert getattr(named, section) == getattr(plain, section)
    assert named.boot.addresses() == plain.boot.addresses()
    assert (named.state_dir, named.cache_dir) == (plain.state_dir, plain.cache_dir)
    assert (named.database, named.socket) == (plain.database, plain.socket)

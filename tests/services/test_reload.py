"""Which settings a reload takes over, and which it leaves as they were."""

from pathlib import Path

import msgspec

from dispatchd import settings_file
from dispatchd.services.reload import FIXED, flat, merged
from dispatchd.settings import Duration, Settings


def load(directory: Path, text: str) -> Settings:
    (directory / "dispatchd.toml").write_text(text)
    return settings_file.load(directory / "dispatchd.toml", {"HOME": str(directory)}, is_root=False)


def test_what_is_fixed_stays_and_the_rest_is_taken_over(tmp_path: Path) -> None:
    old = load(tmp_path, "")
    fresh = load(
        tmp_path,
        'state_dir = "/elsewhere"\n[boot]\nlisten = "127.0.0.1:1"\nallow = ["10.0.0.0/8"]\n'
        '[control]\nsocket = "/elsewhere/s"\n[deadlines]\nboot = "1h"\n',
    )
    both = merged(old, fresh)
    assert (both.state_dir, both.socket) == (old.state_dir, old.socket)
    assert both.boot.listen == "*:8080"
    assert both.boot.allow == ["10.0.0.0/8"]
    assert both.deadlines.boot == Duration(3600)
    changed = {name for name, value in flat(fresh).items() if flat(old)[name] != value}
    assert {"state_dir", "[boot] listen", "[boot] allow", "[control] socket"} <= changed
    assert "[deadlines] boot" in changed
    assert "[deadlines] report" not in changed


def test_every_fixed_setting_is_one_and_the_file_itself_is_none(tmp_path: Path) -> None:
    known = flat(load(tmp_path, ""))
    assert set(known) >= FIXED
    assert "source" not in known


def test_merging_with_itself_changes_nothing(tmp_path: Path) -> None:
    one = load(tmp_path, "")
    assert msgspec.structs.asdict(merged(one, one)) == msgspec.structs.asdict(one)

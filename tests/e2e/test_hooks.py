"""A hook of a running daemon: told what commits, and gone when the daemon is."""

from pathlib import Path

from tests.e2e.daemon import QUIET, RunningDaemon
from tests.eventually import eventually


def test_a_hook_is_told_what_commits_and_killed_at_the_stop(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "a.efi").write_bytes(b"a" * 1000)
    hook = tmp_path / "hook"
    hook.write_text(
        f'#!/bin/sh\necho "$DISPATCHD_EVENT $DISPATCHD_RELEASE" >> {tmp_path}/told\n'
        f"[ $DISPATCHD_EVENT = loaded ] || exit 0\necho $$ > {tmp_path}/pid\nexec sleep 1000\n"
    )
    hook.chmod(0o755)
    settings = f'{QUIET}[hooks]\ncommand = "{hook}"\ntimeout = "10m"\n'
    with RunningDaemon(tmp_path / "dispatchd", settings=settings) as daemon:
        daemon.ctl("load", "--dir", str(images))
        eventually((tmp_path / "pid").exists)
        pid = eventually((tmp_path / "pid").read_text)
        assert f"loaded {images}" in (tmp_path / "told").read_text().splitlines()
        assert daemon.stop() == 0
    assert not Path(f"/proc/{pid.strip()}").exists()

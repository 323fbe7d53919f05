"""The wheel as people install it, and the unit as systemd reads it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.daemon import RunningDaemon
from tests.requirements import require_programs

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh environment that the wheel was installed in."""
    directory = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir"]
    subprocess.run([*build, str(directory), str(ROOT)], check=True, capture_output=True)
    (wheel,) = directory.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", directory / "venv"], check=True)
    programs = directory / "venv" / "bin"
    pip = [str(programs / "python"), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--disable-pip-version-check", str(wheel)], check=True)
    return programs


def test_the_installed_programs_run_the_loop(installed: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for name in ("a", "b"):
        (images / f"{name}.efi").write_bytes(name.encode() * 1000)
    settings = "[discovery]\nenabled = false\n"
    with RunningDaemon(tmp_path / "d", settings=settings, programs=installed) as daemon:
        daemon.ctl("load", "--dir", str(images))
        said = daemon.ctl("simulate", "--machines", "2")
        assert "is switched off" in said
        assert set(daemon.states()) <= {"reported", "finished"}
        assert "a.efi: tests passed (simulated)" in daemon.ctl("reports")
        assert daemon.stop() == 0


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    require_programs("systemd-analyze")
    text = (ROOT / "packaging/systemd/dispatchd.service").read_text()
    unit = tmp_path / "dispatchd.service"
    # The program is not installed where the unit looks for it: any that is there will do.
    unit.write_text(text.replace("/usr/local/bin/dispatchd", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "SYSTEMD_LOG_LEVEL": "warning"},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

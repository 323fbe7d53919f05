"""The wheel as people install it, and the units as systemd reads them."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dispatchd.domain.event import Kind, Severity
from dispatchd.units import unit
from tests.e2e.daemon import QUIET, RunningDaemon
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
    with RunningDaemon(tmp_path / "d", settings=QUIET, programs=installed) as daemon:
        daemon.ctl("load", "--dir", str(images))
        said = daemon.ctl("simulate", "--machines", "2")
        assert "is switched off" in said
        assert set(daemon.states()) <= {"reported", "finished"}
        assert "a.efi: tests passed (simulated)" in daemon.ctl("reports")
        assert daemon.stop() == 0


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    require_programs("systemd-analyze")
    names = ("dispatchd.service", "dispatchd.socket", "dispatchd-control.socket")
    for name in names:
        # The program need not be installed: any that is there will do.
        (tmp_path / name).write_text(unit(name, Path("/bin/true")))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(tmp_path / name for name in names)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "SYSTEMD_LOG_LEVEL": "warning"},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_journals_catalogue_explains_every_event_that_needs_a_hand(tmp_path: Path) -> None:
    require_programs("journalctl")
    name = "dispatchd.catalog"
    text = unit(name, Path("/usr/bin/dispatchd"))
    ids = re.findall(r"^-- ([0-9a-f]{32})$", text, re.MULTILINE)
    kinds = {kind.message_id: kind for kind in Kind}
    assert len(ids) == len(set(ids) & kinds.keys())
    assert {one.message_id for one in Kind if one.severity is Severity.ERROR} <= set(ids)
    directory = tmp_path / "usr/lib/systemd/catalog"
    directory.mkdir(parents=True)
    (directory / name).write_text(text)

    def journalctl(*words: str) -> str:
        command = ["journalctl", f"--root={tmp_path}", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return done.stdout

    journalctl("--update-catalog")
    listed = dict(line.split(" ", 1) for line in journalctl("--list-catalog").splitlines())
    assert listed.keys() == set(ids)
    assert all(line.startswith("dispatchd: ") for line in listed.values())


def test_the_package_is_of_the_same_authors_and_of_no_foreign_address() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    control = (ROOT / "packaging/debian/control").read_text()
    (maintainer,) = re.findall(r"^Maintainer: (.*) <.*\.invalid>$", control, re.MULTILINE)
    assert [maintainer] == [author["name"] for author in project["authors"]]


def test_the_installed_program_prints_the_unit_that_starts_it(installed: Path) -> None:
    done = subprocess.run(
        [installed / "dispatchd", "--print-unit"], capture_output=True, text=True, check=False
    )
    # Its sandbox has a /tmp of its own, where this environment is not.
    assert done.returncode == 78
    assert f"cannot run {installed}/dispatchd as a service" in done.stderr
    assert "ExecStart=/opt/bin/dispatchd" in unit("dispatchd.service", Path("/opt/bin/dispatchd"))

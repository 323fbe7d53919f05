"""The Debian package from its installation to its purge."""

import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.requirements import require_programs
from tests.system.container import Container
from tests.system.service import UNITS, Service

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
MIGRATION = '''"""A table more."""

import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{head}"


def upgrade() -> None:
    op.create_table("more", sa.Column("id", sa.Integer, primary_key=True))
'''


@pytest.fixture
def next_package(package: Path, tmp_path: Path) -> Path:
    """The package of a later version that has one migration more."""
    tree = tmp_path / "tree"
    subprocess.run(["dpkg-deb", "--raw-extract", package, tree], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(control.read_text().replace(f"Version: {VERSION}", "Version: 99.0"))
    (migrations,) = tree.glob("usr/lib/dispatchd/lib/*/site-packages/dispatchd/migrations/versions")
    head = max(file.name for file in migrations.glob("[0-9]*.py")).split("_")[0]
    (migrations / "9999_more.py").write_text(MIGRATION.format(head=head))
    built = tmp_path / "next.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, built], check=True)
    return built


def test_lintian_has_nothing_to_say(package: Path) -> None:
    require_programs("lintian")
    command = ["lintian", "--allow-root", "--fail-on=error,warning", str(package)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_installed_it_runs_is_enabled_and_says_what_is_next(container: Container) -> None:
    said = container.run("apt-get", "install", "--yes", "/root/dispatchd.deb")
    for words in ("dispatchd is running", ":8080/dispatch", "adduser $USER dispatch", "login"):
        assert words in said
    for unit in UNITS:
        assert container.run("systemctl", "is-active", unit) == "active\n"
        assert container.run("systemctl", "is-enabled", unit) == "enabled\n"
    assert container.run("dispatchd", "--version") == f"dispatchd {VERSION}\n"
    assert container.run("dispatchctl", "--version").endswith(f"{VERSION}\n")


def test_it_has_its_manual_and_completes_in_every_shell(container: Container) -> None:
    for page in ("dispatchd.8", "dispatchctl.1", "dispatchd.toml.5"):
        assert container.run("man", "--where", *reversed(page.rsplit(".", 1)))
    complete = (
        ". /usr/share/bash-completion/completions/dispatchctl;"
        " COMP_WORDS=(dispatchctl sta) COMP_CWORD=1; _dispatchctl_completion dispatchctl sta;"
        ' echo "${COMPREPLY[@]}"'
    )
    assert container.run("bash", "-c", complete) == "status\n"
    for shell in (
        "zsh/vendor-completions/_dispatchctl",
        "fish/vendor_completions.d/dispatchctl.fish",
    ):
        assert "dispatchctl" in (container.root / "usr/share" / shell).read_text()


def test_an_upgrade_keeps_the_state_and_migrates_it(
    container: Container, next_package: Path
) -> None:
    service = Service(container)
    service.ctl("load", "--dir", service.images("a.efi"))
    sockets = [service.shown("ActiveEnterTimestamp", unit) for unit in UNITS[1:]]
    pid = service.shown("MainPID")
    (container.root / "root/next.deb").write_bytes(next_package.read_bytes())
    said = container.run("apt-get", "install", "--yes", "/root/next.deb")
    assert "Next, as the person" not in said
    eventually(lambda: service.shown("ActiveState") == "active")
    assert service.shown("MainPID") != pid
    assert [service.shown("ActiveEnterTimestamp", unit) for unit in UNITS[1:]] == sockets
    assert service.states() == ["unassigned"]
    tables = "import sqlite3; c = sqlite3.connect('/var/lib/dispatchd/dispatchd.db');"
    tables += "print(c.execute('select count(*) from more').fetchone())"
    assert container.run("python3", "-c", tables) == "(0,)\n"


def test_a_downgrade_says_that_it_cannot_and_stays_down(container: Container) -> None:
    service = Service(container)
    container.run(
        "apt-get", "install", "--yes", "--allow-downgrades", "/root/dispatchd.deb", status=None
    )
    eventually(
        lambda: service.shown("NRestarts") != "0" or service.shown("ActiveState") == "failed"
    )
    assert any("newer than this dispatchd" in entry["MESSAGE"] for entry in service.journal())
    container.run("apt-get", "install", "--yes", "/root/next.deb")
    assert service.states() == ["unassigned"]


def test_removed_it_keeps_its_data_and_purged_it_leaves_nothing(container: Container) -> None:
    container.run("apt-get", "remove", "--yes", "dispatchd")
    assert (container.root / "var/lib/dispatchd/dispatchd.db").exists()
    assert (container.root / "etc/dispatchd/dispatchd.toml").exists()
    assert not (container.root / "usr/lib/dispatchd").exists()
    container.run("apt-get", "purge", "--yes", "dispatchd")
    for place in ("var/lib/dispatchd", "var/cache/dispatchd", "etc/dispatchd"):
        assert not (container.root / place).exists()
    assert not container.run("sh", "-c", "ls -d /run/dispatchd; true").startswith("/")
    container.run("getent", "passwd", "dispatchd", status=2)
    container.run("getent", "group", "dispatch", status=2)
    assert "could not be found" in container.run("systemctl", "status", "dispatchd", status=4)

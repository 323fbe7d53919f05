"""The package, built once; a container for each module; the service, as new for each test."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.netns import Namespace
from tests.requirements import require_programs, require_root
from tests.system.container import Container
from tests.system.machine import HERE, MACHINE, Machine
from tests.system.service import Service

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Debian package of this tree, or the one that DISPATCHD_DEB names."""
    require_root()
    require_programs("debootstrap", "dpkg-buildpackage", "ip", "nsenter", "scdoc", "systemd-nspawn")
    if built := os.environ.get("DISPATCHD_DEB"):
        return Path(built)
    out = tmp_path_factory.mktemp("package")
    build = [str(ROOT / "packaging/deb.sh"), str(Path(sys.executable).parent), str(out)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (deb,) = out.glob("*.deb")
    return deb


@pytest.fixture(scope="module")
def container(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """A running Debian; ``/root/dispatchd.deb`` is there, and not installed."""
    with Container(tmp_path_factory.mktemp("container")) as container:
        (container.root / "root/dispatchd.deb").write_bytes(package.read_bytes())
        yield container


@pytest.fixture(scope="module")
def installed(container: Container) -> Service:
    """The service, as `apt install` leaves it."""
    container.run("apt-get", "install", "--yes", "/root/dispatchd.deb")
    return Service(container)


@pytest.fixture
def service(installed: Service) -> Service:
    """The service, running, with nothing in it."""
    installed.reset()
    return installed


@pytest.fixture(scope="module")
def machine(container: Container) -> Iterator[Machine]:
    """A machine on a cable to the container."""
    with Namespace("machine") as namespace:
        container.network.cable("lab0", namespace, "eth0")
        container.network.address("lab0", f"{HERE}/24")
        namespace.address("eth0", f"{MACHINE}/24")
        yield Machine(namespace)

#!/usr/bin/python3
"""A hook: tries what hooks may want to do, and writes down what it was told and what worked."""

import json
import mmap
import os
import socket
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

EXECUTABLE = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC


def _say(program: str) -> str:
    return subprocess.run([program], check=True, capture_output=True, text=True).stdout


def _connect(family: int, address: tuple[str, int] | str) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(10)
        connection.connect(address)


def _become_root() -> None:
    if _say("/usr/local/bin/setuid-whoami") != "root\n":
        raise PermissionError


#: By what the test calls them.
DEEDS: dict[str, Callable[[], object]] = {
    "local program": lambda: _say("/usr/local/bin/ours"),
    "TCP": lambda: _connect(socket.AF_INET, ("127.0.0.1", 8080)),
    "Unix socket": lambda: _connect(socket.AF_UNIX, "/run/dbus/system_bus_socket"),
    "its home": lambda: Path("~/probe").expanduser().write_text("mine"),
    "cache": lambda: Path("/var/cache/dispatchd/probe").write_text("mine"),
    "/tmp": lambda: tempfile.TemporaryFile(dir="/tmp").close(),
    "/srv": lambda: Path("/srv/probe/file").write_text("mine"),
    "/home": lambda: Path("/home/probe").read_text(),
    "raw packets": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close(),
    "code in memory": lambda: mmap.mmap(-1, mmap.PAGESIZE, prot=EXECUTABLE).close(),
    "root": _become_root,
}


def _works(deed: Callable[[], object]) -> bool:
    try:
        deed()
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


if __name__ == "__main__":
    found = {
        "environment": dict(os.environ),
        "user": _say("/usr/bin/whoami").strip(),
        "works": [name for name, deed in DEEDS.items() if _works(deed)],
    }
    fresh = Path("~/probed.new").expanduser()
    fresh.write_text(json.dumps(found))
    fresh.rename(f"{Path.home()}/probed-{os.environ['DISPATCHD_EVENT']}.json")

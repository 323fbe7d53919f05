"""What is measured: nginx and dispatchd as real processes, each on a loopback port of its own."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

BIN = Path(sys.executable).parent
#: Seconds until a server answers.
PATIENCE = 20.0

_NGINX = """
daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log stderr warn;
{user}
events {{ worker_connections 1024; }}
http {{
    access_log off; sendfile on; tcp_nopush on; keepalive_timeout 75; keepalive_requests 1000000;
    client_body_temp_path {directory}/1; proxy_temp_path {directory}/2;
    fastcgi_temp_path {directory}/3; uwsgi_temp_path {directory}/4; scgi_temp_path {directory}/5;
    server {{ listen 127.0.0.1:{port}; root {directory}/www; }}
}}
"""
_DISPATCHD = """
state_dir = "{directory}/state"
cache_dir = "{directory}/cache"
[boot]
listen = "127.0.0.1:{port}"
[control]
socket = "{directory}/control.sock"
[cache]
min_free = "64MiB"
[discovery]
enabled = false
{more}
"""


class Process:
    """A server that runs in ``directory`` while this is entered. ``pid`` is what serves."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command(), stderr=log)
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.directory / "log").read_text())
            time.sleep(0.05)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def pids(self) -> list[int]:
        """Every process that serves: its own, and those it started."""
        return [self.pid, *_children(self.pid)]

    def cpu(self) -> float:
        """Seconds of CPU of all threads so far: clock_getcpuclockid(3), in nanoseconds."""
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in self.pids)

    def peak_memory(self) -> int:
        """The most bytes that were resident."""
        stati = [Path(f"/proc/{pid}/status").read_text() for pid in self.pids]
        return sum(int(status.split("VmHWM:")[1].split()[0]) * 1024 for status in stati)

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Nginx(Process):
    """One worker that serves ``www`` in its directory with sendfile."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        (directory / "www").mkdir()
        user = "user root;" if os.geteuid() == 0 else ""
        settings = _NGINX.format(directory=directory, port=self.port, user=user)
        (directory / "nginx.conf").write_text(settings)

    @property
    def pid(self) -> int:
        """The worker's."""
        return _children(super().pid)[0]

    def _command(self) -> list[str]:
        program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            raise RuntimeError("cannot find nginx: apt-get install nginx-light")
        return [program, "-p", str(self.directory), "-c", str(self.directory / "nginx.conf")]


class Dispatchd(Process):
    """The installed dispatchd. ``more`` is TOML for the end of its settings."""

    def __init__(self, directory: Path, *, more: str = "") -> None:
        super().__init__(directory)
        settings = _DISPATCHD.format(directory=directory, port=self.port, more=more)
        (directory / "dispatchd.toml").write_text(settings)

    def _command(self) -> list[str]:
        return [str(BIN / "dispatchd"), "--config", str(self.directory / "dispatchd.toml")]

    def _answers(self) -> bool:
        return "queue:" in (self.directory / "log").read_text() and super()._answers()


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])

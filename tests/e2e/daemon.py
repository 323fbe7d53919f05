"""dispatchd and dispatchctl as real processes, on directories of their own."""

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.eventually import eventually

BIN = Path(sys.executable).parent
#: Settings of one that announces itself to nobody, and of one that reaches no GitHub either.
QUIET = "[discovery]\nenabled = false\n"
CUT_OFF = f'{QUIET}[github]\napi_url = "http://127.0.0.1:9"\n'


class RunningDaemon:
    """One dispatchd. ``settings`` is TOML that is added to the paths and the listening address.

    ``inherited``: listening sockets that it is handed as systemd does, and that outlive it.
    """

    def __init__(
        self,
        directory: Path,
        *,
        listen: str = "127.0.0.1:0",
        settings: str = "",
        environ: dict[str, str] | None = None,
        programs: Path = BIN,
        prefix: tuple[str, ...] = (),
        inherited: Sequence[socket.socket] = (),
    ) -> None:
        self.directory = directory
        self.socket = directory / "control.sock"
        self._programs = programs
        self._prefix = prefix
        self._pass_fds = [listener.fileno() for listener in inherited]
        self._environ = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": str(directory)}
        self._environ |= environ or {}
        if inherited:
            self._environ["LISTEN_FDS"] = str(len(inherited))
            self._prefix = (*prefix, *_handing_over(self._pass_fds))
        self._process: subprocess.Popen[str] | None = None
        self.log: list[str] = []
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "dispatchd.toml").write_text(
            f'state_dir = "{directory}/state"\ncache_dir = "{directory}/cache"\n'
            f'[boot]\nlisten = "{listen}"\n[control]\nsocket = "{self.socket}"\n'
            f'[cache]\nmin_free = "1MiB"\n{settings}'
        )

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            if self._process is not None:
                self.kill()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self.stop()

    def start(self) -> None:
        """Start it, and wait until it serves. ``log`` begins anew."""
        self.spawn()
        eventually(lambda: self.is_up() or self._has_ended(), within=20)
        assert not self._has_ended(), "\n".join(self.log)

    def spawn(self, environ: Mapping[str, str] | None = None) -> None:
        """Start it and do not wait, with more in its environment."""
        self.log = []
        self._process = subprocess.Popen(
            [
                *self._prefix,
                str(self._programs / "dispatchd"),
                "--config",
                str(self.directory / "dispatchd.toml"),
            ],
            stderr=subprocess.PIPE,
            text=True,
            env={**self._environ, **(environ or {})},
            pass_fds=self._pass_fds,
        )
        threading.Thread(target=self._read, args=[self._process], daemon=True).start()

    def stop(self) -> int:
        """Stop it as systemd does; its exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(60)

    def kill(self) -> None:
        """Kill it, as a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(60)

    def ended(self, within: float) -> int | None:
        """Its exit status once it has ended; None where it lives for ``within`` seconds more."""
        assert self._process is not None
        try:
            return self._process.wait(within)
        except subprocess.TimeoutExpired:
            return None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def children(self) -> list[int]:
        """The processes that it started."""
        assert self._process is not None
        pid = self._process.pid
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def ctl(self, *words: str, status: int = 0, stdin: str = "") -> str:
        """Run dispatchctl; what it printed."""
        done = subprocess.run(
            [str(self._programs / "dispatchctl"), "--socket", str(self.socket), *words],
            capture_output=True,
            text=True,
            env=self._environ,
            input=stdin,
            timeout=120,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.ctl("status", "--json"))
        return answer

    @property
    def port(self) -> int:
        return int(self.status()["url"].split("/")[2].rpartition(":")[2])

    def states(self) -> list[str]:
        return [workload["state"] for workload in self.status()["workloads"]]

    def is_up(self) -> bool:
        """Whether it serves."""
        return any("queue:" in line for line in self.log) and self.socket.exists()

    def _has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self.log.append(line.rstrip("\n"))
        process.stderr.close()


def _handing_over(descriptors: list[int]) -> tuple[str, ...]:
    """What starts a program with these as 3, 4 and so on; bash's own pid is its after exec."""
    moves = " ".join(f"{place}<&{one}" for place, one in enumerate(descriptors, start=3))
    return ("bash", "-c", f'export LISTEN_PID=$$; exec "$@" {moves}', "bash")

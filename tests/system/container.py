"""A Debian with a systemd of its own in systemd-nspawn, over a tree that is made only once."""

import fcntl
import hashlib
import os
import secrets
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.e2e.netns import Namespace
from tests.eventually import eventually

#: What a small Debian server has, what the package depends on, and the programs of docs/hooks.md:
#: all installs without a network.
PACKAGES = (
    "adduser",
    "avahi-daemon",
    "bash-completion",
    "curl",
    "dbus",
    "ipmitool",
    "iproute2",
    "jq",
    "libpam-systemd",
    "man-db",
    "procps",
    "python3",
    "systemd-sysv",
    "systemd",
)
SUITE, MIRROR = "bookworm", "http://deb.debian.org/debian"
_CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "dispatchd-tests"
_PATIENCE = 120.0


def tree() -> Path:
    """The root directory that every container starts from; made by the first test that needs it."""
    key = hashlib.sha256(" ".join((SUITE, *PACKAGES)).encode()).hexdigest()[:12]
    made = _CACHE / f"{SUITE}-{key}"
    if made.is_dir():
        return made
    fresh = _CACHE / f"{made.name}.{secrets.token_hex(4)}"
    fresh.mkdir(parents=True)
    try:
        include = f"--include={','.join(PACKAGES)}"
        debootstrap = ["debootstrap", "--variant=minbase", include, SUITE, str(fresh), MIRROR]
        done = subprocess.run(debootstrap, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:]
        shutil.rmtree(fresh / "var/cache/apt/archives")
        fresh.rename(made)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return made


class Container:
    """One container, running while entered. Needs root. ``directory`` holds what it writes.

    There is one at a time: nspawn would put two that are started alike in one control group. Its
    network is a namespace of its own, with loopback only until a cable leads into it.
    """

    def __init__(self, directory: Path) -> None:
        self.root = directory / "root"
        self._directory = directory
        self._stack = ExitStack()
        self.network: Namespace
        self._leader = 0

    def __enter__(self) -> Self:
        root = tree()
        with self._stack:
            lock = self._stack.enter_context((_CACHE / "lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._mount(root)
            self._boot()
            self.network = self._stack.enter_context(Namespace("box", of=self._leader))
            # "degraded" is no matter of ours: units that no container can start.
            self.run("systemctl", "is-system-running", "--wait", status=None)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def run(self, *command: str, status: int | None = 0, stdin: str = "") -> str:
        """Run a command in here as root, to its end; what it printed. ``status`` None: any."""
        done = subprocess.run(
            [*self._enter(), *command],
            capture_output=True,
            text=True,
            input=stdin,
            timeout=_PATIENCE,
            check=False,
        )
        said = done.stdout + done.stderr
        assert status is None or done.returncode == status, f"{done.returncode}: {said}"
        return said

    def shell(self, script: str, *, user: str = "root", status: int | None = 0) -> str:
        """Run a script in a new login of a user."""
        return self.run("su", "--login", user, "--command", script, status=status)

    def write(self, path: str, text: str) -> None:
        """Make a file in here, and the directories above it."""
        file = self.root / path.removeprefix("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def _mount(self, lower: Path) -> None:
        work, upper = self._directory / "work", self._directory / "upper"
        for directory in (self.root, work, upper):
            directory.mkdir(parents=True)
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        mount = ["mount", "-t", "overlay", "overlay", "-o", options, str(self.root)]
        subprocess.run(mount, check=True)
        self._stack.callback(subprocess.run, ["umount", str(self.root)], check=True)

    def _boot(self) -> None:
        name = f"dispatch-{secrets.token_hex(4)}"
        nspawn = ["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit"]
        nspawn += ["--private-network", "--console=read-only", f"--machine={name}"]
        console = self._stack.enter_context((self._directory / "console").open("w"))
        process = subprocess.Popen(
            [*nspawn, f"--directory={self.root}"],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
        )
        self._stack.callback(process.wait, 30)
        self._stack.callback(self._kill, process)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

        def has_booted() -> bool:
            assert process.poll() is None, (self._directory / "console").read_text()
            self._leader = int(next(iter(children.read_text().split()), 0))
            return bool(self._leader) and (self.root / "run").exists() and self._answers()

        eventually(has_booted, within=60)

    def _answers(self) -> bool:
        command = [*self._enter(), "systemctl", "is-system-running"]
        state = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
        return state in ("starting", "running", "degraded")

    def _kill(self, process: "subprocess.Popen[bytes]") -> None:
        # Process 1 takes everything in the container with it, and nspawn ends then.
        if self._leader:
            subprocess.run(["kill", "-KILL", str(self._leader)], check=False)
        else:
            process.kill()

    def _enter(self) -> list[str]:
        spaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]
        clean = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8"]
        return ["nsenter", f"--target={self._leader}", *spaces, "--", *clean]

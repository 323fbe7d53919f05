"""A network of our own to test in: Linux network namespaces joined by cables (veth pairs)."""

import ctypes
import json
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.requirements import require_programs, require_root

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
_PATIENCE = 10.0


class Namespace:
    """One network namespace with loopback up, while entered. Needs root.

    Leaving kills what was started in it and deletes it with its interfaces.
    """

    def __init__(self, label: str, *, of: int | None = None) -> None:
        """``of``: the process whose namespace it is; None: a new one."""
        self._of = of
        self.name = f"dispatch-{label}-{secrets.token_hex(4)}"
        self._started: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        if self._of is None:
            _ip("netns", "add", self.name)
        else:
            _ip("netns", "attach", self.name, str(self._of))
        try:
            self.ip("link", "set", "lo", "up")
        except BaseException:
            _ip("netns", "delete", self.name)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with ExitStack() as stack:
            stack.callback(_ip, "netns", "delete", self.name)
            for process in self._started:
                stack.callback(_end, process)

    def ip(self, *arguments: str) -> str:
        """Run ip(8) on this namespace and return its output."""
        return _ip("-netns", self.name, *arguments)

    def cable(self, interface: str, to: "Namespace", far: str) -> None:
        """Join ``interface`` here to ``far`` in the other namespace; both ends are up."""
        self.ip("link", "add", interface, "type", "veth", "peer", "name", far, "netns", to.name)
        self.ip("link", "set", interface, "up")
        to.ip("link", "set", far, "up")

    def bridge(self, interface: str, *ports: str) -> None:
        """Make a bridge of the interfaces; it is up."""
        self.ip("link", "add", interface, "type", "bridge")
        for port in ports:
            self.ip("link", "set", port, "master", interface)
        self.ip("link", "set", interface, "up")

    def address(self, interface: str, *addresses: str) -> None:
        """Give an interface addresses, as ``10.0.0.1/24``; IPv6 ones can be used at once."""
        for address in addresses:
            unchecked = ("nodad",) if ":" in address else ()
            self.ip("address", "add", address, "dev", interface, *unchecked)

    def ipv6(self, interface: str, *, scope: str = "global") -> list[str]:
        """The IPv6 addresses that an interface has; ``scope``: global or link."""
        (row,) = json.loads(self.ip("-json", "-6", "address", "show", "dev", interface)) or [{}]
        return [one["local"] for one in row.get("addr_info", []) if one["scope"] == scope]

    def mac(self, interface: str) -> str:
        """The MAC of an interface."""
        return self.run("cat", f"/sys/class/net/{interface}/address").strip()

    def run(self, *command: str, environ: dict[str, str] | None = None) -> str:
        """Run a command in here to its end and return its output; raises where it fails."""
        return subprocess.run(
            ["ip", "netns", "exec", self.name, *command],
            check=True,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            env=os.environ | (environ or {}),
        ).stdout

    def start(self, *command: str, environ: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a command in here, as the leader of a session; output goes to its ``stdout``."""
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.name, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | (environ or {}),
            start_new_session=True,
        )
        self._started.append(process)
        return process

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Let this thread, and the threads it starts meanwhile, live in here.

        A socket belongs for good to the namespace it was made in.
        """
        with Path("/proc/thread-self/ns/net").open() as home:
            with Path(f"/run/netns/{self.name}").open() as here:
                _enter(here.fileno())
            try:
                yield
            finally:
                _enter(home.fileno())


@dataclass(frozen=True, kw_only=True, slots=True)
class Cabled:
    """``here`` has lab0, which leads to machine0 of ``there``: 10.77.0.1 and .7, 2001:db8:77::1
    and ::7."""

    here: Namespace
    there: Namespace


@contextmanager
def cabled() -> Iterator[Cabled]:
    """Two namespaces and a cable; skips the test where they cannot be had."""
    require_root()
    require_programs("ip")
    with Namespace("here") as here, Namespace("there") as there:
        here.cable("lab0", there, "machine0")
        here.address("lab0", "10.77.0.1/24", "2001:db8:77::1/64")
        there.address("machine0", "10.77.0.7/24", "2001:db8:77::7/64")
        yield Cabled(here=here, there=there)


def _end(process: subprocess.Popen[str]) -> None:
    """Kill it with its whole session: what it started must not keep the namespace alive."""
    with process, suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _ip(*arguments: str) -> str:
    result = subprocess.run(
        ["ip", *arguments], capture_output=True, text=True, timeout=_PATIENCE, check=False
    )
    if result.returncode != 0:
        raise OSError(f"cannot run ip {' '.join(arguments)}: {result.stderr.strip()}")
    return result.stdout

"""The listening sockets of both faces, and clear words where one cannot be had."""

import errno
import grp
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

from dispatchd.errors import StoreError

#: Connections that may wait to be accepted: a whole lab powers on at once.
BACKLOG = 1024


class ListenError(StoreError):
    """A socket cannot be had. A failure at run time: nothing is wrong with the settings as such."""


def listen_tcp(host: str, port: int) -> socket.socket:
    """Listen on one address; ``*`` is every address, IPv6 and IPv4 on one socket if possible."""
    if host == "*":
        if socket.has_dualstack_ipv6():
            return _bind(socket.AF_INET6, "::", port, shown=f"*:{port}")
        return _bind(socket.AF_INET, "", port, shown=f"*:{port}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return _bind(family, host, port, shown=f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


def _bind(family: socket.AddressFamily, host: str, port: int, *, shown: str) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
        listener.bind((host, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            owner = owner_of(port)
            raise ListenError(
                f"cannot listen on {shown}: the port is in use{f' by {owner}' if owner else ''}",
                hint="stop that program, or set another port in [boot] listen",
            ) from error
        raise ListenError(
            f"cannot listen on {shown}: {error.strerror}", hint="see [boot] listen"
        ) from error
    return listener


def listen_unix(path: Path) -> socket.socket:
    """Listen on the control socket: mode 0660, group ``dispatch`` where there is one.

    A socket that a live daemon answers on is refused; one that nobody answers on is replaced.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        _remove_dead(path)
        # No moment in which others could connect: the mode is right before the name exists.
        mask = os.umask(0o117)
        try:
            listener.bind(os.fspath(path))
        finally:
            os.umask(mask)
        with suppress(KeyError, PermissionError):
            os.chown(path, -1, grp.getgrnam("dispatch").gr_gid)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise ListenError(
            f"cannot listen on {path}: {error.strerror or error}", hint="see [control] socket"
        ) from error
    except ListenError:
        listener.close()
        raise
    return listener


def _remove_dead(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ListenError(
            f"cannot listen on {path}: it is there and no socket", hint="see [control] socket"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
    raise ListenError(
        f"cannot listen on {path}: a dispatchd answers there already",
        hint="stop it first (systemctl stop dispatchd), or set [control] socket",
    )


def owner_of(port: int) -> str:
    """The program that listens on a TCP port, as "NAME (pid N)"; empty where it cannot be seen."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                listening = fields[3] == "0A"
                if listening and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                if os.readlink(descriptor) in inodes:
                    return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return ""

"""Listening sockets that systemd opened and hands over: sd_listen_fds(3).

They outlive us: what knocks while no dispatchd runs waits in their queue and is answered by the
next one, so that a restart refuses nobody.
"""

import os
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass, field

from dispatchd.faces.sockets import ListenError

#: The first descriptor that is handed over: SD_LISTEN_FDS_START.
FIRST = 3
BOOT, CONTROL = "boot", "control"
_HINT = "see ListenStream= and FileDescriptorName= in dispatchd.socket"


@dataclass(frozen=True, kw_only=True, slots=True)
class Inherited:
    """The sockets of each face, in the order in which they came; empty where none did."""

    boot: list[socket.socket] = field(default_factory=list)
    control: list[socket.socket] = field(default_factory=list)


def inherit(environ: MutableMapping[str, str]) -> Inherited:
    """Take the sockets over, and their variables out of ``environ``: no child shall believe them.

    The kind of a socket says whose it is: TCP is the boot face's, Unix the control face's. One that
    is named for the other face, or does not listen, raises ListenError.
    """
    pid = environ.pop("LISTEN_PID", "")
    count = environ.pop("LISTEN_FDS", "")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    inherited = Inherited()
    if pid != str(os.getpid()) or not count.isdecimal():
        return inherited
    names += [""] * (int(count) - len(names))
    for descriptor, name in zip(range(FIRST, FIRST + int(count)), names, strict=False):
        listener = _adopt(descriptor, name)
        face = CONTROL if listener.family == socket.AF_UNIX else BOOT
        if name in (BOOT, CONTROL) and name != face:
            raise ListenError(
                f"cannot use the inherited socket {name}: the {face} face has sockets of its kind",
                hint=_HINT,
            )
        (inherited.control if face == CONTROL else inherited.boot).append(listener)
    return inherited


def _adopt(descriptor: int, name: str) -> socket.socket:
    shown = f"the inherited socket {name or descriptor}"
    try:
        os.set_inheritable(descriptor, False)
        listener = socket.socket(fileno=descriptor)
        listens = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ListenError(f"cannot use {shown}: {error.strerror}", hint=_HINT) from error
    families = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
    if not listens or listener.type != socket.SOCK_STREAM or listener.family not in families:
        raise ListenError(f"cannot use {shown}: it is no listening stream socket", hint=_HINT)
    listener.setblocking(False)
    return listener

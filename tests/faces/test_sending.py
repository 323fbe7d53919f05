"""The process that sends files, when the daemon is killed."""

import select
import socket
import subprocess
import sys
from pathlib import Path

from dispatchd.faces.sending import ORDER


def test_it_ends_quietly_when_the_daemon_is_killed_with_news_unread(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 1000)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    machine, connection = socket.socketpair()
    with machine, connection, (tmp_path / "file").open("rb") as file:
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "dispatchd.faces.sending", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stderr=subprocess.PIPE,
            )
        with ours:
            order = ORDER.pack(1, 0, 1000)
            socket.send_fds(ours, [order], [connection.fileno(), file.fileno()])
            assert select.select([ours], [], [], 30)[0]
        assert process.communicate(timeout=30)[1] == b""
    assert process.returncode == 0

"""Sockets that somebody else opened and that outlive the daemon, as systemd passes them."""

import http.client
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from dispatchd.faces.inherited import Inherited, inherit
from tests.e2e.daemon import QUIET, RunningDaemon
from tests.e2e.test_wire import ask, load
from tests.eventually import eventually


@dataclass(frozen=True)
class Activated:
    daemon: RunningDaemon
    boot: socket.socket
    control: socket.socket

    @property
    def port(self) -> int:
        return int(self.boot.getsockname()[1])


@pytest.fixture
def activated(tmp_path: Path) -> Iterator[Callable[..., Activated]]:
    opened: list[socket.socket] = []
    daemons: list[RunningDaemon] = []

    def activate(names: str) -> Activated:
        boot = socket.create_server(("127.0.0.1", 0), backlog=64)
        control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        directory = tmp_path / "dispatchd"
        directory.mkdir(exist_ok=True)
        control.bind(os.fspath(directory / "control.sock"))
        control.listen()
        opened.extend((boot, control))
        daemon = RunningDaemon(
            directory,
            # Nobody could bind this: that it is not tried is part of what is tested.
            listen="192.0.2.1:1",
            settings=QUIET,
            environ={"LISTEN_FDNAMES": names},
            inherited=(boot, control),
        )
        daemons.append(daemon)
        return Activated(daemon=daemon, boot=boot, control=control)

    yield activate
    for daemon in daemons:
        daemon.__exit__(None, None, None)
    for one in opened:
        one.close()


@pytest.mark.parametrize("names", ["boot:control", "dispatchd.socket:dispatchd.socket", ""])
def test_both_faces_serve_on_inherited_sockets(
    activated: Callable[..., Activated], names: str
) -> None:
    there = activated(names)
    with there.daemon as daemon:
        assert daemon.port == there.port
        assert ask(daemon, "HEAD")[0].status == 200
        assert any("[boot] listen is not used" in line for line in daemon.log)
        assert daemon.stop() == 0
    assert daemon.socket.exists(), "whoever made the control socket removes it"


@pytest.mark.parametrize("names", ["control:boot", "boot:boot", "x:boot"])
def test_a_socket_of_the_wrong_kind_for_its_name_is_refused(
    activated: Callable[..., Activated], names: str
) -> None:
    with pytest.raises(AssertionError, match="cannot use the inherited socket"):
        activated(names).daemon.start()


def test_sockets_for_another_process_are_left_alone_and_no_child_sees_the_variables() -> None:
    for pid, count in (("1", "2"), (str(os.getpid()), "0")):
        environ = {"LISTEN_PID": pid, "LISTEN_FDS": count, "LISTEN_FDNAMES": "boot", "HOME": "/"}
        assert inherit(environ) == Inherited()
        assert environ == {"HOME": "/"}


def test_a_restart_refuses_no_connection(
    tmp_path: Path, activated: Callable[..., Activated]
) -> None:
    there = activated("boot:control")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.efi").write_bytes(b"a" * 1000)
    with there.daemon as daemon:
        load(daemon, tmp_path)
        ask(daemon, "HEAD")
        ask(daemon, "GET")
        daemon.stop()
        with closing(http.client.HTTPConnection("127.0.0.1", there.port, timeout=30)) as beacon:
            beacon.request("PUT", "/dispatch", b'{"title": "while it was down"}')
            daemon.start()
            assert beacon.getresponse().status == 200
        (row,) = daemon.status()["workloads"]
        assert [report["title"] for report in row["reports"]] == ["while it was down"]


def test_who_connected_before_the_stop_is_answered(
    tmp_path: Path, activated: Callable[..., Activated]
) -> None:
    there = activated("boot:control")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.efi").write_bytes(b"a" * 1000)
    body = b'{"title": "in the last moment"}'
    head = f"PUT /dispatch HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    address = ("127.0.0.1", there.port)
    with (
        there.daemon as daemon,
        socket.create_connection(address, timeout=30) as silent,
        socket.create_connection(address, timeout=30) as halfway,
        closing(http.client.HTTPConnection(*address, timeout=30)) as late,
    ):
        load(daemon, tmp_path)
        ask(daemon, "HEAD")
        ask(daemon, "GET")
        halfway.sendall(head)
        ask(daemon, "HEAD")  # both connections are accepted when this is answered
        ended = threading.Thread(target=daemon.stop)
        ended.start()
        eventually(lambda: _is_left_waiting(there))
        late.request("HEAD", "/dispatch/late")
        halfway.sendall(body)
        assert b" 200 OK" in halfway.recv(1000)
        silent.sendall(head + body)
        assert b" 200 OK" in silent.recv(1000)
        ended.join()
        daemon.start()
        assert late.getresponse().status == 200


def _is_left_waiting(there: Activated) -> bool:
    """Whether a connection to the boot port is accepted by nobody."""
    with socket.create_connection(("127.0.0.1", there.port), timeout=30) as probe:
        probe.settimeout(0.2)
        probe.sendall(b"HEAD /elsewhere HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            return not probe.recv(1)
        except TimeoutError:
            return True

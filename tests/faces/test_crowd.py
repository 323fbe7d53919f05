"""Who crowds the boot port makes room; who waits for the disk keeps no firmware waiting."""

import resource
import socket
import subprocess
import sys
import threading
from typing import Any

import pytest

from dispatchd.faces import crowd
from tests.faces.serving import read_answer, serving

SMALL = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
#: What ``serving`` allows.
BOUND = 200


def _application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "5")])
    return [b"small"]


def _connect(port: int, source: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(source, 0))


def test_one_address_with_too_many_connections_keeps_no_machine_out() -> None:
    with serving(_application) as (_, port):
        machine = _connect(port, "127.0.0.3")
        machine.sendall(SMALL)
        assert read_answer(machine)[1] == b"small"
        crowded = [_connect(port, "127.0.0.2") for _ in range(3 * BOUND)]
        with _connect(port, "127.0.0.4") as newcomer:
            newcomer.sendall(SMALL)
            assert read_answer(newcomer)[1] == b"small"
        # The one that was there first was silent longest, but it crowds nobody out.
        machine.sendall(SMALL)
        assert read_answer(machine)[1] == b"small"
        for connection in [machine, *crowded]:
            connection.close()


def test_requests_that_never_get_whole_make_room_too() -> None:
    with serving(_application) as (_, port):
        crowded = [_connect(port, "127.0.0.2") for _ in range(BOUND)]
        for connection in crowded:
            connection.sendall(SMALL[:-2])
        with _connect(port, "127.0.0.4") as newcomer:
            newcomer.sendall(SMALL)
            assert read_answer(newcomer)[1] == b"small"
        for connection in crowded:
            connection.close()


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_reports_that_wait_for_the_disk_keep_no_firmware_waiting(method: str) -> None:
    release, waiting = threading.Event(), threading.Semaphore(0)

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["REQUEST_METHOD"] == method:
            waiting.release()
            assert release.wait(20)
        return _application(environ, start_response)

    with serving(application) as (_, port):
        beacons = [_connect(port, "127.0.0.2") for _ in range(40)]
        for beacon in beacons:
            beacon.sendall(f"{method} / HTTP/1.1\r\nContent-Length: 0\r\n\r\n".encode())
        assert waiting.acquire(timeout=20)
        with _connect(port, "127.0.0.3") as firmware:
            firmware.sendall(SMALL)
            assert read_answer(firmware)[1] == b"small"
        assert not release.is_set()
        release.set()
        for beacon in beacons:
            assert read_answer(beacon)[1] == b"small"
            beacon.close()


@pytest.mark.parametrize(
    ("soft", "hard", "expected"),
    [(1024, 20000, 4000), (1024, 1024, 384), (64, 64, crowd.FEWEST)],
)
def test_there_are_as_many_connections_as_there_are_descriptors_for(
    soft: int, hard: int, expected: int
) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < hard:
        pytest.skip("the limit of this system is lower")
    limit = f"resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))"
    allowed = "crowd.within_descriptors(4000)"
    script = f"import resource; from dispatchd.faces import crowd; {limit}; print({allowed})"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert int(answer.stdout) == expected, answer.stderr

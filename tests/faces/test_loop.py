"""The loop that both faces run in: its own signs of life, and how long it keeps silent peers."""

import socket
import threading
import time
from typing import Any

from dispatchd.faces.loop import IDLE, Loop
from tests.eventually import eventually
from tests.faces.serving import read_answer, serving


def test_workers_answer_a_question_unless_all_of_them_are_busy() -> None:
    turned, answered, busy, release = (threading.Event() for _ in range(4))

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        busy.set()
        assert release.wait(20)
        start_response("200 OK", [("Content-Length", "0")])
        return [b""]

    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    port = listener.getsockname()[1]
    loop = Loop(on_turn=turned.set)
    loop.serve(
        application, [listener], name="boot", threads=1, connections=9, on_answer=answered.set
    )
    thread = threading.Thread(target=lambda: loop.run(drain=0, grace=5))
    thread.start()
    assert turned.wait(20)
    loop.ask()
    assert answered.wait(20)
    answered.clear()
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert busy.wait(20)
        loop.ask()
        loop.ask()
        assert not answered.wait(0.2)
        release.set()
        assert answered.wait(20)
        answered.clear()
        loop.ask()
        assert eventually(answered.is_set)
    loop.stop()
    thread.join(20)
    assert not thread.is_alive()


def test_a_silent_connection_lives_for_75_seconds_and_not_for_ever() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "5")])
        return [b"small"]

    with serving(application) as (loop, port):
        (server,) = loop._faces[0].servers
        with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
            for _ in range(2):
                sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert read_answer(sock)[1] == b"small"
                server.maintenance(time.time() + 76)
            sock.settimeout(0.05)

            def is_closed() -> bool:
                server.maintenance(time.time() + IDLE + 1)
                server.pull_trigger()
                try:
                    return sock.recv(1) == b""
                except TimeoutError:
                    return False

            eventually(is_closed)

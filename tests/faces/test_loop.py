"""The loop that both faces run in: its own signs of life."""

import socket
import threading
from typing import Any

from dispatchd.faces.loop import Loop
from tests.eventually import eventually


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

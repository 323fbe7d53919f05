"""A loop that serves an application on a free port, for as long as a test needs it."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dispatchd.faces.loop import Loop


@contextmanager
def serving(
    application: Any, *, on_misfit: Callable[[str, str], None] = lambda _kind, _address: None
) -> Iterator[tuple[Loop, int]]:
    """The loop and its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    loop = Loop()
    loop.serve(
        application, [listener], name="boot", threads=4, connections=200, on_misfit=on_misfit
    )
    thread = threading.Thread(target=lambda: loop.run(drain=0, grace=2))
    thread.start()
    try:
        yield loop, listener.getsockname()[1]
    finally:
        loop.stop()
        thread.join(30)
        assert not thread.is_alive()


def read_answer(sock: socket.socket) -> tuple[bytes, bytes]:
    """One answer: its head and its body of Content-Length."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = sock.recv(65536)
        assert chunk, "the connection ended within a head"
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        chunk = sock.recv(1 << 20)
        assert chunk, "the connection ended within a body"
        body += chunk
    return head, body

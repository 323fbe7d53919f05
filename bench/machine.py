"""A machine as the wire sees it: firmware and beacon, on one connection that it keeps."""

import socket
import time
from collections.abc import Callable

#: Bytes asked of the kernel at a time. MSG_TRUNC throws them away there: nothing is copied.
DISCARDED = 64 << 20
_WASTE = bytearray(DISCARDED)
_HEADERS = "Host: bench\r\nAccept: */*\r\nUser-Agent: UefiHttpBoot/1.0\r\n"


class Machine:
    """Speaks to ``path`` at the port. Close it when done."""

    def __init__(self, port: int, path: str) -> None:
        self._path = path
        # No timeout: Python would look (poll) before it receives, and MSG_WAITALL would not wait.
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        self._socket.close()

    def announced(self) -> int:
        """HEAD: how many bytes a GET would bring."""
        return self._ask("HEAD")[0]

    def download(self, on_first: Callable[[], None] = lambda: None) -> int:
        """GET, and throw the body away; returns its length. Tells of the first bytes."""
        length, early = self._ask("GET")
        on_first()
        left = length - early
        while left:
            # To wait for all of it at once keeps the client cheap: it must not be the limit.
            wanted = min(left, DISCARDED)
            got = self._socket.recv_into(_WASTE, wanted, socket.MSG_TRUNC | socket.MSG_WAITALL)
            if not got:
                raise ConnectionError(f"{self._path}: {left} bytes are missing")
            left -= got
        return length

    def timed(self, method: str, body: bytes = b"") -> float:
        """Seconds from the request to the last byte of its (small) answer."""
        begun = time.perf_counter()
        length, got = self._ask(method, body)
        while method != "HEAD" and got < length:
            got += len(self._socket.recv(1 << 20))
        return time.perf_counter() - begun

    def _ask(self, method: str, body: bytes = b"") -> tuple[int, int]:
        """Content-Length, and how much of the body came along with the headers."""
        sized = f"Content-Length: {len(body)}\r\n" if method in ("POST", "PUT") else ""
        head = f"{method} {self._path} HTTP/1.1\r\n{_HEADERS}{sized}\r\n"
        self._socket.sendall(head.encode() + body)
        answer = b""
        while b"\r\n\r\n" not in answer:
            received = self._socket.recv(4096)
            if not received:
                raise ConnectionError(f"{method} {self._path}: no answer")
            answer += received
        said, _, early = answer.partition(b"\r\n\r\n")
        if not said.split(b" ", 2)[1].startswith(b"2"):
            raise ConnectionError(f"{method} {self._path}: {said.decode()}")
        return int(said.lower().split(b"content-length: ")[1].split(b"\r\n")[0]), len(early)

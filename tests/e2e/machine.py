"""A machine's firmware and beacon on one connection."""

import http.client
import socket
from collections.abc import Callable

HEADERS = {"User-Agent": "UefiHttpBoot/1.0", "Accept": "*/*"}
#: Bytes of its receive buffer: a download goes on until it is read.
WINDOW = 64 * 1024


class Machine:
    """Asks as NAME, or without one. Close it when done."""

    def __init__(self, port: int, name: str, *, host: str = "127.0.0.1") -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=30)
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        self._connection.sock = socket.socket(family, kind)
        self._connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
        self._connection.sock.settimeout(30)
        self._connection.sock.connect(address)
        self._path = f"/dispatch/{name}".rstrip("/")

    def ask(
        self, method: str, body: bytes | None = None, **headers: str
    ) -> http.client.HTTPResponse:
        spoken = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, self._path, body, HEADERS | spoken)
        return self._connection.getresponse()

    def head(self) -> str:
        """The ETag that is announced."""
        answer = self.ask("HEAD")
        answer.read()
        return answer.getheader("ETag") or ""

    def download(self) -> bytes:
        """HEAD and GET: the bytes of what was announced."""
        announced = self.head()
        answer = self.ask("GET")
        assert (answer.status, answer.getheader("ETag")) == (200, announced)
        return answer.read()

    def begin(self) -> http.client.HTTPResponse:
        """A download of which one byte was read."""
        answer = self.ask("GET")
        assert len(answer.read(1)) == 1
        return answer

    def status_of(self, method: str, body: bytes) -> int:
        answer = self.ask(method, body)
        answer.read()
        return answer.status

    def close(self) -> None:
        self._connection.close()


#: Connects a machine to a port, under a name; the fixture ``power_on`` closes it.
PowerOn = Callable[[int, str], Machine]

"""The stand-in itself: two real HTTP servers on 127.0.0.1 around one small world."""

import socket
import struct
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from tests.github_standin.api import Api
from tests.github_standin.contract import Request, answer_violation, request_violation
from tests.github_standin.faults import Fault, Faults
from tests.github_standin.reply import Received, Reply, error_reply
from tests.github_standin.shapes import Shapes
from tests.github_standin.store import AssetStore
from tests.github_standin.world import World

_RESET = struct.pack("ii", 1, 0)


class GitHubStandIn(World):
    """A GitHub on ``api_url``, with its asset store on ``store_url``. A context manager.

    Build the world with ``token``, ``repository`` and what they return; script what goes wrong in
    ``faults``. ``requests`` is everything received, on either port; ``violations`` is where client
    or stand-in departed from GitHub's own description: assert that it stays empty. ``remaining`` is
    the rate limit: at 0 everything on the API is refused.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        store_port: int = 0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(now)
        self.faults = Faults()
        self.requests: list[Received] = []
        self.violations: list[str] = []
        self.remaining = 5000
        self._lock = threading.RLock()
        self._servers = [
            _Server(("127.0.0.1", port), _handler(self.answer_api)),
            _Server(("127.0.0.1", store_port), _handler(self.answer_store)),
        ]
        self.api_url, self.store_url = (
            f"http://127.0.0.1:{one.server_address[1]}" for one in self._servers
        )
        self.store = AssetStore(self, self.store_url)
        self.api = Api(self, Shapes(self, self.api_url, self.store_url), self.store, self.api_url)
        self._threads = [
            threading.Thread(target=one.serve_forever, args=(0.02,)) for one in self._servers
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for server, thread in zip(self._servers, self._threads, strict=True):
            server.shutdown()
            thread.join()
            server.hang_up()
            server.server_close()

    def received(self, method: str, ending: str = "", *, port: str = "api") -> list[Received]:
        """Return the requests of ``method`` on one port whose path ends so."""
        with self._lock:
            return [
                one
                for one in self.requests
                if (one.port, one.method) == (port, method) and one.path.endswith(ending)
            ]

    def answer_api(
        self, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> tuple[Reply, Fault | None]:
        request = Received(port="api", method=method, target=target, headers=headers, body=body)
        with self._lock:
            self.requests.append(request)
            checked = self._as_described(request)
            wrong = request_violation(checked)
            if wrong is not None:
                self.violations.append(wrong)
                return error_reply(500, wrong), None
            fault = self.faults.take(method, request.path)
            if fault is not None and (fault.status or fault.reset) and not fault.commit:
                return _faulty(fault), fault
            reply = self._limited() or self.api.answer(request)
            wrong = answer_violation(checked, reply.status, reply.headers, reply.body)
            if wrong is not None:
                self.violations.append(wrong)
                return error_reply(500, wrong), None
        return (_faulty(fault) if fault and fault.status else reply), fault

    def answer_store(
        self, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> tuple[Reply, Fault | None]:
        request = Received(port="store", method=method, target=target, headers=headers, body=body)
        with self._lock:
            self.requests.append(request)
            fault = self.faults.take(method, request.path)
            reply = self.store.answer(request)
        return (_faulty(fault) if fault and fault.status else reply), fault

    def _limited(self) -> Reply | None:
        if self.remaining > 0:
            self.remaining -= 1
            return None
        return error_reply(
            403,
            "API rate limit exceeded for 127.0.0.1.",
            X_RateLimit_Remaining="0",
            X_RateLimit_Reset=str(int(time.time()) + 600),
        )

    def _as_described(self, request: Received) -> Request:
        target = request.target
        repository = self.api.repository_of(request)
        if target.startswith("/repositories/") and repository is not None:
            # The form that redirects lead to is not in the description; it means the same.
            target = target.replace(
                f"/repositories/{repository.id}", f"/repos/{repository.full_name}", 1
            )
        return Request(
            method=request.method, target=target, headers=request.headers, body=request.body
        )


def _faulty(fault: Fault) -> Reply:
    return Reply(status=fault.status or 500, headers=dict(fault.headers), body=fault.body)


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        self.stopping = threading.Event()

    def process_request(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        assert isinstance(request, socket.socket)
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        assert isinstance(request, socket.socket)
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is none of the test's business."""

    def hang_up(self) -> None:
        """End the connections that clients keep alive, so that closing need not wait for them."""
        self.stopping.set()
        with self._open_lock:
            for one in self._open:
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue


Answer = Callable[[str, str, dict[str, str], bytes], tuple[Reply, Fault | None]]


def _handler(answer: Answer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply, fault = answer(self.command, self.path, headers, body)
            if fault is not None and fault.reset:
                self.close_connection = True
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                self.connection.close()
                return
            self._send(reply, fault)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _handle  # noqa: N815

        def _send(self, reply: Reply, fault: Fault | None) -> None:
            damage = fault if fault is not None and fault.status is None else Fault()
            headers = {**reply.headers, **damage.headers}
            self.send_response_only(reply.status)
            self.send_header("Date", headers.pop("Date", self.date_time_string()))
            self.send_header("Content-Length", str(reply.length))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            begun = time.monotonic()
            stop = reply.length if damage.truncate is None else damage.truncate
            for piece in reply.pieces():
                data = bytes(one ^ 0xFF for one in piece) if damage.corrupt else piece
                self._write(reply, data[: stop - reply.sent], damage)
                if reply.sent >= stop:
                    self.close_connection = stop < reply.length
                    return
                if damage.rate is not None:
                    time.sleep(max(begun + reply.sent / damage.rate - time.monotonic(), 0))

        def _write(self, reply: Reply, data: bytes, damage: Fault) -> None:
            free = damage.held_after - reply.sent
            if damage.hold is not None and free < len(data) and not damage.hold.is_set():
                self._put(reply, data[: max(free, 0)])
                data = data[max(free, 0) :]
                self._wait(damage.hold)
            self._put(reply, data)

        def _put(self, reply: Reply, data: bytes) -> None:
            self.wfile.write(data)
            reply.sent += len(data)

        def _wait(self, until: threading.Event) -> None:
            assert isinstance(self.server, _Server)
            while not until.wait(0.02) and not self.server.stopping.is_set():
                continue

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nothing: ``requests`` has it all."""

    return Handler

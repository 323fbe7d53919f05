"""The channel through real sockets: files in bounded bursts, and what waitress must keep being."""

import inspect
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from waitress import wasyncore
from waitress.buffers import ReadOnlyFileBasedBuffer
from waitress.channel import HTTPChannel
from waitress.task import WSGITask

from dispatchd.faces.channel import Transfer
from dispatchd.faces.loop import Loop
from tests.eventually import eventually
from tests.faces.serving import read_answer, serving

MIB = 1024 * 1024


@dataclass
class Seen:
    """What the observers of the transfers were told."""

    progress: list[int] = field(default_factory=list)
    misfits: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Serving:
    """A loop that serves one file at /OFFSET/LENGTH, and small answers elsewhere."""

    port: int
    seen: Seen
    loop: Loop

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)


@pytest.fixture
def serve() -> Iterator[Callable[[Path], Serving]]:
    with ExitStack() as stack:

        def start(path: Path) -> Serving:
            seen = Seen()

            def application(environ: dict[str, Any], start_response: Any) -> Any:
                parts = environ["PATH_INFO"].strip("/").split("/")
                if len(parts) != 2:
                    start_response("200 OK", [("Content-Length", "5")])
                    return [b"small"]
                offset, length = int(parts[0]), int(parts[1])
                headers = [("Content-Type", "application/efi"), ("Content-Length", str(length))]
                start_response("200 OK", [*headers, ("ETag", '"x"')])
                return Transfer(
                    path.open("rb"),
                    offset=offset,
                    length=length,
                    on_progress=seen.progress.append,
                )

            def on_misfit(kind: str, address: str) -> None:
                seen.misfits.append((kind, address))

            loop, port = stack.enter_context(serving(application, on_misfit=on_misfit))
            return Serving(port, seen, loop)

        yield start


def request(sock: socket.socket, path: str) -> None:
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


def test_a_part_of_a_file_arrives_whole_and_is_observed(
    tmp_path: Path, serve: Callable[[Path], Serving]
) -> None:
    path = tmp_path / "asset"
    content = os.urandom(9 * MIB)
    path.write_bytes(content)
    serving = serve(path)
    with serving.connect() as sock:
        request(sock, f"/{MIB}/{8 * MIB}")
        head, body = read_answer(sock)
        assert body == content[MIB:]
        assert head.split(b"\r\n")[1].startswith(b"Content-Length: ")
        eventually(lambda: serving.seen.progress[-1:] == [8 * MIB])
        request(sock, "/")
        assert read_answer(sock)[1] == b"small"
    assert serving.seen.progress == sorted(serving.seen.progress)


def test_pipelined_requests_are_answered_in_order(
    tmp_path: Path, serve: Callable[[Path], Serving]
) -> None:
    path = tmp_path / "asset"
    path.write_bytes(os.urandom(6 * MIB))
    serving = serve(path)
    with serving.connect() as sock:
        request(sock, f"/0/{6 * MIB}")
        request(sock, "/3/4")
        content = path.read_bytes()
        data = b""
        wanted = 6 * MIB + 4
        while len(data) < wanted or data[-4:] != content[3:7]:
            data += sock.recv(1 << 20)
        assert content in data


def test_bytes_beyond_four_gibibytes_are_served(
    tmp_path: Path, serve: Callable[[Path], Serving]
) -> None:
    path = tmp_path / "asset"
    offset = 5 * 1024 * MIB
    with path.open("wb") as file:
        file.seek(offset)
        file.write(b"the end")
    serving = serve(path)
    with serving.connect() as sock:
        request(sock, f"/{offset - 3}/10")
        assert read_answer(sock)[1] == b"\0\0\0the end"


def test_a_client_that_goes_away_ends_its_transfer_once(
    tmp_path: Path, serve: Callable[[Path], Serving]
) -> None:
    path = tmp_path / "asset"
    with path.open("wb") as file:
        file.truncate(512 * MIB)
    serving = serve(path)
    sock = serving.connect()
    request(sock, f"/0/{512 * MIB}")
    assert sock.recv(1000)
    sock.close()
    eventually(lambda: serving.loop.transfers() == 0)
    assert serving.seen.progress[-1:] < [512 * MIB]


def test_a_file_that_became_shorter_breaks_the_connection(
    tmp_path: Path, serve: Callable[[Path], Serving]
) -> None:
    path = tmp_path / "asset"
    path.write_bytes(b"short")
    serving = serve(path)
    with serving.connect() as sock:
        request(sock, "/0/100")
        received = b""
        while chunk := sock.recv(1000):
            received += chunk
        assert received.endswith(b"short")


def test_a_small_answer_comes_while_32_machines_download(
    tmp_path: Path, serve: Callable[[Path], Serving]
) -> None:
    path = tmp_path / "asset"
    size = 256 * MIB
    with path.open("wb") as file:
        file.truncate(size)
    serving = serve(path)
    left = threading.Semaphore(0)

    def download() -> None:
        with serving.connect() as sock:
            request(sock, f"/0/{size}")
            got = 0
            while got < size:
                count = len(sock.recv(1 << 20))
                if not count:
                    return
                got += count
        left.release()

    threads = [threading.Thread(target=download) for _ in range(32)]
    for thread in threads:
        thread.start()
    eventually(lambda: serving.loop.transfers() == 32)
    with serving.connect() as sock:
        request(sock, "/")
        assert read_answer(sock)[1] == b"small"
    assert not left.acquire(blocking=False), "the downloads were over before the small answer"
    for thread in threads:
        thread.join(120)
    assert sum(left.acquire(blocking=False) for _ in threads) == 32


def test_a_tls_hello_is_told_and_closed(tmp_path: Path, serve: Callable[[Path], Serving]) -> None:
    serving = serve(tmp_path)
    with serving.connect() as sock:
        sock.sendall(b"\x16\x03\x01\x02\x00\x01")
        assert sock.recv(100) == b""
    assert serving.seen.misfits == [("tls hello", "127.0.0.1")]


@pytest.mark.parametrize(
    ("request_", "status", "why"),
    [
        (b"\x00 / HTTP/1.1\r\n\r\n", b"400", "Start line is invalid"),
        (b"head / HTTP/1.1\r\n\r\n", b"400", 'Malformed HTTP method "head"'),
        (b"GET / HTTP/1.1\r\nContent-Length: many\r\n\r\n", b"400", "Content-Length is invalid"),
        ("GET /ä HTTP/1.1\r\n\r\n".encode(), b"400", "Bad URI"),
        (b"PUT / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", b"501", "Transfer-Encoding"),
    ],
)
def test_garbage_gets_an_empty_answer_and_is_told_with_the_reason(
    tmp_path: Path,
    serve: Callable[[Path], Serving],
    request_: bytes,
    status: bytes,
    why: str,
) -> None:
    serving = serve(tmp_path)
    with serving.connect() as sock:
        sock.sendall(request_)
        head, body = read_answer(sock)
    assert head.split()[1] == status
    assert body == b""
    ((kind, address),) = serving.seen.misfits
    assert kind.startswith(f"bad request ({why}")
    assert address == "127.0.0.1"


def test_a_file_that_sendfile_cannot_send_is_copied(
    serve: Callable[[Path], Serving],
) -> None:
    path = Path("/proc/self/environ")
    serving = serve(path)
    with serving.connect() as sock:
        request(sock, "/2/7")
        assert read_answer(sock)[1] == path.read_bytes()[2:9]
    eventually(lambda: serving.seen.progress == [7])
    assert serving.seen.progress == [7]


def test_waitress_is_what_the_channel_expects() -> None:
    """Fails when a new waitress changes what the channel overrides or relies on."""
    assert list(inspect.signature(HTTPChannel._flush_some).parameters) == ["self", "do_close"]
    assert {"outbufs", "total_outbufs_len"} <= set(HTTPChannel.__init__.__code__.co_names) | set(
        dir(HTTPChannel)
    )
    assert issubclass(ReadOnlyFileBasedBuffer, object)
    source = inspect.getsource(WSGITask.execute)
    assert "isinstance(app_iter, ReadOnlyFileBasedBuffer)" in source
    assert "app_iter.prepare(cl)" in source
    assert "self.channel.write_soon(app_iter)" in source
    assert "self.outbufs.append(data)" in inspect.getsource(HTTPChannel.write_soon)
    assert wasyncore._DISCONNECTED

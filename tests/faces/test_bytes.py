"""Every byte arrives as it is in the file, whatever the range, size, pace and breaks are."""

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatchd.faces import byterange
from dispatchd.faces.channel import Transfer
from dispatchd.faces.sending import BURST
from tests.faces.serving import read_answer, serving

MIB = 1 << 20
LARGEST = BURST + MIB
SIZES = st.one_of(
    st.integers(1, 5000), st.integers(1, LARGEST), st.sampled_from([BURST, BURST + 1, LARGEST])
)


@dataclass(frozen=True, repr=False)
class Source:
    """A loop that serves the first SIZE bytes of one file at /SIZE, with ranges."""

    content: bytes
    port: int

    def connect(self, window: int = 0) -> socket.socket:
        sock = socket.socket()
        if window:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        sock.settimeout(30)
        sock.connect(("127.0.0.1", self.port))
        return sock


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    path = tmp_path_factory.mktemp("source") / "asset"
    content = os.urandom(LARGEST)
    path.write_bytes(content)
    with serving(_application(path)) as (_, port):
        yield Source(content, port)


def _application(path: Path) -> Any:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        part = byterange.select(
            size=int(environ["PATH_INFO"].strip("/")),
            etag='"x"',
            modified=None,
            range_=environ.get("HTTP_RANGE"),
            if_match=None,
            if_unmodified_since=None,
            if_range=None,
        )
        start_response(f"{part.status} X", [("Content-Length", str(part.length))])
        if not part.length:
            return []
        return Transfer(path.open("rb"), offset=part.offset, length=part.length)

    return application


def _request(size: int, range_: str = "") -> bytes:
    asked = f"Range: bytes={range_}\r\n" if range_ else ""
    return f"GET /{size} HTTP/1.1\r\nHost: x\r\n{asked}\r\n".encode()


@given(size=SIZES, data=st.data())
def test_a_range_is_that_part_of_the_file(source: Source, size: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, size - 1), "first")
    last = data.draw(st.integers(first, size + 10), "last")
    suffix = data.draw(st.integers(1, size + 10), "suffix")
    whole = source.content[:size]
    wanted = {"": whole, f"{first}-{last}": whole[first : last + 1]}
    wanted |= {f"{first}-": whole[first:], f"-{suffix}": whole[-suffix:]}
    with source.connect() as sock:
        for range_, part in wanted.items():
            sock.sendall(_request(size, range_))
            assert read_answer(sock)[1] == part


@given(
    size=SIZES,
    breaks=st.lists(st.integers(0, LARGEST), max_size=4),
    window=st.sampled_from([0, 16384]),
    piece=st.integers(5000, MIB),
)
def test_a_download_that_breaks_and_is_resumed_is_whole(
    source: Source, size: int, breaks: list[int], window: int, piece: int
) -> None:
    got = bytearray()
    for stop in [*sorted(breaks), size]:
        with source.connect(window) as sock:
            sock.sendall(_request(size, f"{len(got)}-" if got else ""))
            skipped = b""
            while b"\r\n\r\n" not in skipped:
                skipped += sock.recv(1)
            while len(got) < min(stop, size):
                got += sock.recv(piece)
        if len(got) >= size:
            break
    assert got == source.content[:size]


@given(sizes=st.lists(SIZES, min_size=2, max_size=5))
def test_requests_sent_at_once_are_answered_whole_and_in_order(
    source: Source, sizes: list[int]
) -> None:
    with source.connect() as sock:
        sock.sendall(b"".join(_request(size) for size in sizes))
        stream = sock.makefile("rb")
        for size in sizes:
            while stream.readline() != b"\r\n":
                pass
            assert stream.read(size) == source.content[:size]
        stream.close()


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    size = 2 << 30
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(size)
    with serving(_application(path)) as (_, port):
        source = Source(b"", port)
        discard(source, size, 1000)
        # From here on the kernel notes the most that is resident.
        Path("/proc/self/clear_refs").write_text("5")
        before = _peak()
        discard(source, size, size)
        assert _peak() - before < 32 * MIB


def discard(source: Source, size: int, wanted: int) -> None:
    """Receive so many bytes of an asset of ``size``, and let the kernel throw them away."""
    waste = bytearray(MIB)
    with source.connect() as sock:
        sock.sendall(_request(size))
        while wanted > 0:
            wanted -= sock.recv_into(waste, 0, socket.MSG_TRUNC)


def _peak() -> int:
    """The most bytes of this process that were in memory."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024

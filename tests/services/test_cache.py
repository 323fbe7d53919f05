"""The cache's directory: whatever breaks, what gets in is what was announced."""

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatchd.errors import Corrupt, NoRoom, StoreError, Unavailable
from dispatchd.services.cache import Cache, Stream
from tests.requirements import require_root


@dataclass(frozen=True, kw_only=True)
class Played:
    """A stream as a source gives it."""

    chunks: Iterator[bytes]
    offset: int
    total: int | None = None


def source(
    data: bytes, *, stop: int | None = None, begins_anew: bool = False
) -> Callable[[int], AbstractContextManager[Stream]]:
    """A source of these bytes that breaks off at ``stop``."""

    def open_from(offset: int) -> AbstractContextManager[Stream]:
        start = 0 if begins_anew else offset
        end = len(data) if stop is None else stop
        pieces = (data[at : min(at + 7, end)] for at in range(start, end, 7))
        return nullcontext(Played(chunks=pieces, offset=start, total=len(data)))

    return open_from


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@given(
    data=st.binary(min_size=1, max_size=200),
    breaks=st.lists(st.tuples(st.integers(0, 200), st.booleans(), st.booleans()), max_size=6),
)
def test_whatever_breaks_and_begins_anew_the_bytes_are_the_same(
    data: bytes, breaks: list[tuple[int, bool, bool]]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        cache = Cache(Path(directory))
        for stop, begins_anew, restarts in breaks:
            open_from = source(data, stop=min(stop, len(data) - 1), begins_anew=begins_anew)
            with pytest.raises(Unavailable):
                cache.fill("key", open_from, size=len(data), sha256=digest_of(data))
            assert cache.entries() == []
            cache = Cache(Path(directory)) if restarts else cache
        digest = cache.fill("key", source(data), size=len(data), sha256="")
        assert digest == digest_of(data)
        with cache.open(digest) as file:
            assert file.read() == data
        assert os.listdir(directory) == [digest]


def test_what_is_whole_but_was_not_renamed_is_not_fetched_again(tmp_path: Path) -> None:
    def never(offset: int) -> AbstractContextManager[Stream]:
        pytest.fail(f"fetched from {offset}")

    cache = Cache(tmp_path)
    (tmp_path / ".partial-key").write_bytes(b"whole")
    assert cache.fill("key", never, size=5, sha256=digest_of(b"whole")) == digest_of(b"whole")


@pytest.mark.parametrize("left", [b"wrong", b"whole and more"])
def test_a_damaged_partial_file_is_fetched_from_the_beginning(tmp_path: Path, left: bytes) -> None:
    cache = Cache(tmp_path)
    (tmp_path / ".partial-key").write_bytes(left)
    if len(left) == 5:
        with pytest.raises(Corrupt, match="announced was"):
            cache.fill("key", source(b"whole"), size=5, sha256=digest_of(b"whole"))
    assert cache.fill("key", source(b"whole"), size=5, sha256=digest_of(b"whole"))


@pytest.mark.parametrize("data", [b"too many", b"few"])
def test_another_size_than_announced_gets_nothing_in(tmp_path: Path, data: bytes) -> None:
    cache = Cache(tmp_path)
    with pytest.raises(Corrupt, match="come where 5 were announced"):
        cache.fill("key", source(data), size=5, sha256="")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("left", [b"", b"abcd", b"abcdefgh and more"])
def test_a_file_that_has_another_size_by_now_is_not_here(tmp_path: Path, left: bytes) -> None:
    data = b"abcdefgh"
    cache = Cache(tmp_path)
    digest = cache.fill("key", source(data), size=len(data), sha256=digest_of(data))
    path = tmp_path / digest
    path.unlink()
    path.write_bytes(left)
    with pytest.raises(OSError, match=f"{len(left)} of its {len(data)} bytes"):
        cache.open(digest, size=len(data))
    assert cache.path(digest) is None


def test_a_cache_that_was_removed_is_made_again(tmp_path: Path) -> None:
    data = b"abcdefgh"
    cache = Cache(tmp_path / "cache")
    (tmp_path / "cache").rmdir()
    assert not cache.partials()
    digest = cache.fill("key", source(data), size=len(data), sha256=digest_of(data))
    with cache.open(digest, size=len(data)) as file:
        assert file.read() == data


def test_a_cache_that_is_no_directory_any_more_ends_no_thread(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    (tmp_path / "cache").rmdir()
    (tmp_path / "cache").write_bytes(b"")
    with pytest.raises(StoreError, match="cannot use the cache"):
        cache.keep_partials(set())


def test_what_was_being_removed_when_dispatchd_was_killed_is_removed(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    digest = cache.fill("key", source(b"whole"), size=5, sha256="")
    cache.set_aside(digest)
    assert cache.path(digest) is None
    Cache(tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_file_that_is_being_sent_by_any_process_is_open(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    digest = cache.fill("key", source(b"whole"), size=5, sha256="")
    assert not cache.is_open(digest)
    with cache.open(digest) as file:
        assert cache.is_open(digest)
        script = "import sys; print('holds', flush=True); sys.stdin.read()"
        sender = subprocess.Popen(
            [sys.executable, "-c", script],
            pass_fds=[file.fileno()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert sender.stdout is not None
        assert sender.stdout.readline() == b"holds\n"
    assert cache.is_open(digest)
    sender.communicate()
    assert not cache.is_open(digest)


def test_a_disk_that_is_full_in_the_middle_keeps_what_came(tmp_path: Path) -> None:
    require_root()
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", disk], check=True)
    try:
        cache = Cache(disk)
        data = bytes(2 << 20)
        with pytest.raises(NoRoom, match="is full"):
            cache.fill("key", source(data), size=len(data), sha256="")
        assert cache.arrived("key") > 0
        subprocess.run(["mount", "-o", "remount,size=4M", disk], check=True)
        assert cache.fill("key", source(data), size=len(data), sha256=digest_of(data))
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=f"cannot use the cache {tmp_path}/file"):
        Cache(tmp_path / "file")

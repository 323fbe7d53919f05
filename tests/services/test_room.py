"""A bounded cache: what leaves, what stays, and what happens to what does not fit."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from dispatchd.domain.model import Arrival, Promise, State
from dispatchd.errors import NoRoom
from dispatchd.services.room import ANNOUNCED, Room
from tests.github_standin.faults import truncated
from tests.services.github_world import Lab
from tests.services.loading_bench import Bench

SIZE = 1000


@pytest.fixture
def bench(tmp_path: Path, world: Lab) -> Iterator[Bench]:
    """A cache with room for two of four assets."""
    world.publish("a.efi", "b.efi", "c.efi", "d.efi", size=SIZE)
    with closing(Bench(tmp_path, world, max_size=2 * SIZE + 500)) as bench:
        bench.load()
        bench.fetch()
        bench.fetch()
        yield bench


def here(bench: Bench) -> set[str]:
    return {asset.name[0] for asset in bench.assets() if asset.arrival is Arrival.WHOLE}


def test_what_does_not_fit_says_so_and_goes_on_when_there_is_room(bench: Bench) -> None:
    assert here(bench) == {"a", "b"}
    waiting = bench.assets()[2:]
    assert "cache full: needs 1000 B, 500 B more than there is room for" in waiting[0].reason
    assert bench.fetcher.attention(waiting) == [
        "cache full: 2 workloads wait for 2.0 KiB: raise [cache] max_size (2.4 KiB)"
    ]
    bench.settle("a.efi")
    bench.fetch_later()
    assert here(bench) == {"b", "c"}
    assert bench.bytes_of("c.efi") == b"c" * SIZE
    assert bench.fetcher.attention(bench.assets()[3:]) != []
    bench.settle("b.efi")
    bench.fetch_later()
    assert here(bench) == {"c", "d"}
    assert bench.fetcher.attention([]) == []
    assert bench.world.standin.store.served == 4 * SIZE


def test_the_longest_unused_leave_first_and_a_restart_changes_nothing(bench: Bench) -> None:
    bench.settle("b.efi")
    bench.clock.advance(3600)
    bench.settle("a.efi")
    bench.start()
    assert [one.names for one in bench.room.held()] == [("b.efi",), ("a.efi",)]
    with bench.room.given("new", SIZE):
        assert here(bench) == {"a"}


@pytest.mark.parametrize("state", [State.ASSIGNED, State.DOWNLOADING, State.REPORTED])
def test_what_a_workload_in_flight_needs_stays_even_when_its_release_is_unloaded(
    bench: Bench, state: State
) -> None:
    with bench.store.writing() as tx:
        for workload in tx.workloads.shown():
            tx.workloads.swap(workload, state=state)
    bench.catalog.unload(1, by="alice")
    with pytest.raises(NoRoom), bench.room.given("new", SIZE):
        pytest.fail("there is no room")


def test_what_a_transfer_is_sending_stays(bench: Bench) -> None:
    bench.settle("a.efi")
    sent = bench.cache.open(bench.assets()[0].sha256)
    with sent, pytest.raises(NoRoom), bench.room.given("new", SIZE):
        pytest.fail("there is no room")
    with bench.room.given("new", SIZE):
        assert here(bench) == {"b"}


def test_what_was_announced_a_moment_ago_stays(bench: Bench) -> None:
    bench.settle("a.efi")
    with bench.store.writing() as tx:
        (machine, *_) = tx.machines.all()
        promise = Promise(
            machine_id=machine.id,
            made_at=bench.clock.now(),
            by_head=True,
            status=200,
            sha256=bench.assets()[0].sha256,
        )
        tx.machines.put_promise(promise)
    with pytest.raises(NoRoom), bench.room.given("new", SIZE):
        pytest.fail("there is no room")
    bench.clock.advance((ANNOUNCED + timedelta(seconds=1)).total_seconds())
    with bench.room.given("new", SIZE):
        assert here(bench) == {"b"}


def test_nothing_leaves_where_that_would_not_be_enough(bench: Bench) -> None:
    bench.settle("a.efi")
    with pytest.raises(NoRoom), bench.room.given("new", 2 * SIZE):
        pytest.fail("there is no room")
    assert here(bench) == {"a", "b"}


def test_what_is_larger_than_the_cache_never_fits_and_says_so(bench: Bench) -> None:
    with (
        pytest.raises(NoRoom, match=r"needs 9\.8 KiB, and \[cache\] max_size is 2\.4 KiB"),
        bench.room.given("new", 10 * SIZE),
    ):
        pytest.fail("there is no room")


def test_downloads_in_flight_have_their_room_before_they_begin(bench: Bench) -> None:
    bench.settle("a.efi")
    bench.settle("b.efi")
    with bench.room.given("one", SIZE), bench.room.given("two", SIZE):
        assert bench.room.fill().used == 2 * SIZE
        with pytest.raises(NoRoom), bench.room.given("three", SIZE):
            pytest.fail("there is no room")


def test_what_has_come_of_a_broken_download_counts_once(tmp_path: Path, world: Lab) -> None:
    world.repository.release("v1").asset("big.efi", bytes(200_000))
    with closing(Bench(tmp_path, world, max_size=200_000)) as bench:
        bench.load("v1")
        world.standin.faults.next("GET", "/store/*", truncated(150_000))
        bench.fetch()
        assert bench.room.fill().used == 131_072
        bench.fetch_later()
        assert bench.arrivals() == [Arrival.WHOLE]
        assert bench.room.fill().used == 200_000


def test_so_much_of_the_disk_stays_free(bench: Bench) -> None:
    free = bench.room.fill().free
    room = Room(bench.store, bench.cache, bench.clock, max_size=1 << 50, min_free=free + 4096)
    with (
        pytest.raises(NoRoom, match="more than the disk has free") as caught,
        room.given("new", SIZE),
    ):
        pytest.fail("there is no room")
    assert "lower [cache] min_free" in caught.value.hint


def test_where_no_size_is_set_it_is_half_of_the_file_system(bench: Bench) -> None:
    room = Room(bench.store, bench.cache, bench.clock, max_size=0, min_free=0)
    assert 0 < room.max_size <= 100 << 30

"""What people ask of the cache."""

import threading
from collections.abc import Iterator

import pytest

from dispatchd.domain.model import Arrival, State
from tests.eventually import eventually
from tests.services.loading_bench import Bench

SIZE = 100_000


@pytest.fixture
def bench(bench: Bench) -> Bench:
    bench.world.publish("a.efi", "b.efi", size=SIZE)
    bench.load(pools=["7003", "9004"])
    bench.fetch()
    return bench


@pytest.fixture
def running(bench: Bench) -> Iterator[Bench]:
    """With the thread that checks."""
    stopping = threading.Event()
    thread = threading.Thread(target=bench.storeroom.run, args=[stopping])
    thread.start()
    yield bench
    stopping.set()
    bench.storeroom.wake()
    thread.join()


def damage(bench: Bench, name: str) -> None:
    asset = next(one for one in bench.assets() if one.name == name)
    path = bench.cache.directory / asset.sha256
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[SIZE // 2] ^= 1
    path.write_bytes(data)


def is_checked(bench: Bench) -> bool:
    check = bench.storeroom.report().check
    return check is not None and check.ended_at is not None


def test_the_report_says_what_is_here_and_for_whom(bench: Bench) -> None:
    report = bench.storeroom.report()
    assert [(file.names, file.size, file.needed_by) for file in report.files] == [
        (["a.efi"], SIZE, ["a.efi@7003", "a.efi@9004"]),
        (["b.efi"], SIZE, ["b.efi@7003", "b.efi@9004"]),
    ]
    assert (report.used, report.prunable, report.check) == (2 * SIZE, 0, None)
    assert report.free > 0


def test_prune_removes_what_nobody_needs_and_says_how_much(bench: Bench) -> None:
    bench.settle("a.efi")
    assert bench.storeroom.prune(by="alice").files == []
    bench.settle("a.efi")
    assert bench.storeroom.report().prunable == SIZE
    pruned = bench.storeroom.prune(by="alice")
    assert ([file.names for file in pruned.files], pruned.freed) == ([["a.efi"]], SIZE)
    assert len(bench.cache.entries()) == 1
    with bench.store.reading() as tx:
        told = tx.events.after(0, 100)[-1]
    assert (told.kind, told.by) == ("bytes-removed", "alice")
    bench.fetch_later()
    assert bench.world.standin.store.served == 2 * SIZE


def test_what_was_pruned_is_fetched_again_when_it_is_run_again(bench: Bench) -> None:
    for _ in range(2):
        bench.settle("a.efi")
    bench.storeroom.prune(by="alice")
    with bench.store.writing() as tx:
        workload = next(one for one in tx.workloads.shown() if one.name == "a.efi")
        tx.workloads.swap(workload, state=State.UNASSIGNED)
    bench.fetch()
    assert bench.bytes_of("a.efi") == b"a" * SIZE
    assert bench.world.standin.store.served == 3 * SIZE


def test_a_damaged_file_leaves_and_is_fetched_again(running: Bench) -> None:
    damage(running, "a.efi")
    assert running.storeroom.verify(by="alice").ended_at is None
    eventually(lambda: is_checked(running))
    check = running.storeroom.report().check
    assert check is not None
    assert (check.corrupt, check.checked, check.total) == (["a.efi"], 2 * SIZE, 2 * SIZE)
    assert running.arrivals() == [Arrival.ARRIVING, Arrival.WHOLE]
    running.fetch()
    assert running.bytes_of("a.efi") == b"a" * SIZE


def test_a_check_that_finds_nothing_changes_nothing(running: Bench) -> None:
    running.storeroom.verify(by="alice")
    eventually(lambda: is_checked(running))
    assert running.arrivals() == [Arrival.WHOLE, Arrival.WHOLE]
    assert running.storeroom.verify(by="alice").corrupt == []
    eventually(lambda: is_checked(running))


def test_a_cache_that_was_emptied_is_noticed_at_the_start(bench: Bench) -> None:
    for file in bench.cache.directory.iterdir():
        file.unlink()
    bench.start()
    stopping = threading.Event()
    stopping.set()
    bench.storeroom.run(stopping)
    assert bench.arrivals() == [Arrival.ARRIVING, Arrival.ARRIVING]
    bench.fetch()
    assert bench.arrivals() == [Arrival.WHOLE, Arrival.WHOLE]

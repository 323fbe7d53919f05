"""Downloads: each once, taken up where they broke, and nothing that is wrong ever gets in."""

import os
from pathlib import Path
from typing import NoReturn

import pytest

from dispatchd.domain.model import Arrival, State
from dispatchd.services.flight import SLOW, WINDOW, Gauge
from dispatchd.services.github import RemoteAsset
from tests.dispatcher.lab import HandClock
from tests.github_standin import faults
from tests.services.github_world import Lab
from tests.services.loading_bench import Bench

DATA = os.urandom(1 << 20)
#: Where the source breaks off, and what of it is here then: whole chunks.
BREAK, HERE = 300_000, 262_144


@pytest.fixture
def bench(bench: Bench) -> Bench:
    bench.world.repository.release("devel").asset("host.efi", DATA)
    bench.load()
    return bench


def ranges(bench: Bench) -> list[str | None]:
    return [one.headers.get("range") for one in bench.world.standin.received("GET", port="store")]


@pytest.mark.parametrize("killed", [False, True])
def test_a_break_is_taken_up_where_it_was(bench: Bench, killed: bool) -> None:
    bench.world.standin.faults.next("GET", "/store/*", faults.truncated(BREAK))
    bench.fetch()
    assert bench.arrivals() == [Arrival.ARRIVING]
    assert bench.fetcher.progress(bench.assets()[0]).arrived == HERE
    if killed:
        bench.start()
    bench.fetch_later()
    assert ranges(bench) == [None, f"bytes={HERE}-"]
    assert bench.world.standin.store.served == BREAK + len(DATA) - HERE
    assert bench.bytes_of("host.efi") == DATA
    assert bench.cache.partials() == {}


@pytest.mark.parametrize("trouble", [faults.bad_token(), faults.not_found(), faults.html(502)])
def test_trouble_between_two_breaks_loses_nothing(bench: Bench, trouble: faults.Fault) -> None:
    bench.world.standin.faults.next("GET", "/store/*", faults.truncated(BREAK))
    bench.fetch()
    bench.world.standin.faults.next("GET", "*/assets/*", trouble)
    bench.fetch_later()
    bench.fetch_later()
    assert ranges(bench) == [None, f"bytes={HERE}-"]
    assert bench.bytes_of("host.efi") == DATA


def test_the_signed_address_is_asked_for_anew_after_a_break(bench: Bench) -> None:
    bench.world.standin.faults.next("GET", "/store/*", faults.truncated(BREAK))
    bench.world.standin.faults.next("GET", "/store/*", faults.expired_signature())
    for _ in range(3):
        bench.fetch_later()
    asked = [one.target for one in bench.world.standin.received("GET", port="store")]
    assert len(set(asked)) == 3
    assert bench.bytes_of("host.efi") == DATA


def test_a_source_that_ignores_ranges_is_followed_from_the_beginning(bench: Bench) -> None:
    bench.world.standin.faults.next("GET", "/store/*", faults.truncated(BREAK))
    bench.fetch()
    bench.world.standin.store.ranges = False
    bench.fetch_later()
    assert bench.bytes_of("host.efi") == DATA


def test_a_source_that_changes_in_the_middle_gets_nothing_in(bench: Bench) -> None:
    bench.world.standin.faults.next("GET", "/store/*", faults.truncated(BREAK))
    bench.world.standin.faults.next("GET", "/store/*", faults.wrong_bytes())
    bench.fetch()
    bench.fetch_later()
    assert bench.arrivals() == [Arrival.ARRIVING]
    assert (bench.cache.entries(), bench.cache.partials()) == ([], {})
    bench.fetch_later()
    assert bench.bytes_of("host.efi") == DATA


def test_a_source_of_another_size_gets_nothing_in(bench: Bench) -> None:
    other = {"Content-Range": f"bytes {HERE}-{len(DATA) - 1}/{len(DATA) + 1}"}
    bench.world.standin.faults.next("GET", "/store/*", faults.truncated(BREAK))
    bench.world.standin.faults.next("GET", "/store/*", faults.Fault(headers=other))
    bench.fetch()
    bench.fetch_later()
    assert "its bytes are wrong" in bench.assets()[0].reason
    assert (bench.cache.entries(), bench.cache.partials()) == ([], {})
    bench.fetch_later()
    assert bench.bytes_of("host.efi") == DATA


def test_bytes_that_are_wrong_three_times_are_waited_for_no_longer(bench: Bench) -> None:
    bench.world.standin.faults.next("GET", "/store/*", faults.wrong_bytes(), times=3)
    for _ in range(3):
        bench.fetch_later()
    assert bench.states() == [State.UNASSIGNED]
    bench.clock.advance(400)
    bench.fetch()
    assert bench.arrivals() == [Arrival.GONE]
    assert bench.states() == [State.FAILED]
    assert "announced was" in bench.workloads()[0].reason
    assert bench.cache.entries() == []


def test_a_page_in_place_of_the_bytes_withdraws_nothing_within_five_minutes(bench: Bench) -> None:
    bench.world.standin.faults.next("GET", "/store/*", faults.html(200), times=2)
    for _ in range(5):
        bench.fetch_later()
    assert bench.states() == [State.UNASSIGNED]
    bench.clock.advance(400)
    bench.fetch()
    assert bench.bytes_of("host.efi") == DATA


def test_a_token_that_expired_is_waited_for(bench: Bench) -> None:
    bench.world.standin.faults.next("GET", "*/assets/*", faults.bad_token(), times=4)
    for _ in range(4):
        bench.clock.advance(400)
        bench.fetch()
    assert bench.states() == [State.UNASSIGNED]
    bench.clock.advance(400)
    bench.fetch()
    assert bench.bytes_of("host.efi") == DATA


def test_releases_that_name_the_same_digest_share_one_download(bench: Bench) -> None:
    bench.world.repository.release("v2").asset("renamed.efi", DATA)
    bench.load("v2")
    bench.fetch()
    assert bench.arrivals() == [Arrival.WHOLE, Arrival.WHOLE]
    assert bench.world.standin.store.served == len(DATA)
    bench.world.repository.release("v3").asset("host.efi", DATA)
    bench.load("v3")
    bench.fetch()
    assert bench.world.standin.store.served == len(DATA)
    assert set(bench.arrivals()) == {Arrival.WHOLE}


@pytest.mark.parametrize("digest", [None, "sha512:" + "0" * 128])
def test_bytes_without_a_digest_are_taken_up_too(
    tmp_path: Path, world: Lab, digest: str | None
) -> None:
    world.repository.release("devel").asset("host.efi", DATA, digest=digest)
    bench = Bench(tmp_path, world)
    warned = bench.load(pools=["7003", "9004"]).warnings
    assert "no sha256 on GitHub, only the size can be checked: host.efi" in warned
    world.standin.faults.next("GET", "/store/*", faults.truncated(BREAK))
    bench.fetch()
    bench.start()
    bench.fetch_later()
    assert ranges(bench) == [None, f"bytes={HERE}-"]
    assert bench.bytes_of("host.efi") == DATA
    with bench.store.reading() as tx:
        told = [event.text for event in tx.events.after(0, 10)]
    assert f"host.efi: all {len(DATA)} bytes are here, without a digest to verify them by" in told
    bench.store.close()


def test_a_download_that_nobody_wants_any_more_ends_and_leaves_nothing(bench: Bench) -> None:
    bench.world.standin.faults.next("GET", "/store/*", faults.truncated(BREAK))
    bench.fetch()
    bench.clock.advance(60)
    (flight,) = bench.fetcher.due()
    bench.catalog.unload(1, by="alice")
    assert bench.fetcher.due() == []
    bench.fetcher.fetch(flight)
    assert ranges(bench) == [None]
    assert bench.cache.entries() == []
    assert bench.cache.partials() != {}
    assert bench.fetcher.due() == []
    assert bench.cache.partials() == {}


def test_so_many_run_at_a_time_and_one_that_drips_keeps_nobody_waiting(
    tmp_path: Path, world: Lab
) -> None:
    world.publish("a.efi", "b.efi", "c.efi", "d.efi", size=1)
    bench = Bench(tmp_path, world, at_once=2)
    bench.load()
    first = bench.fetcher.due()
    assert [flight.asset.name for flight in first] == ["a.efi", "b.efi"]
    assert bench.fetcher.due() == []
    bench.clock.advance(WINDOW)
    first[0].gauge.note(int(2 * SLOW * WINDOW))
    second = bench.fetcher.due()
    assert [flight.asset.name for flight in second] == ["c.efi"]
    for flight in first + second:
        bench.fetcher.fetch(flight)
    assert bench.arrivals() == [Arrival.WHOLE, Arrival.WHOLE, Arrival.WHOLE, Arrival.ARRIVING]
    bench.store.close()


def test_what_is_here_already_waits_for_no_download(bench: Bench) -> None:
    bench.fetch()
    bench.world.repository.release("v2").asset("big.efi", b"big")
    bench.load("v2")
    with bench.store.writing() as tx:
        tx.needs.bytes_left([bench.assets()[0].sha256])
    names = [flight.asset.name for flight in bench.fetcher.due()]
    assert names == ["host.efi", "big.efi"]


def test_a_rate_is_taken_over_the_last_seconds() -> None:
    clock = HandClock()
    gauge = Gauge(clock, 5000)
    assert gauge.progress().rate == 0
    for second in range(100):
        clock.advance(1)
        gauge.note(5000 + min(second, 49) * 100_000)
    assert gauge.progress().arrived == 5000 + 49 * 100_000
    assert gauge.progress().rate == 0
    assert gauge.is_slow()


def test_an_error_that_nobody_expected_is_not_met_again_at_once(
    tmp_path: Path, bench: Bench
) -> None:
    class Broken:
        """A source that does what no source may."""

        def open_asset(self, asset: RemoteAsset, *, offset: int = 0) -> NoReturn:
            raise ZeroDivisionError

    broken = Bench(tmp_path, bench.world, github=Broken())  # type: ignore[arg-type]
    with pytest.raises(ZeroDivisionError):
        broken.fetch()
    assert broken.fetcher.due() == []
    broken.clock.advance(60)
    assert len(broken.fetcher.due()) == 1
    broken.store.close()

"""A release that its CI deletes, makes again and fills bit by bit, while machines run on."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from dispatchd.domain.event import Kind
from dispatchd.domain.model import Arrival, State
from dispatchd.services.catalog import LOOK, RARELY
from dispatchd.services.github import Token
from dispatchd.services.sources import RESTED
from tests.dispatcher.lab import HandClock
from tests.github_standin.faults import primary_limit, says
from tests.github_standin.world import Release
from tests.services.github_world import NOW, running_lab
from tests.services.loading_bench import Bench

BEFORE = NOW - timedelta(hours=1)


class Watched(Bench):
    """One whose catalog looks again at what is loaded."""

    def look(self, seconds: float) -> None:
        """Time passes, and the catalog looks again."""
        self.clock.advance(seconds)
        self.catalog.look()

    @property
    def drift(self) -> str:
        with self.store.reading() as tx:
            (release,) = tx.releases.loaded()
        return release.drift

    def attempt(self, name: str) -> None:
        """Let a machine begin with the workload of this name."""
        with self.store.writing() as tx:
            workload = next(one for one in tx.workloads.shown() if one.name == name)
            machine = tx.machines.insert(at=self.clock.now())
            tx.attempts.insert(workload=workload, machine_id=machine.id, at=self.clock.now())

    def drifts(self) -> list[str]:
        """What history says of it."""
        with self.store.reading() as tx:
            events = tx.events.after(0, 1000)
        return [event.text for event in events if event.kind == Kind.DRIFTED]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Watched]:
    clock = HandClock()
    with (
        running_lab(now=clock.now) as world,
        closing(Watched(tmp_path, world, clock=clock)) as bench,
    ):
        yield bench


def make(bench: Watched, *names: str, data: bytes = b"first") -> Release:
    """The release with these assets, new and complete; one that was there is deleted."""
    release = bench.world.repository.release("devel", prerelease=True, published_at=BEFORE)
    for name in names:
        release.asset(name, data)
    return release


def test_a_release_that_is_gone_takes_nothing_from_the_queue_and_status_says_so(
    bench: Watched,
) -> None:
    """U1: for a while the tag is 404."""
    make(bench, "host-a.efi", "host-b.efi")
    bench.load()
    bench.fetch()
    bench.world.repository.delete_release("devel")
    for _ in range(3):
        bench.look(RARELY)
    assert bench.states() == [State.UNASSIGNED] * 2
    assert "gone from GitHub" in bench.drift
    assert "running on with the 2 of 2 assets that are here" in bench.drift
    assert len(bench.drifts()) == 1


def test_a_release_that_comes_back_as_it_was_is_as_it_was_loaded(bench: Watched) -> None:
    """U1: release and asset ids change, the bytes need not."""
    make(bench, "host-a.efi")
    bench.load()
    bench.world.repository.delete_release("devel")
    bench.look(RARELY)
    make(bench, "host-a.efi")
    bench.look(RARELY)
    assert bench.drift == ""
    assert bench.drifts()[-1].endswith("as it was loaded")


def test_a_release_made_again_is_told_and_disturbs_nothing(bench: Watched) -> None:
    """U1: other bytes under the same names, one less and one more."""
    make(bench, "host-a.efi", "host-b.efi", "host-c.efi")
    bench.load()
    bench.fetch()
    before = bench.workloads()
    bench.clock.advance(RARELY)
    again = bench.world.repository.release("devel", prerelease=True)
    again.asset("host-a.efi", b"second")
    again.asset("host-b.efi", b"first")
    again.asset("host-d.efi", b"first")
    bench.look(RESTED.total_seconds())
    drift = bench.drift
    assert drift.startswith("re-made ")
    assert "1 of 3 differ, 1 of 3 gone, 1 new" in drift
    assert "running ones go on" in drift
    assert bench.workloads() == before
    assert set(bench.arrivals()) == {Arrival.WHOLE}


def test_loading_again_takes_over_what_differs_and_ends_the_drift(bench: Watched) -> None:
    make(bench, "host-a.efi")
    bench.load()
    bench.fetch()
    bench.attempt("host-a.efi")
    make(bench, "host-a.efi", data=b"second")
    bench.look(RARELY)
    assert "1 of 1 differ" in bench.drift
    assert [one.change for one in bench.load().workloads] == ["queued"]
    bench.look(RARELY)
    assert bench.drift == ""


def test_assets_that_arrive_one_by_one_are_queued_as_the_first_ones_were(
    bench: Watched,
) -> None:
    """U1, R5: matrix jobs upload them as builds finish; a half uploaded one is "open"."""
    release = bench.world.repository.release("devel", prerelease=True)
    bench.load(pools=["7003", "9004"], attempts=5)
    assert bench.workloads() == []
    late = release.asset("host-a.efi", b"a", state="open")
    bench.look(LOOK)
    assert bench.workloads() == []
    late.state = "uploaded"
    bench.look(LOOK)
    assert [(one.name, one.pool, one.max_tries) for one in bench.workloads()] == [
        ("host-a.efi", "7003", 5),
        ("host-a.efi", "9004", 5),
    ]
    bench.look(RESTED.total_seconds())
    release.asset("host-b.efi", b"b")
    bench.look(RARELY)
    assert len(bench.workloads()) == 2
    assert "1 new" in bench.drift


def test_a_release_is_read_again_under_the_condition_that_it_changed(bench: Watched) -> None:
    """H10: by its ETag, which is the token's own, and never by its date."""
    make(bench, "host-a.efi")
    bench.load()
    bench.look(RARELY)
    bench.world.standin.token("ghp_another")
    bench.world.token = Token(value="ghp_another", source="login")
    bench.look(RARELY)
    reads = bench.world.standin.received("GET", "/releases/tags/devel")
    assert [("if-none-match" in one.headers) for one in reads] == [False, True, False]
    assert not any("if-modified-since" in one.headers for one in reads)
    assert bench.drift == ""


def test_a_release_at_rest_is_looked_at_rarely(bench: Watched) -> None:
    make(bench, "host-a.efi")
    bench.load()
    for _ in range(10):
        bench.look(LOOK)
    assert len(bench.world.standin.received("GET", "/releases/tags/devel")) == 2


def test_a_limit_is_waited_for_and_says_nothing_about_the_release(bench: Watched) -> None:
    """H4, U1: only a list that could be read is compared."""
    make(bench, "host-a.efi")
    bench.load()
    now = bench.clock.now()
    limit = primary_limit(int(now.timestamp()) + 7200, now=now)
    bench.world.standin.faults.next("GET", "*/releases/tags/devel", limit)
    bench.look(RARELY)
    bench.look(RARELY)
    assert bench.drift == ""
    assert len(bench.world.standin.received("GET", "/releases/tags/devel")) == 2


def test_an_asset_that_is_gone_at_download_is_looked_for_until_its_release_is_back(
    bench: Watched,
) -> None:
    """U1: an asset in the list may be 404 seconds later, and its whole release too."""
    make(bench, "host-a.efi")
    bench.load()
    bench.world.repository.delete_release("devel")
    for _ in range(3):
        bench.fetch()
        bench.clock.advance(400)
    assert bench.arrivals() == [Arrival.ARRIVING]
    make(bench, "host-a.efi")
    bench.fetch()
    bench.clock.advance(400)
    bench.fetch()
    assert bench.arrivals() == [Arrival.WHOLE]
    assert bench.states() == [State.UNASSIGNED]


def test_an_untried_workload_takes_the_bytes_that_replaced_its_own_under_way(
    bench: Watched,
) -> None:
    """U1: single assets are deleted and uploaded again."""
    make(bench, "host-a.efi", data=b"first")
    bench.load()
    make(bench, "host-a.efi", data=b"second")
    bench.fetch()
    bench.clock.advance(400)
    bench.fetch()
    assert bench.arrivals() == [Arrival.WHOLE]
    assert bench.bytes_of("host-a.efi") == b"second"


def test_a_browsers_address_that_leads_to_new_bytes_is_found_out(bench: Watched) -> None:
    """U1, D1: without a token the address stays the same when the release is made again."""
    bench.world.token = None
    make(bench, "host-a.efi", data=b"first")
    bench.load()
    make(bench, "host-a.efi", data=b"other")
    bench.fetch()
    bench.clock.advance(400)
    bench.fetch()
    assert bench.arrivals() == [Arrival.WHOLE]


def test_a_tried_workload_whose_bytes_are_nowhere_any_more_is_withdrawn_with_the_reason(
    bench: Watched,
) -> None:
    make(bench, "host-a.efi", data=b"first")
    bench.load()
    bench.attempt("host-a.efi")
    make(bench, "host-a.efi", data=b"second")
    bench.fetch()
    (workload,) = bench.workloads()
    assert workload.state is State.FAILED
    assert "gone from GitHub" in workload.reason


def test_trouble_on_the_way_is_no_drift(bench: Watched) -> None:
    """D6: GitHub itself is down for hours."""
    make(bench, "host-a.efi")
    bench.load()
    bench.world.standin.faults.next("GET", "*/releases/tags/devel", says(503, "busy"), times=2)
    bench.look(RARELY)
    bench.look(RARELY)
    assert bench.drift == ""
    assert bench.states() == [State.UNASSIGNED]

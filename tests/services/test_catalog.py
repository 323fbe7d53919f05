"""Loading: from the stand-in GitHub and from a directory, into the queue and the cache."""

import os
from datetime import timedelta
from pathlib import Path

import pytest

from dispatchd import wire
from dispatchd.domain.model import Arrival, State
from dispatchd.errors import BadRequest, Gone, Refused
from dispatchd.services.github import Token
from tests.github_standin.faults import Fault, says
from tests.services.github_world import NOW
from tests.services.loading_bench import Bench

MARKED = "application/vnd.dispatch+efi"
LONG_AGO = NOW - timedelta(days=1)


def test_marked_assets_of_a_prerelease_are_queued_and_fetched_once(bench: Bench) -> None:
    release = bench.world.repository.release("devel", prerelease=True)
    release.asset("host-a.efi", b"a" * 1000)
    release.asset("guest.efi", b"g", content_type="application/octet-stream")
    answer = bench.load(pools=["7003", "9004"])
    assert [(one.name, one.pool, one.change) for one in answer.workloads] == [
        ("host-a.efi", "7003", "queued"),
        ("host-a.efi", "9004", "queued"),
    ]
    assert (answer.report_to, answer.login) == ("AMDEPYC/sev-certify", "lab-bot")
    bench.fetch()
    assert bench.arrivals() == [Arrival.WHOLE]
    assert len(bench.world.standin.received("GET", port="store")) == 1


def test_more_assets_than_a_page_are_all_queued(bench: Bench) -> None:
    release = bench.world.repository.release("devel")
    for number in range(45):
        release.asset(f"host-{number:02}.efi", b"x")
    bench.world.standin.embedded_assets = 30
    assert len(bench.load().workloads) == 45


def test_an_empty_asset_is_never_offered_to_a_machine(bench: Bench) -> None:
    release = bench.world.repository.release("devel")
    release.asset("host-a.efi", b"a" * 1000)
    release.asset("host-b.efi", b"")
    answer = bench.load()
    assert [one.name for one in answer.workloads] == ["host-a.efi"]
    assert "empty, so not queued: host-b.efi" in answer.warnings


def test_a_plan_writes_nothing(bench: Bench) -> None:
    bench.world.repository.release("devel").asset("host-a.efi", b"a")
    assert [one.change for one in bench.load(plan=True).workloads] == ["queued"]
    assert bench.states() == []


def test_loading_again_changes_nothing(bench: Bench) -> None:
    bench.world.repository.release("devel").asset("host-a.efi", b"a")
    bench.load()
    assert [one.change for one in bench.load().workloads] == ["unchanged"]
    assert bench.states() == [State.UNASSIGNED]


def test_an_untried_workload_takes_new_bytes_and_a_tried_one_keeps_its_own(bench: Bench) -> None:
    release = bench.world.repository.release("devel")
    release.asset("host-a.efi", b"old a")
    release.asset("host-b.efi", b"old b")
    bench.load()
    with bench.store.writing() as tx:
        tried = next(one for one in tx.workloads.shown() if one.name == "host-b.efi")
        machine = tx.machines.insert(at=bench.clock.now())
        tx.attempts.insert(workload=tried, machine_id=machine.id, at=bench.clock.now())
    again = bench.world.repository.release("devel")
    again.asset("host-a.efi", b"new a")
    again.asset("host-b.efi", b"new b")
    changes = {one.name: one.change for one in bench.load().workloads}
    assert changes == {"host-a.efi": "replaced", "host-b.efi": "queued"}
    with bench.store.reading() as tx:
        assert len([one for one in tx.workloads.shown() if one.name == "host-b.efi"]) == 2


def test_what_is_gone_runs_on_from_the_cache_or_is_withdrawn(bench: Bench) -> None:
    release = bench.world.repository.release("devel", published_at=LONG_AGO)
    release.asset("host-a.efi", b"a")
    bench.load()
    bench.fetch()
    release.asset("host-b.efi", b"b")
    bench.load()
    again = bench.world.repository.release("devel", published_at=LONG_AGO)
    again.asset("host-c.efi", b"c")
    changes = {one.name: one.change for one in bench.load().workloads}
    assert changes == {"host-c.efi": "queued", "host-a.efi": "kept", "host-b.efi": "withdrawn"}


def test_an_asset_that_is_still_uploaded_is_queued_when_it_is_whole(bench: Bench) -> None:
    release = bench.world.repository.release("devel")
    release.asset("host-a.efi", b"a")
    late = release.asset("host-b.efi", b"b", state="open")
    assert any("host-b.efi" in warning for warning in bench.load().warnings)
    late.state = "uploaded"
    with bench.store.reading() as tx:
        (loaded,) = tx.releases.loaded()
    bench.catalog.look_again(loaded)
    assert bench.states() == [State.UNASSIGNED, State.UNASSIGNED]


def test_the_latest_release_is_taken_and_named_where_no_tag_is_called_so(bench: Bench) -> None:
    bench.world.repository.release("v1.2").asset("host-a.efi", b"a")
    answer = bench.load("latest")
    assert answer.release == "AMDEPYC/sev-certify@v1.2"
    assert any("v1.2" in note for note in answer.notes)


def test_a_release_without_bootable_assets_is_refused_with_what_it_has(bench: Bench) -> None:
    release = bench.world.repository.release("devel", published_at=LONG_AGO)
    release.asset("notes.txt", b"n", content_type="text/plain")
    with pytest.raises(Refused, match=r"notes\.txt"):
        bench.load()
    release.asset("plain.efi", b"p", content_type="application/octet-stream")
    assert [one.name for one in bench.load().workloads] == ["plain.efi"]


def test_filters_that_leave_nothing_and_unknown_tags_are_refused(bench: Bench) -> None:
    bench.world.repository.release("devel", published_at=LONG_AGO).asset("host-a.efi", b"a")
    with pytest.raises(Refused, match=r"no bootable asset matches ubuntu .*host-a\.efi"):
        bench.load(filters=["ubuntu"])
    with pytest.raises(Gone):
        bench.load("nightly")
    with pytest.raises(BadRequest):
        bench.load("")


def test_what_will_go_wrong_is_said_before_anything_is_queued(bench: Bench) -> None:
    bench.world.repository.release("devel").asset("host-a.efi", b"a")
    bench.world.repository.has_issues = False
    assert any("issues are disabled" in warning for warning in bench.load().warnings)
    bench.world.token = None
    assert any("no token" in warning for warning in bench.load().warnings)
    assert bench.load(file=False).report_to is None


def test_an_apps_token_is_told_that_its_issues_may_start_no_workflow(bench: Bench) -> None:
    """U7: what GitHub Actions' own token makes starts none."""
    bench.world.repository.release("devel").asset("host-a.efi", b"a")
    bench.world.standin.token("ghs_" + "a1B2" * 9)
    bench.world.token = Token(value="ghs_" + "a1B2" * 9, source="GITHUB_TOKEN")
    (warning,) = bench.load().warnings
    assert "start no workflow" in warning


def test_a_hostile_name_is_a_name_and_no_path(bench: Bench) -> None:
    """R8: bytes are kept by their digest."""
    release = bench.world.repository.release("devel")
    for name in ("../../up.efi", "/etc/passwd.efi", "a\nb.efi", ".hidden.efi"):
        release.asset(name, name.encode())
    assert len(bench.load().workloads) == 4
    bench.fetch()
    bench.fetch_later()
    assert bench.arrivals() == [Arrival.WHOLE] * 4
    files = [path for path in bench.directory.rglob("*") if path.suffix == ".efi"]
    assert files == []


def test_unloading_and_loading_again_goes_on_where_it_was(bench: Bench) -> None:
    bench.world.repository.release("devel").asset("host-a.efi", b"a")
    answer = bench.load()
    assert answer.release_id is not None
    bench.catalog.unload(answer.release_id, by="alice")
    assert bench.states() == []
    assert [one.change for one in bench.load().workloads] == ["unchanged"]
    assert bench.states() == [State.UNASSIGNED]


@pytest.mark.parametrize(
    "fault",
    [Fault(truncate=500), Fault(corrupt=True), says(503, "busy")],
    ids=["truncated", "corrupt", "503"],
)
def test_bytes_that_came_wrong_are_never_served_and_fetched_again(
    bench: Bench, fault: Fault
) -> None:
    bench.world.repository.release("devel").asset("host-a.efi", os.urandom(1000))
    bench.load()
    bench.world.standin.faults.next("GET", "/store/*", fault)
    bench.fetch()
    assert bench.arrivals() == [Arrival.ARRIVING]
    bench.clock.advance(60)
    bench.fetch()
    assert bench.arrivals() == [Arrival.WHOLE]
    with bench.store.reading() as tx:
        (asset,) = tx.assets.of_release(1)
    with bench.cache.open(asset.sha256) as file:
        assert len(file.read()) == 1000


def test_a_release_made_again_is_followed_to_the_assets_new_address(bench: Bench) -> None:
    bench.world.repository.release("devel").asset("host-a.efi", b"same bytes")
    bench.load()
    bench.world.repository.release("devel").asset("host-a.efi", b"same bytes")
    bench.fetch()
    bench.clock.advance(60)
    bench.fetch()
    assert bench.arrivals() == [Arrival.WHOLE]


def test_a_directory_is_copied_into_the_cache(bench: Bench, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "a.efi").write_bytes(b"one")
    (images / "b.ISO").write_bytes(b"two")
    (images / "notes.txt").write_bytes(b"no")
    answer = bench.catalog.load(wire.LoadRequest(directory=str(images)), by="alice")
    assert [one.name for one in answer.workloads] == ["a.efi", "b.ISO"]
    assert answer.report_to is None
    bench.fetch()
    for file in images.iterdir():
        file.unlink()
    assert bench.arrivals() == [Arrival.WHOLE, Arrival.WHOLE]
    with pytest.raises(Refused, match=r"no \*\.efi"):
        bench.catalog.load(wire.LoadRequest(directory=str(images)), by="alice")
    with pytest.raises(Refused, match="No such file"):
        bench.catalog.load(wire.LoadRequest(directory="/nowhere"), by="alice")
    with pytest.raises(BadRequest, match="no absolute path"):
        bench.catalog.load(wire.LoadRequest(directory="images"), by="alice")

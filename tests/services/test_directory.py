"""Directories: what is in them is copied in the background, and nothing that is wrong gets in."""

import os
import socket
from pathlib import Path

import pytest

from dispatchd import wire
from dispatchd.domain.event import Kind
from dispatchd.domain.model import Arrival, State
from dispatchd.errors import BadRequest, Refused
from tests.services.loading_bench import Bench


@pytest.fixture
def images(tmp_path: Path) -> Path:
    images = tmp_path / "images"
    images.mkdir()
    (images / "a.efi").write_bytes(b"a" * 1000)
    (images / "b.ISO").write_bytes(b"b" * 1000)
    (images / "notes.txt").write_bytes(b"no")
    (images / "more").mkdir()
    (images / "more" / "c.efi").write_bytes(b"c")
    return images


def test_loading_queues_at_once_and_copies_afterwards(bench: Bench, images: Path) -> None:
    answer = bench.load_directory(images)
    assert [(one.name, one.size) for one in answer.workloads] == [("a.efi", 1000), ("b.ISO", 1000)]
    assert bench.arrivals() == [Arrival.ARRIVING, Arrival.ARRIVING]
    bench.fetch()
    assert bench.arrivals() == [Arrival.WHOLE, Arrival.WHOLE]
    assert bench.bytes_of("b.ISO") == b"b" * 1000


def test_a_copy_that_was_killed_is_taken_up_where_it_was(bench: Bench, images: Path) -> None:
    (images / "a.efi").write_bytes(os.urandom(3 << 20))
    bench.load_directory(images)
    (flight, other) = bench.fetcher.due()
    (bench.cache.directory / f".partial-{flight.key}").write_bytes(
        (images / "a.efi").read_bytes()[: 1 << 20]
    )
    assert bench.fetcher.progress(other.asset).arrived == 0
    bench.start()
    assert bench.fetcher.progress(flight.asset).arrived == 1 << 20
    bench.fetch()
    assert bench.bytes_of("a.efi") == (images / "a.efi").read_bytes()


def test_loading_again_what_did_not_change_changes_nothing(bench: Bench, images: Path) -> None:
    bench.load_directory(images)
    bench.fetch()
    assert {one.change for one in bench.load_directory(images).workloads} == {"unchanged"}


def test_the_same_bytes_with_another_date_are_not_run_again(bench: Bench, images: Path) -> None:
    bench.load_directory(images)
    bench.fetch()
    bench.settle("a.efi")
    os.utime(images / "a.efi", (1, 1))
    changes = {one.name: one.change for one in bench.load_directory(images).workloads}
    assert changes == {"a.efi": "queued", "b.ISO": "unchanged"}
    bench.fetch()
    assert sorted(bench.states()) == [State.FINISHED, State.UNASSIGNED]
    with bench.store.reading() as tx:
        told = [event.text for event in tx.events.after(0, 100)]
    assert "a.efi: the same bytes as before, nothing new to run" in told


def test_other_bytes_are_run_beside_those_that_ran(bench: Bench, images: Path) -> None:
    bench.load_directory(images)
    bench.fetch()
    bench.settle("a.efi")
    (images / "a.efi").write_bytes(b"new" * 1000)
    bench.load_directory(images)
    bench.fetch()
    assert sorted(bench.states()) == [State.FINISHED, State.UNASSIGNED, State.UNASSIGNED]


@pytest.mark.parametrize("data", [b"z" * 1000, b"longer" * 1000, b""])
def test_a_file_that_changed_since_it_was_loaded_is_withdrawn(
    bench: Bench, images: Path, data: bytes
) -> None:
    bench.load_directory(images)
    (images / "a.efi").write_bytes(data)
    os.utime(images / "a.efi", (1, 1))
    bench.fetch()
    assert bench.arrivals() == [Arrival.GONE, Arrival.WHOLE]
    reasons = [one.reason for one in bench.workloads() if one.name == "a.efi"]
    assert reasons == [f"withdrawn: {images}/a.efi changed since it was loaded"]
    bench.fetch()
    assert bench.cache.partials() == {}


def test_a_file_that_changes_while_it_is_copied_is_withdrawn(bench: Bench, images: Path) -> None:
    (images / "a.efi").write_bytes(bytes(5 << 20))
    bench.load_directory(images)
    (flight, _) = bench.fetcher.due()

    class Meddler:
        """Writes to the file as soon as some of it was copied."""

        def note(self, arrived: int) -> None:
            with (images / "a.efi").open("r+b") as file:
                file.write(b"x")

    flight.gauge = Meddler()  # type: ignore[assignment]
    bench.fetcher.fetch(flight)
    assert bench.arrivals()[0] is Arrival.GONE
    assert bench.cache.entries() == []


def test_a_file_that_is_gone_is_withdrawn_and_comes_back_with_the_next_load(
    bench: Bench, images: Path
) -> None:
    bench.load_directory(images)
    (images / "a.efi").unlink()
    bench.fetch()
    assert bench.states() == [State.FAILED, State.UNASSIGNED]
    (images / "a.efi").write_bytes(b"a" * 1000)
    bench.load_directory(images)
    bench.fetch()
    assert bench.bytes_of("a.efi") == b"a" * 1000


def test_a_directory_that_was_away_for_a_while_is_taken_up_again(
    bench: Bench, images: Path
) -> None:
    bench.load_directory(images)
    away = images.rename(images.with_name("away"))
    bench.fetch()
    assert bench.states() == [State.FAILED, State.FAILED]
    away.rename(images)
    assert {one.reason for one in bench.load_directory(images).workloads} == {"there again"}
    with bench.store.reading() as tx:
        told = tx.events.latest(Kind.RETRIED)
    assert told is not None
    assert told.text == "b.ISO: there again, to be run"
    bench.fetch()
    assert bench.states() == [State.UNASSIGNED, State.UNASSIGNED]
    assert bench.arrivals() == [Arrival.WHOLE, Arrival.WHOLE]


def test_a_link_is_followed(bench: Bench, images: Path) -> None:
    (images / "latest.efi").symlink_to("a.efi")
    bench.load_directory(images)
    bench.fetch()
    assert bench.bytes_of("latest.efi") == b"a" * 1000


def make_directory(path: Path) -> None:
    path.mkdir()


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_broken_link(path: Path) -> None:
    path.symlink_to("nowhere")


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("x.efi", make_directory, "x.efi is no file"),
        ("x.efi", make_pipe, "x.efi is no file"),
        ("x.efi", make_broken_link, "x.efi: No such file"),
        ("x.efi", make_socket, "x.efi: No such device"),
        ("x.efi", Path.touch, "x.efi is empty"),
        ("x\n.efi", Path.touch, r"the name 'x\\n.efi' cannot be shown"),
        (os.fsdecode(b"\xff.efi"), Path.touch, "cannot be shown"),
    ],
)
def test_what_cannot_be_copied_is_refused_before_anything_is_queued(
    bench: Bench, images: Path, name: str, make: object, said: str
) -> None:
    assert callable(make)
    make(images / name)
    with pytest.raises(Refused, match=said) as caught:
        bench.load_directory(images)
    assert str(images) in str(caught.value)
    assert bench.workloads() == []


def test_a_directory_with_nothing_bootable_says_what_it_looks_for(
    bench: Bench, images: Path
) -> None:
    with pytest.raises(Refused, match=r"no \*\.efi") as caught:
        bench.catalog.load(wire.LoadRequest(directory=str(images), filters=["nothing"]), by="alice")
    assert "directories in it are not looked into" in caught.value.hint
    with pytest.raises(BadRequest, match="no absolute path"):
        bench.load_directory(Path("images"))
    with pytest.raises(Refused, match="No such file"):
        bench.load_directory(Path("/nowhere"))

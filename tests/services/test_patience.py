"""Loading on GitHub's bad days, while a person waits."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dispatchd.domain.model import State
from dispatchd.errors import Forbidden, Unauthorized, Unavailable
from tests.dispatcher.lab import HandClock
from tests.github_standin import faults
from tests.github_standin.faults import Fault
from tests.services.github_world import running_lab
from tests.services.loading_bench import Bench

RELEASE, USER, REPOSITORY = "*/releases/tags/devel", "/user", "/repos/AMDEPYC/sev-certify"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    clock = HandClock()
    with running_lab(clock.now) as world:
        world.repository.release("devel").asset("host-a.efi", b"a")
        with closing(Bench(tmp_path, world, clock=clock)) as bench:
            yield bench


@pytest.mark.parametrize(
    ("fault", "waits"),
    [
        (faults.says(502, "Server Error"), [1, 2]),
        (faults.html(503), [1, 2]),
        (faults.reset(), [1, 2]),
        (faults.truncated(20), [1, 2]),
        (faults.secondary_limit(retry_after="7"), [7, 7]),
    ],
    ids=["502", "a page", "reset", "cut", "short limit"],
)
@pytest.mark.parametrize("path", [RELEASE, USER, REPOSITORY])
def test_what_passes_within_half_a_minute_is_no_error(
    bench: Bench, path: str, fault: Fault, waits: list[float]
) -> None:
    bench.world.standin.faults.next("GET", path, fault, times=2)
    answer = bench.load()
    assert (answer.login, answer.warnings) == ("lab-bot", [])
    assert bench.states() == [State.UNASSIGNED]
    assert bench.waits == waits


def test_an_answer_that_does_not_come_in_time_is_asked_for_again(
    bench: Bench, tmp_path: Path
) -> None:
    released = threading.Event()
    bench.world.standin.faults.next("GET", RELEASE, faults.slow(released))
    with bench.world.client(timeout=(5.0, 0.2)) as impatient:
        (tmp_path / "other").mkdir()
        other = Bench(tmp_path / "other", bench.world, github=impatient, clock=bench.clock)
        with closing(other):
            assert other.load().warnings == []
    released.set()
    assert other.waits == [1]


@pytest.mark.parametrize(
    ("fault", "waits", "message", "hint"),
    [
        (faults.says(503, "busy"), [1, 2, 4, 8, 16], "503 .*busy", "githubstatus.com"),
        (faults.secondary_limit(retry_after="600"), [], "rate limit", "try again then"),
    ],
    ids=["down", "long limit"],
)
def test_a_release_that_cannot_be_read_in_time_is_an_error_with_status_and_remedy(
    bench: Bench, fault: Fault, waits: list[float], message: str, hint: str
) -> None:
    bench.world.standin.faults.next("GET", RELEASE, fault, times=len(waits) + 1)
    with pytest.raises(Unavailable, match=f"cannot read the release devel .*{message}") as caught:
        bench.load()
    assert hint in caught.value.hint
    assert bench.waits == waits
    assert bench.states() == []


@pytest.mark.parametrize(
    ("fault", "error", "status"),
    [
        (faults.bad_token(), Unauthorized, "401"),
        (faults.not_permitted("contents=read"), Forbidden, "403"),
    ],
)
def test_a_release_that_may_not_be_read_is_refused_at_once(
    bench: Bench, fault: Fault, error: type[Unauthorized], status: str
) -> None:
    bench.world.standin.faults.next("GET", RELEASE, fault)
    with pytest.raises(error, match=f"cannot read the release devel .*{status}") as caught:
        bench.load()
    assert "dispatchctl login" in caught.value.hint
    assert bench.waits == []


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda: faults.says(503, "busy"), "503"),
        (lambda: faults.secondary_limit(retry_after="600"), "rate limit"),
        (faults.not_permitted, "403"),
        (faults.bad_token, "401"),
        (lambda: faults.says(404, "Not Found"), "404"),
    ],
    ids=["down", "limit", "403", "401", "404"],
)
@pytest.mark.parametrize("path", [USER, REPOSITORY])
def test_what_only_filing_needs_refuses_no_load(
    bench: Bench, path: str, fault: Callable[[], Fault], words: str
) -> None:
    tries = 6 if words == "503" else 1
    bench.world.standin.faults.next("GET", path, fault(), times=tries)
    answer = bench.load()
    (warning,) = answer.warnings
    assert warning.startswith("whether AMDEPYC/sev-certify takes the reports is not known: cannot")
    assert words in warning
    assert answer.report_to == "AMDEPYC/sev-certify"
    assert bench.states() == [State.UNASSIGNED]


def test_the_patience_is_for_all_questions_of_a_load_together(bench: Bench) -> None:
    standin = bench.world.standin
    standin.faults.next("GET", RELEASE, faults.says(502, "Server Error"), times=4)
    standin.faults.next("GET", USER, faults.says(502, "Server Error"), times=5)
    assert len(bench.load().warnings) == 1
    assert bench.waits == [1, 2, 4, 8, 1, 2, 4, 8]


def test_a_stop_waits_for_nobodys_patience(bench: Bench) -> None:
    bench.stopping = True
    bench.world.standin.faults.next("GET", RELEASE, faults.says(502, "Server Error"))
    with pytest.raises(Unavailable, match="502"):
        bench.load()
    assert bench.waits == [1]

"""Logging in: what GitHub says of a token decides what becomes of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatchd import wire
from dispatchd.domain.model import Delivery
from dispatchd.errors import ConfigError, Unauthorized
from dispatchd.services.github import GitHub, Token
from dispatchd.services.login import Login
from dispatchd.services.token import TokenStore
from tests.github_standin import faults
from tests.github_standin.faults import Fault
from tests.services.github_world import SECRET, running_lab
from tests.services.outbox_bench import Bench

OLD = "ghp_" + "o1D2" * 9
APPS = "ghs_" + "a1P2" * 9


class Desk:
    """Somebody logs in, while a report is held because of the old token."""

    def __init__(self, directory: Path, bench: Bench) -> None:
        self.bench = bench
        self.tokens = TokenStore(directory, {})
        self.tokens.store(OLD)
        self.api_url = ""
        bench.world.token = self.tokens.current()
        bench.report()
        bench.outbox.step()
        assert bench.entry.state is Delivery.HELD

    def log_in(self, token: str) -> wire.TokenAnswer:
        bench = self.bench
        login = Login(
            bench.queue.store, bench.clock, self.tokens, bench.outbox, client=self._client
        )
        return login.log_in(token, by="alice")

    def _client(self, token: Token) -> GitHub:
        self.bench.world.token = token
        return self.bench.world.client(api_url=self.api_url)

    @property
    def stored(self) -> str:
        token = self.tokens.current()
        return token.value if token else ""

    @property
    def history(self) -> list[str]:
        with self.bench.queue.store.reading() as tx:
            return [event.kind for event in tx.events.after(0, 100)]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    bench = Bench(tmp_path)
    with running_lab(bench.clock.now) as world:
        bench.connect(world)
        yield Desk(tmp_path, bench)
        bench.queue.store.close()


def test_a_token_that_github_accepts_is_stored_and_lets_go_what_was_held(desk: Desk) -> None:
    assert desk.log_in(f"{SECRET}\n") == wire.TokenAnswer(login="lab-bot")
    assert desk.stored == SECRET
    assert desk.bench.entry.state is Delivery.PENDING
    assert desk.history[-1] == "logged-in"


def test_a_token_that_github_does_not_accept_changes_nothing(desk: Desk) -> None:
    with pytest.raises(Unauthorized, match=r"not accept the token \(401\).*not stored") as caught:
        desk.log_in("ghp_mistyped")
    assert "Issues: read and write" in caught.value.hint
    assert desk.stored == OLD
    assert desk.bench.entry.state is Delivery.HELD
    assert "logged-in" not in desk.history


@pytest.mark.parametrize(
    "fault",
    [
        faults.says(503, "busy"),
        faults.reset(),
        faults.secondary_limit(retry_after="60"),
        faults.single_sign_on("https://github.com/orgs/AMDEPYC/sso"),
    ],
    ids=["down", "reset", "limit", "single sign-on"],
)
def test_a_token_that_may_be_good_is_stored_with_a_warning(desk: Desk, fault: Fault) -> None:
    desk.bench.world.standin.faults.next("GET", "/user", fault)
    answer = desk.log_in(SECRET)
    assert answer.login is None
    assert (answer.warning or "").startswith("stored, but not proved: ")
    assert desk.stored == SECRET
    assert desk.bench.entry.state is Delivery.PENDING


def test_an_apps_token_is_stored_with_what_it_cannot_do(desk: Desk) -> None:
    desk.bench.world.standin.token(APPS)
    assert "start no workflow" in (desk.log_in(APPS).warning or "")
    assert desk.stored == APPS


def test_a_token_that_would_travel_in_the_clear_is_not_stored(desk: Desk) -> None:
    desk.api_url = "http://github.example"
    with pytest.raises(ConfigError, match="unencrypted"):
        desk.log_in(SECRET)
    assert desk.stored == OLD

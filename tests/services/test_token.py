"""Whose token counts, and how one that a person stored is kept."""

import stat
from pathlib import Path

import pytest

from dispatchd.errors import BadRequest, Conflict, StoreError
from dispatchd.services.token import TokenStore

SECRET = "github_pat_11AAAAAAA"  # of no account


@pytest.fixture
def state(tmp_path: Path) -> Path:
    directory = tmp_path / "state"
    directory.mkdir()
    return directory


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    directory = tmp_path / "credentials"
    directory.mkdir()
    (directory / "github-token").write_text("from-systemd\n")
    return directory


def found(tokens: TokenStore) -> tuple[str, str] | None:
    token = tokens.current()
    return (token.value, token.source) if token else None


def test_the_credential_counts_before_the_environment_and_that_before_a_login(
    state: Path, credentials: Path
) -> None:
    TokenStore(state, {}).store("stored")
    both = {"CREDENTIALS_DIRECTORY": str(credentials), "GITHUB_TOKEN": "of-the-environment"}
    assert found(TokenStore(state, both)) == ("from-systemd", "systemd credential")
    del both["CREDENTIALS_DIRECTORY"]
    assert found(TokenStore(state, both)) == ("of-the-environment", "GITHUB_TOKEN")
    assert found(TokenStore(state, {})) == ("stored", "login")


def test_there_may_be_none(state: Path, tmp_path: Path) -> None:
    assert found(TokenStore(state, {})) is None
    without = {"CREDENTIALS_DIRECTORY": str(tmp_path / "nowhere"), "GITHUB_TOKEN": " "}
    assert found(TokenStore(state, without)) is None


def test_a_new_token_counts_at_once_and_after_a_restart(state: Path) -> None:
    tokens = TokenStore(state, {})
    tokens.store("first")
    tokens.store("second\n")
    assert found(tokens) == found(TokenStore(state, {})) == ("second", "login")


def test_only_dispatchd_can_read_it_whatever_a_crash_left_there(state: Path) -> None:
    left = state / "github-token.new"
    left.write_text("half")
    left.chmod(0o666)
    TokenStore(state, {}).store(SECRET)
    assert [path.name for path in state.iterdir()] == ["github-token"]
    assert stat.S_IMODE((state / "github-token").stat().st_mode) == 0o600


@pytest.mark.parametrize("earlier", ["systemd credential", "GITHUB_TOKEN"])
def test_a_login_that_would_not_count_is_refused_with_what_would(
    state: Path, credentials: Path, earlier: str
) -> None:
    environ = (
        {"GITHUB_TOKEN": "x"}
        if earlier == "GITHUB_TOKEN"
        else {"CREDENTIALS_DIRECTORY": str(credentials)}
    )
    with pytest.raises(Conflict, match=earlier):
        TokenStore(state, environ).store(SECRET)
    assert list(state.iterdir()) == []


@pytest.mark.parametrize(
    "value", ["", " \n", "two words", "two\nlines", "a\x00b", "a\x7fb", "tökén"]
)
def test_what_can_be_no_token_is_refused_and_the_stored_one_stays(state: Path, value: str) -> None:
    tokens = TokenStore(state, {})
    tokens.store(SECRET)
    with pytest.raises(BadRequest) as caught:
        tokens.store(value)
    assert value.strip() == "" or value not in str(caught.value)
    assert found(tokens) == (SECRET, "login")


def test_a_token_that_cannot_be_written_is_told_without_it(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file or directory") as caught:
        TokenStore(tmp_path / "nowhere", {}).store(SECRET)
    assert SECRET not in str(caught.value)


def test_a_token_never_shows_itself(state: Path) -> None:
    tokens = TokenStore(state, {})
    tokens.store(SECRET)
    token = tokens.current()
    assert token is not None
    assert SECRET not in f"{token} {token!r} {[token]}"

"""What is taken out of text before it becomes public."""

import pytest

from dispatchd.domain.issue_text import REMOVED, scrub

BODY = "aB3" * 12


@pytest.mark.parametrize("prefix", ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"])
def test_every_kind_of_github_token_is_removed(prefix: str) -> None:
    assert scrub(f"token={prefix}{BODY}!", None) == f"token={REMOVED}!"


def test_the_signed_part_of_an_installation_token_goes_with_it() -> None:
    assert scrub(f"x ghs_{BODY}.{BODY}-_.{BODY}. End", None) == f"x {REMOVED}. End"


def test_the_configured_token_is_removed_whatever_it_looks_like() -> None:
    assert scrub("a 0123456789abcdef b", "0123456789abcdef") == f"a {REMOVED} b"


@pytest.mark.parametrize("hidden", ["\x00", "\x1b[0m", "\x7f", "\x9b", "\r"])
def test_a_token_cannot_hide_behind_a_control_character(hidden: str) -> None:
    assert scrub(f"ghp_{BODY[:9]}{hidden}{BODY[9:]}", None) == REMOVED


def test_words_that_only_begin_like_a_token_stay() -> None:
    text = "ghp_short github_pat_ ghs ghp"
    assert scrub(text, "") == text


def test_terminal_commands_and_control_characters_go_and_layout_stays() -> None:
    text = "\x1b]0;title\x07\x1b[1;31mred\x1b[0m\tcell\r\n\x00\x08next \ud800\x85ä \u2713"
    assert scrub(text, None) == "red\tcell\nnext ä \u2713"

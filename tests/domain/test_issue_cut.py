"""Cutting texts that are too long for one issue."""

from hypothesis import given
from hypothesis import strategies as st

from dispatchd.domain.issue_cut import MOST_PIECES, cut, open_fence

ROOM = 2000
MARKS = ["```\n", "````sh\n", "~~~\n", "`x`\n", "    ```\n"]
LINES = st.sampled_from([*MARKS, "a line of a log\n", "é" * 300 + "\n", "\n"])


@given(st.lists(LINES, max_size=400).map("".join))
def test_every_part_fits_and_no_fence_runs_on(text: str) -> None:
    parts = cut(text, ROOM, whole="dispatchctl reports show ID")
    for part in (parts.body, *parts.rest):
        assert len(part) <= ROOM
        assert open_fence(part) == ""
    assert len(parts.rest) <= MOST_PIECES


@given(st.integers(min_value=0, max_value=9 * (ROOM - 512)))
def test_what_is_plain_is_put_together_again_from_its_parts(length: int) -> None:
    text = "".join(chr(ord("a") + place % 26) for place in range(length))
    parts = cut(text, ROOM, whole="…")
    head, _, tail = parts.body.partition("\n\n*[…")
    tail = tail.partition("…]*\n\n")[2]
    assert head + "".join(parts.rest) + tail == text


def test_what_is_too_much_even_for_comments_is_left_out_and_that_is_said() -> None:
    parts = cut("x" * 100_000, ROOM, whole="dispatchctl reports show ID")
    assert len(parts.rest) == MOST_PIECES
    assert "left out: dispatchctl reports show ID has all" in parts.body


def test_a_fence_that_a_text_leaves_open_ends_with_it() -> None:
    assert cut("```\nlog", ROOM, whole="").body == "```\nlog\n```"

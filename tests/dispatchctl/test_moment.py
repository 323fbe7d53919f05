"""Moments as people say them."""

from datetime import datetime, timedelta, timezone

import pytest

from dispatchctl.moment import moment

#: A Wednesday, in a lab east of Greenwich.
NOW = datetime(2026, 11, 25, 14, 2, 10, tzinfo=timezone(timedelta(hours=1)))


@pytest.mark.parametrize(
    ("word", "then"),
    [
        ("fri", "2026-11-20T00:00:00+01:00"),
        ("Friday", "2026-11-20T00:00:00+01:00"),
        ("wed", "2026-11-25T00:00:00+01:00"),
        ("thu", "2026-11-19T00:00:00+01:00"),
        ("today", "2026-11-25T00:00:00+01:00"),
        ("yesterday", "2026-11-24T00:00:00+01:00"),
        ("2h", "2026-11-25T12:02:10+01:00"),
        ("30 min", "2026-11-25T13:32:10+01:00"),
        ("3d", "2026-11-22T14:02:10+01:00"),
        ("9:30", "2026-11-25T09:30:00+01:00"),
        ("2026-11-20", "2026-11-20T00:00:00+01:00"),
        ("2026-11-20 08:15", "2026-11-20T08:15:00+01:00"),
        ("2026-11-20T08:15:00Z", "2026-11-20T08:15:00+00:00"),
    ],
)
def test_a_moment_is_understood(word: str, then: str) -> None:
    assert moment(word, NOW) == datetime.fromisoformat(then)


@pytest.mark.parametrize("word", ["", "soon", "25:00", "2026-13-01", "h", "-2h", "monopoly!"])
def test_what_is_no_moment_is_refused(word: str) -> None:
    with pytest.raises(ValueError):
        moment(word, NOW)

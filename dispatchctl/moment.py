"""Moments as people say them: "fri", "yesterday", "2h", "14:02", "2026-11-20"."""

import re
from datetime import datetime, timedelta

import click

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_AGO = re.compile(r"(\d{1,6})\s*(s|m|min|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}


def moment(word: str, now: datetime) -> datetime:
    """The moment, in the time zone of ``now``; raises ValueError.

    A day means its beginning, and the name of one the last that has begun; "2h" is two hours ago.
    """
    said = word.strip().lower()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if said in ("today", "yesterday"):
        return midnight - timedelta(days=said == "yesterday")
    if said[:3] in _DAYS and said.isalpha():
        return midnight - timedelta(days=(now.weekday() - _DAYS.index(said[:3])) % 7)
    ago = _AGO.fullmatch(said)
    if ago:
        return now - timedelta(seconds=int(ago[1]) * _SECONDS[ago[2]])
    if re.fullmatch(r"\d{1,2}:\d\d", said):
        hour, minute = said.split(":")
        return midnight.replace(hour=int(hour), minute=int(minute))
    found = datetime.fromisoformat(said.upper())
    return found if found.tzinfo else found.replace(tzinfo=now.tzinfo)


class Moment(click.ParamType[datetime]):
    """A moment in the past, as an option's value."""

    name = "when"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        try:
            return moment(str(value), datetime.now().astimezone())
        except (ValueError, OverflowError):
            self.fail(
                f'{value!r} is no moment like "fri", "2h", "14:02" or "2026-11-20"', param, ctx
            )

"""What went wrong and what is to come, in the words that people read."""

from dispatchd.domain.model import Outcome, Workload

_ORDINALS = ("first", "second", "third", "fourth", "fifth")
_MISSED = {
    Outcome.LAPSED: "no byte within {} of its ask",
    Outcome.STALLED: "no byte for {}",
    Outcome.NO_BOOT: "no boot within {} of the download",
    Outcome.NO_REPORT: "no report within {} of the boot",
}


def missed(outcome: Outcome, limit: float) -> str:
    """The end of an attempt whose deadline of ``limit`` seconds passes; other ends have none."""
    return _MISSED.get(outcome, str(outcome)).format(duration(limit))


def next_try(workload: Workload, tries: int, *, elsewhere: bool) -> str:
    """What follows when ``tries`` have ended without a report.

    ``elsewhere``: another machine that could run it is alive.
    """
    if tries >= workload.max_tries:
        return "no try is left"
    ordinal = _ORDINALS[tries] if tries < len(_ORDINALS) else f"{tries + 1}th"
    return f"{ordinal} try next" + (", on another machine" if elsewhere else "")


def duration(seconds: float) -> str:
    """A length of time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds >= 3600 and seconds % 3600 == 0:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

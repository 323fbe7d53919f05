"""How a release on GitHub differs from what was loaded of it, in the words that people read."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Drift:
    """Names of assets: of ``loaded`` ones some ``differ`` and some are ``gone``; others are new."""

    loaded: Collection[str]
    differ: Collection[str]
    gone: Collection[str]
    new: Collection[str]

    def words(self, *, since: datetime | None, loaded: datetime) -> str:
        """What `status` says of it, or empty; ``since`` is when the release was changed last."""
        said = [f"{len(self.differ)} of {len(self.loaded)} differ"] if self.differ else []
        said += [f"{len(self.gone)} of {len(self.loaded)} gone"] if self.gone else []
        said += [f"{len(self.new)} new"] if self.new else []
        if not said:
            return ""
        how = f"re-made {_day(since)}" if since and since > loaded else "not what was loaded"
        return f"{how}: {', '.join(said)}; running ones go on, load it again to take that over"


def gone(*, whole: int, loaded: int, loaded_at: datetime) -> str:
    """What `status` says of a release that is no longer there. ``whole``: assets that are here."""
    here = f"running on with the {whole} of {loaded} assets that are here"
    on = here if whole else f"waiting for the bytes of {loaded} assets"
    return f"gone from GitHub (its CI deletes and re-makes it?); {on}, loaded {_day(loaded_at)}"


def _day(moment: datetime) -> str:
    return f"{moment.astimezone():%a %H:%M}"

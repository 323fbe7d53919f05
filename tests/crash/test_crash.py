"""A short look at what `python -m tests.crash` does at length: the daemon dies, nothing is lost."""

from pathlib import Path

import pytest

from tests.crash.era import Era, points
from tests.crash.ledger import Ledger

#: Around the writes that a promise hangs on.
ENDS = (
    "migration-before-commit",
    "token-before-rename",
    "cache-before-rename",
    "before-assigned",
    "after-assigned",
    "observation-before-write",
    "before-reported",
    "after-reported",
    "outbox-before-post",
    "outbox-after-post",
)


def test_nothing_is_lost_or_doubled_however_the_daemon_dies(tmp_path: Path) -> None:
    ledger = Ledger()
    with Era(tmp_path / "era", seed=20261125, ledger=ledger) as era:
        reached = [era.live(end) for end in ("migration-before-commit", "", *ENDS)]
        era.settle()
    assert ledger.wrong == []
    assert any(reached)
    assert ledger.acknowledged


@pytest.mark.parametrize("end", ENDS)
def test_the_instants_are_still_named_so(end: str) -> None:
    assert end in points()

"""The catalogue of events: what people and programs search the journal for."""

import re
from pathlib import Path

from dispatchd.domain.event import ENDINGS, Kind
from dispatchd.domain.model import Outcome

DOCUMENTED = Path(__file__).parents[2] / "docs/journal.md"


def test_every_kind_of_event_has_an_id_of_its_own_and_is_documented() -> None:
    assert len({kind.message_id for kind in Kind}) == len(Kind)
    assert all(re.fullmatch(r"[0-9a-f]{32}", kind.message_id) for kind in Kind)
    told = re.findall(r"^\| `([a-z-]+)` \| `([0-9a-f]+)` \|", DOCUMENTED.read_text(), re.MULTILINE)
    assert told == [(kind.value, kind.message_id) for kind in Kind]


def test_every_end_of_an_attempt_but_a_report_has_its_kind() -> None:
    assert set(ENDINGS) == set(Outcome) - {Outcome.REPORTED}
    assert len(set(ENDINGS.values())) == len(ENDINGS)

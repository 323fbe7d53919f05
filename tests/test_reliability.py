"""What docs/reliability.md says is shown by a test is shown by one that is there."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
DOCUMENT = TESTS.parent / "docs/reliability.md"


def test_every_test_that_is_named_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", DOCUMENT.read_text()))
    sources = [file.read_text() for file in TESTS.rglob("test_*.py")]
    there = {name for text in sources for name in re.findall(r"def (test_\w+)\(", text)}
    assert named
    assert named - there == set()

"""What the queue's tests share."""

from pathlib import Path

import pytest

from tests.dispatcher.lab import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)

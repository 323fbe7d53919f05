"""What the tests of loading and of the cache share."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.services.github_world import Lab, running_lab
from tests.services.loading_bench import Bench


@pytest.fixture
def world() -> Iterator[Lab]:
    with running_lab() as world:
        yield world


@pytest.fixture
def bench(tmp_path: Path, world: Lab) -> Iterator[Bench]:
    with closing(Bench(tmp_path, world)) as bench:
        yield bench

"""What the tests of loading and of the cache share, and those of the network."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.netns import Cabled, cabled
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


@pytest.fixture
def lab() -> Iterator[Cabled]:
    """Two network namespaces, ``here`` and ``there``, and a cable between them."""
    with cabled() as lab:
        yield lab

"""Machines that are switched off when a test ends."""

from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from tests.e2e.machine import Machine, PowerOn


@pytest.fixture
def power_on() -> Iterator[PowerOn]:
    with ExitStack() as stack:
        yield lambda port, name: stack.enter_context(closing(Machine(port, name)))

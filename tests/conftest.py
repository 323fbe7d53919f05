"""Profiles of Hypothesis: a short look by default, a long one with the whole suite. And reports
that arrive, whatever a test logged.
"""

from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "quick", max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "thorough", max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("quick")


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, object, object]:
    """A worker's report, with what it logged, travels as UTF-8: what that cannot hold is spelt out.

    A log line with such a character would end the worker, and be told as a crash of the test.
    """
    report = yield
    return _spelt_out(report)


def _spelt_out(part: object) -> object:
    match part:
        case str():
            return part.encode(errors="backslashreplace").decode()
        case list():
            return [_spelt_out(one) for one in part]
        case tuple():
            return tuple(_spelt_out(one) for one in part)
        case dict():
            return {name: _spelt_out(value) for name, value in part.items()}
    return part

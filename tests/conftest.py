"""Profiles of Hypothesis: a short look by default, a long one with the whole suite, "endless" with
as many examples as DISPATCHD_EXAMPLES says. And reports that arrive, whatever a test logged.
"""

import os
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

EXAMPLES = {
    # name: examples, and steps of a state machine in each.
    "quick": (12, 30),
    "thorough": (150, 50),
    "endless": (int(os.environ.get("DISPATCHD_EXAMPLES", "1000")), 80),
}
for name, (examples, steps) in EXAMPLES.items():
    settings.register_profile(
        name,
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
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

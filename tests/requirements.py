"""What a test needs of the machine it runs on.

Elsewhere a test that lacks something is skipped, with the reason; where ``CI=true`` it fails, so
that nothing is ever skipped unnoticed there.
"""

import os
import shutil
from typing import NoReturn

import pytest


def require_root() -> None:
    """The test makes network namespaces or containers."""
    if os.geteuid() != 0:
        _lacking("root")


def require_programs(*names: str) -> None:
    """The test runs these programs, found on PATH."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        _lacking(", ".join(missing))


def _lacking(what: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"cannot run here: needs {what}", pytrace=False)
    pytest.skip(f"needs {what}")

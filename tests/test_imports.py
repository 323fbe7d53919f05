"""Imports point one way."""

from importlinter.cli import lint_imports


def test_imports_only_ever_point_down() -> None:
    assert lint_imports(no_cache=True) == 0

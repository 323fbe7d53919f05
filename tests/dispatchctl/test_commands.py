"""Where dispatchctl finds its commands."""

from importlib import import_module

import click
import pytest

from dispatchctl.cli import MODULES, dispatchctl


@pytest.mark.parametrize("module", MODULES)
def test_every_command_of_a_module_is_found(module: str) -> None:
    loaded = import_module(f"dispatchctl.{module}")
    defined = {
        one.name
        for one in vars(loaded).values()
        if isinstance(one, click.Command) and dispatchctl.commands.get(one.name or "") is one
    }
    assert defined == set(MODULES[module])


def test_a_command_that_is_not_there_is_not_found() -> None:
    assert dispatchctl.get_command(click.Context(dispatchctl), "bogus") is None

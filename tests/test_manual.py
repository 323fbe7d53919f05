"""The manual pages say what the programs and the settings know, no more and no less."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from dispatchctl.cli import dispatchctl
from tests.requirements import require_programs

ROOT = Path(__file__).parents[1]
MANUAL = ROOT / "packaging/man"
EXAMPLE = ROOT / "packaging/systemd/dispatchd.toml"


def page(name: str) -> str:
    """The source of a page, with its marks for bold and underlined words."""
    return (MANUAL / f"{name}.scd").read_text()


def options(text: str) -> set[str]:
    return set(re.findall(r"--[a-z][a-z-]+", text))


def commands(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{path}{name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{path}{name} ")


def test_dispatchctl_has_every_command_and_option() -> None:
    text = page("dispatchctl.1")
    said = {"--help", *(name for one in dispatchctl.params for name in one.opts)}
    for name, command in commands(dispatchctl):
        assert f"*{name}*" in text
        said |= {
            name for one in command.params if isinstance(one, click.Option) for name in one.opts
        }
    # Another program's option stands in an example.
    assert options(text) - {"--restore"} == {name for name in said if name.startswith("--")}


def test_dispatchd_has_every_option() -> None:
    run = [sys.executable, "-m", "dispatchd", "--help"]
    said = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert options(page("dispatchd.8")) == options(said) | {"--help"}


def test_the_settings_are_those_of_the_example() -> None:
    assert keys(page("dispatchd.toml.5"), r"# (\[\w+\])", r"\*\w+\*(?:, \*\w+\*)*$") == keys(
        EXAMPLE.read_text(), r"(\[\w+\])", r"#?\w+ ="
    )


def keys(text: str, section: str, key: str) -> set[str]:
    """Every "[section] key" of a text, told by what their lines look like."""
    found, here = set(), ""
    for line in text.splitlines():
        if new := re.fullmatch(section, line):
            here = new[1]
        elif re.match(key, line):
            found |= {f"{here} {name}" for name in re.findall(r"\w+", line.split("=")[0])}
    return found


@pytest.mark.parametrize("source", sorted(MANUAL.iterdir()), ids=lambda source: source.name)
def test_every_page_can_be_typeset(source: Path) -> None:
    require_programs("scdoc")
    with source.open() as text:
        done = subprocess.run(["scdoc"], stdin=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")

"""The systemd integration as it ships, for systems whose package manager does not install it."""

from pathlib import Path

from dispatchd.errors import ConfigError

PACKAGED = Path(__file__).parent / "systemd"
CHECKED_OUT = Path(__file__).parents[1] / "packaging/systemd"
#: The program as the Debian package installs it.
_DEBIAN = "/usr/bin/dispatchd"


def names() -> list[str]:
    """The files there are."""
    return sorted(file.name for file in _directory().iterdir())


def unit(name: str, program: Path) -> str:
    """One of the files, starting ``program``.

    Raises ConfigError where its sandbox would hide the program: systemd says 203/EXEC, no more.
    """
    text = (_directory() / name).read_text()
    hidden = next((top for top in ("/home", "/root", "/tmp") if program.is_relative_to(top)), None)  # noqa: S108
    if _DEBIAN in text and hidden:
        raise ConfigError(
            f"cannot run {program} as a service: nothing under {hidden} is seen in its sandbox",
            hint="install it elsewhere: PIPX_HOME=/opt/pipx PIPX_BIN_DIR=/usr/local/bin pipx",
        )
    return text.replace(_DEBIAN, str(program))


def _directory() -> Path:
    return PACKAGED if PACKAGED.is_dir() else CHECKED_OUT

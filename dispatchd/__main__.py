"""The command `dispatchd`: read the settings, serve, and say in one line why not."""

import argparse
import ctypes
import getpass
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path

from dispatchd import crashpoints, settings_file, units
from dispatchd.daemon import VERSION, Daemon
from dispatchd.errors import ConfigError, DispatchError
from dispatchd.services.clock import SystemClock
from dispatchd.services.journal import configure
from dispatchd.services.restore import restore
from dispatchd.services.token import forbid_dumps
from dispatchd.settings import Settings

#: sysexits.h: EX_CONFIG. systemd does not restart on it.
EX_CONFIG = 78
#: malloc.h
M_ARENA_MAX = -8


def main() -> None:
    """Run in the foreground until told to stop."""
    parser = argparse.ArgumentParser(
        prog="dispatchd",
        description="Hands servers that boot over UEFI HTTP their next workload, and files "
        "their reports as GitHub issues.",
    )
    parser.add_argument("--config", type=Path, metavar="PATH", help="the settings, a TOML file")
    parser.add_argument(
        "--print-unit",
        nargs="?",
        const="dispatchd.service",
        choices=units.names(),
        metavar="NAME",
        help="print a file for systemd, with the path of this program, and exit: "
        f"{', '.join(units.names())}",
    )
    parser.add_argument(
        "--restore",
        type=Path,
        metavar="FILE",
        help="put a copy that `dispatchctl backup` made in the database's place, and exit",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="with --restore: also where the database holds something; it is kept beside",
    )
    parser.add_argument("--version", action="version", version=f"dispatchd {VERSION}")
    arguments = parser.parse_args()
    configure(os.environ, sys.stderr)
    crashpoints.arm(os.environ)
    forbid_dumps()
    _share_heaps()
    sys.exit(_run(arguments))


def _share_heaps() -> None:
    """Have threads share two heaps: glibc gives each its own (mallopt(3)), of which all but the one
    that holds the interpreter's lock lie idle. Elsewhere nothing needs to be done.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 2)


def _run(arguments: argparse.Namespace) -> int:
    log = logging.getLogger("dispatchd")
    try:
        if arguments.print_unit:
            sys.stdout.write(units.unit(arguments.print_unit, Path(sys.argv[0]).absolute()))
            return 0

        def read() -> Settings:
            return settings_file.load(arguments.config, os.environ, is_root=os.geteuid() == 0)

        told = read()
        if arguments.restore:
            by = os.environ.get("SUDO_USER") or getpass.getuser()
            restore(arguments.restore, told, SystemClock(), force=arguments.force, by=by)
            return 0
        with Daemon(told, os.environ, read=read) as daemon:
            return daemon.serve()
    except DispatchError as error:
        log.error("%s", error.told)
        return EX_CONFIG if isinstance(error, ConfigError) else 1


if __name__ == "__main__":
    main()

"""The command `dispatchctl`."""

from dispatchctl import backup, cache, loading, machines, queue, reports, simulate, status
from dispatchctl.cli import dispatchctl, run

#: Each of these modules adds its commands to the group when it is imported.
COMMANDS = (status, loading, queue, machines, reports, simulate, cache, backup)


def main() -> None:
    """Run the command line."""
    run()


__all__ = ["COMMANDS", "dispatchctl", "main"]

if __name__ == "__main__":
    main()

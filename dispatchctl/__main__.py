"""The command `dispatchctl`."""

from dispatchctl.cli import dispatchctl, run


def main() -> None:
    """Run the command line."""
    run()


__all__ = ["dispatchctl", "main"]

if __name__ == "__main__":
    main()

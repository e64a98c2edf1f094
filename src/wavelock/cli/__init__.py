"""The command line. `main` is the console script."""

from __future__ import annotations


def main() -> None:
    """Run the command line and exit with its code."""
    import sys

    from wavelock.cli.app import run_command

    sys.exit(run_command(sys.argv[1:]))


__all__ = ["main"]

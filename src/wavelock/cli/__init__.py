"""The command line. `main` is the console script."""

from __future__ import annotations


def main() -> None:
    """Run the command line and exit with its code."""
    import io
    import os
    import sys

    from wavelock.cli.app import run_command
    from wavelock.cli.report import EXIT_INTERRUPTED

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a locale that lacks a letter must not stop what is printed
    code = run_command(sys.argv[1:])
    if code == EXIT_INTERRUPTED:
        # Workers may still be busy, and the interpreter would take what they use apart. All output is flushed.
        os._exit(code)
    sys.exit(code)


__all__ = ["main"]

"""The command line. `main` is the console script."""

from __future__ import annotations

from typing import Final

YOUNG_OBJECTS: Final = 50_000
"""How many new objects Python's garbage collector waits for on the command line; its own default is 700."""


def main() -> None:
    """Run the command line and exit with its code."""
    import gc
    import io
    import os
    import sys

    # Set-up makes many objects, and few that are ever freed: to look them through again and again finds nothing.
    gc.set_threshold(YOUNG_OBJECTS)
    # numpy's BLAS would start a thread for every core, and nothing here multiplies matrices.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from wavelock.cli.app import run_command
    from wavelock.cli.report import EXIT_INTERRUPTED

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a locale that lacks a letter must not stop what is printed
    code = run_command(sys.argv[1:])
    if code == EXIT_INTERRUPTED:
        # Workers may still be busy, and the interpreter would take what they use apart. All output is flushed.
        os._exit(code)
    gc.freeze()  # what is left needs no last look either: it goes with the process
    sys.exit(code)


__all__ = ["main"]

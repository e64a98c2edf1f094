"""What commands print: one JSON object, or text for people; errors without a traceback."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from typing import Any, Final

import click

from wavelock.core.errors import EXIT_ENVIRONMENT, EnvironmentFailure, ProfileError, WavelockError
from wavelock.core.events import RunStarted
from wavelock.core.units import format_bytes

EXIT_INTERRUPTED: Final = 130
"""Ended at once by a second interrupt, as shells count it: 128 + SIGINT."""


def emit(values: Mapping[str, Any], as_json: bool, show: Callable[[], None]) -> None:
    """Print a command's outcome: as one JSON object, or as `show` does it."""
    if as_json:
        import json

        click.echo(json.dumps(values, default=_plain))
    else:
        show()


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, bytes):
        return readable(value)
    return str(value)


def one_line(text: str) -> str:
    """Text of an agent for a terminal: what could steer it, or pass for a line of its own, is written as an escape."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def readable(data: bytes) -> str:
    """Bytes as text: themselves where they are printable UTF-8, else `0x` and hex digits."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return f"0x{data.hex()}"
    return text if all(char.isprintable() or char in "\n\t" for char in text) else f"0x{data.hex()}"


def engine_of(run: RunStarted) -> str:
    """A run's engine, with how it lays memories out where it has several ways: `wasmtime (dense memories)`."""
    return f"{run.engine} ({run.memory_layout} memories)" if run.memory_layout else run.engine


def cost_of_agents(create_ns: float, agent_bytes: float | None) -> str:
    """What making an agent took: `6.1 us each, 6.5 KiB of memory each`."""
    taken = f", {format_bytes(round(agent_bytes))} of memory each" if agent_bytes is not None else ""
    return f"{create_ns / 1e3:,.1f} us each{taken}"


def report_error(error: WavelockError, as_json: bool, code: int) -> int:
    """Print an error: text on standard error, with `--json` also an object on standard output. Answers the code."""
    if as_json:
        problems = [asdict(problem) for problem in error.problems] if isinstance(error, ProfileError) else []
        emit(
            {"error": str(error), "kind": type(error).__name__, "problems": problems, "exit_code": code}, True, _nothing
        )
    click.echo(f"error: {error}", err=True)
    return code


def report_interrupt(as_json: bool) -> int:
    """Print that the command was ended at once. Answers the code."""
    values = {"error": "interrupted", "kind": "Interrupt", "problems": [], "exit_code": EXIT_INTERRUPTED}
    emit(values, as_json, _nothing)
    click.echo("interrupted", err=True)
    return EXIT_INTERRUPTED


def report_lost(error: OSError, as_json: bool) -> int:
    """Print an error of the machine, which may be that standard output takes no more. Answers the code."""
    failure = EnvironmentFailure(str(error))
    try:
        return report_error(failure, as_json, EXIT_ENVIRONMENT)
    except OSError:
        return report_error(failure, False, EXIT_ENVIRONMENT)
    finally:
        drop_output()


def drop_output() -> None:
    """Send what is still buffered for standard output nowhere: it cannot be written, and Python would try at exit."""
    with contextlib.suppress(OSError, ValueError):  # a stream in memory, or one that is closed
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.__stdout__.fileno() if sys.__stdout__ else -1)
        os.close(nowhere)


def _nothing() -> None:
    """What an error shows beside its text."""

"""Long runs in processes of their own, a bounded number of modules each.

So what an engine leaks goes with its process, and a crash or a hang of one is a finding with a number, not the end.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec

from wavelock.testing.fuzz.campaign import Progress, Range
from wavelock.testing.fuzz.summary import Finding, Summary

CHUNK: Final = 500
"""Modules that one process runs."""
TIMEOUT_S: Final = 3600
"""For one process; a chunk takes minutes at most."""
EXIT_DIFFERENT: Final = 1

Command = Callable[[Sequence[str]], str]
"""Runs the command with arguments; answers how it failed, or nothing. Differences are no failure."""


def in_processes(
    wanted: Range, mode: str, options: Sequence[str], jobs: int, progress: Progress, run: Command | None = None
) -> Summary:
    """Runs a range, `jobs` processes at a time. options: of the command, without seed, range and JSON."""
    total = Summary(mode)
    with ThreadPoolExecutor(jobs) as pool:
        for part in pool.map(lambda chunk: _run(chunk, mode, options, run or run_command), _chunks(wanted)):
            total.add(part)
            progress(total)
    return total


def _chunks(wanted: Range) -> Iterator[Range]:
    numbers = wanted.numbers()
    for first in numbers[::CHUNK]:
        yield Range(wanted.seed, first, min(CHUNK, numbers.stop - first))


def _run(chunk: Range, mode: str, options: Sequence[str], run: Command) -> Summary:
    """One chunk; where its process fails, the halves of it, down to the one module that does it."""
    with tempfile.TemporaryDirectory(prefix="wavelock-fuzz-") as folder:
        report = Path(folder, "report.json")
        numbers = ("--seed", str(chunk.seed), "--first", str(chunk.first), "--count", str(chunk.modules))
        arguments = (mode, *options, *numbers, "--json", str(report))
        failure = run(arguments)
        if not failure:
            return msgspec.json.decode(report.read_bytes(), type=Summary)
    if chunk.modules == 1:
        finding = Finding(f"{chunk.seed}/{chunk.first}", (failure,))
        return Summary(mode, modules=1, findings=[finding])
    half = chunk.modules // 2
    first = _run(chunk._replace(modules=half), mode, options, run)
    first.add(_run(Range(chunk.seed, chunk.first + half, chunk.modules - half), mode, options, run))
    return first


def run_command(arguments: Sequence[str]) -> str:
    """The command in a process of its own: a `Command`."""
    command = [sys.executable, "-X", "faulthandler", "-m", "wavelock.testing.fuzz", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"did not end within {TIMEOUT_S} s"
    if done.returncode in (0, EXIT_DIFFERENT):
        return ""
    return f"ended with {done.returncode}: {done.stderr[-2000:]}"

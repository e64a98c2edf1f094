"""The peer's side of the line protocol: see `wavelock.bench.children`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib import metadata

Done = tuple[int, int]
"""Turns and messages."""


def total(waves: Iterable[Done]) -> Done:
    """What several waves came to."""
    turns, messages = zip(*waves, strict=True)
    return sum(turns), sum(messages)


@dataclass(frozen=True)
class Task:
    """What the command line asks for. modules: path and count of each group, where the peer runs modules."""

    work: str
    agents: int
    bytes: int
    topic: bool
    modules: Sequence[tuple[str, int]] = field(default_factory=list)
    adapter: str = ""


def read_task() -> Task:
    """The task from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("work")
    parser.add_argument("agents", type=int)
    parser.add_argument("bytes", type=int)
    parser.add_argument("--topic", action="store_true")
    parser.add_argument("--module", nargs=2, action="append", default=[], metavar=("PATH", "COUNT"))
    parser.add_argument("--adapter", default="")
    found = parser.parse_args()
    modules = [(path, int(count)) for path, count in found.module]
    return Task(found.work, found.agents, found.bytes, found.topic, modules, found.adapter)


def serve(
    task: Task, packages: Sequence[str], run: Callable[[int], Done], checksum: Callable[[], int] | None = None
) -> None:
    """Answer until the input ends. packages: whose versions are told. run: so many waves."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a framework prints is no answer
    versions = {name: metadata.version(name) for name in packages}
    print(json.dumps({"agents": task.agents, "versions": versions}), file=answers)
    for line in sys.stdin:
        began = time.perf_counter_ns()
        turns, messages = run(int(line))
        print(time.perf_counter_ns() - began, turns, messages, file=answers)
    if checksum is not None:
        print(checksum(), file=answers)

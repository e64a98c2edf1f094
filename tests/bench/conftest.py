"""Jobs, and the programs that do them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from wavelock.bench.children import Child, LeftOut
from wavelock.bench.competitors import open_competitor
from wavelock.bench.floor import find_compiler
from wavelock.bench.subject import job_profile
from wavelock.bench.works import SEEN, Job
from wavelock.core.capture import decode
from wavelock.runtime import Runtime
from wavelock.wasm_engines.loop import AgentState

MASK = 2**64 - 1


def missing_compiler() -> str | None:
    """Why the floor cannot be built here, or None."""
    try:
        find_compiler()
    except LeftOut as error:
        return str(error)
    return "wasmtime's library is not linked against on Windows" if sys.platform == "win32" else None


needs_compiler = pytest.mark.skipif(missing_compiler() is not None, reason=missing_compiler() or "")


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[str, Job], Child]]:
    """Starts a competitor; all are closed in the end."""
    with ExitStack() as stack:

        def start(name: str, job: Job) -> Child:
            folder = tmp_path / name
            folder.mkdir()
            child = open_competitor(name, job, folder, lambda _text: None)
            stack.callback(child.close)
            return child

        yield start


def seen_on_wavelock(job: Job, waves: int, folder: Path, engine: str = "wasmtime", workers: int = 1) -> int:
    """The checksum of what the agents saw, as the other programs answer it in the end."""
    with Runtime(job_profile(job, folder, engine, workers), record=False) as runtime:
        runtime.run(waves)
        state = decode(runtime.capture(), runtime._kernel.header)
    total = 0
    for number, row in enumerate(state.agents):
        assert row.instance is not None
        instance = msgspec.msgpack.decode(row.instance, type=AgentState).instance
        assert instance is not None
        total += int.from_bytes(instance.page_data[0][SEEN : SEEN + 8], "little") * (2 * number + 1)
    return total & MASK

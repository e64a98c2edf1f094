"""The hub as the host sees it: an instance of hub.c on the orchestrator's side, its memory, and what lies in there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import wasmtime
from blake3 import blake3

from wavelock.core.cache import ModuleCache
from wavelock.core.errors import EnvironmentFailure
from wavelock.wasm_engines.hub.layout import (
    BOX,
    CONTROL,
    CONTROL_AT,
    CONTROL_BYTES,
    FUNCTIONS,
    GROUP,
    LETTER_BYTES,
    PARTS,
    WORD,
    WORKER,
    WORKER_BYTES,
)
from wavelock.wasm_engines.hub.memory import PAGE_BYTES, HubMemory, Part
from wavelock.wasm_engines.wasmtime_calls import function_of
from wavelock.wasm_engines.wasmtime_modules import Compiler, compiled

MoveLog = Callable[[int, int, int], int]
"""`move_log` of an instance of the hub on the calling thread."""


def configure_for_hub(config: wasmtime.Config) -> None:
    """What an engine needs that runs the hub."""
    wasmtime._ffi.wasmtime_config_wasm_threads_set(config.ptr(), True)
    wasmtime._ffi.wasmtime_config_shared_memory_set(config.ptr(), True)
    wasmtime._ffi.wasmtime_config_wasm_multi_memory_set(config.ptr(), True)


class HubInstance:
    """The functions of hub.c, the words of its `control_t`, and its parts as arrays.

    call: functions by name. words, wide: of `control_t`, of 32 and 64 bits. rows: `worker_t`, an array of shape
    (workers,); row_words: the 32-bit words of each.
    """

    def __init__(
        self, engine: wasmtime.Engine, cache: ModuleCache | None, key: str, workers: int, compiler: Compiler
    ) -> None:
        """key: what tells the engine's configuration from others."""
        self.engine = engine
        data = Path(__file__).with_name("hub.wasm").read_bytes()
        self.module = compiled(engine, cache, f"{key} trusted {blake3(data).hexdigest()}", data, compiler)
        self.memory = memory = HubMemory(engine)
        self._store = store = wasmtime.Store(engine)
        table = wasmtime.Table(store, wasmtime.TableType(wasmtime.ValType.funcref(), wasmtime.Limits(1, None)), None)
        instance = wasmtime.Instance(store, self.module, [memory.shared, table])
        self.call = {name: function_of(store, instance, name, count) for name, count in FUNCTIONS.items()}
        expected = CONTROL_BYTES << 24 | WORKER_BYTES // 8 << 16 | BOX.itemsize << 8 | GROUP.itemsize
        if self.call["layout"]() & 0xFFFFFFFF != expected:
            raise RuntimeError("hub.wasm and the package differ in their layout; build it anew")
        first_page = memory.view(0, PAGE_BYTES).data
        first_page[:] = bytes(PAGE_BYTES)
        control = first_page[CONTROL_AT : CONTROL_AT + CONTROL_BYTES]
        self.words = control[: 4 * len(CONTROL)].cast("I")
        self.wide = control[4 * len(CONTROL) :].cast("Q")
        self._parts = {name: Part(memory, dtype) for name, dtype in PARTS.items()}
        self.log_parts = [Part(memory, np.uint8) for _ in range(workers)]
        self.rows = self.need("rows", workers)[:workers]
        self._open_workers(workers)
        self.row_words = [self.rows[at : at + 1].view(np.uint32).data for at in range(workers)]

    def _open_workers(self, workers: int) -> None:
        self.words[WORD["workers"]] = workers
        self.rows[:] = np.zeros(1, WORKER)
        self.rows["number"] = np.arange(workers)
        logs = self.need("logs", workers)
        for log, part in zip(logs, self.log_parts, strict=False):
            part.need(1)
            log["begin"] = log["end"] = part.address
            log["limit"] = part.address + part.size

    def close(self) -> None:
        """Free everything. Safe to call twice."""
        self._store.close()
        # Nothing may look at the memory any more: without these whoever does meets an error, and not a lost page.
        self._parts.clear()
        self.log_parts.clear()
        self.rows = np.zeros(0, WORKER)
        self.row_words.clear()
        self.words = self.wide = memoryview(b"")
        self.memory.close()

    # ---- parts ----

    def need(self, name: str, count: int) -> Any:
        """Make room in a part, and tell the hub where it is. Answers its array."""
        part = self._parts[name]
        if part.need(count) and name in WORD:
            self.words[WORD[name]] = part.address
        return part.array

    def array(self, name: str) -> Any:
        """A part's array, good until it grows."""
        return self._parts[name].array

    def address(self, name: str) -> int:
        """Where a part is."""
        return self._parts[name].address

    def row_address(self, worker: int) -> int:
        """Where a worker's row of `rows` is."""
        return self.address("rows") + WORKER.itemsize * worker

    def fill_scratch(self, data: bytes) -> None:
        """Put something where hub.c looks for what it is called with."""
        self.need("scratch", len(data)).data[: len(data)] = data

    # ---- letters ----

    def letter(self, address: int) -> tuple[int, bytes]:
        """A letter: the address of the next one, and its frame."""
        following, size = self.memory.view(address, LETTER_BYTES).view(np.uint32).tolist()
        return following, self.memory.view(address + LETTER_BYTES, size).tobytes()

    def make_room(self, worker: int, size: int) -> None:
        """Make room for so much more in a worker's log, while no worker runs."""
        self.grow_log(worker, size, self.call["move_log"])

    def grow_log(self, worker: int, size: int, move_log: MoveLog) -> None:
        """Move what is in a log to another place, with room for so much more, or for as much again if there is."""
        part, live = self.log_parts[worker], int(self.array("logs")["live"][worker])
        needed = live + size
        larger = max(part.size, 1 << (2 * needed - 1).bit_length())
        try:
            address = self.memory.allocate(larger)
        except EnvironmentFailure:  # the memory is nearly full: no more than it takes
            larger = -(-needed // PAGE_BYTES) * PAGE_BYTES
            address = self.memory.allocate(larger)
        move_log(worker, address, larger)
        self.memory.free(part.address, part.size)
        part.take(address, larger)

"""The works as somebody would write them with wasmtime-py's documented calls: a store and an instance an agent."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import wasmtime

from .modules import SEEN, Waves, checksum
from .protocol import Task, read_task, serve


class Agents:
    """All agents, made."""

    def __init__(self, task: Task) -> None:
        engine = wasmtime.Engine()
        self._all: list[tuple[Any, ...]] = []
        for path, count in task.modules:
            module = wasmtime.Module(engine, Path(path).read_bytes())
            self._all += [self._make(engine, module) for _ in range(count)]

    @staticmethod
    def _make(engine: wasmtime.Engine, module: wasmtime.Module) -> tuple[Any, ...]:
        store = wasmtime.Store(engine)
        exports = wasmtime.Instance(store, module, []).exports(store)
        memory: Any = exports["memory"]
        abi: Any = exports["wavelock_abi"]
        at = abi(store)
        _, inbox, _, outbox, _ = struct.unpack("<5I", memory.read(store, at, at + 20))
        return store, memory, exports["wavelock_turn"], inbox, outbox

    def call(self, number: int, data: bytes) -> bytes:
        """One turn: the inbox copied in, the outbox copied out."""
        store, memory, turn, inbox, outbox = self._all[number]
        memory.write(store, data, inbox)
        length = turn(store, len(data))
        return bytes(memory.read(store, outbox, outbox + length))

    def checksum(self) -> int:
        """Of what all agents saw."""
        return checksum(bytes(memory.read(store, SEEN, SEEN + 8)) for store, memory, *_ in self._all)


def main() -> None:
    """Make the agents and answer."""
    task = read_task()
    agents = Agents(task)
    serve(task, ["wasmtime"], Waves(task.agents, task.modules[0][1], agents.call).run, agents.checksum)


if __name__ == "__main__":
    main()

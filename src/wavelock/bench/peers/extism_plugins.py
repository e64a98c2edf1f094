"""The works with Extism's Python SDK: a plugin for each agent, its module and an adapter, and a call a turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from extism import Plugin
from extism.extism import CompiledPlugin  # public by its documentation, but not in the package's list

from .modules import Waves, checksum
from .protocol import Task, read_task, serve


class Agents:
    """All agents, made."""

    def __init__(self, task: Task) -> None:
        self._compiled: list[Any] = []
        self._all: list[Any] = []
        for path, count in task.modules:
            adapter, agent = Path(task.adapter).read_bytes(), Path(path).read_bytes()
            manifest = {"wasm": [{"name": "agent", "data": agent}, {"name": "main", "data": adapter}]}
            compiled = CompiledPlugin(manifest)
            self._compiled.append(compiled)
            self._all += [Plugin(compiled) for _ in range(count)]

    def call(self, number: int, data: bytes) -> bytes:
        """One turn."""
        return bytes(self._all[number].call("turn", data))

    def checksum(self) -> int:
        """Of what all agents saw."""
        return checksum(plugin.call("seen", b"") for plugin in self._all)


def main() -> None:
    """Make the agents and answer."""
    task = read_task()
    agents = Agents(task)
    serve(task, ["extism", "extism-sys"], Waves(task.agents, task.modules[0][1], agents.call).run, agents.checksum)


if __name__ == "__main__":
    main()

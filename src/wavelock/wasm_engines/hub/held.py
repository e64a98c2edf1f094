"""Which instances a shard has, by agent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from wavelock.core.shard import U32Array
from wavelock.wasm_engines.loop import Buffers

HELD: Final = np.dtype([("group", "<u4"), ("number", "<u4"), ("buffers", "<u4", 4), ("held", "?")])


class Held:
    """The instances of a shard, by agent: as wasmtime numbers them in a store, and where their buffers are."""

    def __init__(self) -> None:
        self._rows = np.zeros(0, HELD)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def _reach(self, agents: U32Array) -> None:
        end = int(agents.max()) + 1 if len(agents) else 0
        if end > len(self._rows):
            grown = np.zeros(max(end, 2 * len(self._rows)), HELD)
            grown[: len(self._rows)] = self._rows
            self._rows = grown

    def put(self, agents: U32Array, group: int, numbers: Sequence[int], buffers: Buffers) -> None:
        """New ones, of a group, all with the same buffers."""
        self._reach(agents)
        self._rows["number"][agents] = numbers
        self._rows["group"][agents], self._rows["buffers"][agents], self._rows["held"][agents] = group, buffers, True
        self._count += len(agents)

    def get(self, agent: int) -> tuple[int, int, Buffers] | None:
        """Group, number and buffers of an agent's instance, if it has one."""
        if agent >= len(self._rows) or not self._rows["held"][agent]:
            return None
        row = self._rows[agent]
        return int(row["group"]), int(row["number"]), tuple(row["buffers"].tolist())

    def those_of(self, agents: U32Array) -> U32Array:
        """Those of some agents that have one."""
        known = agents[agents < len(self._rows)]
        those: U32Array = known[self._rows["held"][known]]
        return those

    def remove(self, agents: U32Array) -> None:
        """These have none any more."""
        self._rows["held"][agents] = False
        self._count -= len(agents)

    def everyone(self) -> U32Array:
        """All agents that have one."""
        return np.flatnonzero(self._rows["held"]).astype(np.uint32)

"""The timers that agents wait for: columns, by the wave in which they are due.

Rules:
- Timers of one wave are due by agent and, for one agent, in the order in which it set them.
- What an agent waited for when it ended or began anew is never due.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from wavelock.core.shard import U32Array, U64Array


class _Some(NamedTuple):
    """Timers that are due in one wave, in the order in which they were set. numbers: theirs, among all ever set."""

    agents: U32Array
    tags: U32Array
    numbers: U64Array

    def only(self, chosen: npt.NDArray[np.bool_]) -> _Some:
        """Those that are chosen."""
        return _Some(self.agents[chosen], self.tags[chosen], self.numbers[chosen])


TimerRow = tuple[int, int, int, int]
"""One timer: the wave in which it is due, agent, number, tag."""


class Timers:
    """All timers of a run."""

    def __init__(self) -> None:
        self.number = 0
        """How many were ever set."""
        self._due: dict[int, list[_Some]] = {}
        self._waves: list[int] = []
        self._void: set[int] = set()

    def add(self, dues: U64Array, agents: U32Array, tags: U32Array) -> None:
        """Set timers, in the order in which agents asked for them. dues: waves."""
        self._purge()
        numbers = np.arange(self.number + 1, self.number + 1 + len(agents), dtype=np.uint64)
        self.number += len(agents)
        self._put(dues, _Some(agents, tags, numbers))

    def _put(self, dues: U64Array, some: _Some) -> None:
        for due in np.unique(dues).tolist():
            if due not in self._due:
                self._due[due] = []
                heapq.heappush(self._waves, due)
            self._due[due].append(some.only(dues == due))

    def forget(self, agent: int) -> None:
        """None of what an agent waits for is due any more."""
        self._void.add(agent)

    def _purge(self) -> None:
        if not self._void:
            return
        void = np.fromiter(self._void, np.uint32)
        self._void.clear()
        for due, all_of_it in list(self._due.items()):
            kept = [some.only(~np.isin(some.agents, void)) for some in all_of_it]
            self._due[due] = [some for some in kept if len(some.agents)]
        self._drop_empty()

    def _drop_empty(self) -> None:
        self._due = {due: some for due, some in self._due.items() if some}
        self._waves = sorted(self._due)

    def next_due(self) -> int | None:
        """The wave of the timer that is due first."""
        self._purge()
        return self._waves[0] if self._waves else None

    def take(self, wave: int) -> tuple[U32Array, U32Array]:
        """Agents and tags of what is due up to a wave, by agent; it is due no more."""
        self._purge()
        found: list[_Some] = []
        while self._waves and self._waves[0] <= wave:
            found += self._due.pop(heapq.heappop(self._waves))
        if not found:
            return np.zeros(0, np.uint32), np.zeros(0, np.uint32)
        agents, tags, numbers = (np.concatenate(column) for column in zip(*found, strict=True))
        order = np.lexsort((numbers, agents))
        return agents[order], tags[order]

    # ---- captured and restored ----

    def rows(self) -> list[TimerRow]:
        """All timers, by wave, agent and number."""
        self._purge()
        return sorted(
            (due, *row)
            for due, all_of_it in self._due.items()
            for some in all_of_it
            for row in zip(some.agents.tolist(), some.numbers.tolist(), some.tags.tolist(), strict=True)
        )

    def restore(self, rows: Sequence[TimerRow], number: int) -> None:
        """Take over what `rows` gave, and how many were ever set."""
        self._due, self._waves, self._void = {}, [], set()
        self.number = number
        if rows:
            dues, agents, numbers, tags = zip(*rows, strict=True)
            some = _Some(np.array(agents, np.uint32), np.array(tags, np.uint32), np.array(numbers, np.uint64))
            self._put(np.array(dues, np.uint64), some)

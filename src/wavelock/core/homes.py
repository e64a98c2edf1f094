"""Which worker holds which agent.

Rules:
- The agents of the start lie on the workers in contiguous shares, by id, so that a plan in order of ids falls into
  contiguous parts; those born later go round the workers in blocks of `BLOCK` ids.
- Nothing that reaches a digest depends on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from wavelock.core.shard import U32Array, U64Array

BLOCK: Final = 16
TOLERATED: Final = 1.1
"""How much more than the mean a worker may have to do before agents move."""
MOVE_WORK: Final = 40
"""Moving one agent has to save so much work over the waves that were looked at: it pays within some hundred waves."""
U16Array = npt.NDArray[np.uint16]
Places = slice | npt.NDArray[np.intp]


class Part(NamedTuple):
    """What one worker has of some agents: their places among them, and how many these are."""

    worker: int
    places: Places
    size: int

    def listed(self) -> list[int]:
        """The places, one by one."""
        return list(range(self.places.stop)[self.places] if isinstance(self.places, slice) else self.places.tolist())


class Homes:
    """The homes of all agents that a run ever has."""

    def __init__(self, workers: int = 1, start: int = 0) -> None:
        """start: agents of the start, ids 0 to start - 1."""
        self.workers = workers
        self.start = start
        self.bounds: U32Array = (np.arange(workers + 1, dtype=np.uint64) * start // workers).astype(np.uint32)
        """Where each worker's share of the start's agents begins, and where the last one's ends."""

    def of(self, ids: U32Array) -> U16Array:
        """The worker of each agent."""
        if self.workers == 1:
            return np.zeros(len(ids), np.uint16)
        shares = np.searchsorted(self.bounds[1:-1], ids, side="right")
        return np.where(ids < self.start, shares, ids // BLOCK % self.workers).astype(np.uint16)

    def parts(self, ids: U32Array) -> list[Part]:
        """Some agents by worker, those without any left out."""
        count = len(ids)
        if self.workers == 1:
            return [Part(0, slice(0, count), count)] if count else []
        if count and int(ids[-1]) < self.start and bool((ids[1:] > ids[:-1]).all()):
            return self._shares(np.searchsorted(ids, self.bounds).tolist())
        homes = self.of(ids)
        parts = ((worker, np.flatnonzero(homes == worker)) for worker in range(self.workers))
        return [Part(worker, places, len(places)) for worker, places in parts if len(places)]

    def balance(self, work: U64Array) -> tuple[U32Array, U32Array] | None:
        """Better bounds, and the agents that move with them; None where it is not worth it.

        work: of each agent, over some waves. Agents born later stay where they are.
        """
        start, homes = self.start, self.of(np.arange(len(work), dtype=np.uint32))
        loads = np.bincount(homes, work.astype(np.float64), self.workers)
        if loads.max() <= TOLERATED * loads.mean():
            return None
        ends = np.cumsum(work[:start].astype(np.float64))
        shares = ends[-1] * np.arange(1, self.workers) / self.workers if start else np.zeros(0)
        bounds = self.bounds.copy()
        bounds[1:-1] = np.searchsorted(ends - work[:start] / 2, shares)  # where most of an agent lies, there it goes
        begins = np.concatenate([[0.0], ends])[bounds]
        later = loads - np.bincount(homes[:start], work[:start].astype(np.float64), self.workers)
        gain = loads.max() - (np.diff(begins) + later).max()
        ids = np.arange(start, dtype=np.uint32)
        moved = ids[np.searchsorted(bounds[1:-1], ids, side="right") != homes[:start]]
        if not len(moved) or len(moved) * MOVE_WORK > gain:
            return None
        return moved, bounds

    @staticmethod
    def _shares(begins: Sequence[int]) -> list[Part]:
        """Parts that lie one after the other."""
        shares = enumerate(pairwise(begins))
        return [Part(worker, slice(begin, end), end - begin) for worker, (begin, end) in shares if end > begin]

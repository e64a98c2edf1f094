"""The scheduler family: from the ready agents of a wave to its plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

AgentIds = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class GroupInfo:
    """What a scheduler may know of an agent group. after: names of the groups it follows (DAG)."""

    name: str
    priority: int
    after: tuple[str, ...]


class Scheduler(Protocol):
    """A member of the family. Pure: the same calls in the same order answer the same, with no clock and no chance."""

    def open(self, groups: Sequence[GroupInfo]) -> None:
        """Called once, before any other call, with the groups in profile order."""

    def add(self, first: int, groups: npt.NDArray[np.uint32]) -> None:
        """Agents `first`, `first + 1`, ... have come into being; `groups`: the group index of each. Ids only grow."""

    def plan(self, wave: int, ready: AgentIds) -> AgentIds:
        """The agents that take their turn in `wave`, in commit order.

        ready: the ready agents' ids, ascending, at least one. Answer: a subset of them, each once, at least one.
        """

    def capture(self) -> bytes:
        """The scheduler's own state, to be restored into a new instance opened with the same groups and agents."""

    def restore(self, state: bytes) -> None:
        """Take over a captured state. Raises ValueError for bytes that `capture` did not write."""

"""Dag: groups that follow one another, level by level.

Rules:
- A group's level is the length of the longest path of `after` to it; a group that follows none has level 0.
- A round goes through the levels upwards, one wave for each level that has ready agents: all, ascending.
- So what a wave sends to later levels is handled in the same round; what it sends to its own or an earlier
  level waits for the next round, which begins when no agent above the last planned level is ready.
- Law: an agent that stays ready takes its turn at the latest in wave L of its wait, L being the number of
  levels: no level comes up twice before the agent's own has come up.
- A cycle has no levels: `open` refuses it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from wavelock.core import graph
from wavelock.plugins.markers import hookimpl
from wavelock.plugins.members import Member, NoSettings
from wavelock.schedulers._shared import ById, frame_state, unframe_state
from wavelock.schedulers.interface import AgentIds, GroupInfo, Scheduler

NAME: Final = "dag"
STATE_VERSION: Final = 1
PAYLOAD: Final = struct.Struct("<I")
"""The level after the last planned one."""


def find_cycle(groups: Sequence[GroupInfo]) -> tuple[str, ...] | None:
    """A cycle among the groups, or None: see `core.graph.find_cycle`."""
    return graph.find_cycle(_after(groups))


def levels(groups: Sequence[GroupInfo]) -> tuple[int, ...]:
    """Each group's level: the length of the longest path to it, 0 where it follows none.

    Raises ValueError for a cycle, and for a name in `after` that no group has.
    """
    known = {group.name for group in groups}
    for group in groups:
        for name in group.after:
            if name not in known:
                raise ValueError(f"group {group.name!r} is after {name!r}, but no group has that name")
    cycle = find_cycle(groups)
    if cycle:
        raise ValueError(f"the groups follow each other in a cycle: {' after '.join(cycle)}")
    edges = graph.edges_of(_after(groups))
    answer = [0] * len(groups)
    for index in graph.walk(edges)[0]:
        answer[index] = 1 + max((answer[before] for before in edges[index]), default=-1)
    return tuple(answer)


def _after(groups: Sequence[GroupInfo]) -> dict[str, tuple[str, ...]]:
    return {group.name: group.after for group in groups}


class Dag:
    """The groups in the order of their dependencies."""

    def __init__(self, settings: NoSettings) -> None:
        self._group_levels = np.empty(0, np.uint32)
        self._levels = ById(np.uint32)
        self._next_level = 0

    def open(self, groups: Sequence[GroupInfo]) -> None:
        """Work out the levels. Raises ValueError for a cycle or an unknown name in `after`."""
        self._group_levels = np.array(levels(groups), np.uint32)

    def add(self, first: int, groups: npt.NDArray[np.uint32]) -> None:
        """New agents have their group's level."""
        self._levels.add(first, self._group_levels[groups])

    def plan(self, wave: int, ready: AgentIds) -> AgentIds:
        """All ready agents of the next level that has some, ascending, in an array of their own."""
        ids = np.asarray(ready, dtype=np.uint32)
        # Modulo 2**32 the levels still to come in this round are smallest; those of the next round follow.
        distance = self._levels.values[ids] - np.uint32(self._next_level)
        nearest = int(distance.min())
        self._next_level = (self._next_level + nearest) % 2**32 + 1
        plan: AgentIds = ids[distance == nearest]
        return plan

    def capture(self) -> bytes:
        """How far the round has come."""
        return frame_state(NAME, STATE_VERSION, PAYLOAD.pack(self._next_level))

    def restore(self, state: bytes) -> None:
        """Take over how far the round was, after `open`. Raises ValueError for bytes not from `capture`."""
        payload = unframe_state(NAME, STATE_VERSION, state)
        if len(payload) != PAYLOAD.size:
            raise ValueError(f"a captured {NAME} state holds {PAYLOAD.size} bytes; this one holds {len(payload)}")
        (next_level,) = PAYLOAD.unpack(payload)
        count = int(self._group_levels.max(initial=0)) + 1
        if next_level > count:
            raise ValueError(f"a captured {NAME} state at level {next_level}, but the groups here have {count} levels")
        self._next_level = next_level


@hookimpl
def wavelock_scheduler() -> Member[Scheduler]:
    """The built-in member `dag`."""
    return Member(
        name=NAME,
        summary="Groups in the order of their `after`, one wave a level.",
        create=Dag,
    )

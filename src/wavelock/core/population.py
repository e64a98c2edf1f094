"""The agents of a run.

Rules:
- Ids are given in profile order, then in spawn order, and are never given again.
- What an agent is at its birth follows from its group. Only one that differs (it spawned, watches, was restarted) has
  an object that is kept: a run may have a million agents.
- An agent that ended keeps its id and name and nothing else.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from wavelock.core.mailboxes import GroupBounds
from wavelock.core.profile import LimitsSection
from wavelock.core.shard import U32Array

NO_PARENT: Final = -1


@dataclass
class Group:
    """A group of agents, its references resolved to ids. born: how many it ever had.

    members: ids of those alive, ascending; kept only where `subscribes` to a topic.
    """

    index: int
    name: str
    module: str
    config: bytes
    restart_fresh: bool
    limits: LimitsSection
    models: frozenset[int]
    topics: frozenset[int]
    spawns: frozenset[int]
    writes: tuple[bytes, ...]
    reads: tuple[bytes, ...]
    subscribes: bool = False
    members: dict[int, None] = field(default_factory=dict)
    born: int = 0
    _readable: tuple[bytes, ...] = field(init=False)

    def __post_init__(self) -> None:
        self._readable = self.writes + self.reads

    @property
    def bounds(self) -> GroupBounds:
        """What mailboxes must know of it."""
        limits = self.limits
        return GroupBounds(
            message=int(limits.message),
            mailbox_bytes=int(limits.mailbox),
            mailbox_frames=limits.mailbox_frames,
            timers=limits.timers,
            drops_oldest=limits.overflow != "reject",
            denied_is_fault=limits.denied == "fault",
            fuel=int(limits.fuel_per_turn),
            topics=self.topics,
        )

    def may_write(self, key: bytes) -> bool:
        """Whether agents of the group may put this key."""
        return key.startswith(self.writes)

    def may_read(self, key: bytes) -> bool:
        """Whether agents of the group may get this key, or watch this prefix."""
        return key.startswith(self._readable)


class Agent:
    """One agent. life: counts its fresh starts, so that what an earlier life asked for is not answered to this one."""

    __slots__ = (
        "children", "config", "depth", "ended", "group", "index", "life", "number", "parent", "parent_life",
        "restarts", "spawn_tag", "watches",
    )  # fmt: skip

    def __init__(self, number: int, group: Group, index: int) -> None:
        self.number = number
        self.group = group
        self.config = group.config
        self.index = index
        self.parent = NO_PARENT
        self.parent_life = 0
        self.spawn_tag = 0
        self.depth = 0
        self.life = 0
        self.restarts = 0
        self.watches: list[bytes] = []
        self.children: dict[int, None] = {}
        self.ended = 0

    @property
    def name(self) -> str:
        """`group/index`."""
        return f"{self.group.name}/{self.index}"


class Population:
    """All agents that a run ever had, by id."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = groups
        self.live = 0
        self._groups = array("I")
        self._indexes = array("I")
        self._ended = bytearray()
        self._kept: dict[int, Agent] = {}

    def __len__(self) -> int:
        return len(self._groups)

    def add(self, group: Group, count: int = 1) -> int:
        """New agents of a group, alive, with the next ids. Answers the first one's."""
        first = len(self._groups)
        self._groups.frombytes(np.full(count, group.index, np.uint32).tobytes())
        self._indexes.frombytes(np.arange(group.born, group.born + count, dtype=np.uint32).tobytes())
        self._ended += bytes(count)
        if group.subscribes:
            group.members.update(dict.fromkeys(range(first, first + count)))
        group.born += count
        self.live += count
        return first

    def agent(self, number: int) -> Agent:
        """An agent by its id, to be changed at will. Raises IndexError for an id that was not given."""
        agent = self._kept.get(number)
        if agent is None:
            agent = Agent(number, self.groups[self._groups[number]], self._indexes[number])
            agent.ended = self._ended[number]
            if agent.ended:
                agent.config = b""
            else:
                self._kept[number] = agent
        return agent

    def name(self, number: int) -> str:
        """`group/index`."""
        return f"{self.groups[self._groups[number]].name}/{self._indexes[number]}"

    def ended(self, number: int) -> int:
        """Why an agent ended, 0 while it lives."""
        return self._ended[number]

    def find(self, group: str, index: int) -> int | None:
        """The id of an agent by its name."""
        for each in self.groups:
            if each.name == group and index < each.born:
                members = self._column(self._groups) == each.index
                return int(np.flatnonzero(members & (self._column(self._indexes) == index))[0])
        return None

    def group_indexes(self, first: int = 0) -> U32Array:
        """The group of each agent from `first` on."""
        return np.array(self._column(self._groups)[first:], np.uint32)

    def groups_of(self, ids: U32Array) -> U32Array:
        """The groups of some agents, in order."""
        return np.array(self._column(self._groups)[ids], np.uint32)

    def group_of(self, number: int) -> Group:
        """An agent's group."""
        return self.groups[self._groups[number]]

    @staticmethod
    def _column(values: array[int]) -> U32Array:
        column: U32Array = np.frombuffer(values, np.uint32) if values else np.zeros(0, np.uint32)
        return column

    def alive(self, ids: U32Array) -> U32Array:
        """Those of some agents that have not ended, in order."""
        return ids[np.frombuffer(self._ended, np.uint8)[ids] == 0] if len(ids) else ids

    def remove(self, agent: Agent, reason: int) -> None:
        """Mark an agent as ended and give back what it held."""
        agent.ended = self._ended[agent.number] = reason
        agent.watches, agent.children = [], {}
        agent.config = b""
        self._kept.pop(agent.number, None)
        agent.group.members.pop(agent.number, None)
        self.live -= 1

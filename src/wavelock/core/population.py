"""The agents of a run and their mailboxes.

Rules:
- Ids are given in profile order, then in spawn order, and are never given again.
- A mailbox holds whole frames, oldest first, bounded in frames and bytes by its group's limits.
- `ready[id]` is 1 exactly where the agent may be planned: it is alive and has mail, or it yielded.
- An agent that ended keeps its id and name and nothing else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from wavelock.core.abi import TURN_HEADER, Reason
from wavelock.core.profile import LimitsSection

NO_PARENT: Final = -1
_NO_MAIL: Final[deque[bytes]] = deque(maxlen=0)
"""What all ended agents share for a mailbox."""


@dataclass
class Group:
    """A group of agents, its references resolved to ids. members: those alive, by id, in id order."""

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
    members: dict[int, Agent] = field(default_factory=dict)
    born: int = 0
    mailbox_bytes: int = field(init=False)
    mailbox_frames: int = field(init=False)
    _readable: tuple[bytes, ...] = field(init=False)

    def __post_init__(self) -> None:
        self._readable = self.writes + self.reads
        self.mailbox_bytes = int(self.limits.mailbox)
        self.mailbox_frames = self.limits.mailbox_frames

    def may_write(self, key: bytes) -> bool:
        """Whether agents of the group may put this key."""
        return key.startswith(self.writes)

    def may_read(self, key: bytes) -> bool:
        """Whether agents of the group may get this key, or watch this prefix."""
        return key.startswith(self._readable)


class Agent:
    """One agent. life: counts its fresh starts, so that what an earlier life asked for is not answered to this one."""

    __slots__ = (
        "children", "config", "depth", "ended", "group", "index", "life", "mail", "mail_bytes", "number", "parent",
        "parent_life", "restarts", "room", "spawn_tag", "timers", "watches",
    )  # fmt: skip

    def __init__(self, number: int, group: Group, index: int) -> None:
        self.number = number
        self.group = group
        self.config = b""
        self.index = index
        self.mail: deque[bytes] = deque()
        self.mail_bytes = 0
        self.room = group.limits.inbox - TURN_HEADER.size
        self.parent = NO_PARENT
        self.parent_life = 0
        self.spawn_tag = 0
        self.depth = 0
        self.life = 0
        self.restarts = 0
        self.timers = 0
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
        self.agents: list[Agent] = []
        self.ready = bytearray()
        self.live = 0

    def add(self, group: Group) -> Agent:
        """A new agent of a group, with the next id, alive and not ready."""
        agent = Agent(len(self.agents), group, group.born)
        group.born += 1
        self.agents.append(agent)
        self.ready.append(0)
        self.live += 1
        group.members[agent.number] = agent
        return agent

    def remove(self, agent: Agent, reason: int) -> None:
        """Mark an agent as ended and give back what it held."""
        agent.ended = reason
        agent.mail, agent.watches, agent.children = _NO_MAIL, [], {}
        agent.mail_bytes = 0
        agent.config = b""
        del agent.group.members[agent.number]
        self.ready[agent.number] = 0
        self.live -= 1

    def ready_ids(self) -> npt.NDArray[np.uint32]:
        """The ready agents' ids, ascending."""
        return np.flatnonzero(np.frombuffer(self.ready, np.uint8)).astype(np.uint32)

    def put_mail(self, agent: Agent, frame: bytes, extra_frames: int = 0, extra_bytes: int = 0) -> int:
        """Put a frame into a mailbox, `extra` past its bounds. Answers 0, or the Reason why it could not be."""
        size = len(frame)
        mail = agent.mail
        if agent.ended:
            return Reason.AGENT_ENDED
        if size > agent.room:
            return Reason.TOO_LARGE
        group = agent.group
        if agent.mail_bytes + size > group.mailbox_bytes + extra_bytes or (
            len(mail) >= group.mailbox_frames + extra_frames
        ):
            return Reason.MAILBOX_FULL
        mail.append(frame)
        agent.mail_bytes += size
        self.ready[agent.number] = 1
        return 0

    @staticmethod
    def drop_oldest(agent: Agent, size: int) -> int:
        """Drop frames from the front until one of `size` bytes fits. Answers how many were dropped."""
        group = agent.group
        dropped = 0
        mail = agent.mail
        while size <= group.mailbox_bytes and (
            agent.mail_bytes + size > group.mailbox_bytes or len(mail) >= group.mailbox_frames
        ):
            agent.mail_bytes -= len(mail.popleft())
            dropped += 1
        return dropped

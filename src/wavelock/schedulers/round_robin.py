"""Round-robin: a rotating cursor over the ready agents.

Rules:
- The cursor is the id after the last one planned. A plan is the ready ids from the cursor on, wrapping round.
- A plan has `width` turns, or all ready agents where fewer are ready. Width 0: all, ascending; no cursor.
- Law: an agent that stays ready takes its turn at the latest in wave ceil(D / width) of its wait, where D
  counts the agents, itself included, that were ready in any wave of that wait: the cursor cannot come to one
  of them twice without passing the agent. Where nobody else becomes ready meanwhile, D is the number ready.
- D can be larger than the ready set of any one wave: agents that become ready, or come into being, between
  the cursor and the agent go first.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
import numpy as np
import numpy.typing as npt

from wavelock.plugins.markers import hookimpl
from wavelock.plugins.members import Member
from wavelock.schedulers._shared import frame_state, unframe_state
from wavelock.schedulers.interface import AgentIds, GroupInfo, Scheduler

NAME: Final = "round-robin"
STATE_VERSION: Final = 1
PAYLOAD: Final = struct.Struct("<I")
"""The cursor, an agent id."""


class RoundRobinSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The settings of the round-robin scheduler."""

    width: Annotated[
        int, msgspec.Meta(ge=0, le=2**32 - 1, description="Turns in a wave, at most; 0 for all ready agents.")
    ] = 0


class RoundRobin:
    """Every ready agent in its turn, whatever its group."""

    def __init__(self, settings: RoundRobinSettings) -> None:
        self._width = settings.width
        self._cursor = 0

    def open(self, groups: Sequence[GroupInfo]) -> None:
        """Groups do not matter here."""

    def add(self, first: int, groups: npt.NDArray[np.uint32]) -> None:
        """The cursor needs no more than the ready ids."""

    def plan(self, wave: int, ready: AgentIds) -> AgentIds:
        """The ready ids from the cursor on, at most `width`, in an array of their own."""
        if self._width == 0:
            return np.array(ready, dtype=np.uint32)
        ids = np.asarray(ready, dtype=np.uint32)
        turns = min(self._width, len(ids))
        start = int(ids.searchsorted(np.uint32(self._cursor)))
        plan = ids[start : start + turns]
        # One array either way: the plan must outlive the caller's buffer.
        plan = plan.copy() if len(plan) == turns else np.concatenate((plan, ids[: turns - len(plan)]))
        self._cursor = (int(plan[-1]) + 1) % 2**32
        return plan

    def capture(self) -> bytes:
        """The cursor."""
        return frame_state(NAME, STATE_VERSION, PAYLOAD.pack(self._cursor))

    def restore(self, state: bytes) -> None:
        """Take over a captured cursor. Raises ValueError for bytes that `capture` did not write."""
        payload = unframe_state(NAME, STATE_VERSION, state)
        if len(payload) != PAYLOAD.size:
            raise ValueError(f"a captured {NAME} state holds {PAYLOAD.size} bytes; this one holds {len(payload)}")
        (self._cursor,) = PAYLOAD.unpack(payload)


@hookimpl
def wavelock_scheduler() -> Member[Scheduler]:
    """The built-in member `round-robin`."""
    return Member(
        name=NAME,
        summary="A rotating cursor over the ready agents: every agent in its turn.",
        create=RoundRobin,
        settings=RoundRobinSettings,
    )

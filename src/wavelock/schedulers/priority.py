"""Priority: the highest first, ties by agent id, with optional aging so that nothing starves.

Rules:
- A plan is the first `width` ready agents by (effective priority descending, id ascending); width 0: all.
- Effective priority = the group's priority + waited // aging; with aging 0, the group's priority alone.
- waited = the waves in an unbroken row, up to the one being planned, in which the agent was ready and got no
  turn. A turn ends the row, and so does a wave in which the agent is not ready. Only waves that were planned
  count (calls of `plan`): where wave numbers jump, there was no turn to be had in between.
- Law, with aging: an agent of priority p that stays ready takes its turn at the latest in wave number
  aging * (P - p + 1) + ceil(R / width) of its wait, P being the highest priority of any group and R the most
  agents ready in one wave. After the first term nobody who begins to wait can overtake it, and those ahead of
  it go once each. Where all priorities are equal and aging is 1, who has waited longest goes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
import numpy as np
import numpy.typing as npt

from wavelock.plugins.markers import hookimpl
from wavelock.plugins.members import Member
from wavelock.schedulers._shared import ById, frame_state, unframe_state
from wavelock.schedulers.interface import AgentIds, GroupInfo, Scheduler

NAME: Final = "priority"
STATE_VERSION: Final = 1
PRIORITY_LIMIT: Final = 2**31
"""Priorities are at least minus this and less than this, as in a profile."""
AGENT_LIMIT: Final = 2**31
"""Ids are less than this. By the law an effective priority passes the highest of any group by no more than
1 + the number ready, so the negated one has its place in the 33 bits, sign included, above the id's 31."""

_ID_BITS: Final = 31
_NOT_WAITING: Final = np.iinfo(np.int64).max
_WAITER_BYTES: Final = 4 + 8
_NO_IDS: Final = np.empty(0, np.intp)


class PrioritySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The settings of the priority scheduler."""

    width: Annotated[
        int, msgspec.Meta(ge=0, le=2**32 - 1, description="Turns in a wave, at most; 0 for all ready agents.")
    ] = 0
    aging: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=2**32 - 1,
            description="Waves without a turn that raise a ready agent's priority by one; 0 for never.",
        ),
    ] = 0


class Priority:
    """The agents of the most important groups first.

    A sort key is one int64: the negated priority above 31 bits of id. No two are equal: any sort is stable.
    """

    def __init__(self, settings: PrioritySettings) -> None:
        self._width = settings.width
        # Width 0 leaves nobody waiting.
        self._aging = settings.aging if settings.width else 0
        self._group_keys = np.empty(0, np.int64)
        self._keys = ById(np.int64)
        self._calls = 0
        self._since = ById(np.int64, _NOT_WAITING)  # the value of _calls at the first wave of the wait
        self._last_ready: npt.NDArray[np.intp] = _NO_IDS  # all that wait, and those planned with them

    def open(self, groups: Sequence[GroupInfo]) -> None:
        """Take the groups' priorities. Raises ValueError for one out of range."""
        for group in groups:
            if not -PRIORITY_LIMIT <= group.priority < PRIORITY_LIMIT:
                raise ValueError(
                    f"group {group.name!r} has priority {group.priority}; "
                    f"expected {-PRIORITY_LIMIT} to {PRIORITY_LIMIT - 1}"
                )
        self._group_keys = np.array([-group.priority for group in groups], np.int64) << _ID_BITS

    def add(self, first: int, groups: npt.NDArray[np.uint32]) -> None:
        """New agents have their group's priority and do not wait. Raises ValueError past AGENT_LIMIT."""
        if first + len(groups) > AGENT_LIMIT:
            raise ValueError(f"agent {first + len(groups) - 1}: {NAME} takes ids below {AGENT_LIMIT}")
        self._keys.add(first, self._group_keys[groups])
        if self._aging:
            self._since.add(first, np.full(len(groups), _NOT_WAITING, np.int64))

    def plan(self, wave: int, ready: AgentIds) -> AgentIds:
        """The ready agents by effective priority, then id, at most `width`, in an array of their own."""
        ids = np.array(ready, dtype=np.intp)
        keys = self._keys.values[ids]
        keys |= ids
        if not self._aging:
            return self._first(keys)
        since = self._since.values[ids]
        np.minimum(since, self._calls, out=since)
        keys -= (self._calls - since) // self._aging << _ID_BITS
        planned = self._first(keys)
        self._note(ids, since, planned)
        return planned

    def _first(self, keys: npt.NDArray[np.int64]) -> AgentIds:
        """The ids of the `width` lowest keys, in order. Changes `keys`."""
        if 0 < self._width < len(keys):
            keys.partition(self._width - 1)
            keys = keys[: self._width]
        keys.sort()
        keys &= AGENT_LIMIT - 1
        return keys.astype(np.uint32)

    def _note(self, ids: npt.NDArray[np.intp], since: npt.NDArray[np.int64], planned: AgentIds) -> None:
        """Who waits after this wave, and since when. Agents that are no longer ready lose their wait."""
        everyone = self._since.values
        everyone[self._last_ready] = _NOT_WAITING
        everyone[ids] = since
        everyone[planned] = _NOT_WAITING
        self._last_ready = ids
        self._calls += 1

    def capture(self) -> bytes:
        """Who waits (ids ascending, u32) and for how many waves (i64), little-endian."""
        if not self._aging:
            return frame_state(NAME, STATE_VERSION, b"")
        since = self._since.values[self._last_ready]
        waiting = since != _NOT_WAITING
        ids = self._last_ready[waiting].astype("<u4")
        waited = (self._calls - since[waiting]).astype("<i8")
        return frame_state(NAME, STATE_VERSION, ids.tobytes() + waited.tobytes())

    def restore(self, state: bytes) -> None:
        """Take over who waits, after `open` and `add`. Raises ValueError for bytes not from `capture`."""
        payload = unframe_state(NAME, STATE_VERSION, state)
        count, rest = divmod(len(payload), _WAITER_BYTES)
        if rest:
            raise ValueError(f"a captured {NAME} state holds {_WAITER_BYTES} bytes an agent; this one has {rest} over")
        if count and not self._aging:
            raise ValueError(f"a captured {NAME} state with {count} waiting agents, but aging is off here")
        ids = np.frombuffer(payload, "<u4", count).astype(np.intp)
        waited = np.frombuffer(payload, "<i8", count, offset=4 * count).astype(np.int64)
        agents = len(self._keys.values)
        if count and (ids[-1] >= agents or (ids[1:] <= ids[:-1]).any() or waited.min() < 1):
            raise ValueError(f"a captured {NAME} state that does not fit the {agents} agents here")
        everyone = self._since.values
        everyone[self._last_ready] = _NOT_WAITING
        everyone[ids] = -waited
        self._last_ready = ids
        self._calls = 0


@hookimpl
def wavelock_scheduler() -> Member[Scheduler]:
    """The built-in member `priority`."""
    return Member(
        name=NAME,
        summary="The highest priority first, ties by agent id; with aging, nothing starves.",
        create=Priority,
        settings=PrioritySettings,
    )

"""Mailboxes, the inboxes of a wave, and its commit as a row of stops: what an implementation gives, and a plain one.

The kernel keeps no message itself. A commit does all effects in plan order; where one takes more than mailboxes, or
something went wrong, it stops, the kernel does what is to be done, and it goes on. An implementation may do much by
itself (`wasm_engines/hub`) or nothing: the plain one here stops at every effect. Both give the same run.

Rules of a mailbox:
- It holds whole frames, oldest first, bounded in frames and bytes by its agent's group.
- `ready` is 1 exactly where an agent may be planned: it is alive and has mail, or it yielded.
- An agent that ended has none, and takes none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from wavelock.core.abi import FRAME_HEADER, TURN_HEADER, U32, Inbound, Outbound, Reason, frame, frame_bytes
from wavelock.core.outbox import EffectTuple, MalformedOutboxError, parse_outbox
from wavelock.core.shard import Bytes, Turns, U8Array, U32Array

GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
"""The odd number next to 2^64 over the golden ratio, splitmix64's step."""
_MASK: Final = (1 << 64) - 1
WITH_GRANTS: Final = frozenset(Outbound) - {Outbound.SEND, Outbound.TIMER, Outbound.LOG, Outbound.YIELD, Outbound.EXIT}
"""The effects that may lack a grant."""


class Stop(IntEnum):
    """Why a commit stopped."""

    DONE = 0
    FAULT = 3
    """The turn failed."""
    MALFORMED = 4
    """The turn's outbox does not parse."""
    GRANTS = 5
    """The turn asks for what takes a grant, and `limits.denied` makes a lack of it a fault. None of it is done yet."""
    EFFECT = 6
    """The effect in `frame` is the kernel's to do."""
    LOST = 7
    """The publication in `frame` did not reach `receiver`, for `reason`."""
    EXITED = 8
    """The turn is over, and `exit` was called in it."""
    STALE = 9
    """A publication waits for `relist`, as `members_changed` was called."""


class GroupBounds(NamedTuple):
    """What must be known of a group. message: bytes of a payload; fuel: of a turn; topics: those that are granted."""

    message: int
    mailbox_bytes: int
    mailbox_frames: int
    timers: int
    drops_oldest: bool
    denied_is_fault: bool
    fuel: int
    topics: frozenset[int]


class Packed(NamedTuple):
    """Inboxes in plan order, one after the other. bounced: (agent, frame) that no inbox of the agent can ever hold."""

    lengths: U32Array
    inboxes: Bytes
    bounced: list[tuple[int, bytes]]


TIMER: Final = np.dtype([("waves", "<u8"), ("agent", "<u4"), ("tag", "<u4"), ("turn", "<u4"), ("unused", "<u4")])
"""A timer that an agent set. waves: how far off it is; turn: the place in the plan."""
TimerArray = npt.NDArray[np.void]


class Commit(Protocol):
    """One wave's commit in progress. turn: the place in the plan."""

    turn: int
    receiver: int
    reason: int
    aside: bool
    """Whether workers do it: `advance` waits for them."""
    settled: bool
    """Whether it finds nothing that makes a turn a fault: the wave's digest can be taken meanwhile."""

    def advance(self) -> Stop:
        """Go on to the next stop."""

    @property
    def frame(self) -> bytes:
        """The effect that it stopped at, header and padded payload."""

    @property
    def outbox(self) -> bytes:
        """The outbox of the turn that it stopped at."""

    def skip(self) -> None:
        """Do none of the effects of this turn: after GRANTS."""

    def exit(self) -> None:
        """Stop with EXITED at the end of this turn."""

    @property
    def messages(self) -> int:
        """The messages that were put into mailboxes without a stop."""

    @property
    def timers(self) -> TimerArray:
        """The timers that were set without a stop, in order. Shape (n,), dtype TIMER."""


class Mailboxes(Protocol):
    """The mailboxes of all agents of a run, by id. Used by one thread."""

    def open(self, groups: Sequence[GroupBounds], topics: int) -> None:
        """Called once, before all else, with the groups by index and how many topics there are."""

    def close(self) -> None:
        """Free everything. Safe to call twice."""

    @property
    def ready(self) -> U8Array:
        """1 for each agent that may be planned; writable, shape (agents,). Valid until the next `add`."""

    @property
    def timers(self) -> U32Array:
        """How many timers each agent waits for; writable, shape (agents,). Valid until the next `add`."""

    def add(self, group: int, count: int, room: int) -> None:
        """So many new agents of a group, with the next ids. room: bytes that their inboxes take."""

    def greet(self, first: int, count: int, start: bytes, directory: bytes) -> None:
        """Put two frames before all else into the mailboxes of agents `first`, `first + 1`, ..., past any bound."""

    def set_room(self, ids: U32Array, rooms: U32Array) -> None:
        """What the inboxes of these agents take, in bytes of frames."""

    def room(self, agent: int) -> int:
        """What an agent's inbox takes, in bytes of frames."""

    def held(self, agent: int) -> tuple[int, int]:
        """Frames and bytes in a mailbox."""

    def put(self, agent: int, frame: bytes, more_frames: int = 0, more_bytes: int = 0) -> int:
        """Put a frame into a mailbox, `more` past its bounds. Answers 0, or the Reason why it could not be."""

    def ring(self, agents: U32Array, tags: U32Array, first: int) -> int:
        """Put TIMER frames into mailboxes, from place `first` on. Answers the first place whose mailbox refuses it."""

    def drop_oldest(self, agent: int, size: int) -> int:
        """Drop frames from the front until one of `size` bytes fits. Answers how many were dropped."""

    def end(self, agent: int) -> None:
        """Empty a mailbox for good."""

    def mail(self, agent: int) -> list[bytes]:
        """The frames in a mailbox, oldest first."""

    def restore(self, agent: int, mail: Sequence[bytes], room: int, *, ready: bool) -> None:
        """Bring a mailbox to a captured state."""

    def members_changed(self) -> None:
        """Agents of a group that subscribes to a topic came or went: ask for `relist` before the next publication."""

    def relist(self, members: Sequence[U32Array]) -> None:
        """The receivers of each topic, in order of delivery."""

    def pack(self, plan: U32Array, wave: int, time_ns: int, entropy: int) -> Packed:
        """Take each planned agent's frames off its mailbox, as many as its inbox holds. entropy: of `wave_entropy`."""

    def commit(self, plan: U32Array, turns: Turns, wave: int) -> Commit:
        """Begin to do the effects of a wave."""


def mix(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """splitmix64's finaliser (Steele, Lea, Flood, 2014), element by element."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: npt.NDArray[np.uint64] = value ^ (value >> np.uint64(31))
    return mixed


def _mix_one(value: int) -> int:
    """`mix` of one number: as an array it takes ten times as long."""
    value &= _MASK
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & _MASK
    return value ^ (value >> 31)


def wave_entropy(seed: int, wave: int) -> int:
    """The part of its turns' entropy that a wave has in common: two rounds of splitmix64 over seed and wave."""
    return _mix_one((_mix_one(seed + int(GOLDEN)) ^ wave) + int(GOLDEN))


def turn_entropy(entropy: int, agents: U32Array) -> npt.NDArray[np.uint64]:
    """The entropy of each agent's turn: one more round over the wave's and the agent's id. Shape (n,), u64."""
    return mix((np.array([entropy], np.uint64) + agents.astype(np.uint64)) * GOLDEN + GOLDEN)


class _Box:
    """One mailbox."""

    __slots__ = ("bytes", "ended", "group", "mail", "room")

    def __init__(self, group: GroupBounds, room: int) -> None:
        self.group = group
        self.room = room
        self.mail: deque[bytes] = deque()
        self.bytes = 0
        self.ended = False

    def fits(self, size: int, more_frames: int = 0, more_bytes: int = 0) -> bool:
        return (
            self.bytes + size <= self.group.mailbox_bytes + more_bytes
            and len(self.mail) < self.group.mailbox_frames + more_frames
        )


class PlainMailboxes:
    """Mailboxes as Python's own objects: slow, and plain enough to tell what the others must do."""

    def __init__(self) -> None:
        self._groups: Sequence[GroupBounds] = ()
        self._boxes: list[_Box] = []
        self._ready = bytearray()
        self._timers = bytearray()

    def open(self, groups: Sequence[GroupBounds], topics: int) -> None:
        """See `Mailboxes`."""
        self._groups = groups

    def close(self) -> None:
        """See `Mailboxes`."""

    @property
    def ready(self) -> U8Array:
        """See `Mailboxes`."""
        return np.frombuffer(self._ready, np.uint8)

    @property
    def timers(self) -> U32Array:
        """See `Mailboxes`."""
        return np.frombuffer(self._timers, np.uint32)

    def add(self, group: int, count: int, room: int) -> None:
        """See `Mailboxes`."""
        self._boxes += [_Box(self._groups[group], room) for _ in range(count)]
        self._ready += bytes(count)
        self._timers += bytes(4 * count)

    def greet(self, first: int, count: int, start: bytes, directory: bytes) -> None:
        """See `Mailboxes`."""
        for agent in range(first, first + count):
            self._boxes[agent].mail.extendleft((directory, start))
            self._boxes[agent].bytes += len(start) + len(directory)
            self._ready[agent] = 1

    def set_room(self, ids: U32Array, rooms: U32Array) -> None:
        """See `Mailboxes`."""
        for agent, room in zip(ids.tolist(), rooms.tolist(), strict=True):
            self._boxes[agent].room = room

    def room(self, agent: int) -> int:
        """See `Mailboxes`."""
        return self._boxes[agent].room

    def held(self, agent: int) -> tuple[int, int]:
        """See `Mailboxes`."""
        return len(self._boxes[agent].mail), self._boxes[agent].bytes

    def put(self, agent: int, frame: bytes, more_frames: int = 0, more_bytes: int = 0) -> int:
        """See `Mailboxes`."""
        box = self._boxes[agent]
        if box.ended:
            return Reason.AGENT_ENDED
        if len(frame) > box.room:
            return Reason.TOO_LARGE
        if not box.fits(len(frame), more_frames, more_bytes):
            return Reason.MAILBOX_FULL
        box.mail.append(frame)
        box.bytes += len(frame)
        self._ready[agent] = 1
        return 0

    def ring(self, agents: U32Array, tags: U32Array, first: int) -> int:
        """See `Mailboxes`."""
        pairs = zip(agents.tolist()[first:], tags.tolist()[first:], strict=True)
        for place, (agent, tag) in enumerate(pairs, first):
            if self.put(agent, frame(Inbound.TIMER, 0, tag, b"")):
                return place
        return len(agents)

    def drop_oldest(self, agent: int, size: int) -> int:
        """See `Mailboxes`."""
        box, dropped = self._boxes[agent], 0
        while size <= box.group.mailbox_bytes and box.mail and not box.fits(size):
            box.bytes -= len(box.mail.popleft())
            dropped += 1
        return dropped

    def end(self, agent: int) -> None:
        """See `Mailboxes`."""
        box = self._boxes[agent]
        box.mail.clear()
        box.bytes, box.ended = 0, True
        self._ready[agent] = 0

    def mail(self, agent: int) -> list[bytes]:
        """See `Mailboxes`."""
        return list(self._boxes[agent].mail)

    def restore(self, agent: int, mail: Sequence[bytes], room: int, *, ready: bool) -> None:
        """See `Mailboxes`."""
        box = self._boxes[agent]
        box.mail, box.bytes, box.room = deque(mail), sum(map(len, mail)), room
        self._ready[agent] = ready

    def members_changed(self) -> None:
        """See `Mailboxes`. The kernel publishes here, and knows."""

    def relist(self, members: Sequence[U32Array]) -> None:
        """See `Mailboxes`."""

    def pack(self, plan: U32Array, wave: int, time_ns: int, entropy: int) -> Packed:
        """See `Mailboxes`."""
        inboxes: list[bytes] = []
        bounced: list[tuple[int, bytes]] = []
        for agent, chance in zip(plan.tolist(), turn_entropy(entropy, plan).tolist(), strict=True):
            frames = self._take(agent, bounced)
            inboxes.append(TURN_HEADER.pack(wave, time_ns, chance, agent, len(frames)) + b"".join(frames))
            self._ready[agent] = bool(self._boxes[agent].mail)
        return Packed(np.fromiter(map(len, inboxes), np.uint32, len(inboxes)), b"".join(inboxes), bounced)

    def _take(self, agent: int, bounced: list[tuple[int, bytes]]) -> list[bytes]:
        """The frames at the front that fit; the rest waits, in order. A frame that never fits is bounced."""
        box, frames = self._boxes[agent], []
        left = box.room
        while box.mail and (len(box.mail[0]) <= left or len(box.mail[0]) > box.room):
            message = box.mail.popleft()
            box.bytes -= len(message)
            if len(message) > box.room:
                bounced.append((agent, message))
            else:
                frames.append(message)
                left -= len(message)
        return frames

    def commit(self, plan: U32Array, turns: Turns, wave: int) -> Commit:
        """See `Mailboxes`."""
        return _PlainCommit(self._boxes, plan, turns)


class _PlainCommit:
    """A commit that leaves everything to the kernel."""

    aside = settled = False
    messages = 0
    receiver = reason = 0
    timers = np.zeros(0, TIMER)

    def __init__(self, boxes: Sequence[_Box], plan: U32Array, turns: Turns) -> None:
        self._boxes = boxes
        self._outboxes = b"".join(turns.outboxes)
        self._skipped = self._exits = False
        self.turn = self._start = self._length = 0
        self._stops = self._turns(plan.tolist(), turns.faults.tolist(), turns.outbox_bytes.tolist())

    def advance(self) -> Stop:
        """See `Commit`."""
        return next(self._stops, Stop.DONE)

    @property
    def frame(self) -> bytes:
        """See `Commit`."""
        (size,) = U32.unpack_from(self._outboxes, self._start)
        return self._outboxes[self._start : self._start + frame_bytes(size)]

    @property
    def outbox(self) -> bytes:
        """See `Commit`."""
        return self._outboxes[self._start : self._start + self._length]

    def skip(self) -> None:
        """See `Commit`."""
        self._skipped = True

    def exit(self) -> None:
        """See `Commit`."""
        self._exits = True

    def _turns(self, plan: list[int], faults: list[int], lengths: list[int]) -> Iterator[Stop]:
        at = 0
        for turn, (agent, fault, length) in enumerate(zip(plan, faults, lengths, strict=True)):
            self.turn, self._start, self._length = turn, at, length
            box = self._boxes[agent]
            if fault:
                yield Stop.FAULT
            elif length:
                yield from self._effects(box, at, self._outboxes[at : at + length])
            if self._exits:
                self._exits = False
                yield Stop.EXITED
            at += length

    def _effects(self, box: _Box, at: int, data: bytes) -> Iterator[Stop]:
        try:
            effects: list[EffectTuple] = parse_outbox(data)
        except MalformedOutboxError:
            yield Stop.MALFORMED
            return
        self._skipped = False
        if box.group.denied_is_fault and any(effect[0] in WITH_GRANTS for effect in effects):
            yield Stop.GRANTS
        if self._skipped or box.ended:
            return
        for effect in effects:
            self._start = at + effect[3] - FRAME_HEADER.size
            yield Stop.EFFECT

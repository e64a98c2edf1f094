"""What a worker does, without saying how messages reach it: a shard of agents, and requests against it as bytes.

Rules:
- Requests and replies are a kind, a count and a body of bytes; nothing else crosses between orchestrator and worker.
- A body is a row of sections whose lengths follow from the count, so that a reader checks before it follows.
- A reply answers the request before it; a worker never speaks first.
- An exception inside a worker crosses as a FAILED reply and rises again on the other side: a ModuleError or PluginError
  as itself, all else as an EnvironmentFailure.
- Fuel, faults and outboxes come back in plan order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Final, NamedTuple, Protocol, cast

import msgspec
import numpy as np
import numpy.typing as npt

from wavelock.core import errors

_log = logging.getLogger("wavelock.worker")
U8Array = npt.NDArray[np.uint8]
U32Array = npt.NDArray[np.uint32]
U64Array = npt.NDArray[np.uint64]
I32Array = npt.NDArray[np.int32]
Bytes = bytes | memoryview


class GroupPlan(msgspec.Struct, frozen=True):
    """What a worker must know of an agent group.

    module: in its deterministic form; digest: of these bytes. memory_bytes: the most that a memory can have.
    words, tables, table_types: its hidden state, see `core.form.StateSizes`.
    """

    name: str
    module: bytes
    digest: str
    fuel_per_turn: int
    memory_bytes: int
    inbox_bytes: int
    outbox_bytes: int
    words: int = 0
    tables: int = 0
    table_types: int = 0


class Request(IntEnum):
    """What the orchestrator asks of a worker."""

    OPEN = 1
    """body: msgpack list of GroupPlan; about: the worker's number."""
    CREATE = 2
    """body: u32 ids[n], u32 groups[n]; replies CREATED."""
    RUN = 3
    """body: u32 ids[n], u32 inbox bytes[n], inboxes; replies RAN."""
    DROP = 4
    """body: u32 ids[n]."""
    CLOSE = 5
    CAPTURE = 6
    """body: u32 ids[n]; replies CAPTURED."""
    RESTORE = 7
    """body: u32 ids[n], u32 groups[n], u32 state bytes[n], states."""
    TURNS = 8
    """Take the turns that the mailboxes' memory, which both sides share, has for this worker."""
    ATTEND = 9
    """Do what that memory says, wave after wave, until it says that it is enough; replies then."""


class Reply(IntEnum):
    """What a worker answers."""

    DONE = 1
    CREATED = 2
    """body: u32 inbox capacity[n]."""
    RAN = 3
    """body: u64 fuel[n], i32 fault[n], i32 detail[n], u32 outbox bytes[n], outboxes."""
    FAILED = 4
    """body: msgpack (error class name, text)."""
    CAPTURED = 5
    """body: u32 state bytes[n], states."""


class Message(NamedTuple):
    """A request or a reply about so many agents. parts: the body in pieces, to be written one after the other."""

    kind: int
    agents: int
    parts: Sequence[Bytes]


_DONE: Final = Message(Reply.DONE, 0, ())


class Turns(NamedTuple):
    """The outcome of a plan, in plan order. outboxes: one after the other, in any number of pieces.

    outbox_bytes: the length of each. outbox_hashes: those of `turnrows`, where they were asked for.
    """

    fuel: U64Array
    faults: I32Array
    details: I32Array
    outbox_bytes: U32Array
    outboxes: Sequence[Bytes]
    outbox_hashes: U32Array | None = None

    @property
    def outbox_data(self) -> bytes:
        """The outboxes in one piece."""
        return b"".join(self.outboxes)


class Shard(Protocol):
    """The agents that one worker holds. Belongs to the thread that opened it."""

    def create(self, ids: U32Array, groups: U32Array) -> U32Array:
        """Make instances, in order; an id that exists is replaced. Answers each one's inbox capacity in bytes.

        An agent whose start faults exists all the same: its fault is the outcome of its next turn.
        """

    def run(self, ids: U32Array, inbox_bytes: U32Array, inboxes: memoryview) -> Turns:
        """One turn for each id, in order. An agent that faulted is not used again until it is created anew."""

    def capture(self, ids: U32Array) -> list[bytes]:
        """The state of each agent between two turns, as bytes that every engine reads alike."""

    def restore(self, ids: U32Array, groups: U32Array, states: Sequence[bytes]) -> None:
        """Make agents with states that `capture` gave, on whatever engine; an id that exists is replaced."""

    def drop(self, ids: U32Array) -> None:
        """Free these agents; unknown ids are passed over."""

    def close(self) -> None:
        """Free everything. Safe to call twice."""


class SharingShard(Shard, Protocol):
    """A shard of an engine whose mailboxes are shared (`core.turns.SharingMailboxes`)."""

    def take_turns(self) -> None:
        """The turns that the mailboxes have for this worker, as `run` would."""

    def attend(self) -> None:
        """Do what the mailboxes tell all workers, until they dismiss them."""


OpenShard = Callable[[Sequence[GroupPlan], int], Shard]
"""Groups, and the worker's number."""


class ShardService:
    """A worker's side: one request in, one reply out. Every worker kind runs this, whatever carries the bytes."""

    def __init__(self, open_shard: OpenShard) -> None:
        self._open_shard = open_shard
        self._shard: Shard | None = None
        self._handlers: dict[int, Callable[[int, memoryview], Message]] = {
            Request.OPEN: self._open,
            Request.CREATE: self._create,
            Request.RUN: self._run,
            Request.TURNS: self._turns,
            Request.ATTEND: self._attend,
            Request.DROP: self._drop,
            Request.CAPTURE: self._capture,
            Request.RESTORE: self._restore,
            Request.CLOSE: self._close,
        }

    def handle(self, kind: int, count: int, body: memoryview) -> Message:
        """Answer one request. Never raises: what goes wrong is a FAILED reply."""
        try:
            return self._handlers[kind](count, body)
        except Exception as error:
            if not isinstance(error, errors.WavelockError):
                _log.exception("request %s failed", kind)
            return Message(Reply.FAILED, 0, (_encode_error(error),))

    def _open(self, worker: int, body: memoryview) -> Message:
        self._shard = self._open_shard(msgspec.msgpack.decode(body, type=list[GroupPlan]), worker)
        return _DONE

    def _create(self, count: int, body: memoryview) -> Message:
        ids, groups = np.frombuffer(body, "<u4", 2 * count).reshape(2, count)
        return Message(Reply.CREATED, count, (self._opened.create(ids, groups).tobytes(),))

    def _run(self, count: int, body: memoryview) -> Message:
        ids, lengths = np.frombuffer(body, "<u4", 2 * count).reshape(2, count)
        turns = self._opened.run(ids, lengths, body[8 * count :])
        parts = (turns.fuel, turns.faults, turns.details, turns.outbox_bytes)
        return Message(Reply.RAN, count, (*(part.tobytes() for part in parts), *turns.outboxes))

    def _turns(self, _count: int, _body: memoryview) -> Message:
        cast("SharingShard", self._opened).take_turns()
        return _DONE

    def _attend(self, _count: int, _body: memoryview) -> Message:
        cast("SharingShard", self._opened).attend()
        return _DONE

    def _drop(self, count: int, body: memoryview) -> Message:
        self._opened.drop(np.frombuffer(body, "<u4", count))
        return _DONE

    def _capture(self, count: int, body: memoryview) -> Message:
        states = self._opened.capture(np.frombuffer(body, "<u4", count))
        lengths = np.fromiter(map(len, states), "<u4", count)
        return Message(Reply.CAPTURED, count, (lengths.tobytes(), *states))

    def _restore(self, count: int, body: memoryview) -> Message:
        ids, groups, lengths = np.frombuffer(body, "<u4", 3 * count).reshape(3, count)
        self._opened.restore(ids, groups, split(lengths, body[12 * count :]))
        return _DONE

    def _close(self, _count: int, _body: memoryview) -> Message:
        if self._shard is not None:
            self._shard.close()
            self._shard = None
        return _DONE

    @property
    def _opened(self) -> Shard:
        if self._shard is None:
            raise RuntimeError("a worker was asked for turns before it was opened")
        return self._shard


def open_request(groups: Sequence[GroupPlan], worker: int) -> Message:
    """The request that gives a worker its groups and its number."""
    return Message(Request.OPEN, worker, (msgspec.msgpack.encode(list(groups)),))


def run_request(ids: U32Array, inbox_bytes: U32Array, inboxes: Bytes) -> Message:
    """The request for one turn of each id."""
    return Message(Request.RUN, len(ids), (ids.tobytes(), inbox_bytes.tobytes(), inboxes))


def gather(data: Bytes, starts: npt.NDArray[np.uint64], lengths: U32Array) -> bytes:
    """The pieces of `data` that begin at these places, one after the other."""
    wide = not ((starts | lengths) & np.uint64(7)).any()
    words = np.frombuffer(data, np.uint64 if wide else np.uint8, len(data) // 8 if wide else len(data))
    counts, begins = (lengths // 8, starts // np.uint64(8)) if wide else (lengths, starts)
    ends = np.cumsum(counts, dtype=np.uint64)
    shifts = np.repeat(begins + counts - ends, counts)
    return bytes(words[np.arange(len(shifts), dtype=np.uint64) + shifts].tobytes())


def read_turns(count: int, body: memoryview) -> Turns:
    """The outcome that a RAN reply carries. The arrays lie in the arena: use them before the next request."""
    fuel = np.frombuffer(body, "<u8", count)
    faults, details, lengths = np.frombuffer(body, "<i4", 3 * count, 8 * count).reshape(3, count)
    outboxes = body[20 * count :]
    size = int(lengths.view(np.uint32).sum())
    if size != len(outboxes):
        raise errors.EnvironmentFailure(f"a worker's reply is cut: {len(outboxes)} bytes of {size}")
    return Turns(fuel, faults, details, lengths.view(np.uint32), (outboxes,))


def split(lengths: U32Array, body: memoryview) -> list[bytes]:
    """Copies of pieces that lie one after the other."""
    ends = np.cumsum(lengths, dtype=np.uint64).tolist()
    return [bytes(body[end - length : end]) for end, length in zip(ends, lengths.tolist(), strict=True)]


def _encode_error(error: Exception) -> bytes:
    text = str(error) if isinstance(error, errors.WavelockError) else f"{type(error).__name__}: {error}"
    return msgspec.msgpack.encode((type(error).__name__, text))


def raise_failure(body: memoryview, worker: str) -> None:
    """Raise what a FAILED reply carries: the user's mistake as itself, all else as an environment failure."""
    name, text = msgspec.msgpack.decode(body, type=tuple[str, str])
    kind = getattr(errors, name, None)
    if kind in (errors.ModuleError, errors.PluginError):
        raise kind(text)
    raise errors.EnvironmentFailure(f"{worker} failed: {text}")

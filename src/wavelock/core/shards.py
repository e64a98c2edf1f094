"""The orchestrator's side of all workers: which agent lies where, requests out, replies back in plan order.

Rules:
- The agents of the start lie on the workers in contiguous shares, by id, so that a plan in order of ids falls into
  contiguous parts; those born later lie on worker `id % workers`. Nothing that reaches a digest depends on it.
- Requests go out to all workers before the first reply is awaited.
- Every reply is read before a failure is raised, so that a link is never left with half an exchange.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from wavelock.core.errors import EnvironmentFailure
from wavelock.core.shard import (
    Bytes,
    GroupPlan,
    Message,
    Placed,
    Reply,
    Request,
    Turns,
    U32Array,
    U64Array,
    gather,
    open_request,
    raise_failure,
    read_turns,
    run_request,
    split,
)


class Incoming(Protocol):
    """A reply as an endpoint gives it."""

    @property
    def kind(self) -> int:
        """A `shard.Reply`."""

    @property
    def agents(self) -> int:
        """How many agents it speaks of."""

    @property
    def body(self) -> memoryview:
        """Valid until the endpoint's next send or receive."""


class Link(Protocol):
    """The orchestrator's end of the link to one worker."""

    def send(self, message: Message) -> None:
        """Send a request."""

    def receive(self) -> Incoming | None:
        """Wait for the reply; None when the worker is gone."""


Places = npt.NDArray[np.intp]


class _Part(NamedTuple):
    """What one worker does of a request: its number, and the places of its agents in the whole."""

    worker: int
    places: Places


class ShardSet:
    """All shards of a run."""

    def __init__(self, links: Sequence[Link], groups: Sequence[GroupPlan], first: int = 0) -> None:
        """Open the shards. first: agents of the start. Raises ModuleError for one that the engine cannot compile."""
        self._links = links
        self._first = first
        request = open_request(groups)
        self._ask(dict.fromkeys(range(len(links)), request), Reply.DONE)
        self._closed = False

    def _ask(self, requests: dict[int, Message], expected: Reply) -> dict[int, Incoming]:
        for worker, request in requests.items():
            self._links[worker].send(request)
        replies = {worker: self._links[worker].receive() for worker in requests}
        good: dict[int, Incoming] = {}
        for worker, reply in replies.items():
            if reply is None:
                raise EnvironmentFailure(f"worker {worker} is gone")
            if reply.kind == Reply.FAILED:
                raise_failure(reply.body, f"worker {worker}")
            if reply.kind != expected:
                raise EnvironmentFailure(f"worker {worker} replied {reply.kind}, expected {expected.name}")
            good[worker] = reply
        return good

    def _parts(self, ids: U32Array) -> list[_Part]:
        workers = len(self._links)
        if workers == 1:
            return [_Part(0, np.arange(len(ids)))]
        homes = np.where(ids < self._first, ids.astype(np.uint64) * workers // max(self._first, 1), ids % workers)
        parts = (_Part(worker, np.flatnonzero(homes == worker)) for worker in range(workers))
        return [part for part in parts if len(part.places)]

    def create(self, ids: U32Array, groups: U32Array) -> U32Array:
        """Make instances. Answers their inbox capacities, in order of `ids`."""
        parts = self._parts(ids)
        requests = {
            part.worker: Message(
                Request.CREATE, len(part.places), (ids[part.places].tobytes(), groups[part.places].tobytes())
            )
            for part in parts
        }
        replies = self._ask(requests, Reply.CREATED)
        capacities = np.zeros(len(ids), np.uint32)
        for part in parts:
            capacities[part.places] = np.frombuffer(replies[part.worker].body, "<u4", len(part.places))
        return capacities

    def drop(self, ids: U32Array) -> None:
        """Free instances."""
        requests = {
            part.worker: Message(Request.DROP, len(part.places), (ids[part.places].tobytes(),))
            for part in self._parts(ids)
        }
        self._ask(requests, Reply.DONE)

    def run(self, plan: U32Array, inbox_bytes: U32Array, inboxes: Bytes) -> Turns:
        """One turn for each planned agent. Answers in plan order; valid until the next call."""
        parts = self._parts(plan)
        if len(parts) == 1:
            worker = parts[0].worker
            reply = self._ask({worker: run_request(plan, inbox_bytes, inboxes)}, Reply.RAN)[worker]
            return read_turns(len(plan), reply.body)
        starts = _starts(inbox_bytes)
        requests = {
            part.worker: run_request(
                plan[part.places],
                inbox_bytes[part.places],
                gather(inboxes, starts[part.places], inbox_bytes[part.places]),
            )
            for part in parts
        }
        replies = self._ask(requests, Reply.RAN)
        return _merge(len(plan), [(part, read_turns(len(part.places), replies[part.worker].body)) for part in parts])

    def take_turns(self, plan: U32Array) -> list[tuple[Places, Placed]]:
        """One turn for each planned agent, in shared memory: by worker, which places it took and what came of them."""
        parts = self._parts(plan)
        requests = {
            part.worker: Message(Request.TURNS, len(part.places), (part.places.astype(np.uint32).tobytes(),))
            for part in parts
        }
        replies = self._ask(requests, Reply.TOOK)
        return [(part.places, msgspec.msgpack.decode(bytes(replies[part.worker].body), type=Placed)) for part in parts]

    def capture(self, ids: U32Array) -> list[bytes]:
        """The states of agents between two turns, in order of `ids`."""
        parts = self._parts(ids)
        requests = {
            part.worker: Message(Request.CAPTURE, len(part.places), (ids[part.places].tobytes(),)) for part in parts
        }
        replies = self._ask(requests, Reply.CAPTURED)
        states = [b""] * len(ids)
        for part in parts:
            body, count = replies[part.worker].body, len(part.places)
            found = split(np.frombuffer(body, "<u4", count), body[4 * count :])
            for place, state in zip(part.places.tolist(), found, strict=True):
                states[place] = state
        return states

    def restore(self, ids: U32Array, groups: U32Array, states: Sequence[bytes]) -> None:
        """Make agents with states that `capture` gave."""
        lengths = np.fromiter(map(len, states), "<u4", len(states))
        requests = {}
        for part in self._parts(ids):
            columns = [column[part.places].tobytes() for column in (ids, groups, lengths)]
            pieces = [states[place] for place in part.places.tolist()]
            requests[part.worker] = Message(Request.RESTORE, len(part.places), (*columns, *pieces))
        self._ask(requests, Reply.DONE)

    def close(self) -> None:
        """Let workers free their shards. Safe to call twice, and after a worker was lost."""
        if self._closed:
            return
        self._closed = True
        self._ask({worker: Message(Request.CLOSE, 0, ()) for worker in range(len(self._links))}, Reply.DONE)


def _merge(count: int, parts: list[tuple[_Part, Turns]]) -> Turns:
    """Bring the workers' outcomes into plan order."""
    fuel = np.zeros(count, np.uint64)
    faults, details = np.zeros(count, np.int32), np.zeros(count, np.int32)
    lengths = np.zeros(count, np.uint32)
    starts, base = np.zeros(count, np.uint64), 0
    for part, turns in parts:
        places = part.places
        fuel[places], faults[places], details[places] = turns.fuel, turns.faults, turns.details
        lengths[places] = turns.outbox_bytes
        starts[places] = _starts(turns.outbox_bytes) + np.uint64(base)
        base += int(turns.outbox_bytes.sum(dtype=np.uint64))
    outboxes = b"".join(turns.outboxes[: int(turns.outbox_bytes.sum(dtype=np.uint64))] for _, turns in parts)
    return Turns(fuel, faults, details, lengths, gather(outboxes, starts, lengths))


def _starts(lengths: U32Array) -> U64Array:
    """Where pieces of these lengths begin that lie one after the other."""
    ends: U64Array = np.cumsum(lengths, dtype=np.uint64)
    return ends - lengths

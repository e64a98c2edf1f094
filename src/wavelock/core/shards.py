"""The orchestrator's side of all workers: which agent lies where, requests out, replies back in plan order.

Rules:
- Requests go out to all workers before the first reply is awaited.
- Every reply is read before a failure is raised, so that a link is never left with half an exchange.
- Workers that attend are dismissed before they are asked anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import numpy as np

from wavelock.core.errors import EnvironmentFailure
from wavelock.core.homes import Homes, Part
from wavelock.core.shard import (
    Bytes,
    GroupPlan,
    Message,
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

_TAKE_TURNS: Final = Message(Request.TURNS, 0, ())


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


class ShardSet:
    """All shards of a run."""

    def __init__(self, links: Sequence[Link], groups: Sequence[GroupPlan], homes: Homes | None = None) -> None:
        """Open the shards. Raises ModuleError for a module that the engine cannot compile."""
        self._links = links
        self._homes = homes or Homes(len(links))
        self._dismiss: Callable[[], None] | None = None
        self._ask({worker: open_request(groups, worker) for worker in range(len(links))}, Reply.DONE)
        self._closed = False

    def _ask(self, requests: dict[int, Message], expected: Reply) -> dict[int, Incoming]:
        if requests:
            self.dismiss()
        for worker, request in requests.items():
            self._links[worker].send(request)
        return self._replies(list(requests), expected)

    def _replies(self, workers: Sequence[int], expected: Reply) -> dict[int, Incoming]:
        replies = {worker: self._links[worker].receive() for worker in workers}
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

    def attend(self, dismiss: Callable[[], None]) -> None:
        """Let all workers do what their mailboxes tell them. dismiss: called when they are to stop that."""
        if self._dismiss is None:
            for link in self._links:
                link.send(Message(Request.ATTEND, 0, ()))
            self._dismiss = dismiss

    def dismiss(self) -> None:
        """End that. Raises what a worker raised meanwhile."""
        if self._dismiss is not None:
            dismiss, self._dismiss = self._dismiss, None
            dismiss()
            self._replies(range(len(self._links)), Reply.DONE)

    def create(self, ids: U32Array, groups: U32Array) -> U32Array:
        """Make instances. Answers their inbox capacities, in order of `ids`."""
        parts = self._homes.parts(ids)
        requests = {
            part.worker: Message(Request.CREATE, part.size, (ids[part.places].tobytes(), groups[part.places].tobytes()))
            for part in parts
        }
        replies = self._ask(requests, Reply.CREATED)
        capacities = np.zeros(len(ids), np.uint32)
        for part in parts:
            capacities[part.places] = np.frombuffer(replies[part.worker].body, "<u4", part.size)
        return capacities

    def drop(self, ids: U32Array) -> None:
        """Free instances."""
        requests = {
            part.worker: Message(Request.DROP, part.size, (ids[part.places].tobytes(),))
            for part in self._homes.parts(ids)
        }
        self._ask(requests, Reply.DONE)

    def run(self, plan: U32Array, inbox_bytes: U32Array, inboxes: Bytes) -> Turns:
        """One turn for each planned agent. Answers in plan order; valid until the next call."""
        parts = self._homes.parts(plan)
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
        return _merge(len(plan), [(part, read_turns(part.size, replies[part.worker].body)) for part in parts])

    def take_turns(self, workers: Sequence[int]) -> None:
        """Let these workers take the turns that their mailboxes have for them."""
        self._ask(dict.fromkeys(workers, _TAKE_TURNS), Reply.DONE)

    def capture(self, ids: U32Array) -> list[bytes]:
        """The states of agents between two turns, in order of `ids`."""
        parts = self._homes.parts(ids)
        requests = {part.worker: Message(Request.CAPTURE, part.size, (ids[part.places].tobytes(),)) for part in parts}
        replies = self._ask(requests, Reply.CAPTURED)
        states = [b""] * len(ids)
        for part in parts:
            body, count = replies[part.worker].body, part.size
            found = split(np.frombuffer(body, "<u4", count), body[4 * count :])
            for place, state in zip(part.listed(), found, strict=True):
                states[place] = state
        return states

    def restore(self, ids: U32Array, groups: U32Array, states: Sequence[bytes]) -> None:
        """Make agents with states that `capture` gave."""
        lengths = np.fromiter(map(len, states), "<u4", len(states))
        requests = {}
        for part in self._homes.parts(ids):
            columns = [column[part.places].tobytes() for column in (ids, groups, lengths)]
            pieces = [states[place] for place in part.listed()]
            requests[part.worker] = Message(Request.RESTORE, part.size, (*columns, *pieces))
        self._ask(requests, Reply.DONE)

    def close(self) -> None:
        """Let workers free their shards. Safe to call twice, and after a worker was lost."""
        if self._closed:
            return
        self._closed = True
        self._ask({worker: Message(Request.CLOSE, 0, ()) for worker in range(len(self._links))}, Reply.DONE)


def _merge(count: int, parts: list[tuple[Part, Turns]]) -> Turns:
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
    outboxes = b"".join(piece for _, turns in parts for piece in turns.outboxes)
    return Turns(fuel, faults, details, lengths, (gather(outboxes, starts, lengths),))


def _starts(lengths: U32Array) -> U64Array:
    """Where pieces of these lengths begin that lie one after the other."""
    ends: U64Array = np.cumsum(lengths, dtype=np.uint64)
    return ends - lengths

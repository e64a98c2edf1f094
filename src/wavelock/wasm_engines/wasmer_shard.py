"""A shard on wasmer whose turns are taken in batches: one call from Python for many agents, with couriers between.

`wasmer_courier` has what runs in WebAssembly; here is who is in which batch, and what came of each turn.

Rules:
- An agent that is sound is in one batch, or loose until the next wave; one that ended is in none.
- A batch cannot be changed, and keeps its agents' memory. So it is freed when one of them leaves; the others are loose.
- Turns are taken in the plan's order. Neighbours of one batch share a call; which those are reaches no outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import wasmer

from wavelock.core.shard import GroupPlan, Turns, U32Array
from wavelock.wasm_engines import wasmer_courier
from wavelock.wasm_engines.interface import Trap
from wavelock.wasm_engines.loop import Agent, Buffers, Failure, LoopShard, MakeInstance, bad_result
from wavelock.wasm_engines.wasmer_courier import BATCH, INBOXES_AT, OUTBOXES_AT, OUTBOXES_LAST, Batch, PostOffice
from wavelock.wasm_engines.wasmer_instance import WasmerInstance, told

_NO_BATCH: Final = -1
_ROW: Final = np.dtype([("batch", "<i4"), ("slot", "<u4"), ("given", "<i8"), ("budget", "<i8"), ("most", "<u4")])
"""An agent: where it is, fuel for its next turn and for all later ones, and what its outbox takes."""


class WasmerShard(LoopShard):
    """A `core.shard.Shard`. Inboxes and outboxes are at most `wasmer_courier.LARGEST_BYTES`."""

    def __init__(
        self,
        groups: Sequence[GroupPlan],
        make_instance: MakeInstance,
        compile_text: Callable[[str], wasmer.Module],
    ) -> None:
        """compile_text: compiles WebAssembly text for the store of the instances."""
        super().__init__(groups, make_instance)
        self._office = PostOffice(compile_text)
        self._rows = np.zeros(0, _ROW)
        self._couriers: dict[int, Any] = {}
        self._loose: set[int] = set()
        self._batches: dict[int, tuple[Batch, list[int]]] = {}
        self._next_batch = 0
        self._unfilled = _NO_BATCH

    def _admit(self, number: int, agent: Agent, buffers: Buffers, spent: int) -> None:
        assert isinstance(agent.instance, WasmerInstance)
        agent.buffers = buffers
        self._couriers[number] = self._office.courier(agent.instance, buffers)
        if number >= len(self._rows):
            self._rows = np.concatenate([self._rows, np.zeros(number + 1, _ROW)])  # at least twice as many
            self._rows["batch"][-number - 1 :] = _NO_BATCH
        budget = agent.plan.fuel_per_turn
        self._rows[number] = (_NO_BATCH, 0, budget - spent, budget, buffers[3])
        self._loose.add(number)

    def _leave(self, number: int) -> None:
        if self._couriers.pop(number, None) is not None:
            self._dissolve(int(self._rows["batch"][number]))
            self._loose.discard(number)

    def _dissolve(self, batch: int) -> None:
        _, members = self._batches.pop(batch, (None, []))
        self._rows["batch"][members] = _NO_BATCH
        self._loose.update(members)

    def _spent(self, number: int) -> int | None:
        if number not in self._couriers:
            return None
        return int(self._rows["budget"][number] - self._rows["given"][number])

    def _link(self) -> None:
        """Put the loose agents into batches, with those of the batch that had room left."""
        if not self._loose:
            return
        self._dissolve(self._unfilled)
        loose = sorted(self._loose)
        for first in range(0, len(loose), BATCH):
            members = loose[first : first + BATCH]
            run = self._office.batch([self._couriers[number] for number in members])
            self._batches[self._next_batch] = run, members
            self._rows["batch"][members] = self._next_batch
            self._rows["slot"][members] = np.arange(len(members))
            self._unfilled = self._next_batch if len(members) < BATCH else _NO_BATCH
            self._next_batch += 1
        self._loose.clear()

    def run(self, ids: U32Array, inbox_bytes: U32Array, inboxes: memoryview) -> Turns:
        """See `core.shard.Shard`."""
        most, parts, at = wasmer_courier.ENTRIES, [], 0
        for first in range(0, max(len(ids), 1), most):
            lengths = inbox_bytes[first : first + most]
            parts.append(self._run(ids[first : first + most], lengths, inboxes[at:]))
            at += int(lengths.sum(dtype=np.uint64))
        return parts[0] if len(parts) == 1 else _joined(parts)

    def _run(self, ids: U32Array, inbox_bytes: U32Array, inboxes: memoryview) -> Turns:
        """As many turns as the post office has entries for."""
        self._link()
        rows = self._rows_of(ids)
        entries = self._office.entries[: len(ids)]
        entries["slot"], entries["inbox"], entries["most"] = rows["slot"], inbox_bytes, rows["most"]
        entries["fuel"], entries["result"] = rows["given"], 0
        outboxes, failures = self._take_turns(ids, rows["batch"], inbox_bytes, inboxes)
        sound = rows["batch"] != _NO_BATCH
        self._rows["given"][ids[sound]] = rows["budget"][sound]
        used, results = rows["budget"] - entries["fuel"], entries["result"].copy()
        for at in np.flatnonzero((results < 0) | (results > rows["most"])).tolist():
            failures[at] = bad_result(int(results[at]), int(used[at]))
        faults, details = np.zeros((2, len(ids)), np.int32)
        for at, failure in failures.items():
            faults[at], used[at], details[at], results[at] = failure.fault, failure.fuel, failure.detail, 0
            self._end(int(ids[at]), failure._replace(fuel=0))
        return Turns(used.view(np.uint64), faults, details, results.view(np.uint32), (outboxes,))

    def _rows_of(self, ids: U32Array) -> Any:
        """The agents' rows. An agent whose start failed may be past the last one."""
        known = ids < len(self._rows)
        if known.all():
            return self._rows[ids]
        rows = np.zeros(len(ids), _ROW)
        rows["batch"] = _NO_BATCH
        rows[known] = self._rows[ids[known]]
        return rows

    def _take_turns(
        self, ids: U32Array, batches: Any, inbox_bytes: U32Array, inboxes: memoryview
    ) -> tuple[bytes, dict[int, Failure]]:
        """The outboxes, one after the other, and what failed, by place."""
        office, failures = self._office, dict[int, Failure]()
        pieces: list[bytes] = []
        out = OUTBOXES_AT
        edges = [0, *(np.flatnonzero(batches[1:] != batches[:-1]) + 1).tolist(), len(ids)]
        ends = np.concatenate([[0], np.cumsum(inbox_bytes, dtype=np.int64)])[edges].tolist()
        for (first, last), (begin, end) in zip(pairwise(edges), pairwise(ends), strict=True):
            batch = int(batches[first]) if first < last else _NO_BATCH
            if batch == _NO_BATCH:
                failures.update((at, self._failure(int(ids[at]))) for at in range(first, last))
                continue
            if out > OUTBOXES_LAST:
                pieces.append(office.memory[OUTBOXES_AT:out].tobytes())
                out = OUTBOXES_AT
            office.memory[INBOXES_AT : INBOXES_AT + end - begin] = inboxes[begin:end]
            out = self._run_batch(self._batches[batch][0], first, last, out, ids, failures)
        pieces.append(office.memory[OUTBOXES_AT:out].tobytes())
        return b"".join(pieces), failures

    def _failure(self, number: int) -> Failure:
        failure = self._agents[number].failure
        assert failure is not None
        return failure

    def _run_batch(
        self, batch: Batch, first: int, last: int, out: int, ids: U32Array, failures: dict[int, Failure]
    ) -> int:
        """The turns of some neighbours. Answers where the next outbox goes."""
        inbox = INBOXES_AT
        while first < last:
            try:
                batch(first, last, inbox, out)
                return self._office.progress.outbox
            except RuntimeError as error:
                at, inbox, out = self._office.progress
                number = int(ids[at if first <= at < last else first])  # the stack may end before the first note
                trap = told(error, self._agents[number].plan.name)
                if not isinstance(trap, Trap):
                    raise trap from None
                failures[at] = self._trapped(number, trap)
                inbox += int(self._office.entries["inbox"][at])
                first = at + 1
        return out


def _joined(parts: Sequence[Turns]) -> Turns:
    """Outcomes of turns that came one after the other, as one."""
    fuel, faults, details, lengths = (
        np.concatenate(columns) for columns in zip(*(part[:4] for part in parts), strict=True)
    )
    return Turns(fuel, faults, details, lengths, [piece for part in parts for piece in part.outboxes])

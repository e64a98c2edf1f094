"""What one wave came to: the record that the digest is taken from, the journal keeps and observers are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from wavelock.core.shard import Bytes, I32Array, U32Array, U64Array


class Input(NamedTuple):
    """A message from the world outside, as it entered. stream: the `[[inputs]]` it came from; empty: posted."""

    agent: int
    tag: int
    payload: bytes
    stream: str = ""


class Answered(NamedTuple):
    """An inference answer, as it entered. position: the request's place among those of its wave."""

    request_wave: int
    position: int
    model: int
    agent: int
    life: int
    tag: int
    reason: int
    payload: bytes


class Put(NamedTuple):
    """A value written to the state."""

    key: bytes
    value: bytes
    agent: int


class Birth(NamedTuple):
    """Agents `agent`, `agent + 1`, ... of a group came into being, `total` in all.

    place: the first one's number within its group; parent: an id, or -1.
    """

    agent: int
    total: int
    group: str
    place: int
    parent: int

    def names(self) -> list[str]:
        """`group/place` of each."""
        return [f"{self.group}/{place}" for place in range(self.place, self.place + self.total)]


class Ending(NamedTuple):
    """An agent that ended. reason: an `abi.EndReason`; code: what it exited with."""

    agent: int
    reason: int
    code: int


class FaultRow(NamedTuple):
    """A turn that failed. fault: an `abi.Fault`."""

    agent: int
    fault: int
    detail: str


class LogRow(NamedTuple):
    """A log line. kernel: written by the kernel about the agent, not by the agent."""

    agent: int
    level: int
    text: str
    kernel: bool


class OutputRow(NamedTuple):
    """A message to the world outside."""

    agent: int
    tag: int
    payload: bytes


class Request(NamedTuple):
    """An inference request, in commit order."""

    position: int
    model: int
    agent: int
    life: int
    tag: int
    payload: bytes


_NO_U32: Final[U32Array] = np.zeros(0, np.uint32)
_NO_U64: Final[U64Array] = np.zeros(0, np.uint64)
_NO_I32: Final[I32Array] = np.zeros(0, np.int32)


@dataclass
class WaveRecord:
    """Everything that happened from the intake before a wave to its commit. Arrays are in plan order.

    Until it is detached, fuel, faults and outboxes lie where the next wave's will; outboxes: one after the other, in
    any number of pieces. outbox_hashes: those of `turnrows`, where the engine has taken them.
    """

    wave: int
    inputs: list[Input] = field(default_factory=list)
    answers: list[Answered] = field(default_factory=list)
    plan: U32Array = field(default_factory=lambda: _NO_U32)
    fuel: U64Array = field(default_factory=lambda: _NO_U64)
    fault_codes: I32Array = field(default_factory=lambda: _NO_I32)
    fault_details: I32Array = field(default_factory=lambda: _NO_I32)
    outbox_bytes: U32Array = field(default_factory=lambda: _NO_U32)
    outboxes: Sequence[Bytes] = ()
    outbox_hashes: U32Array | None = None
    messages: int = 0
    lost: int = 0
    births: list[Birth] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)
    faults: list[FaultRow] = field(default_factory=list)
    logs: list[LogRow] = field(default_factory=list)
    outputs: list[OutputRow] = field(default_factory=list)
    puts: list[Put] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    digest: bytes = b""

    def detach(self, *, outboxes: bool) -> None:
        """Copy what the next wave overwrites, so that the record can be kept; outboxes: those, too."""
        self.fuel, self.outbox_bytes = self.fuel.copy(), self.outbox_bytes.copy()
        self.fault_codes, self.fault_details = self.fault_codes.copy(), self.fault_details.copy()
        if self.outbox_hashes is not None:
            self.outbox_hashes = self.outbox_hashes.copy()
        self.outboxes = (self.outbox_data,) if outboxes else ()

    @property
    def outbox_data(self) -> bytes:
        """The outboxes in one piece."""
        return b"".join(self.outboxes)

    @property
    def total_fuel(self) -> int:
        """Fuel units of all turns."""
        return int(np.add.reduce(self.fuel))

    @property
    def size_bytes(self) -> int:
        """About what the record weighs: what a journal's backlog is bounded by."""
        variable = (self.inputs, self.answers, self.logs, self.outputs, self.puts)
        rows = sum(len(rows) for rows in variable) + len(self.endings) + len(self.faults)
        rows += sum(birth.total for birth in self.births)
        payloads = sum(len(row.payload) for rows in (self.inputs, self.answers, self.outputs) for row in rows)
        values = sum(len(row.key) + len(row.value) for row in self.puts) + sum(len(row.text) for row in self.logs)
        return 256 + 200 * rows + payloads + values + sum(map(len, self.outboxes)) + 28 * len(self.plan)

"""The engine family: from WebAssembly bytes to turns.

Two levels. An `Engine` that offers `Instance`s gets a whole shard from `loop.LoopShard`; an engine that can run a plan
by itself implements `Shard` and is asked nothing else. Both give the same digest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from wavelock.core.shard import GroupPlan, Shard

__all__ = ["Engine", "GuestFault", "Instance", "Started"]


class GuestFault(Exception):  # noqa: N818 - a fault is the design's word for what an agent does wrong
    """A turn failed inside the module.

    fault: a `core.abi.Fault`; fuel: units used up to it; detail: the agent's own code, or an outbox's length.
    """

    def __init__(self, fault: int, fuel: int, detail: int = 0) -> None:
        super().__init__(fault, fuel, detail)
        self.fault = fault
        self.fuel = fuel
        self.detail = detail


@dataclass(frozen=True)
class Started:
    """An instance that is ready for turns. fuel: units that its start used; capacities in bytes."""

    fuel: int
    inbox_capacity: int
    outbox_capacity: int


class Instance(Protocol):
    """One agent's instance. Belongs to one thread."""

    def start(self, fuel: int) -> Started:
        """Instantiate, run start function and constructors, ask for the buffers. Raises GuestFault."""

    def turn(self, inbox: memoryview, fuel: int) -> tuple[int, bytes]:
        """Copy the inbox in, call the turn, copy the outbox out. Answers the fuel used and the outbox.

        inbox: at most the inbox capacity. fuel: units that this turn may use. Raises GuestFault: the instance is
        not used again.
        """

    def close(self) -> None:
        """Free the instance and its memory. Safe to call twice."""


class Engine(Protocol):
    """A member of the family. `open_shard` may be called from several threads at once."""

    @property
    def version(self) -> str:
        """The engine's own version, for run files and `wavelock doctor`."""

    def configure(self, *, agents: int, stack_bytes: int, memory_bytes: int) -> None:
        """Size the engine for a run, before anything else is asked of it.

        agents: alive at one time at most; stack_bytes: native stack of one turn; memory_bytes: the largest memory.
        """

    def validate(self, wasm: bytes, name: str) -> None:
        """Raise wavelock.core.errors.ModuleError, beginning with `name`, for a module that is not valid."""

    def open_shard(self, groups: Sequence[GroupPlan]) -> Shard:
        """A shard for agents of these groups. Called on the thread that will run it."""

    def close(self) -> None:
        """Free compiled modules. Safe to call twice."""

"""The engine family: from WebAssembly bytes to turns.

Two levels. An `Engine` that offers `Instance`s gets a whole shard from `loop.LoopShard`; an engine that can run a plan
by itself implements `Shard` and is asked nothing else. Both give the same digest.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from wavelock.core.form.rewritten import MemorySize
from wavelock.core.shard import GroupPlan, Shard

__all__ = ["Engine", "Instance", "Trap"]


class Trap(Exception):  # noqa: N818 - WebAssembly's word for it
    """A call ended in a trap. fault: the engine's own word for it as a `core.abi.Fault`, such as MEMORY_BOUNDS.

    Traps that the deterministic form raises are an UNREACHABLE here; what they stand for is in the module's globals.
    """

    def __init__(self, fault: int) -> None:
        super().__init__(fault)
        self.fault = fault


class Instance(Protocol):
    """One instance of a module in its deterministic form, which imports nothing. Belongs to one thread."""

    def function(self, name: str) -> Callable[..., Sequence[int]]:
        """An exported function: integers in, integers out, signed, of the width that its type says.

        Raises KeyError where there is none. The callable raises Trap, and EnvironmentFailure for what no agent
        causes: a native stack that ended, an error of the engine.
        """

    def memory(self) -> memoryview:
        """A writable view of the whole memory, as large as it is now. The memory never moves: older views stay good."""

    def global_value(self, name: str) -> int:
        """The value of an exported i32 or i64 global, signed."""

    def close(self) -> None:
        """Free the instance and its memory. Safe to call twice."""


class Engine(Protocol):
    """A member of the family. `open_shard` may be called from several threads at once.

    It may have one method more, `mailboxes() -> core.mailboxes.Mailboxes`: what then carries the mail of runs whose
    workers are threads of this process, called before `open_shard`. With `core.turns.SharingMailboxes` its shards take
    their turns by `take_turns`.
    """

    @property
    def version(self) -> str:
        """The engine's own version, for run files and `wavelock doctor`."""

    @property
    def features(self) -> Collection[str]:
        """Features of WebAssembly that it runs beyond the portable ones, of `core.form.OPTIONAL`."""

    def configure(
        self, *, agents: int, stack_bytes: int, memories: Sequence[MemorySize], features: Collection[str] = ()
    ) -> None:
        """Size the engine for a run, before anything else is asked of it.

        agents: alive at one time at most; stack_bytes: native stack of one turn; memories: of each group,
        in order; features: those of `features` that the profile asks for.
        """

    # One that lays memories out in several ways also has `memory_layout: str`, the name of the one it took.

    def open_shard(self, groups: Sequence[GroupPlan], worker: int = 0) -> Shard:
        """A shard for agents of these groups. Called on the thread that will run it."""

    def close(self) -> None:
        """Free compiled modules. Safe to call twice."""

"""A shard over plain instances: what an engine gets that does not run plans by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from wavelock.core.abi import ABI_RECORD, Fault
from wavelock.core.errors import EnvironmentFailure
from wavelock.core.form import reserved
from wavelock.core.shard import GroupPlan, Turns, U32Array
from wavelock.wasm_engines.capture import InstanceState, capture_instance, restore_instance
from wavelock.wasm_engines.interface import Instance, Trap

MakeInstance = Callable[[int], Instance]
"""Makes an instance for an agent of the group with this index, not started yet."""
Buffers = tuple[int, int, int, int]
"""inbox_ptr, inbox_cap, outbox_ptr, outbox_cap."""


class Failure(NamedTuple):
    """A turn that failed. fault: a `core.abi.Fault`; fuel: units used; detail: the agent's code, or a length."""

    fault: int
    fuel: int
    detail: int = 0


class AgentState(msgspec.Struct, frozen=True, array_like=True):
    """An agent of a shard between two turns. instance is None, and failure says why, where it is not used again.

    spent: fuel that its start used, before its first turn.
    """

    instance: InstanceState | None
    spent: int
    failure: Failure | None


class Agent:
    """An agent of the shard: its instance while it is sound, or its failure."""

    __slots__ = ("buffers", "failure", "instance", "plan")

    def __init__(self, plan: GroupPlan, instance: Instance) -> None:
        self.plan = plan
        self.instance: Instance | None = instance
        self.buffers: Buffers = (0, 0, 0, 0)
        self.failure: Failure | None = None

    def end(self, failure: Failure) -> None:
        """Free the instance."""
        if self.instance is not None:
            self.instance.close()
            self.instance = None
        self.failure = failure


Sound = tuple[memoryview, Callable[..., Sequence[int]], memoryview, int, int, int]
"""What a turn takes, in one tuple for speed: inbox, turn, outbox, its bytes, fuel for this turn, for any other."""


class LoopShard:
    """Runs plans turn by turn from Python. The start of an agent and its first turn share one budget of fuel."""

    def __init__(self, groups: Sequence[GroupPlan], make_instance: MakeInstance) -> None:
        self._groups = groups
        self._make_instance = make_instance
        self._agents: dict[int, Agent] = {}
        self._sound: dict[int, Sound] = {}

    def create(self, ids: U32Array, groups: U32Array) -> U32Array:
        """See `core.shard.Shard`."""
        capacities = [self._create(agent, group) for agent, group in zip(ids.tolist(), groups.tolist(), strict=True)]
        return np.array(capacities, np.uint32)

    def _create(self, number: int, group: int) -> int:
        self._forget(number)
        plan = self._groups[group]
        agent = self._agents[number] = Agent(plan, self._make_instance(group))
        assert agent.instance is not None
        started = start_instance(agent.instance, plan)
        if isinstance(started, Failure):
            agent.end(started)
            return plan.inbox_bytes
        spent, buffers = started
        self._admit(number, agent, buffers, spent)
        return buffers[1]

    def _admit(self, number: int, agent: Agent, buffers: Buffers, spent: int) -> None:
        """Take an agent's buffers, which are viewed once and for all: a memory never moves."""
        assert agent.instance is not None
        memory = agent.instance.memory()
        inbox, inbox_bytes, outbox, outbox_bytes = agent.buffers = buffers
        self._sound[number] = (
            memory[inbox : inbox + inbox_bytes],
            agent.instance.function(reserved.TURN),
            memory[outbox : outbox + outbox_bytes],
            outbox_bytes,
            agent.plan.fuel_per_turn - spent,
            agent.plan.fuel_per_turn,
        )

    def run(self, ids: U32Array, inbox_bytes: U32Array, inboxes: memoryview) -> Turns:
        """See `core.shard.Shard`."""
        faults, details = np.zeros((2, len(ids)), np.int32)
        used: list[int] = []
        outboxes: list[bytes] = []
        sound = self._sound
        at = 0
        for number, length in zip(ids.tolist(), inbox_bytes.tolist(), strict=True):
            end = at + length
            failure = None
            try:
                inbox, turn, outbox, most, given, budget = sound[number]
                inbox[:length] = inboxes[at:end]
                result, left = turn(length, given)
                used.append(budget - left)
                if 0 <= result <= most:
                    outboxes.append(outbox[:result].tobytes())
                else:
                    failure = bad_result(result, budget - left)
                if given != budget:
                    sound[number] = (inbox, turn, outbox, most, budget, budget)
            except Trap as trap:
                failure = self._trapped(number, trap)
                used.append(failure.fuel)
            except KeyError:
                failure = self._agents[number].failure
                assert failure is not None
                used.append(failure.fuel)
            if failure is not None:
                place = len(outboxes)
                faults[place], details[place] = failure.fault, failure.detail
                outboxes.append(b"")
                self._end(number, failure._replace(fuel=0))
            at = end
        lengths = np.fromiter(map(len, outboxes), np.uint32, len(outboxes))
        return Turns(np.array(used, np.uint64), faults, details, lengths, (b"".join(outboxes),))

    def _trapped(self, number: int, trap: Trap) -> Failure:
        agent = self._agents[number]
        assert agent.instance is not None
        return trapped(agent.instance, trap.fault, agent.plan.fuel_per_turn, agent.plan)

    def _end(self, number: int, failure: Failure) -> None:
        """An agent's instance is freed: its memory is never used again."""
        self._leave(number)
        self._agents[number].end(failure)

    def _leave(self, number: int) -> None:
        """An agent takes no more turns."""
        self._sound.pop(number, None)

    def _spent(self, number: int) -> int | None:
        """Fuel that an agent's start used, before its first turn; None where it takes no turns."""
        sound = self._sound.get(number)
        return None if sound is None else sound[5] - sound[4]

    def capture(self, ids: U32Array) -> list[bytes]:
        """See `core.shard.Shard`."""
        return [self._capture(number) for number in ids.tolist()]

    def _capture(self, number: int) -> bytes:
        agent, spent = self._agents[number], self._spent(number)
        if agent.instance is None or spent is None:
            return msgspec.msgpack.encode(AgentState(None, 0, agent.failure))
        state = capture_instance(agent.instance, agent.plan, agent.buffers)
        return msgspec.msgpack.encode(AgentState(state, spent, None))

    def restore(self, ids: U32Array, groups: U32Array, states: Sequence[bytes]) -> None:
        """See `core.shard.Shard`."""
        for number, group, state in zip(ids.tolist(), groups.tolist(), states, strict=True):
            self._restore(number, group, read_state(state, self._groups[group]))

    def _restore(self, number: int, group: int, state: AgentState) -> None:
        self._forget(number)
        plan = self._groups[group]
        agent = self._agents[number] = Agent(plan, self._make_instance(group))
        if state.failure is not None:
            agent.end(state.failure)
        elif state.instance is not None:
            assert agent.instance is not None
            restore_instance(agent.instance, plan, state.instance)
            self._admit(number, agent, state.instance.buffers, state.spent)

    def drop(self, ids: U32Array) -> None:
        """See `core.shard.Shard`."""
        for number in ids.tolist():
            self._forget(number)

    def _forget(self, number: int) -> None:
        self._leave(number)
        agent = self._agents.pop(number, None)
        if agent is not None and agent.instance is not None:
            agent.instance.close()

    def close(self) -> None:
        """See `core.shard.Shard`."""
        for number in list(self._agents):
            self._forget(number)


def read_state(data: bytes, plan: GroupPlan) -> AgentState:
    """A state that `Shard.capture` gave. Raises EnvironmentFailure for more fuel spent than an agent has in a turn."""
    state = msgspec.msgpack.decode(data, type=AgentState)
    if not 0 <= state.spent <= plan.fuel_per_turn:
        raise EnvironmentFailure(
            f"{plan.name}: the state has {state.spent} fuel units spent, expected 0 to {plan.fuel_per_turn}"
        )
    return state


def start_instance(instance: Instance, plan: GroupPlan) -> tuple[int, Buffers] | Failure:
    """Start an agent's module and find its buffers; answers the fuel used, too."""
    budget = plan.fuel_per_turn
    try:
        record, left = instance.function(reserved.START)(budget)
    except Trap as trap:
        return trapped(instance, trap.fault, budget, plan)
    memory, at = instance.memory(), record & 0xFFFFFFFF
    if at + ABI_RECORD.size > len(memory):
        return Failure(Fault.BAD_ABI, budget - left)
    buffers = check_record(ABI_RECORD.unpack_from(memory, at), len(memory), plan)
    if buffers is None:
        return Failure(Fault.BAD_ABI, budget - left)
    return budget - left, buffers


def bad_result(result: int, fuel: int) -> Failure:
    """A negative answer is the agent's own code; a positive one past its buffer is no outbox."""
    return Failure(Fault.AGENT_CODE if result < 0 else Fault.MALFORMED_OUTBOX, fuel, result)


def trapped(instance: Instance, native: int, budget: int, plan: GroupPlan) -> Failure:
    """What a trap stands for: the deterministic form's own word first, then the engine's.

    It uses the whole budget. A turn that ends by `unreachable` or outside its memory after a growth was refused is a
    `memory` fault: that is how allocators end.
    """
    marked = instance.global_value(reserved.FAULT)
    if marked == reserved.HOST_MEMORY:
        raise EnvironmentFailure(
            f"{plan.name}: the host has no memory for a growth within limits.memory; run fewer agents or lower it"
        )
    fault = marked or native
    if fault in (Fault.UNREACHABLE, Fault.MEMORY_BOUNDS) and instance.global_value(reserved.REFUSED):
        fault = Fault.MEMORY
    return Failure(fault, budget)


def check_record(record: tuple[int, ...], memory_bytes: int, plan: GroupPlan) -> Buffers | None:
    """The buffers that an agent's ABI record names: (inbox_ptr, inbox_cap, outbox_ptr, outbox_cap).

    None (BAD_ABI) for another version, and for buffers that are small, not 8-aligned, outside the memory or overlap.
    Capacities are at most the limits.
    """
    version, inbox, inbox_cap, outbox, outbox_cap = record
    inside = inbox + inbox_cap <= memory_bytes and outbox + outbox_cap <= memory_bytes
    apart = inbox + inbox_cap <= outbox or outbox + outbox_cap <= inbox
    aligned = inbox % 8 == 0 and outbox % 8 == 0
    if version != 1 or not (inside and apart and aligned) or inbox_cap < 64 or outbox_cap < 16:
        return None
    return inbox, min(inbox_cap, plan.inbox_bytes), outbox, min(outbox_cap, plan.outbox_bytes)

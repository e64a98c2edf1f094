"""A shard over plain instances: what an engine gets that does not run plans by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from wavelock.core.abi import Fault
from wavelock.core.shard import GroupPlan, Turns, U32Array
from wavelock.wasm_engines.interface import GuestFault, Instance

MakeInstance = Callable[[int], Instance]
"""Makes an instance for an agent of the group with this index, not started yet."""


class _Agent:
    """An agent of the shard: its instance while it is sound, what is left of its first budget, or its fault."""

    __slots__ = ("fault", "budget", "fuel", "instance", "spent")

    def __init__(self, instance: Instance, fuel: int) -> None:
        self.instance = instance
        self.fuel = fuel
        self.budget = fuel
        self.spent = 0
        self.fault: GuestFault | None = None


class LoopShard:
    """Runs plans turn by turn from Python. The start of an agent and its first turn share one budget of fuel."""

    def __init__(self, groups: Sequence[GroupPlan], make_instance: MakeInstance) -> None:
        self._groups = groups
        self._make_instance = make_instance
        self._agents: dict[int, _Agent] = {}

    def create(self, ids: U32Array, groups: U32Array) -> U32Array:
        """See `core.shard.Shard`."""
        capacities = [self._create(agent, group) for agent, group in zip(ids.tolist(), groups.tolist(), strict=True)]
        return np.array(capacities, np.uint32)

    def _create(self, number: int, group: int) -> int:
        self._forget(number)
        plan = self._groups[group]
        agent = self._agents[number] = _Agent(self._make_instance(group), plan.fuel_per_turn)
        try:
            started = agent.instance.start(plan.fuel_per_turn)
        except GuestFault as fault:
            agent.fault = fault
            return plan.inbox_bytes
        agent.spent = started.fuel
        agent.budget = plan.fuel_per_turn - started.fuel
        return min(started.inbox_capacity, plan.inbox_bytes)

    def run(self, ids: U32Array, inbox_bytes: U32Array, inboxes: memoryview) -> Turns:
        """See `core.shard.Shard`."""
        count = len(ids)
        fuel = np.zeros(count, np.uint64)
        faults = np.zeros(count, np.int32)
        details = np.zeros(count, np.int32)
        used: list[int] = []
        outboxes: list[bytes] = []
        agents = self._agents
        at = 0
        for index, (number, length) in enumerate(zip(ids.tolist(), inbox_bytes.tolist(), strict=True)):
            agent = agents[number]
            end = at + length
            try:
                if agent.fault is not None:
                    raise agent.fault
                turn_fuel, outbox = agent.instance.turn(inboxes[at:end], agent.budget)
                if agent.spent:
                    turn_fuel = self._end_first_turn(agent, turn_fuel)
            except GuestFault as fault:
                faults[index], details[index] = fault.fault, fault.detail
                turn_fuel, outbox = self._fault(agent, fault), b""
            used.append(turn_fuel)
            outboxes.append(outbox)
            at = end
        fuel[:] = used
        lengths = np.fromiter(map(len, outboxes), np.uint32, count)
        return Turns(fuel, faults, details, lengths, b"".join(outboxes))

    @staticmethod
    def _end_first_turn(agent: _Agent, turn_fuel: int) -> int:
        """The first turn pays for the start; from the next one on the whole budget is there."""
        total = turn_fuel + agent.spent
        agent.spent, agent.budget = 0, agent.fuel
        return total

    @staticmethod
    def _fault(agent: _Agent, fault: GuestFault) -> int:
        """Free a faulted instance: its memory is never used again. Answers the fuel of the turn."""
        agent.instance.close()
        agent.fault = GuestFault(fault.fault, 0)
        total = fault.fuel + agent.spent
        agent.spent = 0
        return total

    def drop(self, ids: U32Array) -> None:
        """See `core.shard.Shard`."""
        for number in ids.tolist():
            self._forget(number)

    def _forget(self, number: int) -> None:
        agent = self._agents.pop(number, None)
        if agent is not None:
            agent.instance.close()

    def close(self) -> None:
        """See `core.shard.Shard`."""
        for number in list(self._agents):
            self._forget(number)


def check_record(
    record: tuple[int, int, int, int, int], memory_bytes: int, plan: GroupPlan
) -> tuple[int, int, int, int]:
    """The buffers that an agent's ABI record names: (inbox_ptr, inbox_cap, outbox_ptr, outbox_cap).

    Raises GuestFault (BAD_ABI) for another version, and for buffers that are small, not 8-aligned, outside the memory
    or that overlap. The outbox's capacity answered is the smaller of the record's and the limit.
    """
    version, inbox, inbox_cap, outbox, outbox_cap = record
    inside = inbox + inbox_cap <= memory_bytes and outbox + outbox_cap <= memory_bytes
    apart = inbox + inbox_cap <= outbox or outbox + outbox_cap <= inbox
    aligned = inbox % 8 == 0 and outbox % 8 == 0
    if version != 1 or not (inside and apart and aligned) or inbox_cap < 64 or outbox_cap < 16:
        raise GuestFault(Fault.BAD_ABI, 0)
    return inbox, min(inbox_cap, plan.inbox_bytes), outbox, min(outbox_cap, plan.outbox_bytes)

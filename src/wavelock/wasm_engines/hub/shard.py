"""A shard whose agents take their turns inside WebAssembly: one call a wave, with no Python between two turns.

Rules:
- All instances of a shard are in one store, with an instance of the hub and a table of couriers (courier.wat).
- A trap ends the call, costs that agent its turn and nothing else: the next call goes on behind it.
- A store gives nothing back before it is closed. When more of its instances are over than alive, the living move to a
  new one, as a capture moves them.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import wasmtime
from wasmtime import _ffi as ffi

from wavelock.core.abi import Fault
from wavelock.core.shard import GroupPlan, Turns, U32Array
from wavelock.wasm_engines.capture import capture_instance, restore_instance
from wavelock.wasm_engines.hub.held import Held
from wavelock.wasm_engines.hub.layout import (
    BOUNCE,
    DELIVER,
    FAILED,
    GROW,
    GROW_TIMERS,
    MOST_AGENTS,
)
from wavelock.wasm_engines.hub.mailboxes import HubMailboxes
from wavelock.wasm_engines.hub.maker import Maker
from wavelock.wasm_engines.hub.memory import PAGE_BYTES, Part
from wavelock.wasm_engines.loop import AgentState, Buffers, Failure, bad_result, check_record, read_state, trapped
from wavelock.wasm_engines.wasmtime_calls import Call, find_export, function_of
from wavelock.wasm_engines.wasmtime_instance import WasmtimeInstance, no_instance, trap_of
from wavelock.wasm_engines.wasmtime_pool import PoolMemory

_ABSENT, _BAD_RESULT = 10, 11
_LOOPS: Final = ("turns", "serve")
"""The functions of hub.c in which agents take turns."""
SPARED: Final = 16
"""So many instances may be over before their store is given up, however few are alive."""
_MOST: Final = 1 << 30
_STARTED_BYTES: Final = 32


class HubShard:
    """A `core.shard.Shard` over the memory of `HubMailboxes`."""

    def __init__(
        self,
        mailboxes: HubMailboxes,
        courier: Callable[[int], wasmtime.Module],
        groups: Sequence[GroupPlan],
        modules: Sequence[wasmtime.Module],
        worker: int,
        pool: PoolMemory | None,
    ) -> None:
        """courier: the compiled one for so many agents. worker: the number of the one that has this shard.

        pool: what memories are taken from, in the dense layout.
        """
        self._mailboxes = mailboxes
        self._hub, self._wave = mailboxes.hub, mailboxes.wave
        self._number = worker
        self._courier = courier
        self._groups = groups
        self._modules = modules
        self._held = Held()
        self._failed: dict[int, Failure] = {}
        self._over = 0
        self._pool = pool
        self._out = Part(self._hub.memory, np.uint8)
        self._out.need(1)
        self._worker = self._hub.rows[worker : worker + 1]
        self._worker["out"], self._worker["out_bytes"] = self._out.address, self._out.size
        self._starts, self._budget, self._started, self._turn, self._at = (
            _field(self._worker, name) for name in ("starts", "budget", "started", "turn", "at")
        )
        self._of = self._worker["of"].view(np.uint8).reshape(-1).data
        self._checked: dict[int, tuple[bytes, Buffers | None]] = {}
        self._closed = False
        self._open()

    def _open(self) -> None:
        """A new store, with nothing in it but the hub."""
        hub = self._hub
        self._store = wasmtime.Store(hub.engine)
        self._store.set_limits(instances=_MOST, memories=_MOST, tables=_MOST)
        self._table = wasmtime.Table(
            self._store, wasmtime.TableType(wasmtime.ValType.funcref(), wasmtime.Limits(1, None)), None
        )
        at = wasmtime.Global(
            self._store,
            wasmtime.GlobalType(wasmtime.ValType.i32(), False),
            wasmtime.Val.i32(hub.row_address(self._number)),
        )
        self._given = (hub.memory.shared, self._table, at)
        self._makers: dict[tuple[int, int], Maker] = {}
        self._store_number = 0
        mine = wasmtime.Instance(self._store, hub.module, [hub.memory.shared, self._table])
        self._turns, self._serve = (Call(self._store, find_export(self._store, mine, name), 1) for name in _LOOPS)
        self._take_bounced = function_of(self._store, mine, "take_bounced", 2)
        self._move_log = function_of(self._store, mine, "move_log", 3)
        self._stopped_at = function_of(self._store, mine, "stopped_at", 1)
        self._finish = function_of(self._store, mine, "finish", 1)

    # ---- coming and going ----

    def create(self, ids: U32Array, groups: U32Array) -> U32Array:
        """See `core.shard.Shard`."""
        self.drop(ids)
        capacities = np.zeros(len(ids), np.uint32)
        alike = np.flatnonzero(np.diff(groups, append=groups[-1:] + 1)) + 1  # where a run of one group ends
        at = 0
        for end in alike.tolist():
            while at < end:
                size = MOST_AGENTS if end - at >= MOST_AGENTS else 1
                count = (end - at) // size * size
                capacities[at : at + count] = self._create_many(ids[at : at + count], int(groups[at]), size)
                at += count
        return capacities

    def _create_many(self, ids: U32Array, group: int, size: int) -> U32Array:
        """Make agents of a group, with a courier for each so many. Answers their capacities."""
        capacities = np.zeros(len(ids), np.uint32)
        plain: list[tuple[int, list[int], int]] = []
        """Those that start like the first one: where, their numbers, their courier."""
        usual: tuple[bytes, bytes] | None = None
        for at in range(0, len(ids), size):
            made, outcomes, courier = self._make(group, size)
            if isinstance(outcomes, bytes):
                if usual is None:
                    usual = outcomes, outcomes[:_STARTED_BYTES] * size
                if outcomes == usual[1]:
                    plain.append((at, made, courier))
                    continue
            each = outcomes if isinstance(outcomes, list) else _pieces(outcomes)
            capacities[at : at + size] = self._admit_each(ids[at : at + size], group, made, each, courier)
        if plain and usual is not None:
            self._admit_alike(ids, group, size, plain, usual[0][:_STARTED_BYTES], capacities)
        return capacities

    def _admit_alike(
        self,
        ids: U32Array,
        group: int,
        size: int,
        plain: Sequence[tuple[int, list[int], int]],
        outcome: bytes,
        capacities: U32Array,
    ) -> None:
        """Take over agents that all started with this outcome."""
        places = np.add.outer(np.array([at for at, _, _ in plain]), np.arange(size)).ravel()
        spent, buffers = self._read_start(outcome, group)
        if buffers is None:
            for agent in ids[places].tolist():
                self._fail(agent, Failure(Fault.BAD_ABI, spent))
            capacities[places] = self._groups[group].inbox_bytes
            return
        numbers = [number for _, made, _ in plain for number in made]
        couriers = np.repeat([courier for _, _, courier in plain], size)
        seats = np.tile(np.arange(size), len(plain))
        self._admit(ids[places], group, numbers, buffers, spent, (couriers, seats))
        capacities[places] = buffers[1]

    def _admit_each(
        self, ids: U32Array, group: int, made: Sequence[int], outcomes: Sequence[bytes | int], courier: int
    ) -> list[int]:
        """Take over agents one by one. Answers their capacities."""
        plan = self._groups[group]
        capacities = []
        for seat, (agent, instance, outcome) in enumerate(zip(ids.tolist(), made, outcomes, strict=True)):
            capacities.append(plan.inbox_bytes)
            if isinstance(outcome, int):  # a trap
                fault = trap_of(outcome, plan.name).fault
                self._fail(agent, trapped(self._instance(instance, group), fault, plan.fuel_per_turn, plan))
                continue
            spent, buffers = self._read_start(outcome, group)
            if buffers is None:
                self._fail(agent, Failure(Fault.BAD_ABI, spent))
            else:
                seats = np.array([courier]), np.array([seat])
                self._admit(ids[seat : seat + 1], group, [instance], buffers, spent, seats)
                capacities[-1] = buffers[1]
        return capacities

    def _read_start(self, outcome: bytes, group: int) -> tuple[int, Buffers | None]:
        """The fuel that a start used, and where the agent's buffers are, from a `started_t`."""
        plan, record = self._groups[group], outcome[8:]
        checked = self._checked.get(group)
        if checked is None or checked[0] != record:  # agents of a group mostly have the same
            checked = self._checked[group] = record, _check_record(record, plan)
        return plan.fuel_per_turn - int.from_bytes(outcome[:8], "little"), checked[1]

    def _make(self, group: int, size: int, *, start: bool = True) -> tuple[list[int], bytes | list[bytes | int], int]:
        """Instances with one courier: their numbers, what came of their starts, and their courier.

        That is one `started_t` after the other; where starts trapped, a list of them and of trap codes. A start that
        traps ends the courier with it: another one is made, which starts those that come behind.
        """
        self._over += size  # until they are admitted
        if self._pool is not None:
            self._pool.made(size)
        left = list(range(size)) if start else []
        outcomes: list[bytes | int] = [b""] * size
        self._budget[0] = self._groups[group].fuel_per_turn
        try:
            maker = self._maker(group, size)
            made = maker.agents()
            self._store_number = maker.store_number
            while True:
                self._starts[0], self._started[0] = sum(1 << at for at in left), 0
                grown = self._table.size(self._store)
                trap = maker.courier()
                if trap is None and len(left) == size:
                    return made, self._of[: _STARTED_BYTES * size].tobytes(), grown
                done = self._started[0]
                for at in left[:done]:
                    outcomes[at] = self._of[_STARTED_BYTES * at : _STARTED_BYTES * (at + 1)].tobytes()
                if trap is None:
                    return made, outcomes, grown
                outcomes[left[done]] = trap
                left = left[done + 1 :]
        except wasmtime.WasmtimeError as error:
            raise no_instance(self._groups[group].name, error) from None

    def _maker(self, group: int, size: int) -> Maker:
        maker = self._makers.get((group, size))
        if maker is None:
            courier = self._courier(size)
            maker = Maker(self._store, self._modules[group], courier, self._given, size)
            self._makers[group, size] = maker
        return maker

    def _instance(self, number: int, group: int) -> WasmtimeInstance:
        """The plain face of an instance."""
        raw = ffi.wasmtime_instance_t.from_buffer_copy(bytes((ctypes.c_uint64 * 2)(self._store_number, number)))
        return WasmtimeInstance(self._store, wasmtime.Instance._from_raw(raw), self._groups[group])

    def _admit(
        self,
        ids: U32Array,
        group: int,
        numbers: Sequence[int],
        buffers: Buffers,
        spent: int,
        seats: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]],
    ) -> None:
        """Take over instances, and tell the hub of them. seats: the courier of each, and its seat there."""
        self._over -= len(ids)
        self._held.put(ids, group, numbers, buffers)
        self._mailboxes.admit(ids, seats, buffers, spent)

    def _found(self, number: int) -> tuple[int, int, Buffers]:
        """Group, number and buffers of an agent's instance, which it has."""
        held = self._held.get(number)
        assert held is not None
        return held

    def _fail(self, number: int, failure: Failure) -> None:
        """An agent's instance is not used again: its failure is the outcome of its next turn."""
        self._forget(np.array([number], np.uint32))
        self._failed[number] = failure

    def _forget(self, ids: U32Array) -> None:
        if self._failed:
            for number in ids.tolist():
                self._failed.pop(number, None)
        held = self._held.those_of(ids)
        if len(held):
            self._held.remove(held)
            self._over += len(held)
            self._mailboxes.unseat(held)

    def drop(self, ids: U32Array) -> None:
        """See `core.shard.Shard`."""
        self._forget(ids)
        self._tidy()

    def _tidy(self) -> None:
        """Give a store up that holds more instances that are over than alive.

        So with one more for each that moves there are never more than three times as many as may be alive, and a few.
        """
        if self._over <= max(SPARED, len(self._held)):
            return
        old, agents = self._store, self._held.everyone()
        states = [(number, self._found(number)[0], self._state(number)) for number in agents.tolist()]
        self._held.remove(agents)
        self._over = 0
        self._open()
        for number, group, state in states:
            self._restore(number, group, state)
        old.close()

    # ---- turns ----

    def take_turns(self) -> None:
        """See `core.shard.SharingShard`."""
        self._run(self._turns)

    def attend(self) -> None:
        """See `core.shard.SharingShard`."""
        try:
            self._run(self._serve)
        except BaseException:
            self._worker["failed"] = 1
            self._finish(self._address)
            raise

    @property
    def _address(self) -> int:
        return self._hub.row_address(self._number)

    def _run(self, call: Call) -> None:
        """Call a function of the hub until it has come to its end."""
        longs, address = call.longs, self._address
        while True:
            longs[0] = address
            trap = call()
            stop = longs[0] & 0xFF
            if trap is None and not stop:
                return
            if int(self._worker["doing"][0]) == DELIVER:
                self._serve_commit(stop)
            else:
                self._serve_turn(stop, trap)

    def _serve_commit(self, stop: int) -> None:
        """Do what stopped a worker's part of a commit, so that it goes on."""
        if stop == GROW_TIMERS:
            self._mailboxes.committer.timers.grow(self._number)
        else:
            assert stop == GROW, stop
            effect = self._stopped_at(self._address) & 0xFFFFFFFF
            self._mailboxes.committer.grow_after(self._number, effect, self._move_log)

    def _serve_turn(self, stop: int, trap: int | None) -> None:
        """Do what stopped a worker's turns, so that they go on."""
        place = self._wave.place_of(self._number, self._turn[0])
        number = self._wave.planned(place)
        if trap is not None:
            group, instance, _ = self._found(number)
            plan = self._groups[group]
            fault = trap_of(trap, plan.name).fault
            self._settle(number, place, trapped(self._instance(instance, group), fault, plan.fuel_per_turn, plan))
        elif stop == GROW:
            before = self._out.address
            self._out.need(self._at[0] + int(self._mailboxes.boxes["outbox_bytes"][number]))
            self._worker["out"], self._worker["out_bytes"] = self._out.address, self._out.size
            self._wave.outboxes_moved(self._number, self._turn[0], self._out.address - before)
        elif stop == BOUNCE:
            letter = self._take_bounced(self._address, number) & 0xFFFFFFFF
            self._mailboxes.bounced.append((place, number, self._hub.letter(letter)[1]))
        elif stop == _ABSENT:
            self._settle(number, place, self._failed[number])
        else:
            assert stop == _BAD_RESULT, stop
            fuel, result = self._wave.result(place)
            self._settle(number, place, bad_result(result, fuel))

    def _settle(self, number: int, place: int, failure: Failure) -> None:
        """The outcome of a turn that failed."""
        self._wave.failed(place, failure.fault, failure.detail, failure.fuel)
        self._fail(number, failure._replace(fuel=0))
        self._worker["marks"] |= FAILED
        self._turn[0] += 1

    def run(self, ids: U32Array, inbox_bytes: U32Array, inboxes: memoryview) -> Turns:
        """Never asked of this shard."""
        raise RuntimeError("a shard over shared mailboxes was sent inboxes")

    # ---- captured and restored ----

    def capture(self, ids: U32Array) -> list[bytes]:
        """See `core.shard.Shard`."""
        return [msgspec.msgpack.encode(self._state(number)) for number in ids.tolist()]

    def _state(self, number: int) -> AgentState:
        held = self._held.get(number)
        if held is None:
            return AgentState(None, 0, self._failed.get(number))
        group, instance, buffers = held
        state = capture_instance(self._instance(instance, group), self._groups[group], buffers)
        return AgentState(state, int(self._mailboxes.boxes["spent"][number]), None)

    def restore(self, ids: U32Array, groups: U32Array, states: Sequence[bytes]) -> None:
        """See `core.shard.Shard`."""
        self.drop(ids)
        for number, group, state in zip(ids.tolist(), groups.tolist(), states, strict=True):
            self._restore(number, group, read_state(state, self._groups[group]))

    def _restore(self, number: int, group: int, state: AgentState) -> None:
        if state.instance is None:
            if state.failure is not None:
                self._failed[number] = state.failure
            return
        (made,), _, courier = self._make(group, 1, start=False)
        restore_instance(self._instance(made, group), self._groups[group], state.instance)
        seats = np.array([courier]), np.array([0])
        self._admit(np.array([number], np.uint32), group, [made], state.instance.buffers, state.spent, seats)

    def close(self) -> None:
        """See `core.shard.Shard`."""
        if not self._closed:
            self._closed = True
            self._held = Held()
            self._store.close()


def _pieces(outcomes: bytes) -> list[bytes | int]:
    """What came of several starts, one by one."""
    return [outcomes[at : at + _STARTED_BYTES] for at in range(0, len(outcomes), _STARTED_BYTES)]


def _field(worker: Any, name: str) -> memoryview:
    """One word of a row of WORKER: quicker than by the row."""
    field: memoryview = worker[name].data
    return field.cast("B").cast("I" if field.itemsize == 4 else "Q")


def _check_record(record: bytes, plan: GroupPlan) -> Buffers | None:
    """The buffers that an ABI record names, with the pages of memory behind it."""
    *words, pages = struct.unpack("<6I", record)
    return check_record(tuple(words), pages * PAGE_BYTES, plan)

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
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import wasmtime
from wasmtime import _ffi as ffi

from wavelock.core.abi import EXPORT_MEMORY, Fault
from wavelock.core.form import reserved
from wavelock.core.shard import GroupPlan, Turns, U32Array
from wavelock.wasm_engines.capture import capture_instance, restore_instance
from wavelock.wasm_engines.hub.mailboxes import (
    BOUNCE,
    DELIVER,
    FAILED,
    GROW,
    GROW_TIMERS,
    MOST_AGENTS,
    TURNS,
    HubMailboxes,
)
from wavelock.wasm_engines.hub.memory import PAGE_BYTES, Part
from wavelock.wasm_engines.loop import AgentState, Buffers, Failure, bad_result, check_record, trapped
from wavelock.wasm_engines.wasmtime_calls import Call, Pointer, find_export, function_of, raw_function, trap_code
from wavelock.wasm_engines.wasmtime_instance import WasmtimeInstance, no_instance, trap_of

_ABSENT, _BAD_RESULT = 10, 11
_LOOPS: Final = ("turns", "serve")
"""The functions of hub.c in which agents take turns."""
SPARED: Final = 16
"""So many instances may be over before their store is given up, however few are alive."""
_MOST: Final = 1 << 30
_instance_new: Final = raw_function("wasmtime_instance_new")
_export_nth: Final = raw_function("wasmtime_instance_export_nth")


Couriers = tuple[int, int]
"""Places in a store's table: the first of those that were made together, and an agent's own."""


class _Held(NamedTuple):
    """An instance of the shard, as wasmtime numbers them in a store, and where its buffers are."""

    group: int
    number: int
    buffers: Buffers


class _Maker:
    """Makes agents of one group, some at a time, and their courier: with everything ready but what differs."""

    def __init__(
        self, store: wasmtime.Store, module: wasmtime.Module, courier: wasmtime.Module, given: Sequence[Any], size: int
    ) -> None:
        """given: the courier's imports that come from the hub. size: how many agents a courier has."""
        self._kept = store, module, courier, given
        self._size = size
        context = ctypes.cast(store._context(), Pointer)
        wanted = (EXPORT_MEMORY, reserved.TURN, reserved.START, reserved.LEFT)
        imports = (ffi.wasmtime_extern_t * (len(given) + size * len(wanted)))()
        for at, value in enumerate(given):
            imports[at] = value._as_extern()
        self._trap, self._made = ctypes.c_void_p(), (ctypes.c_uint64 * 2)()
        trap, made = ctypes.byref(self._trap), ctypes.byref(self._made)
        self._agent = context, ctypes.cast(module.ptr(), Pointer), None, ctypes.c_size_t(0), made, trap
        names = [export.name for export in module.exports]
        places = [ctypes.c_size_t(names.index(each)) for each in wanted]
        step, slot = ctypes.sizeof(ffi.wasmtime_extern_t), ctypes.addressof(imports)
        slot += step * len(given)
        name, length = ctypes.byref(ctypes.c_void_p()), ctypes.byref(ctypes.c_size_t())
        self._exports = [
            [
                (context, made, place, name, length, Pointer(slot + step * (agent * len(wanted) + at)))
                for at, place in enumerate(places)
            ]
            for agent in range(size)
        ]
        second, count = ctypes.byref((ctypes.c_uint64 * 2)()), ctypes.c_size_t(len(imports))
        self._courier = context, ctypes.cast(courier.ptr(), Pointer), imports, count, second, trap

    def agents(self) -> list[int]:
        """New instances of the group's module, by their numbers. Raises WasmtimeError where the host has no room."""
        numbers = []
        for exports in self._exports:
            error = _instance_new(*self._agent)
            if error or self._trap:
                raise self._failure(error)
            for arguments in exports:
                _export_nth(*arguments)
            numbers.append(self._made[1])
        return numbers

    def courier(self) -> int | None:
        """A courier for those that were made last. Answers the trap code in which a start ended. Raises as above."""
        error = _instance_new(*self._courier)
        if error:
            raise self._failure(error)
        return self._take_trap() if self._trap else None

    @property
    def store_number(self) -> int:
        """The store, as wasmtime numbers them, once an agent was made."""
        return self._made[0]

    def _take_trap(self) -> int:
        trap, self._trap.value = ctypes.cast(self._trap, ctypes.POINTER(ffi.wasm_trap_t)), None
        return trap_code(trap)

    def _failure(self, error: int | None) -> Exception:
        if error:
            return wasmtime.WasmtimeError._from_ptr(ctypes.cast(error, ctypes.POINTER(ffi.wasmtime_error_t)))
        return wasmtime.WasmtimeError(f"an instance that imports nothing trapped with code {self._take_trap()}")


class HubShard:
    """A `core.shard.Shard` over the memory of `HubMailboxes`."""

    def __init__(
        self,
        mailboxes: HubMailboxes,
        courier: Callable[[int], wasmtime.Module],
        groups: Sequence[GroupPlan],
        modules: Sequence[wasmtime.Module],
        worker: int,
    ) -> None:
        """courier: the compiled one for so many agents. worker: the number of the one that has this shard."""
        self._mailboxes = mailboxes
        self._number = worker
        self._courier = courier
        self._groups = groups
        self._modules = modules
        self._agents: dict[int, _Held] = {}
        self._failed: dict[int, Failure] = {}
        self._over = 0
        self._out = Part(mailboxes.memory, np.uint8)
        self._out.need(1)
        self._worker = mailboxes.rows[worker : worker + 1]
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
        mailboxes = self._mailboxes
        self._store = wasmtime.Store(mailboxes.engine)
        self._store.set_limits(instances=_MOST, memories=_MOST, tables=_MOST)
        self._table = wasmtime.Table(
            self._store, wasmtime.TableType(wasmtime.ValType.funcref(), wasmtime.Limits(1, None)), None
        )
        at = wasmtime.Global(
            self._store,
            wasmtime.GlobalType(wasmtime.ValType.i32(), False),
            wasmtime.Val.i32(mailboxes.row_address(self._number)),
        )
        self._given = (mailboxes.memory.shared, self._table, at)
        self._makers: dict[tuple[int, int], _Maker] = {}
        self._store_number = 0
        hub = wasmtime.Instance(self._store, mailboxes.module, [mailboxes.memory.shared, self._table])
        self._turns, self._serve = (Call(self._store, find_export(self._store, hub, name), 1) for name in _LOOPS)
        self._take_bounced = function_of(self._store, hub, "take_bounced", 2)
        self._move_log = function_of(self._store, hub, "move_log", 3)
        self._finish = function_of(self._store, hub, "finish", 1)

    # ---- coming and going ----

    def create(self, ids: U32Array, groups: U32Array) -> U32Array:
        """See `core.shard.Shard`."""
        self.drop(ids)
        capacities = np.zeros(len(ids), np.uint32)
        at = 0
        while at < len(ids):
            group = int(groups[at])
            size = MOST_AGENTS if (groups[at : at + MOST_AGENTS] == group).sum() == MOST_AGENTS else 1
            capacities[at : at + size] = self._create(ids[at : at + size].tolist(), group)
            at += size
        return capacities

    def _create(self, numbers: list[int], group: int) -> list[int]:
        """Make agents of a group with one courier. Answers their capacities."""
        plan = self._groups[group]
        made, outcomes, couriers = self._make(group, len(numbers))
        capacities = []
        for number, instance, outcome, courier in zip(numbers, made, outcomes, couriers, strict=True):
            if isinstance(outcome, int):  # a trap
                fault = trap_of(outcome, plan.name).fault
                self._fail(number, trapped(self._instance(instance, group), fault, plan.fuel_per_turn, plan))
                capacities.append(plan.inbox_bytes)
                continue
            spent, buffers = self._read_start(outcome, group)
            if buffers is None:
                self._fail(number, Failure(Fault.BAD_ABI, spent))
                capacities.append(plan.inbox_bytes)
            else:
                self._admit(number, group, instance, buffers, spent, courier)
                capacities.append(buffers[1])
        return capacities

    def _read_start(self, outcome: bytes, group: int) -> tuple[int, Buffers | None]:
        """The fuel that a start used, and where the agent's buffers are, from a `started_t`."""
        plan, record = self._groups[group], outcome[8:]
        checked = self._checked.get(group)
        if checked is None or checked[0] != record:  # agents of a group mostly have the same
            checked = self._checked[group] = record, _check_record(record, plan)
        return plan.fuel_per_turn - int.from_bytes(outcome[:8], "little"), checked[1]

    def _make(
        self, group: int, size: int, *, start: bool = True
    ) -> tuple[list[int], list[bytes | int], list[Couriers]]:
        """Instances with one courier: their numbers, a `started_t` or a trap code for each, and their couriers.

        A start that traps ends the courier with it: another one is made, which starts those that come behind.
        """
        self._over += size  # until they are admitted
        outcomes: list[bytes | int] = [b""] * size
        left = list(range(size)) if start else []
        self._budget[0] = self._groups[group].fuel_per_turn
        try:
            maker = self._maker(group, size)
            made = maker.agents()
            self._store_number = maker.store_number
            while True:
                self._starts[0], self._started[0] = sum(1 << at for at in left), 0
                grown = self._table.size(self._store)
                trap = maker.courier()
                done = self._started[0]
                for at in left[:done]:
                    outcomes[at] = self._of[32 * at : 32 * at + 32].tobytes()
                if trap is None:
                    return made, outcomes, [(grown, at) for at in range(grown + 1, grown + 1 + size)]
                outcomes[left[done]] = trap
                left = left[done + 1 :]
        except wasmtime.WasmtimeError as error:
            raise no_instance(self._groups[group].name, error) from None

    def _maker(self, group: int, size: int) -> _Maker:
        maker = self._makers.get((group, size))
        if maker is None:
            courier = self._courier(size)
            maker = _Maker(self._store, self._modules[group], courier, self._given, size)
            self._makers[group, size] = maker
        return maker

    def _instance(self, number: int, group: int) -> WasmtimeInstance:
        """The plain face of an instance."""
        raw = ffi.wasmtime_instance_t.from_buffer_copy(bytes((ctypes.c_uint64 * 2)(self._store_number, number)))
        return WasmtimeInstance(self._store, wasmtime.Instance._from_raw(raw), self._groups[group])

    def _admit(self, number: int, group: int, made: int, buffers: Buffers, spent: int, couriers: Couriers) -> None:
        """Tell the hub of an instance."""
        self._over -= 1
        self._agents[number] = _Held(group, made, buffers)
        self._mailboxes.admit(number, couriers, buffers, spent)

    def _fail(self, number: int, failure: Failure) -> None:
        """An agent's instance is not used again: its failure is the outcome of its next turn."""
        self._forget(number)
        self._failed[number] = failure

    def _forget(self, number: int) -> None:
        self._failed.pop(number, None)
        if self._agents.pop(number, None) is not None:
            self._over += 1
            self._mailboxes.admit(number, (0, 0), (0, 0, 0, 0), 0)

    def drop(self, ids: U32Array) -> None:
        """See `core.shard.Shard`."""
        for number in ids.tolist():
            self._forget(number)
        self._tidy()

    def _tidy(self) -> None:
        """Give a store up that holds more instances that are over than alive.

        So with one more for each that moves there are never more than three times as many as may be alive, and a few.
        """
        if self._over <= max(SPARED, len(self._agents)):
            return
        agents, old = dict(self._agents), self._store
        states = {number: self._state(number) for number in agents}
        self._agents.clear()
        self._over = 0
        self._open()
        for number, held in agents.items():
            self._restore(number, held.group, states[number])
        old.close()

    # ---- turns ----

    def take_turns(self) -> None:
        """See `core.shard.SharingShard`."""
        self._worker["doing"] = TURNS
        self._run(self._turns)
        self._worker["doing"] = 0

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
        return self._mailboxes.row_address(self._number)

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
            self._mailboxes.grow_timers_of(self._number)
        else:
            assert stop == GROW, stop
            effect = self._mailboxes.outbox_address(self._turn[0]) + int(self._worker["frame"][0])
            self._mailboxes.grow_after(self._number, effect, self._move_log)

    def _serve_turn(self, stop: int, trap: int | None) -> None:
        """Do what stopped a worker's turns, so that they go on."""
        place = self._mailboxes.place_of(self._number, self._turn[0])
        number = self._mailboxes.planned(place)
        if trap is not None:
            held = self._agents[number]
            plan = self._groups[held.group]
            fault = trap_of(trap, plan.name).fault
            self._settle(
                number, place, trapped(self._instance(held.number, held.group), fault, plan.fuel_per_turn, plan)
            )
        elif stop == GROW:
            before = self._out.address
            self._out.need(self._at[0] + int(self._mailboxes.boxes["outbox_bytes"][number]))
            self._worker["out"], self._worker["out_bytes"] = self._out.address, self._out.size
            self._mailboxes.outboxes_moved(self._number, self._turn[0], self._out.address - before)
        elif stop == BOUNCE:
            letter = self._take_bounced(self._address, number) & 0xFFFFFFFF
            self._mailboxes.bounced.append((place, number, self._mailboxes.letter(letter)[1]))
        elif stop == _ABSENT:
            self._settle(number, place, self._failed[number])
        else:
            assert stop == _BAD_RESULT, stop
            fuel, result = self._mailboxes.result(place)
            self._settle(number, place, bad_result(result, fuel))

    def _settle(self, number: int, place: int, failure: Failure) -> None:
        """The outcome of a turn that failed."""
        self._mailboxes.failed(place, failure.fault, failure.detail, failure.fuel)
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
        held = self._agents.get(number)
        if held is None:
            return AgentState(None, 0, self._failed.get(number))
        state = capture_instance(self._instance(held.number, held.group), self._groups[held.group], held.buffers)
        return AgentState(state, int(self._mailboxes.boxes["spent"][number]), None)

    def restore(self, ids: U32Array, groups: U32Array, states: Sequence[bytes]) -> None:
        """See `core.shard.Shard`."""
        self.drop(ids)
        for number, group, state in zip(ids.tolist(), groups.tolist(), states, strict=True):
            self._restore(number, group, msgspec.msgpack.decode(state, type=AgentState))

    def _restore(self, number: int, group: int, state: AgentState) -> None:
        if state.instance is None:
            if state.failure is not None:
                self._failed[number] = state.failure
            return
        (made,), _, (courier,) = self._make(group, 1, start=False)
        restore_instance(self._instance(made, group), self._groups[group], state.instance)
        self._admit(number, group, made, state.instance.buffers, state.spent, courier)

    def close(self) -> None:
        """See `core.shard.Shard`."""
        if not self._closed:
            self._closed = True
            self._agents.clear()
            self._store.close()


def _field(worker: Any, name: str) -> memoryview:
    """One word of a row of WORKER: quicker than by the row."""
    field: memoryview = worker[name].data
    return field.cast("B").cast("I" if field.itemsize == 4 else "Q")


def _check_record(record: bytes, plan: GroupPlan) -> Buffers | None:
    """The buffers that an ABI record names, with the pages of memory behind it."""
    *words, pages = struct.unpack("<6I", record)
    return check_record(tuple(words), pages * PAGE_BYTES, plan)

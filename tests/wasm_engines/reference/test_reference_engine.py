"""The interpreter as an engine: the `Instance` interface, and shards beside wasmtime's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from helpers import HELLO, QUIET, TICKS, TRAPS, agent, echoes
from puppets import PUPPET
from wasm_engines.reference.beside import module
from wavelock.core.abi import TURN_HEADER, Fault, Inbound, frame
from wavelock.core.errors import ModuleError
from wavelock.core.form import FormOptions, MemorySize, rewrite_module
from wavelock.core.form.reserved import START
from wavelock.core.shard import GroupPlan, Shard, Turns
from wavelock.plugins.members import NoSettings
from wavelock.wasm_engines.interface import Engine, Instance, Trap
from wavelock.wasm_engines.reference.engine import ReferenceEngine, ReferenceInstance
from wavelock.wasm_engines.reference.oracle import Oracle
from wavelock.wasm_engines.reference.plugin import wavelock_engine
from wavelock.wasm_engines.reference.program import Program
from wavelock.wasm_engines.wasmtime_engine import WasmtimeEngine

FUEL = 100_000
TEXT = """(module (memory (export "memory") 1 3) (global (export "small") i32 (i32.const -7))
  (global (export "large") i64 (i64.const -8))
  (func (export "both") (param i32 i64) (result i64 i32)
    (i64.sub (local.get 1) (i64.const 1)) (i32.sub (local.get 0) (i32.const 1)))
  (func (export "grow") (result i32) (memory.grow (i32.const 2)))
  (func (export "divide") (param i32) (result i32) (i32.div_s (i32.const 1) (local.get 0)))
  (func (export "nan") (result f32 f64) (f32.const -nan:0x200001) (f64.neg (f64.const nan)))
  (func (export "nothing")))"""


@pytest.fixture
def instance() -> Instance:
    return ReferenceInstance(Program(module(TEXT)))


def test_integers_cross_signed(instance: Instance) -> None:
    both = instance.function("both")
    assert list(both(5, 7)) == [6, 4]
    assert list(both(0, 0)) == [-1, -1]
    assert list(both(-(1 << 31), -(1 << 63))) == [(1 << 63) - 1, (1 << 31) - 1]
    assert list(instance.function("nothing")()) == []
    assert (instance.global_value("small"), instance.global_value("large")) == (-7, -8)


def test_floats_cross_as_bits(instance: Instance) -> None:
    assert [bits % (1 << 64) for bits in instance.function("nan")()] == [0xFFFFFFFFFFA00001, 0xFFF8000000000000]


@pytest.mark.parametrize("name", ["absent", "memory", "small"])
def test_there_is_no_such_function(instance: Instance, name: str) -> None:
    with pytest.raises(KeyError, match=name):
        instance.function(name)


def test_a_trap_is_told_by_its_own_kind(instance: Instance) -> None:
    with pytest.raises(Trap) as caught:
        instance.function("divide")(0)
    assert caught.value.fault == Fault.DIVISION_BY_ZERO
    assert list(instance.function("divide")(1)) == [1]


def test_views_of_the_memory_stay_good(instance: Instance) -> None:
    before = instance.memory()
    before[3] = 9
    assert list(instance.function("grow")()) == [1]
    after = instance.memory()
    after[4] = 8
    assert (len(before), len(after), bytes(before[3:5])) == (65536, 3 * 65536, b"\x09\x08")


def test_closing_twice_does_no_harm(instance: Instance) -> None:
    call, memory = instance.function("nothing"), instance.memory()
    for _ in range(2):
        instance.close()
    memory[0] = 1
    for use in (call, instance.memory):
        with pytest.raises(RuntimeError, match="used after it was closed"):
            use()


def test_what_cannot_be_read_is_the_modules_fault() -> None:
    engine = ReferenceEngine()
    with pytest.raises(ModuleError, match=r"one: the reference engine cannot read the module: .*unknown id 77"):
        engine.open_shard([GroupPlan("one", b"\0asm\1\0\0\0\x4d\0", "digest", 1, 1, 1, 1)])


def test_the_plugin() -> None:
    member = wavelock_engine()
    assert (member.name, member.settings, member.unavailable()) == ("reference", NoSettings, None)
    engine: Engine = member.create(NoSettings())
    assert isinstance(engine, ReferenceEngine)
    assert engine.version.count(".") == 2
    engine.close()
    engine.close()


AGENTS = {
    "quiet": QUIET,
    "hello": HELLO,
    "ticks": TICKS,
    "traps": TRAPS,
    "echoes": echoes(),
    "puppet": PUPPET,
    "loops": agent("(loop $for_ever (br $for_ever)) (i32.const 0)"),
    "fails": agent("(i32.const -7)"),
    "eats memory": agent("""(loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
      (unreachable)"""),
    "counts": agent("""(global.set 0 (i32.add (global.get 0) (i32.const 1)))
      (i32.store (i32.const 32768) (global.get 0)) (i32.const 16)""").replace(
        "(data", "(global (mut i32) (i32.const 5)) (data", 1
    ),
}
AGENTS["tables"] = agent("""(i32.store (i32.const 32768) (call_indirect (result i32) (i32.const 0)))
  (table.set (i32.const 0) (table.get (i32.const 1))) (table.set (i32.const 1) (ref.func $three))
  (drop (table.grow (ref.null func) (i32.const 1))) (elem.drop $e) (i32.const 16)""").replace(
    "(data",
    """(table 2 9 funcref) (elem (i32.const 0) func $one $two) (elem $e func $three)
      (func $one (result i32) (i32.const 1)) (func $two (result i32) (i32.const 2))
      (func $three (result i32) (i32.const 3)) (data""",
    1,
)
INBOX = TURN_HEADER.pack(1, 2, 3, 4, 2) + frame(Inbound.MESSAGE, 0xFFFFFFFF, 7, b"hello") + frame(3, 0, 8, b"")
INBOX += bytes(-len(INBOX) % 8)


def plan(name: str, fuel: int = FUEL) -> GroupPlan:
    form = rewrite_module(module(AGENTS[name]), name, FormOptions(memory_pages=8))
    return GroupPlan(name, form.module, name, fuel, 8 << 16, 65536, 65536, *form.state)


def create(shard: Shard, groups: int) -> None:
    """One agent of each group."""
    shard.create(np.arange(groups, dtype=np.uint32), np.arange(groups, dtype=np.uint32))


def run(shard: Shard, groups: int, count: int = 3) -> list[Turns]:
    """Some turns of the agents."""
    ids, lengths = np.arange(groups, dtype=np.uint32), np.full(groups, len(INBOX), np.uint32)
    found = []
    for _ in range(count):
        ran = shard.run(ids, lengths, memoryview(INBOX * groups))
        found.append(ran._replace(outboxes=[ran.outbox_data]))
    return found


def as_bytes(turns: list[Turns]) -> list[list[bytes]]:
    return [[np.asarray(part).tobytes() for part in each] for each in turns]


def opened(make: Callable[[], Engine], plans: list[GroupPlan]) -> tuple[Engine, Shard]:
    engine = make()
    engine.configure(agents=len(plans), stack_bytes=1 << 20, memories=[MemorySize(1, 8)])
    return engine, engine.open_shard(plans)


def wasmtime_engine() -> Engine:
    return WasmtimeEngine(cache=False, memory_layout="dense")


@pytest.mark.parametrize("fuel", [FUEL, 9])
def test_a_shard_does_what_wasmtimes_does(fuel: int) -> None:
    """Three turns; then each goes on where the other stood."""
    plans = [plan(name, fuel) for name in AGENTS]
    ids = np.arange(len(plans), dtype=np.uint32)
    turns, states = [], []
    for make, other in ((ReferenceEngine, wasmtime_engine), (wasmtime_engine, ReferenceEngine)):
        engine, shard = opened(make, plans)
        create(shard, len(plans))
        turns.append(run(shard, len(plans)))
        states.append(shard.capture(ids))
        next_engine, next_shard = opened(other, plans)
        next_shard.restore(ids, ids, states[-1])
        turns[-1] += run(next_shard, len(plans))
        for each in (shard, engine, next_shard, next_engine):
            each.close()
    ours, theirs = turns
    assert as_bytes(ours) == as_bytes(theirs)
    assert states[0] == states[1]
    if fuel == FUEL:
        faults = dict(zip(AGENTS, ours[0].faults.tolist(), strict=True))
        assert {name: Fault(fault) for name, fault in faults.items() if fault} == {
            "traps": Fault.UNREACHABLE,
            "loops": Fault.FUEL,
            "fails": Fault.AGENT_CODE,
            "eats memory": Fault.MEMORY,
        }


@pytest.mark.parametrize("name", AGENTS)
def test_a_turns_fuel_and_fault_are_the_oracles(name: str) -> None:
    oracle = Oracle(module(AGENTS[name]), FormOptions(memory_pages=8))
    started = oracle.start(FUEL)
    turned = oracle.turn(INBOX, FUEL - started.fuel_used)
    engine, shard = opened(ReferenceEngine, [plan(name)])
    create(shard, 1)
    (first,) = run(shard, 1, 1)
    shard.close()
    engine.close()
    if turned.fault:
        assert (first.faults[0], first.fuel[0]) == (turned.fault, FUEL)
    else:
        assert turned.results is not None
        assert first.fuel[0] == started.fuel_used + turned.fuel_used
        assert first.faults[0] == (Fault.AGENT_CODE if name == "fails" else Fault.NONE)
        assert name == "fails" or first.outbox_data == bytes(oracle.memory[32768 : 32768 + turned.results[0]])


def test_instances_of_one_program_share_nothing() -> None:
    program = Program(plan("counts").module)
    first, second = ReferenceInstance(program), ReferenceInstance(program)
    first.function(START)(FUEL)
    first.memory()[0] = 1
    assert second.memory()[0] == 0

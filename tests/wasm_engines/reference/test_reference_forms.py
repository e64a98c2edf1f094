"""The oracle on originals, rewritten modules on the interpreter and on wasmtime: one outcome for every budget."""

from __future__ import annotations

import pytest

from wasm_engines.reference.beside import module
from wasm_engines.reference.forms import Ended, Trio
from wasm_engines.reference.programs import (
    AGENT,
    CALLED,
    CALLS,
    DEPTHS,
    FUNCTIONS,
    PROGRAMS,
    SAME_FOR_ALL,
    SMALL,
    STATE,
    TABLES,
)
from wavelock.core.abi import Fault
from wavelock.core.form import FormOptions, rewrite_module
from wavelock.core.form.reserved import FAULT, START, TURN
from wavelock.wasm_engines.interface import Trap
from wavelock.wasm_engines.reference.engine import ReferenceInstance
from wavelock.wasm_engines.reference.oracle import Oracle, Outcome
from wavelock.wasm_engines.reference.program import Program


@pytest.mark.parametrize("name", FUNCTIONS)
def test_control_flow_at_every_budget(name: str) -> None:
    trio = Trio(f'(module (func (export "f") {FUNCTIONS[name]}))')
    for number in SMALL[:1] if name in SAME_FOR_ALL else SMALL:
        trio.sweep("f", [number], most=15)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("swapped", [7, 1 << 63]),
        *((name, [12, entry]) for name in ("unary", "binary", "other") for entry in (0, 1, 2, 3, 6)),
        ("even", [9]),
        ("even", [12]),
        ("fib", [6]),
        ("deep", [5]),
    ],
)
def test_calls_at_every_budget(name: str, arguments: list[int]) -> None:
    Trio(CALLS).sweep(name, arguments, most=25)


def trio(name: str, options: FormOptions | None = None) -> Trio:
    return Trio(f"(module {STATE} {PROGRAMS[name]})", options)


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_at_many_budgets(name: str) -> None:
    whole = trio(name)
    few = len(CALLED[name]) > 10
    for arguments in CALLED[name]:
        whole.sweep("f", arguments, most=2 if few else 12)


@pytest.mark.parametrize("name", ["float loops", "a heavy leaf", "many blocks of memory"])
def test_programs_at_every_budget(name: str) -> None:
    trio(name).sweep("f", CALLED[name][2 if len(CALLED[name]) > 2 else 0], most=1 << 30)


@pytest.mark.parametrize("pages", [1, 2, 7, 8, 9])
@pytest.mark.parametrize("name", ["growth", "growth and unreachable", "growth and bounds"])
def test_growth_ends_at_the_limit_or_at_the_maximum(name: str, pages: int) -> None:
    limited = trio(name, FormOptions(memory_pages=pages))
    for arguments in CALLED[name]:
        limited.run("f", arguments)


def test_a_refused_growth_makes_a_memory_fault_of_what_follows() -> None:
    assert trio("growth and unreachable").run("f", [8], 100_000) == Ended((), Fault.MEMORY, 100_000)
    assert trio("growth and bounds").run("f", [-1]).fault == Fault.MEMORY
    assert trio("growth and bounds").run("f", [7]).fault == Fault.NONE
    text = f"""(module {STATE} (func (export "f") (param i32)
      (drop (memory.grow (i32.const 9))) (drop (i32.div_u (i32.const 1) (local.get 0)))))"""
    assert Trio(text).run("f", [0]).fault == Fault.DIVISION_BY_ZERO


@pytest.mark.parametrize("name", DEPTHS)
def test_depth_ends_at_the_same_call(name: str) -> None:
    """Where the limit is one byte less than what ten calls within calls weigh, and where it is enough."""
    drops = "drop " * 5 if name == "many results" else ""
    text = f'(module {DEPTHS[name]} (func (export "f") (param i32) (call $r (local.get 0)) {drops}))'
    deepest = Trio(text).deepest("f", [9])
    less, enough = (Trio(text, FormOptions(stack_bytes=limit)) for limit in (deepest - 1, deepest))
    assert less.run("f", [9]).fault == Fault.DEPTH
    assert enough.run("f", [9]).fault == (Fault.UNREACHABLE if "a dead end" in name else Fault.NONE)
    assert enough.run("f", [10]).fault == Fault.DEPTH


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *(("call", [0]), ("call", [1]), ("call", [3])),
        *(("grow", [1]), ("grow", [17]), ("grow", [18]), ("grow", [-1]), ("grow", [0])),
        *(("grow_b", [1]), ("grow_b", [(1 << 20) - 2]), ("grow_b", [(1 << 20) - 1]), ("grow_b", [-1])),
        *(("fill", [0, 3]), ("fill", [1, 3]), ("init", [0, 2]), ("init", [1, 2]), ("init", [0, 3])),
        *(("copy", [0, 2]), ("copy", [0, 3]), ("set", [0]), ("set", [2]), ("set", [3])),
    ],
)
def test_tables_at_many_budgets(name: str, arguments: list[int]) -> None:
    Trio(TABLES).sweep(name, arguments, most=10)


@pytest.mark.parametrize("fuel", range(10))
def test_starts_and_turns_of_an_agent(fuel: int) -> None:
    original = module(AGENT)
    form = rewrite_module(original, "test").module
    instance = ReferenceInstance(Program(form))
    oracle = Oracle(original)
    started = oracle.start(fuel)
    assert started.fault == (Fault.NONE if fuel >= 6 else Fault.FUEL)
    if started.results is None:
        with pytest.raises(Trap):
            instance.function(START)(fuel)
        assert (instance.global_value(FAULT), started.fuel_used) == (Fault.FUEL, fuel)
        return
    assert list(instance.function(START)(fuel)) == [*started.results, fuel - started.fuel_used]
    inbox = b"abcdefgh" * 3
    instance.memory()[8192 : 8192 + len(inbox)] = inbox
    for budget in (0, 10, 11, 12, 13, 14, 15, 100):
        turned = oracle.turn(inbox, budget)
        if turned.results is None:
            with pytest.raises(Trap):
                instance.function(TURN)(len(inbox), budget)
        else:
            assert list(instance.function(TURN)(len(inbox), budget)) == [24, budget - turned.fuel_used]
        assert instance.memory() == oracle.memory
    assert bytes(oracle.memory[16384:16387]) == b"\x0abc"


def test_a_start_without_the_agents_exports() -> None:
    text = (
        '(module (start $s) (global $g (export "g") (mut i32) (i32.const 0)) (func $s (global.set $g (i32.const 7))))'
    )
    oracle = Oracle(module(text))
    assert (oracle.start(10), oracle.globals) == (Outcome((0,), Fault.NONE, 1), [7])
    instance = ReferenceInstance(Program(rewrite_module(module(text), "test", abi=False).module))
    assert (list(instance.function(START)(10)), instance.global_value("g")) == ([0, 9], 7)
    assert oracle.start(0) == Outcome(None, Fault.FUEL, 0)

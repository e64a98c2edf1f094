"""The oracle's counting, held against sums made by hand from the tables of costs."""

from __future__ import annotations

import pytest

from wasm_engines.reference.beside import module
from wavelock.core.abi import Fault
from wavelock.core.form import FormOptions, costs
from wavelock.core.form.features import TAIL_CALL
from wavelock.wasm_engines.reference.oracle import Oracle, Outcome

PLENTY = 1 << 50


def cost(text: str, *arguments: int) -> int:
    """Fuel used by a call of the export `f`, which must not fault."""
    outcome = Oracle(module(f"(module (memory 1 4) (table 4 8 funcref) {text})")).call("f", arguments, fuel=PLENTY)
    assert outcome.fault == Fault.NONE
    return outcome.fuel_used


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("", 0),
        ("(nop) (block) (loop) (block (block))", 0),
        ("(drop (i32.const 1))", 1),
        ("(drop (i32.add (i32.const 1) (i32.const 2)))", 3),
        ("(drop (i32.div_u (i32.const 1) (i32.const 2)))", 6),
        ("(drop (f64.sqrt (f64.const 2)))", 5),
        ("(drop (f32x4.div (v128.const i64x2 0 0) (v128.const i64x2 0 0)))", 6),
        ("(return) (drop (i32.const 1))", 0),
        ("(block (br 0) (drop (i32.const 1)))", 1),
        ("(block (br_if 0 (i32.const 1)) (drop (i32.const 9)) (drop (i32.const 9)))", 2),
        ("(block (br_if 0 (i32.const 0)) (drop (i32.const 9)) (drop (i32.const 9)))", 4),
        ("(if (i32.const 1) (then (drop (i32.const 9))) (else (drop (i32.eqz (i32.const 9)))))", 3),
        ("(if (i32.const 0) (then (drop (i32.const 9))) (else (drop (i32.eqz (i32.const 9)))))", 4),
        ("(if (i32.const 0) (then (drop (i32.const 9))))", 2),
        ("(block (block (br_table 0 1 (i32.const 0))) (drop (i32.const 1)))", 3),
        ("(block (block (br_table 0 1 (i32.const 5))) (drop (i32.const 1)))", 2),
        ("(local i32 i32 i32 i32 i32 i32 i32)", 0),
        ("(local i32 i32 i32 i32 i32 i32 i32 i64)", 1),
        ("(local $n i32) (local.set $n (i32.const 5))"
         "(loop (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))", 2 + 5 * 5),
        ("(memory.fill (i32.const 0) (i32.const 0) (i32.const 0))", 3 + 8),
        ("(memory.fill (i32.const 0) (i32.const 0) (i32.const 7))", 3 + 8),
        ("(memory.fill (i32.const 0) (i32.const 0) (i32.const 8))", 3 + 8 + 1),
        ("(memory.copy (i32.const 0) (i32.const 0) (i32.const 65535))", 3 + 8 + 8191),
        ("(memory.init $d (i32.const 0) (i32.const 0) (i32.const 17)) (data.drop $d)", 3 + 8 + 2 + 1),
        ("(drop (memory.grow (i32.const 3)))", 1 + 64 + 3 * 4096),
        ("(drop (memory.grow (i32.const 4)))", 1 + 64 + 4 * 4096),
        ("(drop (memory.grow (i32.const -1)))", 1 + 64 + 0xFFFFFFFF * 4096),
        ("(drop (table.grow (ref.null func) (i32.const 5)))", 2 + 64 + 5),
        ("(table.fill (i32.const 0) (ref.null func) (i32.const 3))", 3 + 8 + 3),
        ("(table.copy (i32.const 0) (i32.const 1) (i32.const 3))", 3 + 8 + 3),
        ("(table.init $e (i32.const 0) (i32.const 0) (i32.const 2)) (elem.drop $e)", 3 + 8 + 2 + 1),
    ],
)  # fmt: skip
def test_what_code_costs(code: str, expected: int) -> None:
    segments = '(data $d "0123456789abcdefghij") (elem $e func $f $f)'
    assert cost(f'{segments} (func $f (export "f") {code})') == expected


def test_what_calls_cost() -> None:
    """A call is paid by the caller's segment, which goes on behind it; the callee pays its own."""
    text = """(type $t (func)) (elem (i32.const 0) func $g) (func $g (drop (i32.const 1)))
      (func (export "f") (call $g) (drop (i32.const 1)) (call_indirect (type $t) (i32.const 0)) (drop (i32.const 1)))"""
    assert cost(text) == (4 + 1) + 1 + (8 + 1) + 1 + 1
    assert costs.COSTS["call"] == 4


def test_what_a_start_costs() -> None:
    oracle = Oracle(
        module("""(module (memory (export "memory") 1) (start $s)
      (func $s (drop (i32.const 1)))
      (func (export "_initialize") (drop (i32.const 1)) (drop (i32.const 1)))
      (func (export "wavelock_abi") (result i32) (i32.const 1024))
      (func (export "wavelock_turn") (param i32) (result i32) (local.get 0)))""")
    )
    assert oracle.start(4) == Outcome((1024,), Fault.NONE, 4)


def test_a_budget_that_ends_before_each_segment() -> None:
    """What ran before it was paid for and has happened; of the segment nothing has."""
    text = """(module (global $g (mut i32) (i32.const 0))
      (func (export "f") (param i32) (result i32)
        (global.set $g (i32.const 1))
        (if (local.get 0) (then (global.set $g (i32.const 2)) (nop)) (else (global.set $g (i32.const 3))))
        (global.set $g (i32.const 4)) (i32.const 7)))"""
    seen = []
    for fuel in range(11):
        oracle = Oracle(module(text))
        outcome = oracle.call("f", [1], fuel=fuel)
        seen.append((outcome.fault, oracle.globals[0]))
        assert outcome.fuel_used == min(fuel, 9)
    assert seen == [(Fault.FUEL, 0)] * 4 + [(Fault.FUEL, 1)] * 2 + [(Fault.FUEL, 2)] * 3 + [(Fault.NONE, 4)] * 2


def test_an_operand_is_paid_before_its_operator_and_also_for_a_trap() -> None:
    text = """(module (memory 1) (func (export "f") (param i32)
      (i32.store8 (i32.const 0) (i32.const 1)) (memory.fill (i32.const 1) (i32.const 1) (local.get 0))))"""
    segment, length = 3 + 11, 0x10000
    for fuel, fault in (
        (segment - 1, Fault.FUEL),
        (segment, Fault.FUEL),
        (segment + (length >> 3) - 1, Fault.FUEL),
        (segment + (length >> 3), Fault.MEMORY_BOUNDS),
    ):
        oracle = Oracle(module(text))
        assert oracle.call("f", [length], fuel=fuel) == Outcome(None, fault, fuel)
        assert oracle.memory[0] == (fuel >= segment)
        assert oracle.memory[1] == 0


def deepest(function: str, more: str = "") -> int:
    """What a call of the function `$f` weighs: `calls` are made not to be leaves."""
    oracle = Oracle(module(f'(module (global v128 (v128.const i64x2 0 0)) {more} (func $f (export "f") {function}))'))
    assert oracle.call("f", fuel=PLENTY).fault == Fault.NONE
    return oracle.deepest


@pytest.mark.parametrize(
    ("function", "values", "width", "code_bytes"),
    [
        ("(if (i32.const 0) (then (call $f)))", 1, 8, 8),
        ("(local i64 f32) (if (i32.const 0) (then (call $f)))", 3, 8, 8),
        ("(i32.const 1) (i32.const 2) (i32.const 3) drop drop drop (if (i32.const 0) (then (call $f)))", 3, 8, 17),
        ("(i32.const 1) (block (i32.const 2) (drop)) drop (if (i32.const 0) (then (call $f)))", 2, 8, 17),
        ("(local v128) (if (i32.const 0) (then (call $f)))", 2, 16, 8),
        ("(drop (v128.const i64x2 0 0)) (if (i32.const 0) (then (call $f)))", 1, 16, 27),
        ("(drop (global.get 0)) (if (i32.const 0) (then (call $f)))", 1, 16, 11),
        ("(if (i32.const 0) (then (call $f) (br 0) (drop (v128.const i64x2 0 0))))", 1, 8, 29),
        ("(block (br 0) (i32.const 1) (i32.const 2) (drop) (drop)) (if (i32.const 0) (then (call $f)))", 1, 8, 19),
        ("(block (br 0) (drop (block (result i32 i32) (unreachable)) (drop))) (if (i32.const 0) (then (call $f)))",
         1, 8, 19),
        ("(block (result i32 i32) (br 0 (i32.const 1) (i32.const 2))) drop drop (if (i32.const 0) (then (call $f)))",
         2, 8, 19),
    ],
)  # fmt: skip
def test_what_a_call_weighs(function: str, values: int, width: int, code_bytes: int) -> None:
    assert deepest(function) == 64 + width * values + (code_bytes >> 1)


def test_a_light_leaf_weighs_nothing_and_a_heavy_one_all() -> None:
    assert deepest("(drop (i32.const 1))") == 0
    locals_of = "(local " + "i64 " * 503 + ")"  # one byte of code, the end, and no operand
    assert costs.LEAF_BYTES > 64 + 8 * 503
    assert deepest(locals_of) == 0
    assert deepest(locals_of.replace(")", "i64 i64)")) == 64 + 8 * 505


def test_depth_ends_exactly() -> None:
    text = """(module (func $f (export "f") (param i32) (result i32)
      (if (result i32) (local.get 0)
        (then (i32.add (call $f (i32.sub (local.get 0) (i32.const 1))) (i32.const 1))) (else (i32.const 0)))))"""
    oracle = Oracle(module(text))
    assert oracle.call("f", [0], fuel=PLENTY).results == (0,)
    weight = oracle.deepest
    assert oracle.call("f", [9], fuel=PLENTY).results == (9,)
    assert oracle.deepest == 10 * weight
    for stack_bytes, fault in ((10 * weight, Fault.NONE), (10 * weight - 1, Fault.DEPTH)):
        limited = Oracle(module(text), FormOptions(stack_bytes=stack_bytes))
        assert limited.call("f", [9], fuel=PLENTY).fault == fault
        assert limited.call("f", [8], fuel=PLENTY) == Outcome((8,), Fault.NONE, cost_of(text, 8))


def cost_of(text: str, argument: int) -> int:
    return Oracle(module(text)).call("f", [argument], fuel=PLENTY).fuel_used


def test_depth_comes_before_the_fuel_of_the_first_segment() -> None:
    text = '(module (func $f (export "f") (drop (i32.const 1)) (call $f)))'
    oracle = Oracle(module(text), FormOptions(stack_bytes=200))
    assert [oracle.call("f", fuel=fuel).fault for fuel in (4, 5, 9, 10)] == [
        Fault.FUEL, Fault.FUEL, Fault.FUEL, Fault.DEPTH,
    ]  # fmt: skip


def test_a_tail_call_gives_its_frame_back() -> None:
    text = """(module (type $t (func (param i32) (result i32))) (table 1 funcref) (elem (i32.const 0) func $g)
      (func $f (export "f") (param i32) (result i32)
        (if (i32.eqz (local.get 0)) (then (return (i32.const 5))))
        (return_call_indirect (type $t) (i32.sub (local.get 0) (i32.const 1)) (i32.const 0)))
      (func $g (param i32) (result i32) (return_call $f (local.get 0))))"""
    oracle = Oracle(module(text), FormOptions(stack_bytes=400, features=(TAIL_CALL,)))
    assert oracle.call("f", [1000], fuel=PLENTY).results == (5,)
    assert 64 < oracle.deepest < 128

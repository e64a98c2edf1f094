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


MOVE, UNIT = 1, 8
"""What most operators cost, in eighths of a unit; a move is to get, set or tee a local, or a scalar constant."""
MANY = "(drop (i32.eqz (i32.const 9)))"
"""One unit and a move."""


@pytest.mark.parametrize(
    ("code", "segments"),
    [
        ("", []),
        ("(nop) (block) (loop) (block (block))", []),
        ("(drop (i32.const 1))", [MOVE]),
        ("(drop (i32.add (i32.const 1) (i32.const 2)))", [2 * MOVE + UNIT]),
        ("(drop (v128.not (v128.const i64x2 1 2)))", [2 * UNIT]),
        ("(drop (i32.div_u (i32.const 1) (i32.const 2)))", [2 * MOVE + 4 * UNIT]),
        ("(drop (i64.rem_s (i64.const 1) (i64.const 2)))", [2 * MOVE + 4 * UNIT]),
        ("(drop (f64.sqrt (f64.const 2)))", [MOVE + 4 * UNIT]),
        ("(drop (f32x4.div (v128.const i64x2 0 0) (v128.const i64x2 0 0)))", [2 * UNIT + 4 * UNIT]),
        ("(local i32)" + "(drop (local.tee 0 (local.get 0))) (local.set 0 (i32.const 1))" * 2, [8 * MOVE]),
        ("(drop (i32.eqz (i32.const 1))) (return) (drop (i32.eqz (i32.const 1)))", [UNIT + MOVE]),
        (f"(block (br 0) {MANY})", [UNIT]),
        (f"(block (br_if 0 (i32.const 1)) {MANY * 2}) {MANY}", [MOVE + UNIT, UNIT + MOVE]),
        (f"(block (br_if 0 (i32.const 0)) {MANY * 2}) {MANY}", [MOVE + UNIT, 2 * UNIT + 2 * MOVE, UNIT + MOVE]),
        (f"(if (i32.const 1) (then {MANY}) (else {MANY * 2})) {MANY}", [MOVE + UNIT, UNIT + MOVE, UNIT + MOVE]),
        (f"(if (i32.const 0) (then {MANY}) (else {MANY * 2})) {MANY}", [MOVE + UNIT, 2 * UNIT + 2 * MOVE, UNIT + MOVE]),
        (f"(if (i32.const 0) (then {MANY})) {MANY}", [MOVE + UNIT, UNIT + MOVE]),
        (f"(block (block (br_table 0 1 (i32.const 0))) {MANY}) (drop (i32.const 1))", [MOVE + UNIT, UNIT + MOVE, MOVE]),
        (f"(block (block (br_table 0 1 (i32.const 5))) {MANY}) (drop (i32.const 1))", [MOVE + UNIT, MOVE]),
        ("(local i32 i32 i32 i32 i32 i32 i32)", []),
        ("(local i32 i32 i32 i32 i32 i32 i32 i64)", [UNIT]),
        ("(local $n i32) (local.set $n (i32.const 5))"
         "(loop (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))",
         [2 * MOVE, *[2 * UNIT + 3 * MOVE] * 5]),
        ("(block (drop (i32.const 1)) (drop (i32.const 1)) (drop (i32.const 1)) (drop (i32.const 1)))"
         "(block (drop (i32.const 1)) (drop (i32.const 1)) (drop (i32.const 1)) (drop (i32.const 1)))", [4, 4]),
        ("(memory.fill (i32.const 0) (i32.const 0) (i32.const 0))", [3 * MOVE + 8 * UNIT]),
        ("(memory.fill (i32.const 0) (i32.const 0) (i32.const 7))", [3 * MOVE + 8 * UNIT]),
        ("(memory.fill (i32.const 0) (i32.const 0) (i32.const 8))", [3 * MOVE + 8 * UNIT, UNIT]),
        ("(memory.copy (i32.const 0) (i32.const 0) (i32.const 65535))", [3 * MOVE + 8 * UNIT, 8191 * UNIT]),
        ("(memory.init $d (i32.const 0) (i32.const 0) (i32.const 17)) (data.drop $d)",
         [3 * MOVE + 8 * UNIT + UNIT, 2 * UNIT]),
        ("(drop (memory.size))", [UNIT]),
        ("(drop (memory.grow (i32.const 3)))", [MOVE + 64 * UNIT, 3 * 4096 * UNIT]),
        ("(drop (memory.grow (i32.const 4)))", [MOVE + 64 * UNIT, 4 * 4096 * UNIT]),
        ("(drop (memory.grow (i32.const -1)))", [MOVE + 64 * UNIT, 0xFFFFFFFF * 4096 * UNIT]),
        ("(drop (table.grow (ref.null func) (i32.const 5)))", [UNIT + MOVE + 64 * UNIT, 5 * UNIT]),
        ("(table.fill (i32.const 0) (ref.null func) (i32.const 3))", [UNIT + 2 * MOVE + 8 * UNIT, 3 * UNIT]),
        ("(table.copy (i32.const 0) (i32.const 1) (i32.const 3))", [3 * MOVE + 8 * UNIT, 3 * UNIT]),
        ("(table.init $e (i32.const 0) (i32.const 0) (i32.const 2)) (elem.drop $e)",
         [3 * MOVE + 8 * UNIT + UNIT, 2 * UNIT]),
    ],
)  # fmt: skip
def test_what_code_costs(code: str, segments: list[int]) -> None:
    text = '(data $d "0123456789abcdefghij") (elem $e func $f $f)'
    assert cost(f'{text} (func $f (export "f") {code})') == sum(segment // 8 for segment in segments)


def test_what_calls_cost() -> None:
    """A call is paid by the caller's segment, which goes on behind it; the callee pays its own."""
    text = f"""(type $t (func)) (elem (i32.const 0) func $g) (func $g {MANY * 2})
      (func (export "f") (call $g) {MANY} (call_indirect (type $t) (i32.const 0)) {MANY * 5})"""
    assert cost(text) == (4 * UNIT + UNIT + MOVE + 8 * UNIT + MOVE + 5 * (UNIT + MOVE)) // 8 + 2 * 2
    assert costs.COSTS["call"] == 4


def test_what_a_start_costs() -> None:
    text = f"""(module (memory (export "memory") 1) (start $s)
      (func $s {MANY})
      (func (export "_initialize") {MANY * 2})
      (func (export "wavelock_abi") (result i32) {MANY * 3} (i32.const 1024))
      (func (export "wavelock_turn") (param i32) (result i32) (local.get 0)))"""
    assert Oracle(module(text)).start(6) == Outcome((1024,), Fault.NONE, 6)
    assert Oracle(module(text)).start(7).fuel_used == 6
    assert Oracle(module(text)).start(5) == Outcome(None, Fault.FUEL, 5)


def test_where_a_budget_ends() -> None:
    """A function's first segment, a loop's head and the end are looked at; in between a debt may grow."""
    text = f"""(module (global $g (mut i32) (i32.const 0))
      (func (export "f") (param i32)
        (global.set $g (i32.const 1)) {MANY}
        (if (local.get 0) (then (global.set $g (i32.const 2)) {MANY}) (else (global.set $g (i32.const 3))))
        (global.set $g (i32.const 4)) {MANY}
        (loop (global.set $g (i32.const 5)))
        (global.set $g (i32.const 6)) {MANY}))"""
    first, branch, behind, loop, last = 3, 2, 2, 1, 2
    whole = first + branch + behind + loop + last
    ends = {
        first - 1: (Fault.FUEL, 0),
        whole - last - 1: (Fault.FUEL, 4),
        whole - 1: (Fault.FUEL, 6),
        whole: (Fault.NONE, 6),
    }
    for fuel in range(whole + 2):
        oracle = Oracle(module(text))
        outcome = oracle.call("f", [1], fuel=fuel)
        assert (outcome.fault, oracle.globals[0]) == next(
            (end for most, end in ends.items() if fuel <= most), ends[whole]
        )
        assert outcome.fuel_used == min(fuel, whole)


def test_a_trap_while_in_debt_is_the_trap() -> None:
    text = f"""(module (func (export "f") (param i32)
      {MANY} (if (local.get 0) (then {MANY * 9} (unreachable)))))"""
    oracle = Oracle(module(text))
    assert oracle.call("f", [1], fuel=2) == Outcome(None, Fault.UNREACHABLE, 2)
    assert oracle.call("f", [1], fuel=1) == Outcome(None, Fault.FUEL, 1)


@pytest.mark.parametrize(
    ("function", "reached"),
    [
        ("(block) (global.set $g (i32.const 1))", True),
        ("(block) (global.set $g (i32.const 1)) (if (i32.const 0) (then (call $callee)))", False),
        ("(block) (global.set $g (i32.const 1)) (block (br 0) (call $callee))", True),
        ("(block) (loop (global.set $g (i32.const 1)))", False),
        ("(global.set $g (i32.const 1))", False),
        ("(drop (i32.const 1)) (block) (global.set $g (i32.const 1))", True),
        ("(local i64 i64 i64 i64 i64 i64 i64 i64) (block) (global.set $g (i32.const 1))", False),
    ],
)
def test_where_a_function_looks_at_a_debt(function: str, reached: bool) -> None:
    """In its first segment where that costs something, or where it calls; at the head of a loop."""
    text = f"""(module (global $g (mut i32) (i32.const 0)) (func $callee {function})
      (func (export "f") (block (br_if 0 (i32.const 1))) {MANY * 9} (call $callee)))"""
    oracle = Oracle(module(text))
    assert oracle.call("f", fuel=1) == Outcome(None, Fault.FUEL, 1)
    assert oracle.globals == [int(reached)]


def test_an_operand_is_paid_before_its_operator_and_also_for_a_trap() -> None:
    text = """(module (memory 1) (func (export "f") (param i32)
      (i32.store8 (i32.const 0) (i32.const 1)) (memory.fill (i32.const 1) (i32.const 1) (local.get 0))))"""
    segment, length = (2 + 8 + 3 + 64) // 8, 0x10000
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
    text = f'(module (func $f (export "f") {MANY * 8} (call $f)))'  # 13 units each
    oracle = Oracle(module(text), FormOptions(stack_bytes=250))
    assert [oracle.call("f", fuel=fuel).fault for fuel in (12, 13, 25, 26)] == [
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

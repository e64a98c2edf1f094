"""What calls cost, counted by hand: every construct of control flow, segment by segment."""

from __future__ import annotations

import pytest

from core.form.running import PLENTY, Running, rewrite, used, wasm
from wavelock.core.abi import Fault
from wavelock.core.form import FormOptions
from wavelock.core.form.costs import PARTS

MOVE, PLAIN, CALL, INDIRECT = 1, PARTS, 4 * PARTS, 8 * PARTS
"""What local.get and constants cost, simple operators and branches, calls: in eighths of a unit."""
G = "(func $g (param i32) (result i32) (i32.eqz (local.get 0)))"
G_COST = (MOVE + PLAIN) // PARTS


def units(*segments: int) -> int:
    """The sum of segments, each rounded down to whole units."""
    return sum(segment // PARTS for segment in segments)


CASES: list[tuple[str, str, dict[int, int]]] = [
    ("straight", "(i32.add (local.get 0) (i32.const 1))", {0: units(2 * MOVE + PLAIN)}),
    ("moves are rounded down", "(drop (local.get 0)) (drop (i32.const 0)) (i32.const 1)", {0: 0}),
    ("eight moves are a unit", "(drop (local.get 0)) " * 7 + "(i32.const 1)", {0: 1}),
    ("division", "(i32.div_u (local.get 0) (i32.const 7))", {0: units(2 * MOVE + 4 * PLAIN)}),
    (
        "a block's beginning begins no segment, its end does",
        "(drop (i32.eqz (local.get 0))) (block (drop (i32.eqz (local.get 0)))) (i32.eqz (local.get 0))",
        {0: units(2 * (MOVE + PLAIN), MOVE + PLAIN)},
    ),
    (
        "a loop that counts",
        """(local i32) (loop $l (local.set 1 (i32.add (local.get 1) (i32.const 1)))
             (br_if $l (i32.lt_u (local.get 1) (local.get 0)))) (local.get 1)""",
        {n: n * units(6 * MOVE + 3 * PLAIN) for n in (1, 5, 100)},
    ),
    (
        "if and else",
        """(if (result i32) (local.get 0) (then (i32.popcnt (i32.popcnt (i32.const 3)))) (else (i32.const 7)))
           (i32.eqz)""",
        {1: units(MOVE + PLAIN, MOVE + 2 * PLAIN, PLAIN), 0: units(MOVE + PLAIN, MOVE, PLAIN)},
    ),
    (
        "if without else, nested",
        """(if (local.get 0) (then (drop (i32.clz (local.get 0)))
             (if (i32.and (local.get 0) (i32.const 2)) (then (drop (i32.clz (i32.clz (local.get 0))))
               (if (i32.and (local.get 0) (i32.const 4)) (then (drop (i32.clz (local.get 0)))))))
             (drop (i32.clz (local.get 0))))) (i32.clz (local.get 0))""",
        {
            0: units(9, 9),
            1: units(9, 9 + 2 + 8 + 8, 9, 9),
            3: units(9, 27, 17 + 2 + 8 + 8, 0, 9, 9),
            7: units(9, 27, 35, 9, 0, 9, 9),
        },
    ),
    (
        "br and br_if out of a block",
        "(block $b (br_if $b (local.get 0)) (drop (i32.clz (i32.const 1))) (br $b)) (i32.const 0)",
        {1: units(MOVE + PLAIN, MOVE), 0: units(MOVE + PLAIN, MOVE + 2 * PLAIN, MOVE)},
    ),
    (
        "br_if to the function's label",
        "(br_if 0 (i32.const 5) (local.get 0)) (drop) (i32.clz (i32.const 1))",
        {1: units(2 * MOVE + PLAIN), 0: units(2 * MOVE + PLAIN, MOVE + PLAIN)},
    ),
    (
        "br_if out of a loop to the function's label, with an operand",
        """(loop $l (drop (br_if 1 (i32.const 9) (local.get 0))) (local.set 0 (i32.const 1)) (br $l)) (unreachable)""",
        {0: units(10, 10, 10), 1: units(10)},
    ),
    (
        "br_if with an operand to a block",
        "(block (result i32) (br_if 0 (i32.const 3) (local.get 0)) (i32.clz)) (i32.clz)",
        {0: units(10, 8, 8), 1: units(10, 8)},
    ),
    (
        "return in nested blocks",
        """(block (loop (if (local.get 0) (then (return (i32.const 1)))) (br_if 1 (i32.const 1)))) (i32.const 2)""",
        {1: units(9, 1), 0: units(9, 9, 1)},
    ),
    (
        "return behind operands that are left over",
        "(i32.const 1) (i32.const 2) (block (return (i32.clz (local.get 0)))) (unreachable)",
        {0: units(3 * MOVE + PLAIN)},
    ),
    ("a call", "(i32.clz (call $g (local.get 0)))", {0: units(MOVE + CALL + PLAIN) + G_COST}),
    ("two calls in a segment", "(call $g (call $g (local.get 0)))", {0: units(MOVE + 2 * CALL) + 2 * G_COST}),
    (
        "calls in a loop",
        """(local i32) (loop $l (local.set 1 (call $g (local.get 0))) (local.set 0 (i32.sub (local.get 0)
            (i32.const 1)))
             (br_if $l (local.get 0))) (local.get 1)""",
        {n: n * (units(7 * MOVE + 2 * PLAIN + CALL) + G_COST) for n in (1, 3, 50)},
    ),
    (
        "an indirect call",
        "(call_indirect (param i32) (result i32) (local.get 0) (i32.const 0))",
        {0: units(2 * MOVE + INDIRECT) + G_COST},
    ),
    (
        "a call on one side only",
        """(if (local.get 0) (then (drop (call $g (i32.const 1))))) (drop (i32.clz (local.get 0)))
           (if (i32.eqz (local.get 0)) (then) (else (drop (call $g (i32.const 1))))) (i32.clz (local.get 0))""",
        {0: units(9, 18 + 8, 0, 9), 1: units(9, 1 + 32, 18 + 8, 1 + 32, 9) + 2 * G_COST},
    ),
    (
        "dead code",
        """(block (br 0) (drop (i32.div_u (i32.const 1) (i32.const 0))) (loop (drop (call $g (i32.const 0))) (br 0)))
           (if (local.get 0) (then (return (i32.const 4)) (drop (i32.clz (i32.const 1))) (if (i32.const 0) (then)
           (else)))
             (else (br 0) (br_if 0 (i32.const 1)) (br_table 0 0 0 (i32.const 0)))) (i32.clz (i32.const 0))""",
        {0: units(8, 9, 8, 9), 1: units(8, 9)},
    ),
    (
        "a loop in dead code",
        "(return (i32.const 1)) (loop (block (loop (br 2)))) (drop (call $g (i32.const 1))) (i32.const 0)",
        {0: 0},
    ),
    ("a loop that is gone through once", "(loop (result i32) (i32.clz (local.get 0)))", {0: 1}),
    (
        "a loop with parameters",
        """(i32.const 0) (local.get 0) (loop (param i32 i32) (result i32 i32) (i32.const 1) (i32.sub) (local.tee 0)
             (local.get 0) (br_if 0)) (drop)""",
        {n: n * units(3 * MOVE + 2 * PLAIN) for n in (1, 4)},
    ),
    ("seven locals", "(local i64 i64 i64 i64 i64 i64 i64) (i32.const 0)", {0: 0}),
    ("eight locals", "(local i64 i64 i64 i64 f32 f32 i64 i64) (i32.const 0)", {0: 1}),
    ("locals are whole units", f"(local {'i32 ' * 20}) (i32.const 0)", {0: 2}),
    (
        "an operand waits below",
        "(i32.add (i32.const 1) (block (result i32) (drop (i32.clz (local.get 0))) (br 0 (i32.const 2))))",
        {0: units(3 * MOVE + 2 * PLAIN, PLAIN)},
    ),
]


def one(code: str) -> str:
    return f'{G} (table funcref (elem $g)) (func (export "f") (param i32) (result i32) {code})'


@pytest.mark.parametrize(("code", "costs"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_cost_of(code: str, costs: dict[int, int]) -> None:
    assert {argument: used(one(code), "f", argument) for argument in costs} == costs


def test_br_table_to_every_kind_of_label() -> None:
    text = """(func (export "f") (param i32) (loop $l (block $a (block $b (br_table $b $a 3 (local.get 0)))
      (local.set 0 (i32.const 1)) (br $l)) (drop (i32.clz (i32.clz (i32.const 0))))))"""
    assert used(text, "f", 0) == units(9, 10, 9, 17)
    assert used(text, "f", 1) == units(9, 17)
    assert used(text, "f", 7) == units(9)


@pytest.mark.parametrize(("code", "costs"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_no_smaller_budget_is_enough_and_every_larger_one_is(code: str, costs: dict[int, int]) -> None:
    running = Running(one(code))
    for argument, total in costs.items():
        for fuel in range(min(total, 40)):
            assert running.call("f", argument, fuel=fuel)[:3] == (None, fuel, Fault.FUEL)
        expected = running.call("f", argument)
        assert expected.used == total
        assert all(running.call("f", argument, fuel=fuel) == expected for fuel in range(total, total + 20))


ENDLESS = {
    "br": "(loop (br 0))",
    "br with nothing else": "(loop (block (nop)) (br 0))",
    "br in blocks": "(loop $l (block (block (br $l))))",
    "br_if": "(loop (br_if 0 (i32.const 1)))",
    "br_if behind a block": "(loop (block) (br_if 0 (i32.const 1)))",
    "br_if to an outer loop": "(loop $a (loop $b (br_if $a (i32.const 1)) (br $b)))",
    "br_if to an inner loop": "(loop $a (loop $b (br_if $b (local.get 0)) (br $a)))",
    "br_table": "(loop (br_table 0 0 0 (i32.const 1)))",
    "br_table, the default": "(loop (block (br_table 0 0 1 (i32.const 9))))",
    "with operands": "(i32.const 1) (loop (param i32) (result i32) (br 0)) (drop)",
    "in an if": "(loop (if (local.get 0) (then) (else (br 1))))",
    "in a then": "(loop (if (i32.eqz (local.get 0)) (then (br 1))))",
    "two loops": "(loop $a (loop $b (br $a)))",
    "behind a call": "(loop (call $nothing) (br 0))",
    "recursion": "(call $self (local.get 0))",
    "recursion in dead ends": "(block (call $self (local.get 0)) (br 0))",
    "nothing but calls that grow": "(call $twice (i32.const 62))",
    "memory.grow of nothing": "(loop (drop (memory.grow (i32.const 0))) (br 0))",
    "memory.fill": "(loop (memory.fill (i32.const 0) (i32.const 0) (i32.const 0)) (br 0))",
}


@pytest.mark.parametrize("code", ENDLESS.values(), ids=ENDLESS.keys())
def test_what_is_endless_is_stopped(code: str) -> None:
    text = f"""(memory 1) (func $nothing)
      (func $twice (param i32) (if (local.get 0) (then (call $twice (i32.sub (local.get 0) (i32.const 1)))
        (call $twice (i32.sub (local.get 0) (i32.const 1))))))
      (func $self (export "f") (param i32) {code})"""
    running = Running(text, FormOptions(stack_bytes=1 << 30 if "self" not in code else 1 << 18))
    for fuel in (0, 1, 500, 20_000):
        assert running.call("f", 0, fuel=fuel)[:3] in (
            (None, fuel, Fault.FUEL),
            (None, fuel, Fault.DEPTH) if "self" in code else (),
        )


TAIL = FormOptions(features=("tail-call",))
TAIL_LOOPS = {
    "itself": '(func $f (export "f") (return_call $f))',
    "in a block": '(func $f (export "f") (block (loop (return_call $f))))',
    "two": '(func $f (export "f") (return_call $g)) (func $g (nop) (return_call $f))',
    "two with operands": """(func (export "f") (drop (call $a (i32.const 1) (i64.const 2))))
       (func $a (param i32 i64) (result i32) (return_call $b (local.get 0)))
       (func $b (param i32) (result i32) (local i64) (return_call $a (local.get 0) (local.get 1)))""",
    "indirect": """(type $v (func)) (table funcref (elem $f))
       (func $f (export "f") (return_call_indirect (type $v) (i32.const 0)))""",
    "one in a table and a call": """(type $v (func)) (table funcref (elem $f $g)) (func $nothing (local i32))
       (func $f (export "f") (call $nothing) (return_call $g)) (func $g (return_call_indirect (type $v)
       (i32.const 0)))""",
}


@pytest.mark.parametrize("text", TAIL_LOOPS.values(), ids=TAIL_LOOPS.keys())
def test_endless_tail_calls_are_stopped_by_fuel_and_take_no_depth(text: str) -> None:
    running = Running(text, TAIL)
    for fuel in (0, 1, 100_000):
        assert running.call("f", fuel=fuel)[:3] == (None, fuel, Fault.FUEL)


def test_tail_calls_cost_a_branch() -> None:
    text = """(func $down (export "f") (param i32) (result i32)
      (if (i32.eqz (local.get 0)) (then (return (i32.const 7))))
      (return_call $down (i32.sub (local.get 0) (i32.const 1))))"""
    for count in (0, 1, 1000):
        assert used(text, "f", count, options=TAIL) == units(17, 1) + count * units(17, 18)


def test_a_trap_uses_the_whole_budget_and_no_fault_is_noted() -> None:
    running = Running(one("(i32.div_u (i32.const 1) (local.get 0))"))
    outcome = running.call("f", 0, fuel=77)
    assert outcome[:3] == (None, 77, 0)
    assert "divide by zero" in outcome.trap
    assert running.call("f", 1).results == (1,)


def test_a_budget_is_new_each_time() -> None:
    running = Running(one("(i32.clz (local.get 0))"))
    assert running.call("f", 1, fuel=0).fault == Fault.FUEL
    assert running.call("f", 1, fuel=1)[:3] == ((31,), 1, 0)
    assert running.call("f", 1, fuel=PLENTY)[:3] == ((31,), 1, 0)


def test_start_charges_the_start_function() -> None:
    text = (
        '(global $g (export "g") (mut i32) (i32.const 0)) (start $s) (func $s (global.set $g (i32.clz (i32.const 1))))'
    )
    running = Running(text)
    assert running.number("g") == 0
    assert running.raw("wavelock:start", 100) == (0, 100 - units(MOVE + 2 * PLAIN))
    assert running.number("g") == 31


def test_turn_and_start_of_an_agent() -> None:
    text = """(module (memory (export "memory") 1) (global $g (mut i32) (i32.const 0))
      (func (export "_initialize") (global.set $g (i32.const 5)))
      (func (export "wavelock_abi") (result i32) (i32.add (i32.const 64) (global.get $g)))
      (func (export "wavelock_turn") (param i32) (result i32) (i32.add (local.get 0) (i32.clz (global.get $g)))))"""
    running = Running(rewrite(wasm(text), abi=True).module, rewritten=False)
    assert running.raw("wavelock:start", 50) == (69, 50 - units(9) - units(17))
    assert running.raw("wavelock:turn", 3, 50) == (32, 50 - units(25))
    assert rewrite(wasm(text), abi=True).segments == 3


def test_a_turn_with_negative_fuel_is_none() -> None:
    """It looks and changes nothing, of what the pass keeps either."""
    text = """(module (memory (export "memory") 1 1) (global $g (export "g") (mut i32) (i32.const 0)) (table 1 funcref)
      (func (export "wavelock_abi") (result i32) (i32.const 64))
      (func (export "wavelock_turn") (param i32) (result i32)
        (table.set 0 (i32.const 0) (ref.null func)) (drop (memory.grow (i32.const 1)))
        (global.set $g (local.get 0)) (i32.const 0)))"""
    running = Running(rewrite(wasm(text), abi=True).module, rewritten=False)
    running.raw("wavelock:start", 500_000)
    _, left = running.raw("wavelock:turn", 1, 500_000)
    running.raw("wavelock:turn", 2, -1)
    assert (running.number("g"), running.number("wavelock:refused"), running.raw("wavelock:left")) == (1, 1, (left,))

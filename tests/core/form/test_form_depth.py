"""The depth limit: what a call weighs, that it is given back on every way out, and what is not counted."""

from __future__ import annotations

import pytest

from core.form.programs import Program
from core.form.running import PLENTY, Running, wasm
from wavelock.core.abi import Fault
from wavelock.core.form import FormOptions
from wavelock.core.form.sections import read_module
from wavelock.wasm_engines.reference.oracle import Oracle

VALUE, WIDE, FRAME = 8, 16, 64
TAIL = ("tail-call",)


def weight(text: str, values: int, width: int = VALUE, function: int = 0) -> int:
    body = read_module(wasm(text)).bodies[function]
    return FRAME + width * values + (body.end - body.code) // 2


def deepest(text: str, stack_bytes: int, features: tuple[str, ...] = ()) -> int:
    """How many calls of `f` within each other fit."""
    running = Running(text, FormOptions(stack_bytes=stack_bytes, features=features))
    lowest, highest = 0, 4096
    while lowest < highest:
        middle = (lowest + highest + 1) // 2
        outcome = running.call("f", middle - 1)
        assert outcome.results is not None or outcome.fault == Fault.DEPTH
        lowest, highest = (middle, highest) if outcome.results is not None else (lowest, middle - 1)
    return lowest


DOWN = "(if (local.get 0) (then (call $f (i32.sub (local.get 0) (i32.const 1)))))"
SHAPES = {
    "plain": (f'(func $f (export "f") (param i32) {DOWN})', 1 + 2, VALUE),
    "locals": (f'(func $f (export "f") (param i32) (local i64 f64 i32 funcref) {DOWN})', 5 + 2, VALUE),
    "a local vector": (f'(func $f (export "f") (param i32) (local v128 i32) {DOWN})', 3 + 2, WIDE),
    "a vector constant": (f'(func $f (export "f") (param i32) (drop (v128.const i64x2 1 2)) {DOWN})', 1 + 2, WIDE),
    "a vector loaded and stored": (
        f'(memory 1) (func $f (export "f") (param i32) (v128.store (i32.const 0) (v128.load (i32.const 0))) {DOWN})',
        1 + 2,
        WIDE,
    ),
    "a vector's lane": (
        f'(func $f (export "f") (param i32) {DOWN} (drop (i32x4.extract_lane 0 (call $v))))'
        " (func $v (result v128) (v128.const i64x2 0 0))",
        1 + 2,
        WIDE,
    ),
    "a vector from a call": (
        f'(func $f (export "f") (param i32) {DOWN} (drop (call $v))) (func $v (result v128) (v128.const i64x2 0 0))',
        1 + 2,
        WIDE,
    ),
    "a vector from a global": (
        f'(global $v v128 (v128.const i64x2 0 0)) (func $f (export "f") (param i32) {DOWN} (drop (global.get $v)))',
        1 + 2,
        WIDE,
    ),
    "a vector in dead code": (
        f'(func $f (export "f") (param i32) {DOWN} (return) (drop (v128.const i64x2 1 2)))',
        1 + 2,
        VALUE,
    ),
    "operands below": (
        f"""(func $f (export "f") (param i32) (i32.const 1) (i32.const 2) (i32.const 3)
          (block (i32.const 4) (block {DOWN}) (drop)) (drop) (drop) (drop))""",
        1 + 6,
        VALUE,
    ),
    "operands in dead code": (
        f"""(func $f (export "f") (param i32) {DOWN} (block (br 0) (i32.const 1) (i32.const 1) (i32.const 1)
            (i32.const 1)
          (drop) (drop) (drop) (drop)) (nop))""",
        1 + 2,
        VALUE,
    ),
    "results of a call": (
        f"""(func $f (export "f") (param i32) {DOWN} (call $many) (drop) (drop) (drop) (drop))
          (func $many (result i32 i32 i64 f32) (unreachable))""",
        1 + 4,
        VALUE,
    ),
    "long code": (f'(func $f (export "f") (param i32) {"(nop)" * 5001} {DOWN})', 1 + 2, VALUE),
}


@pytest.mark.parametrize(("text", "values", "width"), SHAPES.values(), ids=SHAPES.keys())
def test_what_a_call_weighs(text: str, values: int, width: int) -> None:
    text = text.replace("(unreachable)", "(i32.const 0) (i32.const 0) (i64.const 0) (f32.const 0)")
    one = weight(text, values, width)
    for count in (1, 3, 10):
        assert deepest(text, one * count) == count
        assert deepest(text, one * count - 1) == count - 1
        assert deepest(text, one * count + one - 1) == count


WAYS_OUT = {
    "the end": "(call $n) (i32.const 1)",
    "return": "(call $n) (return (i32.const 1))",
    "return from blocks": "(call $n) (block (loop (if (local.get 0) (then (return (i32.const 1)))))) (i32.const 2)",
    "return over operands": "(i32.const 5) (i64.const 6) (call $n) (return (i32.const 1))",
    "br": "(call $n) (block (loop (br 2 (i32.const 1)))) (unreachable)",
    "br_if": "(call $n) (br_if 0 (i32.const 1) (local.get 0)) (drop) (i32.const 2)",
    "br_if from a loop": "(loop (call $n) (drop (br_if 1 (i32.const 1) (local.get 0))) (br 0)) (unreachable)",
    "br_table": "(call $n) (i32.const 1) (block (param i32) (br_table 1 1 1 (i32.const 0))) (unreachable)",
    "br_table, the default": "(call $n) (br_table 0 (i32.const 3) (i32.const 7))",
    "a branch in both arms": "(call $n) (if (local.get 0) (then (br 1 (i32.const 1))) (else (return (i32.const 2)))) "
    "(unreachable)",
    "an indirect call": "(call_indirect (i32.const 0)) (i32.const 1)",
    "a call in the end": "(call $one)",
    "nested calls": "(call $one) (drop) (call $two) (drop) (call $one)",
    "an early return before the call": "(if (local.get 0) (then (return (i32.const 1)))) (call $n) (i32.const 2)",
}


@pytest.mark.parametrize("code", WAYS_OUT.values(), ids=WAYS_OUT.keys())
def test_every_way_out_gives_the_weight_back(code: str) -> None:
    text = f"""(table funcref (elem $n)) (func $n)
      (func $one (result i32) (call $n) (i32.const 1)) (func $two (result i32 i32) (call $n) (i32.const 1)
      (i32.const 2))
      (func $g (param i32) (result i32) {code.replace("(call $two) (drop)", "(call $two) (drop) (drop)")})
      (func (export "f") (param i32) (local i32)
        (loop (drop (call $g (local.get 0))) (br_if 0 (i32.lt_u (local.tee 1 (i32.add (local.get 1) (i32.const 1)))
          (i32.const 200)))))"""
    running = Running(text, FormOptions(stack_bytes=700))
    for argument in (1, 0):
        if argument == 0 and "unreachable" in code and "br_if" in code:
            continue
        assert running.call("f", argument).results == (), argument


def test_several_results_come_out_with_the_weight() -> None:
    text = """(func $n) (func $g (param i32) (result i32 i64 i32)
        (call $n) (if (local.get 0) (then (return (i32.const 1) (i64.const 2) (i32.const 3))))
        (i32.const 4) (i64.const 5) (i32.const 6) (br_if 0 (i32.eqz (local.get 0))))
      (func (export "f") (param i32) (result i32 i64 i32) (local i32)
        (loop (call $g (local.get 0)) (drop) (drop) (drop) (br_if 0 (i32.lt_u
          (local.tee 1 (i32.add (local.get 1) (i32.const 1))) (i32.const 100)))) (call $g (local.get 0)))"""
    running = Running(text, FormOptions(stack_bytes=400))
    assert running.call("f", 1).results == (1, 2, 3)
    assert running.call("f", 0).results == (4, 5, 6)


def test_a_light_leaf_is_not_counted_and_a_heavy_one_is_checked() -> None:
    text = """(func $leaf (param i32) (result i32) (local {locals}) (local.get 0))
      (func (export "f") (param i32) (result i32) (call $leaf (local.get 0)) (drop) (call $leaf (local.get 0)))"""
    light, heavy = text.format(locals="i64 " * 400), text.format(locals="i64 " * 600)
    own, leaf = weight(light, 2, function=1), weight(heavy, 602)
    assert leaf > 4096
    assert Running(light, FormOptions(stack_bytes=own)).call("f", 5).results == (5,)
    assert Running(light, FormOptions(stack_bytes=own - 1)).call("f", 5).fault == Fault.DEPTH
    assert Running(heavy, FormOptions(stack_bytes=own + leaf)).call("f", 5).results == (5,)
    assert Running(heavy, FormOptions(stack_bytes=own + leaf - 1)).call("f", 5).fault == Fault.DEPTH


def test_a_call_in_dead_code_makes_no_weight() -> None:
    text = '(func $f (export "f") (return) (call $f))'
    assert Running(text, FormOptions(stack_bytes=0)).call("f").results == ()


def test_depth_is_looked_at_before_fuel_and_is_new_with_each_budget() -> None:
    text = f'(func $f (export "f") (param i32) {DOWN})'
    running = Running(text, FormOptions(stack_bytes=weight(text, 3)))
    assert running.call("f", 0, fuel=0).fault == Fault.FUEL
    for fuel in (1 << 20, 3):
        assert running.call("f", 1, fuel=fuel)[:3] == (None, fuel, Fault.DEPTH)
    assert running.call("f", 0).results == ()
    small = Running(text, FormOptions(stack_bytes=10))
    assert small.call("f", 0, fuel=0)[:3] == (None, 0, Fault.DEPTH)


def test_a_tail_call_gives_the_weight_back_first() -> None:
    text = """(func $f (export "f") (param i32) (result i32) (if (local.get 0) (then
      (return_call $f (i32.sub (local.get 0) (i32.const 1))))) (i32.const 7))"""
    running = Running(text, FormOptions(stack_bytes=weight(text, 3), features=TAIL))
    assert running.call("f", 100_000).results == (7,)
    assert Running(text, FormOptions(stack_bytes=weight(text, 3) - 1, features=TAIL)).call("f", 0).fault == Fault.DEPTH


@pytest.mark.parametrize("seed", range(200, 230))
def test_random_programs_need_what_the_reference_says(seed: int) -> None:
    data = wasm(Program(seed, functions=6).text)
    oracle = Oracle(data)
    assert oracle.call("f", (1,), fuel=1 << 20).results is not None
    most = oracle.deepest
    expected = Running(data).call("f", 1)
    assert Running(data, FormOptions(stack_bytes=most)).call("f", 1) == expected
    if most:
        assert Running(data, FormOptions(stack_bytes=most - 1)).call("f", 1)[:3] == (None, PLENTY, Fault.DEPTH)

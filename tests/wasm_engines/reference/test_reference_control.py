"""Control flow, calls, tables, globals and instantiation, against wasmtime."""

from __future__ import annotations

import itertools
from typing import Final

import pytest

from wasm_engines.reference.beside import Pair, bits_of, module
from wasm_engines.reference.programs import CALLS, FUNCTIONS, SAME_FOR_ALL, SMALL
from wavelock.core.abi import Fault
from wavelock.core.errors import EnvironmentFailure, ModuleError
from wavelock.wasm_engines.interface import Trap
from wavelock.wasm_engines.reference import machine
from wavelock.wasm_engines.reference.machine import Machine
from wavelock.wasm_engines.reference.program import Program


@pytest.mark.parametrize("name", FUNCTIONS)
def test_control_flow(name: str) -> None:
    pair = Pair(f'(module (func (export "f") {FUNCTIONS[name]}))')
    ended = {pair.call("f", number) for number in SMALL}
    assert (len(ended) > 1) == (name not in SAME_FOR_ALL)


@pytest.fixture(scope="session")
def calls() -> Pair:
    return Pair(CALLS)


def test_calls_through_tables_and_their_traps(calls: Pair) -> None:
    entries = (*range(7), 0xFFFFFFFF)
    ended = {name: [calls.call(name, 12, entry) for entry in entries] for name in ("unary", "binary", "other")}
    wrong, outside = Fault.INDIRECT_CALL, Fault.TABLE_BOUNDS
    assert ended == {
        "unary": [wrong, (29,), (149,), wrong, wrong, wrong, outside, outside],
        "binary": [wrong, wrong, wrong, (2,), wrong, wrong, outside, outside],
        "other": [wrong, (144,), outside, outside, outside, outside, outside, outside],
    }


def test_results_and_recursion(calls: Pair) -> None:
    assert calls.call("swapped", 7, 1 << 40) == (1 << 40, 7)
    assert [calls.call("fib", number) for number in range(10)] == [(n,) for n in (0, 1, 1, 2, 3, 5, 8, 13, 21, 34)]
    assert calls.call("even", 2000) == (1,)
    assert calls.call("even", 2001) == (0,)


def test_a_trap_deep_inside_leaves_a_machine_that_can_be_called(calls: Pair) -> None:
    for _ in range(3):
        assert calls.call("deep", 1000) == Fault.UNREACHABLE
        assert bits_of(calls.call("fib", 10)) == (55,)


def test_a_hundred_thousand_calls_within_calls(calls: Pair) -> None:
    """Of which Python's own stack sees none."""
    assert calls.ours("even", 100_000) == (1,)


def test_endless_recursion_without_a_depth_limit_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "FRAMES", 1000)
    program = Program(module('(module (func $f (export "f") (call $f)))'))
    with pytest.raises(EnvironmentFailure, match="no room for more than 1000 calls within calls"):
        Machine(program).call(0, [])


TABLES: Final = """
(module
  (table $a (export "a") 5 10 funcref)
  (table $b (export "b") 4 funcref)
  (elem $segment func $zero $one $two)
  (elem $declared declare func $three)
  (elem $active (table $a) (i32.const 0) func $one $two)
  (func $zero (result i32) (i32.const 0))
  (func $one (result i32) (i32.const 1))
  (func $two (result i32) (i32.const 2))
  (func $three (result i32) (i32.const 3))
  (func $reference (param i32) (result funcref)
    (block (block (br_table 0 1 (local.get 0))) (return (ref.func $three))) (ref.null func))
  (func (export "call_a") (param i32) (result i32) (call_indirect $a (result i32) (local.get 0)))
  (func (export "call_b") (param i32) (result i32) (call_indirect $b (result i32) (local.get 0)))
  (func (export "is_null") (param i32) (result i32) (ref.is_null (table.get $a (local.get 0))))
  (func (export "set") (param i32 i32) (table.set $a (local.get 0) (call $reference (local.get 1))))
  (func (export "move") (param i32 i32) (table.set $b (local.get 0) (table.get $a (local.get 1))))
  (func (export "size") (result i32) (i32.add (table.size $a) (i32.mul (i32.const 100) (table.size $b))))
  (func (export "grow") (param i32 i32) (result i32) (table.grow $a (call $reference (local.get 0)) (local.get 1)))
  (func (export "fill") (param i32 i32 i32)
    (table.fill $a (local.get 0) (call $reference (local.get 1)) (local.get 2)))
  (func (export "init") (param i32 i32 i32) (table.init $a $segment (local.get 0) (local.get 1) (local.get 2)))
  (func (export "init_declared") (param i32 i32 i32)
    (table.init $b $declared (local.get 0) (local.get 1) (local.get 2)))
  (func (export "init_active") (param i32 i32 i32)
    (table.init $b $active (local.get 0) (local.get 1) (local.get 2)))
  (func (export "copy_aa") (param i32 i32 i32) (table.copy $a $a (local.get 0) (local.get 1) (local.get 2)))
  (func (export "copy_ba") (param i32 i32 i32) (table.copy $b $a (local.get 0) (local.get 1) (local.get 2)))
  (func (export "drop") (elem.drop $segment)))
"""


def check_tables(pair: Pair) -> None:
    """Each entry answers its own number."""
    pair.check_state()
    for name, index in itertools.product(("call_a", "call_b"), range(11)):
        pair.call(name, index)


@pytest.fixture
def tables() -> Pair:
    return Pair(TABLES)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *(("set", 2), ("move", 2), ("is_null", 1), ("grow", 2)),
        *(("fill", 3), ("init", 3), ("init_declared", 3), ("init_active", 3), ("copy_aa", 3), ("copy_ba", 3)),
    ],
)
def test_table_operators_check_all_before_they_do_any(tables: Pair, name: str, arguments: int) -> None:
    numbers = (0, 1, 2, 3, 5, 0xFFFFFFFF) if arguments == 3 else (0, 1, 4, 5, 6, 0x80000000, 0xFFFFFFFF)
    ended = set()
    for chosen in itertools.product(numbers, repeat=arguments):
        ended.add(tables.call(name, *chosen))
    check_tables(tables)
    assert len(ended) > 1
    assert name == "grow" or Fault.TABLE_BOUNDS in ended


def test_a_dropped_element_segment_is_empty(tables: Pair) -> None:
    assert tables.call("init", 2, 0, 3) == ()
    for _ in range(2):
        assert tables.call("drop") == ()
    assert tables.call("init", 2, 0, 1) == Fault.TABLE_BOUNDS
    assert tables.call("init", 2, 0, 0) == ()
    check_tables(tables)


def test_tables_grow_to_their_maximum_and_to_the_forms(tables: Pair) -> None:
    assert tables.call("grow", 1, 6) == (0xFFFFFFFF,)
    assert tables.call("grow", 1, 5) == (5,)
    assert tables.call("grow", 0, 1) == (0xFFFFFFFF,)
    assert tables.call("size") == (410,)
    program = Program(
        module("""(module (table 0 funcref)
      (func (param i32) (result i32) (table.grow (ref.null func) (local.get 0))))""")
    )
    instance = Machine(program)
    assert [instance.call(0, [1 << 20])[0], instance.call(0, [1])[0]] == [0, 0xFFFFFFFF]


STATE: Final = """
(module
  (memory (export "memory") 1)
  (global $a (export "a") (mut i32) (i32.const -5))
  (global $b (export "b") (mut i64) (i64.const 0x8000000000000001))
  (global $c i32 (i32.const 11))
  (global $d (mut f32) (f32.const -nan:0x200001))
  (global $e (mut f64) (f64.const -0.0))
  (global $f (mut v128) (v128.const i64x2 5 -6))
  (global $g funcref (ref.func $start))
  (global $h funcref (ref.null func))
  (data (i32.const 3) "abc")
  (data (memory 0) (i32.const 5) "XY")
  (start $start)
  (func $start (i32.store8 (i32.const 100) (i32.add (i32.load8_u (i32.const 100)) (i32.const 1)))
    (global.set $a (i32.add (global.get $a) (i32.const 1))))
  (func (export "again") (call $start))
  (func (export "read") (param i32) (result i64)
    (block (block (block (block (block (block (br_table 0 1 2 3 4 5 (local.get 0)))
      (return (i64.extend_i32_u (global.get $c))))
      (return (i64.extend_i32_u (i32.reinterpret_f32 (global.get $d)))))
      (return (i64.reinterpret_f64 (global.get $e))))
      (return (i64x2.extract_lane 1 (global.get $f))))
      (return (i64.extend_i32_u (ref.is_null (global.get $g)))))
    (i64.extend_i32_u (ref.is_null (global.get $h))))
  (func (export "write")
    (global.set $d (f32.const nan:0x200001)) (global.set $e (f64.const 1)) (global.set $b (i64.const -1))
    (global.set $f (v128.const i64x2 7 8))))
"""


def test_globals_data_and_the_start_function() -> None:
    pair = Pair(STATE)
    pair.machine.call(0, [])  # a machine is started by whoever makes it, wasmtime's instance starts itself
    for _ in range(2):
        assert [pair.call("read", number) for number in range(6)] != []
        pair.check_state()
        pair.call("write")
        pair.call("again")
    assert pair.machine.globals == [0xFFFFFFFE, 2**64 - 1, 11, 0x7FA00001, 0x3FF0 << 48, 8 << 64 | 7, 0, -1]
    assert pair.our_memory[3:8] == b"abXY\0"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('(module (memory 1) (data (i32.const 65535) "ab"))', Fault.MEMORY_BOUNDS),
        ('(module (memory 0) (data (i32.const 1) ""))', Fault.MEMORY_BOUNDS),
        ("(module (table 1 funcref) (func $f) (elem (i32.const 1) func $f))", Fault.TABLE_BOUNDS),
    ],
)
def test_a_segment_that_does_not_fit_is_refused_or_traps(text: str, fault: Fault) -> None:
    """The form's reader refuses most of them already."""
    with pytest.raises((Trap, ModuleError)) as caught:
        Machine(Program(module(text)))
    assert not isinstance(caught.value, Trap) or caught.value.fault == fault


def body(code: bytes, types: bytes = b"\x01\x60\x00\x01\x7f") -> bytes:
    """A module of one function () -> i32 with this code; its types can be others."""
    sized = bytes((len(code) + 2, 0)) + code + b"\x0b"
    sections = ((1, types), (3, b"\x01\x00"), (10, b"\x01" + sized))
    return b"\0asm\1\0\0\0" + b"".join(bytes((number, len(part))) + part for number, part in sections)


@pytest.mark.parametrize(
    ("code", "found"),
    [
        (b"\x6a", "found 0 operands, expected 2"),
        (b"\x41\x01\x41\x01", "found 2 operands at an end, expected 1"),
        (b"", "found 0 operands at an end, expected 1"),
        (b"\x41\x01\x02\x40\x1a\x0b", "found 0 operands, expected 1"),
        (b"\x41\x01\x0c\x01", "found the label 1, expected one below 1"),
        (b"\x41\x01\x05\x0b", "found an else without an if"),
        (b"\x02\x40\x41\x00\x41\x00\x0e\x01\x00\x01\x0b\x00", "found labels of unequal arity in a br_table"),
        (b"\x20\x09", "an instruction names what is not there"),
        (b"\x23\x09", "an instruction names what is not there"),
        (b"\x10\x09", "an instruction names what is not there"),
        (b"\x25\x09", "found 0 operands, expected 1"),
        (b"\x41\x00\x25\x09", "an instruction names what is not there"),
    ],
)
def test_an_invalid_module_is_an_error_and_nothing_else(code: bytes, found: str) -> None:
    with pytest.raises(ModuleError, match=found):
        Machine(Program(body(code))).call(0, [])
    assert Machine(Program(body(b"\x41\x05"))).call(0, []) == [5]

"""Hidden state, read and written from outside: globals as words, dropped segments, tables."""

from __future__ import annotations

import struct

import pytest
import wasmtime

from core.form.running import Running, rewrite
from wavelock.core.form import Rewritten, StateSizes

GET, SET = "wavelock:get", "wavelock:set"
ODD32, ODD64 = 0xFFA00001, 0xFFF4000000000001
GLOBALS = """(memory (export "memory") 1)
  (global $a (mut i32) (i32.const -5)) (global i32 (i32.const 9)) (global $b (mut i64) (i64.const -6))
  (global $c (mut f32) (f32.const -nan:0x200001)) (global $d (mut f64) (f64.const -nan:0x4000000000001))
  (global $e (mut v128) (v128.const i64x2 -7 8)) (global funcref (ref.null func)) (global $last (mut i32) (i32.const 1))
  (func (export "f")
    (i32.store (i32.const 0) (global.get $a)) (i64.store (i32.const 8) (global.get $b))
    (f32.store (i32.const 16) (global.get $c)) (f64.store (i32.const 24) (global.get $d))
    (v128.store (i32.const 32) (global.get $e)) (i32.store (i32.const 48) (global.get $last)))"""
WORDS = [2**32 - 5, 2**64 - 6, ODD32, ODD64, 2**64 - 7, 8, 1]
LAYOUT = "<IxxxxQIxxxxQQQI"


def signed(word: int) -> int:
    return word - (word >> 63 << 64)


def test_words_are_the_mutable_globals_as_bits() -> None:
    running = Running(GLOBALS)
    assert rewrite(GLOBALS).state == StateSizes(7, 0, 0)
    assert [running.raw(GET, word)[0] for word in range(7)] == WORDS


def test_words_can_be_set() -> None:
    running = Running(GLOBALS)
    words = [0xDEADBEEF, 2**63 + 1, ODD32 + 5, ODD64 + 5, 2**64 - 1, 1 << 62, 77]
    for at, word in enumerate(words):
        running.raw(SET, at, signed(word))
    assert [running.raw(GET, word)[0] for word in range(7)] == words
    assert running.call("f").results == ()
    assert list(struct.unpack(LAYOUT, running.read(0, struct.calcsize(LAYOUT)))) == words


@pytest.mark.parametrize("word", [7, 8, 1000, -1])
def test_there_are_no_other_words(word: int) -> None:
    running = Running(GLOBALS)
    with pytest.raises(wasmtime.Trap):
        running.raw(GET, word)
    with pytest.raises(wasmtime.Trap):
        running.raw(SET, word, 0)


def test_a_module_without_state_has_no_words() -> None:
    assert rewrite("(func)").state == StateSizes(0, 0, 0)
    with pytest.raises(wasmtime.Trap):
        Running("(func)").raw(GET, 0)


SEGMENTS = """(memory (export "memory") 1) (data $x "abc") (data (i32.const 9) "active") (data $y "de")
  (table 4 funcref) (elem $e func $init) (global $g (mut i32) (i32.const 4))
  (func $init (export "init") (memory.init $y (i32.const 0) (i32.const 0) (i32.const 2)))
  (func (export "f") (data.drop $y) (elem.drop $e)) (func (export "dead") (return) (data.drop $x))
  (func (export "elements") (table.init $e (i32.const 0) (i32.const 0) (i32.const 1)))"""


def test_dropped_segments_are_words_behind_the_globals() -> None:
    assert rewrite(SEGMENTS).state.words == 3
    running = Running(SEGMENTS)
    assert [running.raw(GET, word)[0] for word in range(3)] == [4, 0, 0]
    assert running.call("init").results == ()
    assert running.call("elements").results == ()
    assert running.call("f").results == ()
    assert [running.raw(GET, word)[0] for word in range(3)] == [4, 1, 1]
    assert "out of bounds" in running.call("init").trap


def test_setting_a_segments_word_drops_it() -> None:
    running = Running(SEGMENTS)
    running.raw(SET, 1, 0)
    assert running.call("init").results == ()
    running.raw(SET, 1, 1)
    running.raw(SET, 2, 1)
    assert [running.raw(GET, word)[0] for word in range(3)] == [4, 1, 1]
    assert "out of bounds" in running.call("init").trap
    assert "out of bounds" in running.call("elements").trap


TABLES = """(memory (export "memory") 1)
  (table $t 3 20 funcref) (table $u 2 funcref) (elem (table $t) (i32.const 0) func $a $b) (elem declare func $c)
  (elem (table $u) (i32.const 1) func $d)
  (func $a (result i32) (i32.const 100))
  (func $b (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
  (func $c (param f64 v128 f32 i64 funcref) (result v128 f32 funcref i64)
    (unreachable))
  (func $d (param i32) (result i32) (i32.mul (local.get 0) (i32.const 3)))
  (func $never (param i32 i32))
  (func (export "set") (param i32) (table.set $t (local.get 0) (ref.func $c)))
  (func (export "clear") (param i32) (table.set $t (local.get 0) (ref.null func)))
  (func (export "grow") (result i32) (table.grow $u (ref.func $b) (i32.const 2)))
  (func (export "call_t") (param i32 i32) (result i32)
    (call_indirect $t (param i32) (result i32) (local.get 0) (local.get 1)))
  (func (export "call_u") (param i32 i32) (result i32)
    (call_indirect $u (param i32) (result i32) (local.get 0) (local.get 1)))"""
A, B, C, D = range(4)


def entry(running: Running, types: int, table: int, at: int) -> int | None:
    """A table's entry, as a capture finds it: each of the types is asked for."""
    for number in range(types):
        try:
            found = running.raw("wavelock:table_get", table, at, number)[0]
        except wasmtime.Trap:
            continue
        return None if found == 2**32 - 1 else found
    raise AssertionError("no type fits")


def contents(running: Running, form: Rewritten) -> list[list[int | None]]:
    return [
        [
            entry(running, form.state.table_types, table, at)
            for at in range(running.raw("wavelock:table_size", table)[0])
        ]
        for table in range(form.state.tables)
    ]


def test_tables_can_be_read() -> None:
    form, running = rewrite(TABLES), Running(TABLES)
    assert form.state.tables == 2
    assert contents(running, form) == [[A, B, None], [None, D]]
    assert running.call("set", 2).results == ()
    assert running.call("clear", 0).results == ()
    assert running.call("grow").results == (2,)
    assert contents(running, form) == [[None, B, C], [None, D, B, B]]
    assert running.call("call_u", 5, 3).results == (6,)


def test_tables_can_be_written_and_grow() -> None:
    form, running = rewrite(TABLES), Running(TABLES)
    wanted = [[None, D, A, None, C], [B, None, D, None, A, C]]
    for table, entries in enumerate(wanted):
        for at, function in enumerate(entries):
            running.raw("wavelock:table_set", table, at, -1 if function is None else function)
    assert contents(running, form) == wanted
    assert running.call("call_t", 5, 1).results == (15,)
    assert running.call("call_u", 5, 0).results == (6,)
    assert running.call("call_u", 5, 1).trap == "uninitialized element"


def test_after_reading_tables_a_budget_makes_calls_calls_again() -> None:
    form, running = rewrite(TABLES), Running(TABLES)
    with pytest.raises(wasmtime.Trap):
        running.raw("wavelock:table_get", 0, 1, 0)
    assert running.call("call_t", 5, 1).results == (6,)
    assert contents(running, form)[0][1] == B
    assert running.call("call_t", 5, 1).results == (6,)


def test_tables_that_do_not_change_are_not_read() -> None:
    text = "(table 2 funcref) (elem (i32.const 0) func $f) (func $f (call_indirect (i32.const 0)))"
    form = rewrite(text)
    assert form.state == StateSizes(0, 0, 0)
    assert not any(name.encode() in form.module for name in ("wavelock:table_get", "wavelock:table_set"))
    assert rewrite(text + "(func (return) (table.set 0 (i32.const 0) (ref.null func)))").state.tables == 0


@pytest.mark.parametrize(
    "code",
    [
        "(table.set 0 (i32.const 0) (ref.null func))",
        "(drop (table.grow 0 (ref.null func) (i32.const 0)))",
        "(table.fill 0 (i32.const 0) (ref.null func) (i32.const 0))",
        "(table.copy 0 0 (i32.const 0) (i32.const 0) (i32.const 0))",
        "(table.init 0 0 (i32.const 0) (i32.const 0) (i32.const 0))",
    ],
)
def test_whatever_changes_a_table_makes_it_state(code: str) -> None:
    text = f'(table 2 funcref) (elem func $f) (func $f (export "f") {code})'
    assert rewrite(text).state == StateSizes(0, 1, 1)
    assert Running(text).call("f").results == ()

"""Damaged modules: a form or a ModuleError, never anything else, and exactly what an engine takes is taken."""

from __future__ import annotations

import random
from collections.abc import Iterator

from core.form.running import rewrite, valid, wasm
from wavelock.core.errors import ModuleError
from wavelock.core.form import Rewritten

SEEDS = (
    """(module (type $pair (func (result i32 i64))) (table 2 funcref) (memory (export "memory") 1 4)
      (global $g (mut i64) (i64.const -5)) (export "g" (global $g))
      (elem (i32.const 0) $turn $abi) (elem func $turn) (data (i32.const 16) "hello") (data "later") (start $begin)
      (func $begin (memory.init 1 (i32.const 0) (i32.const 0) (i32.const 5)) (data.drop 1))
      (func $abi (export "wavelock_abi") (result i32) i32.const 64)
      (func $turn (export "wavelock_turn") (param i32) (result i32) (local v128 f32 i64)
        (local.set 1 (v128.const i32x4 1 2 3 4))
        (block $a (block $b (block (type $pair) (i32.const 1) (i64.const 7) ) drop drop
          (br_table $a $b $a (local.get 0))))
        (if (result i32) (i32.lt_u (local.get 0) (i32.const 100000))
          (then (i32.trunc_sat_f64_s (f64.const 1e300)))
          (else (i32.extend8_s (i32x4.extract_lane 2 (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15
            (local.get 1) (local.get 1))))))))""",
    """(module (memory 1) (table $t 3 funcref) (table $u 3 funcref) (elem $e funcref (ref.func $f) (ref.null func))
      (func $f (param f64 i32) (result f64) (local funcref)
        (local.set 2 (select (result funcref) (ref.null func) (table.get $u (i32.const 0)) (local.get 1)))
        (loop $l (br_if $l (ref.is_null (local.get 2))))
        (call_indirect $u (param f64 i32) (result f64) (local.get 0) (local.get 1) (i32.const 1)))
      (func (table.init $u $e (i32.const 0) (i32.const 0) (i32.const 1)) (elem.drop $e)
        (f64.store offset=70000 (i32.const 8) (f64.sqrt (f64.const nan:0x8000000000001)))
        (v128.store8_lane offset=3 5 (i32.const 0) (v128.load32_zero (memory.grow (memory.size))))))""",
)
INTERESTING = (0x00, 0x01, 0x0B, 0x40, 0x60, 0x6F, 0x70, 0x7F, 0x80, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF)
ROUNDS = 1500


def corpus() -> list[bytes]:
    return [wasm(text) for text in SEEDS]


def damaged(chance: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at, length = chance.randrange(len(out)), chance.randint(1, 12)
        what = chance.randrange(6)
        if what == 0:
            out[at] ^= 1 << chance.randrange(8)
        elif what == 1:
            out[at] = chance.choice(INTERESTING)
        elif what == 2 and len(out) > 20:
            del out[at : at + length]
        elif what == 3:
            out[at:at] = out[at : at + length] * chance.randint(1, 50)
        elif what == 4:
            out[at:at] = bytes([chance.choice(INTERESTING)]) * length
        else:
            out[at : at + length] = chance.randbytes(length)
    return bytes(out)


def variants(seed: int) -> Iterator[bytes]:
    chance = random.Random(seed)
    originals = corpus()
    for number in range(ROUNDS):
        yield damaged(chance, originals[number % len(originals)])


def outcome(data: bytes, *, abi: bool = False) -> Rewritten | str:
    try:
        return rewrite(data, abi=abi)
    except ModuleError as error:
        return f"{type(error).__name__}: {error}"


STRICTER = (
    " needs ",  # a refused feature that the bindings cannot switch off
    "the import",
    "which the memory of",
    "which the table of",
    "found the export",
    "expected at most",
    "a mutable global of funcref",
    "found types, expected 1",
)
"""Why the form refuses what an engine takes."""


def test_the_originals_are_accepted() -> None:
    assert all(isinstance(outcome(data), Rewritten) for data in corpus())
    assert isinstance(outcome(corpus()[0], abi=True), Rewritten)


def test_damage_gives_a_form_or_a_module_error_as_the_engine_says() -> None:
    taken = 0
    for data in variants(1):
        found = outcome(data)
        if isinstance(found, str):
            assert found.startswith("ModuleError: m.wasm: "), found
            assert "offset" in found
            assert not valid(data) or any(reason in found for reason in STRICTER), (data.hex(), found)
        else:
            taken += 1
            assert valid(data), data.hex()
            assert valid(found.module), data.hex()
    assert taken > 50


def test_damage_of_an_agent() -> None:
    found = [outcome(data, abi=True) for data in variants(2)]
    assert sum(isinstance(each, Rewritten) for each in found) > 10
    errors = [each for each in found if isinstance(each, str)]
    assert all(error.startswith("ModuleError: m.wasm: ") and "offset" in error for error in errors)


def test_random_bytes_after_the_header() -> None:
    chance = random.Random(5)
    for _ in range(1000):
        outcome(b"\0asm\1\0\0\0" + chance.randbytes(chance.randint(0, 200)))
        outcome(chance.randbytes(chance.randint(0, 40)))

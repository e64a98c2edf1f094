"""The instruction decoder: bodies to their last byte, cuts, bounds."""

from __future__ import annotations

import pytest
import wasmtime

from wavelock.core.form import limits, rewrite_module
from wavelock.core.form.binary import FormError
from wavelock.core.form.decode import NO_BLOCK_TYPE, Value, instructions
from wavelock.core.form.sections import read_module


def decoded(code: bytes) -> list[tuple[int, str, Value]]:
    return [(offset, operator.name, value) for offset, operator, value in instructions(code, 0, len(code))]


def failure(code: bytes) -> FormError:
    with pytest.raises(FormError) as caught:
        decoded(code)
    return caught.value


def test_instructions_with_offsets_and_immediates() -> None:
    assert decoded(bytes.fromhex("2000 4180 01 6a 2802 8001 0b")) == [
        (0, "local.get", 0),
        (2, "i32.const", 128),
        (5, "i32.add", None),
        (6, "i32.load", (2, 128)),
        (10, "end", None),
    ]


def test_block_types() -> None:
    found = decoded(bytes.fromhex("0240 0b 037f 0b 0405 05 0b 02c000 0b 0b"))
    assert [value for _, name, value in found if name in ("block", "loop", "if")] == [
        NO_BLOCK_TYPE,
        -1,
        5,
        64,
    ]


def test_decoding_stops_at_the_end_that_closes_the_body() -> None:
    assert len(decoded(bytes.fromhex("02400b0b 0101"))) == 3


@pytest.mark.parametrize("code", ["", "01", "0240 0b", "41", "4180", "43000000", "fd0c00", "fd", "0e05", "2802"])
def test_code_that_ends_early_is_an_error(code: str) -> None:
    assert "end" in failure(bytes.fromhex(code)).what or "only" in failure(bytes.fromhex(code)).what


def test_code_does_not_run_past_its_own_end_into_what_follows() -> None:
    data = bytes.fromhex("4180 8001 0b 0b")
    with pytest.raises(FormError, match=r"offset 0 .*runs past the end of the code at offset 2"):
        list(instructions(data, 0, 2))
    with pytest.raises(FormError, match=r"offset 2 .*without the `end`"):
        list(instructions(bytes.fromhex("0101 0b"), 0, 2))


@pytest.mark.parametrize(
    ("code", "offset", "what"),
    [
        ("01 27 0b", 1, "unknown operator 0x27"),
        ("fdff7f 0b", 0, "unknown operator 0xfd 0x3fff"),
        ("fc8080800f 0b", 0, "unknown operator 0xfc"),
        ("41 ffffffff7f 41 8080808008 0b", 7, "i32.const: found a LEB128 integer with bits beyond"),
        ("20 8080808080 00 0b", 1, "local.get: found a LEB128 integer of more than 5 bytes"),
        ("3f01 0b", 1, "memory.size: a memory's index that begins with 0x01 needs multi-memory"),
        ("3f8000 0b", 1, "memory.size: a memory's index that begins with 0x80 needs multi-memory"),
        ("28420000 0b", 1, "i32.load: a memory's index needs multi-memory"),
        ("28800100 0b", 1, "i32.load: found 2^128 as an alignment"),
        ("0e ffffffff0f 0b", 1, "br_table: found a count of 4294967295, but only 1 bytes follow"),
        ("1c 02 7f7f 0b", 1, "select: found 2 types, expected 1"),
        ("1c 01 6f 0b", 2, "select: the type externref needs externref"),
        ("d0 6f 0b", 1, "ref.null: the type externref needs externref"),
        ("d0 6e 0b", 1, "ref.null: the type anyref needs gc"),
        ("d0 05 0b", 1, "ref.null: the type (ref null ...) needs function-references"),
        ("d0 7f 0b", 1, "ref.null: found type i32, expected funcref"),
        ("02 6f 0b 0b", 1, "block: the type externref needs externref"),
        ("02 69 0b 0b", 1, "block: the type exnref needs exceptions"),
        ("02 41 0b 0b", 1, "block: found type 0x41"),
    ],
)
def test_errors_name_operator_and_offset(code: str, offset: int, what: str) -> None:
    found = failure(bytes.fromhex(code))
    assert (found.offset, found.what[: len(what)]) in [
        (offset, what),
        (offset, f"found the {what}"[: len(what)]),
    ]


def test_nesting_is_bounded_without_recursion() -> None:
    deepest = b"\x02\x40" * limits.NESTING + b"\x0b" * (limits.NESTING + 1)
    assert len(decoded(deepest)) == 2 * limits.NESTING + 1
    found = failure(b"\x02\x40" * (limits.NESTING + 1))
    assert found.offset == 2 * limits.NESTING
    assert "nested more than 10000 deep" in found.what


def test_an_engine_takes_the_deepest_nesting_that_the_form_takes() -> None:
    most = limits.NESTING - limits.FRAMING_BLOCKS
    code = "block " * most + "end " * most
    data = bytes(wasmtime.wat2wasm(f"(module (func {code}))"))
    assert rewrite_module(data, "deep.wasm", abi=False).info.functions == 1
    wasmtime.Module(wasmtime.Engine(), data)


def test_every_body_of_a_module_is_consumed_exactly() -> None:
    text = """(module (type $pair (func (result i32 i64))) (table 2 funcref) (table 2 funcref) (memory 1)
      (elem (i32.const 0) $a $b) (elem $late funcref (ref.func $a) (ref.null func))
      (func $a (param i32 f64) (result i32) (local i64 v128 funcref)
        (loop $top (br_if $top (i32.eqz (local.get 0))))
        (if (result i32) (local.get 0) (then (i32.const -1)) (else (i32.const 0x7fffffff))))
      (func $b (type $pair) (block (type $pair) (i32.const 1) (i64.const -9)))
      (func $c (table.copy 0 1 (i32.const 0) (i32.const 0) (i32.const 1)) (call_indirect 1 (i32.const 0)))
      (func $d (block $x (br_table $x $x 1 (i32.const 3))) (elem.drop $late)))"""
    data = bytes(wasmtime.wat2wasm(text))
    module = read_module(data)
    for found in module.bodies:
        *_, last = instructions(data, found.code, found.end)
        assert (last[0], last[1].name) == (found.end - 1, "end")
    assert rewrite_module(data, "m", abi=False).info.features == (
        "bulk-memory",
        "multi-value",
        "reference-types",
        "simd",
    )

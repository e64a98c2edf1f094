"""The rules of validation, one by one: what is wrong is refused with its place, as the engine refuses it."""

from __future__ import annotations

import re

import pytest

from core.form.running import rewrite, valid
from wavelock.core.errors import ModuleError
from wavelock.core.form.emit import assemble, function_body, section, unsigned, vector
from wavelock.core.form.sniff import MAGIC, VERSION

I32, I64, F32, F64, V128, FUNCREF = 0x7F, 0x7E, 0x7D, 0x7C, 0x7B, 0x70
TYPES = [
    (b"", b""),
    (bytes((I32,)), bytes((I32,))),
    (bytes((I32, I64)), bytes((I64, I32))),
    (b"", bytes((I32,))),
]
PLACE = re.compile(r"m\.wasm: function 0, offset \d+ \(0x[0-9a-f]+\): ")
SYMBOLS = {
    "T0": b"\0", "T1": b"\1", "T2": b"\2", "T3": b"\3", "T9": b"\x09", "funcref": b"\x70",
    "L0": b"\0\0", "L00": b"\1\0\0", "L01": b"\1\0\1", "L10": b"\1\1\0", "L2": b"\0\2", "L9": b"\1\0\x09",
    "ZERO": bytes(16), "LANES": bytes(range(16)), "LANE32": bytes(15) + b"\x20",
}  # fmt: skip


def module(code: bytes, results: bytes = b"", *, bare: bool = False) -> bytes:
    """A module whose function 0 has the code: params (i32 f32 v128 funcref), locals 4: i64, 5: f64.

    bare: without memory, table, globals and segments.
    """
    types = [*TYPES, (bytes((I32, F32, V128, FUNCREF)), results)]
    body = function_body([(1, I64), (1, F64)], code + b"\x0b")
    other = function_body([], b"\x00\x0b")
    extra = {} if bare else {
        4: vector(2, b"\x70\x00\x02", b"\x70\x00\x03"),
        5: b"\1\0\1",
        6: vector(3, b"\x7f\1\x41\0\x0b", b"\x7e\0\x42\0\x0b", b"\x7d\1\x43" + bytes(4) + b"\x0b"),
        9: vector(1, b"\1\0\1\1"),
        12: b"\1",
        11: b"\1\1\1a",
    }  # fmt: skip
    parts = {
        1: vector(len(types), *(b"\x60" + vector(len(p), p) + vector(len(r), r) for p, r in types)),
        3: vector(4, b"\4\1\2\0"),
        **extra,
        10: vector(4, body, other, other, other),
    }
    order = (1, 3, 4, 5, 6, 9, 12, 10, 11)
    return MAGIC + VERSION + b"".join(section(part, parts[part]) for part in order if part in parts)


def refusal(data: bytes) -> str | None:
    try:
        assert valid(rewrite(data).module)
    except ModuleError as error:
        return str(error)
    return None


WRONG = {
    "operand types": (
        "local.get 1 i32.eqz drop", "i64.const 0 i32.const 0 i32.add drop", "i32.const 0 i64.const 0 i64.add drop",
        "local.get 2 local.get 0 i8x16.add drop", "local.get 3 i32.eqz drop", "local.get 1 local.get 5 f64.add drop",
        "i32.const 0 i32.const 0 f32.store 2 0", "i64.const 0 i32.load 2 0 drop",
    ),
    "stack underflow": (
        "i32.add drop", "i32.const 0 i32.add drop", "drop", "local.set 0", "i32.const 0 i32.store 2 0", "i32.eqz drop",
        "i32.const 0 block void drop end", "i32.const 0 loop void i32.eqz drop end drop", "local.tee 0 drop",
        "i32.const 0 i32.const 0 if void drop end drop", "select drop", "i32.const 0 i32.const 1 select drop",
        "br_if 0", "if void end", "call 1 drop", "memory.grow drop", "global.set 0", "ref.is_null drop",
        "table.get 0 drop", "local.get 2 v128.bitselect drop", "i32.const 0 memory.fill",
    ),
    "what is left over": (
        "i32.const 0", "block void i32.const 0 end", "loop void i32.const 0 end",
        "i32.const 0 if void i32.const 1 else end", "i32.const 0 if void else i32.const 1 end",
        "block i32 i32.const 0 i32.const 0 end drop",
    ),
    "block results": (
        "block i32 end drop", "block i32 i64.const 0 end drop", "loop i32 end drop", "block T2 i32.const 0 end drop",
        "i32.const 0 if i32 i32.const 0 end drop", "i32.const 0 if i32 else i32.const 0 end drop",
        "i32.const 0 if i32 i32.const 0 else i64.const 0 end drop", "block i32 i32.const 0 end i64.eqz drop",
        "i32.const 0 if T3 i32.const 0 end drop", "block T3 end drop",
    ),
    "block parameters": (
        "block T1 end drop", "i64.const 0 block T1 i32.eqz end drop", "i32.const 0 loop T2 end drop drop",
        "i32.const 0 i64.const 0 i32.const 0 if T2 end drop drop", "i32.const 0 block T9 end",
        "i64.const 0 i32.const 0 block T2 i64.const 0 i32.const 0 end drop drop",
    ),
    "else and if": (
        "block void else end", "else", "i32.const 0 if void else else end", "loop void else end",
        "i64.const 0 if void end", "local.get 1 if void end",
    ),
    "end": ("block void", "i32.const 0 if void", "end end", "end i32.const 0 drop"),
    "labels": (
        "br 1", "i32.const 0 br_if 1", "i32.const 0 br_table L2", "i32.const 0 br_table L9", "block void br 2 end",
        "block i32 br 0 end drop", "block i32 i64.const 0 br 0 end drop", "i64.const 0 br_if 0",
        "block i32 i32.const 0 br_if 0 end drop", "block i32 i64.const 0 i32.const 0 br_if 0 end drop",
        "i32.const 0 loop T1 br 0 end i64.eqz drop", "loop T3 br 0 i32.const 0 end",
    ),
    "br_table": (
        "block i32 i32.const 0 i32.const 0 br_table L01 end drop", "i64.const 0 br_table L0", "br_table L0",
        "block i32 block i64 i32.const 0 i32.const 0 br_table L01 end drop i32.const 0 end drop",
        "block i32 block void i32.const 0 br_table L01 end i32.const 0 end drop",
        "block i32 i32.const 0 br_table L0 end drop",
        "block i32 loop void i32.const 1 i32.const 0 br_table L10 end i32.const 0 end drop",
    ),
    "locals": (
        "local.get 6 drop", "i32.const 0 local.set 6", "i32.const 0 local.tee 6 drop", "i32.const 0 local.set 1",
        "i64.const 0 local.tee 5 drop", "local.get 4294967295 drop", "local.get 2 local.set 3",
    ),
    "globals": (
        "global.get 3 drop", "i32.const 0 global.set 3", "i64.const 0 global.set 1", "i64.const 0 global.set 0",
        "f64.const ZERO8 global.set 2",
    ),
    "select": (
        "i32.const 0 i64.const 0 i32.const 0 select drop", "local.get 3 local.get 3 i32.const 0 select drop",
        "i32.const 0 i32.const 0 i64.const 0 select drop", "local.get 1 i32.const 0 i32.const 0 select drop",
        "unreachable local.get 3 i32.const 0 select drop",
        "unreachable i32.const 0 i64.const 0 i32.const 0 select drop",
    ),
    "calls": (
        "call 4", "i64.const 0 call 1 drop", "i32.const 0 call 2 drop drop", "i32.const 0 call_indirect 9 0",
        "i32.const 0 call_indirect 0 2", "i64.const 0 call_indirect 0 0", "i32.const 0 call_indirect 1 0 drop",
        "i32.const 0 call 1",
    ),
    "memory": (
        "i32.const 0 i32.load 3 0 drop", "i32.const 0 i32.load8_s 1 0 drop", "i32.const 0 i64.load 4 0 drop",
        "i32.const 0 i32.const 0 i32.store16 2 0", "i32.const 0 v128.load 5 0 drop", "i64.const 0 memory.grow drop",
        "i32.const 0 v128.load8x8_s 4 0 drop", "i32.const 0 v128.load8_splat 1 0 drop",
        "i32.const 0 i32.load 63 0 drop",
        "i32.const 0 i32.const 0 i64.const 0 memory.fill", "i32.const 0 i32.const 0 i32.const 0 memory.fill drop",
    ),
    "data segments": ("data.drop 1", "elem.drop 1"),
    "lanes": (
        "local.get 2 i8x16.extract_lane_s 16 drop", "local.get 2 i16x8.extract_lane_u 8 drop",
        "local.get 2 i32x4.extract_lane 4 drop", "local.get 2 i64x2.extract_lane 2 drop",
        "local.get 2 f32x4.extract_lane 4 drop", "local.get 2 local.get 5 f64x2.replace_lane 2 drop",
        "local.get 2 local.get 2 i8x16.shuffle LANE32 drop", "local.get 2 i32.const 0 f32x4.replace_lane 0 drop",
        "local.get 2 i32.const 0 i64x2.replace_lane 0 drop",
    ),
    "tables": (
        "i32.const 0 table.get 2 drop", "i32.const 0 i32.const 0 table.set 0", "local.get 3 local.get 3 table.set 0",
        "table.size 2 drop", "local.get 3 i32.const 0 table.grow 2 drop", "i32.const 0 local.get 3 table.grow 0 drop",
        "i32.const 0 local.get 3 i32.const 0 table.fill 2", "i32.const 0 i32.const 0 i32.const 0 table.fill 0",
    ),
    "references": (
        "i32.const 0 ref.is_null drop", "ref.func 4 drop", "ref.func 2 drop", "ref.null i32.eqz drop",
    ),
    "results": ("unreachable i32.const 0", "return i32.const 0", "i32.const 0 return i32.const 0"),
    "dead code": (
        "unreachable i64.const 0 i32.eqz drop", "unreachable i64.const 0 i32.add drop", "br 0 i32.const 0",
        "return block i32 end drop", "unreachable block void drop end", "unreachable local.get 9",
        "unreachable block i32 i64.const 0 end drop", "unreachable i32.const 0 br_if 9",
        "unreachable i64.const 0 i32.const 0 if void end", "block i32 unreachable i64.const 0 end drop",
        "block i32 unreachable i32.const 0 i32.const 0 end drop", "i32.const 0 br_table L0 i64.const 0 i32.eqz drop",
        "loop void br 0 i32.const 0 end", "unreachable i64.const 0 br_table L0",
        "block i32 unreachable i64.const 0 i32.const 0 br_if 0 end drop", "unreachable global.get 9 drop",
        "unreachable i32.const 0 i64.store 3 0", "unreachable block T2 end drop drop",
        "unreachable i32.load 3 0 drop", "unreachable memory.init", "unreachable else",
        "unreachable i32.const 0 local.set 4",
        "unreachable data.drop 1", "unreachable local.get 2 i32x4.extract_lane 4 drop", "unreachable ref.func 2 drop",
        "unreachable i32.const 0 i64.const 0 global.set 0 drop",
    ),
}  # fmt: skip
RIGHT = (
    "unreachable", "unreachable i32.add drop", "unreachable select drop", "unreachable i32.const 0 select drop",
    "unreachable i64.add i32.wrap_i64 drop", "unreachable br_if 0", "unreachable br_table L0", "br 0 drop drop",
    "unreachable local.set 0 local.set 5",
    "block i64 block i32 unreachable i32.const 0 br_table L01 end drop i64.const 0 end drop",
    "unreachable if void else end",
    "block i32 unreachable end drop", "block i32 unreachable i32.const 0 end drop", "unreachable call 1 drop",
    "block i32 i32.const 0 i32.const 0 br_table L00 end drop", "unreachable select i32.eqz drop",
    "block i32 i32.const 0 br 0 end drop", "loop void br 0 end", "loop i32 br 0 end drop", "unreachable drop drop",
    "i32.const 0 loop T1 i32.const 0 br_if 0 end drop",
    "i32.const 0 i64.const 0 block T2 i32.wrap_i64 local.set 0 drop "
    "i64.const 0 i32.const 1 end drop drop", "i32.const 0 i32.const 0 if T1 end drop", "ref.func 1 drop",
    "i32.const 0 if i32 i32.const 0 else unreachable end drop", "i32.const 0 if i32 br 1 else i32.const 0 end drop",
    "local.get 2 local.get 2 i32.const 0 select drop", "unreachable local.get 2 i32.const 0 select drop",
    "block i32 block void unreachable i32.const 0 br_table L00 end i32.const 0 end drop", "return i32.const 0 drop",
    "block i64 block i64 unreachable i64.const 0 i32.const 0 br_table L01 end end drop", "unreachable ref.is_null drop",
    "return drop", "i32.const 0 return drop", "unreachable block T1 i64.extend_i32_u i32.wrap_i64 end drop",
    "block void block void unreachable i32.const 0 br_table L01 end end", "data.drop 0 elem.drop 0",
    "unreachable i8x16.shuffle LANES drop", "i32.const 0 memory.grow drop memory.size drop", "nop block void nop end",
    "unreachable memory.grow table.get 0 drop", "i32.const 0 i32.load 0 4294967295 drop",
)  # fmt: skip
SYMBOLS["ZERO8"] = bytes(8)


SHUFFLE = "i8x16.shuffle"


def encoded(code: str) -> bytes:
    """Code from text; `assemble` knows the shuffle and memory.init not, as the form writes none."""
    before, found, after = code.partition("memory.init")
    if found:
        return assemble(before, SYMBOLS) + b"\xfc\x08\1\0" + assemble(after, SYMBOLS)
    before, found, after = code.partition(SHUFFLE)
    if found:
        lanes, _, rest = after.strip().partition(" ")
        return assemble(before, SYMBOLS) + b"\xfd\x0d" + SYMBOLS[lanes] + assemble(rest, SYMBOLS)
    return assemble(code, SYMBOLS)


@pytest.mark.parametrize("code", [code for codes in WRONG.values() for code in codes])
def test_what_is_wrong_is_refused_with_its_place(code: str) -> None:
    data = module(encoded(code))
    assert not valid(data)
    text = refusal(data)
    assert text is not None
    assert PLACE.match(text), text
    offset = int(text.partition("offset ")[2].partition(" ")[0])
    assert data.index(b"\x02\x01\x7e\x01\x7c") < offset <= len(data)


@pytest.mark.parametrize("code", RIGHT)
def test_what_is_right_is_taken(code: str) -> None:
    data = module(encoded(code))
    assert valid(data)
    assert refusal(data) is None


@pytest.mark.parametrize(
    "code",
    [
        "i32.const 0 i32.load 2 0 drop", "memory.size drop", "i32.const 0 memory.grow drop", "global.get 0 drop",
        "i32.const 0 i32.const 0 i32.store 2 0",
        "i32.const 0 i32.const 0 i32.const 0 memory.fill", "table.size 0 drop", "i32.const 0 table.get 0 drop",
        "i32.const 0 call_indirect 0 0", "data.drop 0", "elem.drop 0", "i32.const 0 i32.atomic.load 2 0 drop",
        "unreachable i32.load 2 0 drop", "ref.func 1 drop", "i32.const 0 v128.load 4 0 drop", "unreachable memory.size",
        "unreachable memory.fill", "unreachable f64.store 0 0",
    ],
)  # fmt: skip
def test_what_a_module_lacks_cannot_be_used(code: str) -> None:
    data = module(assemble(code), bare=True)
    assert not valid(data)
    text = refusal(data)
    assert text is not None
    assert PLACE.match(text), text


@pytest.mark.parametrize("results", [b"", bytes((I32,)), bytes((I32, I64)), bytes((V128, FUNCREF))])
@pytest.mark.parametrize(
    "code",
    [
        "", "unreachable", "return", "br 0", "i32.const 0", "i32.const 0 return", "i32.const 0 br 0",
        "local.get 0 br_if 0",
        "i32.const 0 i64.const 0", "i32.const 0 i64.const 0 return", "i32.const 0 i64.const 0 local.get 0 br_if 0",
        "i32.const 0 i64.const 0 i32.const 0 br_table L0", "local.get 2 local.get 3", "local.get 2 local.get 3 br 0",
        "local.get 3 local.get 2", "i32.const 9 i32.const 0 i64.const 0 return", "i32.const 9 i32.const 0 i64.const 0",
        "block void i32.const 0 i64.const 0 br 1 end unreachable", "i32.const 0 local.get 0 br_if 0", "return return",
        "loop void local.get 2 local.get 3 br 1 end unreachable", "i32.const 0 return i64.const 0", "br 0 i32.const 0",
    ],
)  # fmt: skip
def test_a_functions_results(code: str, results: bytes) -> None:
    data = module(assemble(code, SYMBOLS), results)
    assert (refusal(data) is None) == valid(data)


@pytest.mark.parametrize("align", range(6))
@pytest.mark.parametrize(
    "name",
    ["i32.load", "i64.load8_u", "i64.load16_s", "i64.load32_u", "f64.load", "v128.load", "v128.load64_zero",
     "v128.load32_zero", "v128.load16_splat", "v128.load32x2_u", "i32.atomic.load", "i64.atomic.load8_u"],
)  # fmt: skip
def test_alignments(name: str, align: int) -> None:
    data = module(assemble(f"i32.const 0 {name} {align} 0 drop"))
    assert (refusal(data) is None) == valid(data)


@pytest.mark.parametrize("lane", [0, 1, 2, 3, 4, 7, 8, 15, 16, 255])
@pytest.mark.parametrize("number", range(84, 92))
@pytest.mark.parametrize("align", [0, 2, 4])
def test_lanes_in_memory(number: int, lane: int, align: int) -> None:
    loads = number < 88
    code = assemble("i32.const 0 local.get 2") + b"\xfd" + unsigned(number) + bytes((align, 0, lane)) + b"\x1a" * loads
    data = module(code)
    assert (refusal(data) is None) == valid(data)

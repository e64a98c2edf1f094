"""NaNs: the bits that arithmetic makes are canonical wherever they can be seen; those that are only moved stay."""

from __future__ import annotations

import struct
from functools import cache

import pytest

from core.form.running import NAN32, NAN64, Running
from wavelock.core.form.operators import BY_CODE, Operator
from wavelock.core.form.steps import LETTERS, STEPS
from wavelock.core.form.types import VALUE_TYPES

TEXT = {letter: VALUE_TYPES[code] for letter, code in LETTERS.items()}
SIZE = {"i": 4, "I": 8, "f": 4, "F": 8, "v": 16}
ODD32 = struct.pack("<I", 0xFFA00001)
ODD64 = struct.pack("<Q", 0xFFF4000000000001)
"""Signalling NaNs with a payload, negative: no engine makes such bits."""
FLOATS32 = [ODD32, struct.pack("<I", 0xFFC00000), struct.pack("<I", 0x7FC00001), *(
    struct.pack("<f", value) for value in (0.0, -0.0, 1.5, -2.5, float("inf"), float("-inf"), 3e38, 1e-45)
)]  # fmt: skip
FLOATS64 = [ODD64, struct.pack("<Q", 0xFFF8000000000000), struct.pack("<Q", 0x7FF8000000000001), *(
    struct.pack("<d", value) for value in (0.0, -0.0, 1.5, -2.5, float("inf"), float("-inf"), 1e308, 5e-324)
)]  # fmt: skip
MAKERS = [BY_CODE[code] for code, step in STEPS.items() if step.makes]


def operands(operator: Operator) -> str:
    return operator.signature.partition(":")[0]


def result(operator: Operator) -> str:
    return operator.signature.partition(":")[2]


def inputs(letters: str, lane_bytes: int) -> list[bytes]:
    """All pairs of floats for an operator, each as 16 bytes an operand."""
    if letters[0] == "v":
        values = [lane * (16 // len(lane)) for lane in (FLOATS32 if lane_bytes == 4 else FLOATS64)]
        mixed = b"".join(FLOATS32[:4]) if lane_bytes == 4 else FLOATS64[0] + FLOATS64[5]
        values.append(mixed)
    else:
        values = [value.ljust(16, b"\0") for value in (FLOATS32 if lane_bytes == 4 else FLOATS64)]
    if len(letters) == 1:
        return values
    return [first + second for first in values for second in values]


def lanes_in(operator: Operator) -> int:
    """Bytes of each float that it takes."""
    wide = {"f32x4.demote_f64x2_zero": True, "f64x2.promote_low_f32x4": False, "f64.promote_f32": False}
    return 8 if wide.get(operator.name, operator.name.startswith("f64") or operator.name.endswith("f64")) else 4


def test_the_makers_are_all_operators_that_can_make_a_nan() -> None:
    assert len(MAKERS) == 4 * 11 + 4
    assert {operator.name.partition(".")[2] for operator in MAKERS} == {
        "add", "sub", "mul", "div", "sqrt", "min", "max", "ceil", "floor", "trunc", "nearest",
        "demote_f64", "promote_f32", "demote_f64x2_zero", "promote_low_f32x4",
    }  # fmt: skip


CONSUMERS = {
    "store": "({T}.store (i32.const 64) {E})",
    "local": "(local.set $x {E}) ({T}.store (i32.const 64) (local.get $x))",
    "tee": "({T}.store (i32.const 64) (local.tee $x {E}))",
    "copied local": "(local.set $x {E}) (local.set $y (local.get $x)) ({T}.store (i32.const 64) (local.get $y))",
    "parameter": "(local.set $p {E}) ({T}.store (i32.const 64) (local.get $p))",
    "loop": """(local.set $n (i32.const 3)) (loop (local.set $y (local.get $x)) (local.set $x {E})
        (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1))))) ({T}.store (i32.const 64) (local.get $y))""",
    "block result": "({T}.store (i32.const 64) (block (result {T}) {E}))",
    "br_if value": "({T}.store (i32.const 64) (block (result {T}) (drop (br_if 0 {E} (i32.const 1))) (unreachable)))",
    "br value": "({T}.store (i32.const 64) (block (result {T}) (br 0 {E})))",
    "br_table value": "({T}.store (i32.const 64) (block (result {T}) (br_table 0 0 {E} (i32.const 0))))",
    "if result": "({T}.store (i32.const 64) (if (result {T}) (i32.const 1) (then {E}) (else (unreachable))))",
    "over an if": "{E} (if (i32.const 1) (then (nop))) (local.set $x) ({T}.store (i32.const 64) (local.get $x))",
    "under operands": """{E} (i32.const 1) (drop) (f64.const 1) (drop) (local.set $x) ({T}.store (i32.const 64)
        (local.get $x))""",
    "global": "(global.set $g {E}) ({T}.store (i32.const 64) (global.get $g))",
    "argument": "(call $store {E})",
    "indirect argument": "(call_indirect (param {T}) {E} (i32.const 0))",
    "return value": "({T}.store (i32.const 64) (call $made))",
    "early return": "({T}.store (i32.const 64) (call $early))",
    "select": "({T}.store (i32.const 64) (select {E} (local.get $y) (i32.const 1)))",
    "typed select": "({T}.store (i32.const 64) (select (result {T}) {E} {E} (i32.const 0)))",
    "mixed local": """(if (i32.load (i32.const 48)) (then (local.set $x ({T}.load (i32.const 0)))))
        (local.set $x {E}) ({T}.store (i32.const 64) (local.get $x))""",
    "mixed copy": """(if (i32.load (i32.const 48)) (then (local.set $x ({T}.load (i32.const 0)))))
        (local.set $y {E}) (local.set $x (local.get $y)) ({T}.store (i32.const 64) (local.get $x))""",
    "read in dead code": "(local.set $x {E}) ({T}.store (i32.const 64) (local.get $x)) (return) (local.get $x) (drop)",
    "dropped": "(drop {E}) ({T}.store (i32.const 64) {E})",
}
BITS = {
    "f": {
        "reinterpret": "(i32.store (i32.const 64) (i32.reinterpret_f32 {E}))",
        "abs of neg": "(f32.store (i32.const 64) (f32.abs (f32.neg {E})))",
        "copysign": "(f32.store (i32.const 64) (f32.copysign {E} (f32.const 1)))",
        "sign of it": "(f32.store (i32.const 64) (f32.copysign (f32.const nan) {E}))",
        "splat": "(f32.store (i32.const 64) (f32x4.extract_lane 3 (f32x4.splat {E})))",
        "lane": """(f32.store (i32.const 64) (f32x4.extract_lane 1 (f32x4.replace_lane 1
            (v128.const i32x4 0 0 0 0) {E})))""",
    },
    "F": {
        "reinterpret": "(i64.store (i32.const 64) (i64.reinterpret_f64 {E}))",
        "abs of neg": "(f64.store (i32.const 64) (f64.abs (f64.neg {E})))",
        "copysign": "(f64.store (i32.const 64) (f64.copysign {E} (f64.const 1)))",
        "sign of it": "(f64.store (i32.const 64) (f64.copysign (f64.const nan) {E}))",
        "splat": "(f64.store (i32.const 64) (f64x2.extract_lane 1 (f64x2.splat {E})))",
        "lane": """(f64.store (i32.const 64) (f64x2.extract_lane 1 (f64x2.replace_lane 1
            (v128.const i32x4 0 0 0 0) {E})))""",
    },
    "v": {
        "or": "(v128.store (i32.const 64) (v128.or {E} (v128.const i32x4 0 0 0 0)))",
        "bitselect": "(v128.store (i32.const 64) (v128.bitselect {E} {E} {E}))",
        "shuffle": "(v128.store (i32.const 64) (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 {E} {E}))",
        "integers": "(v128.store (i32.const 64) (i32x4.add {E} (v128.const i32x4 0 0 0 0)))",
        "pmin": "(v128.store (i32.const 64) (f32x4.pmin {E} (v128.const i32x4 0 0 0 0)))",
        "pmax": "(v128.store (i32.const 64) (f64x2.pmax {E} (v128.const i32x4 0 0 0 0)))",
        "lane stores": """(v128.store32_lane 0 (i32.const 64) {E}) (v128.store32_lane 1 (i32.const 68) {E})
            (v128.store64_lane 1 (i32.const 72) {E})""",
        "integer lanes": """(i32.store (i32.const 64) (i32x4.extract_lane 0 {E}))
            (i32.store (i32.const 68) (i32x4.extract_lane 1 {E})) (i64.store (i32.const 72)
            (i64x2.extract_lane 1 {E}))""",
    },
}


@cache
def consuming(operator: Operator, *consumers: str) -> Running:
    """For each consumer
    (all, if none is named) a function that applies an operator to what is at 0 and 16, and the consumer to that."""
    letters, made = operands(operator), TEXT[result(operator)]
    read = " ".join(f"({TEXT[letter]}.load (i32.const {at * 16}))" for at, letter in enumerate(letters))
    expression = f"({operator.name} {read})"
    zero = f"({made}.const {'i32x4 0 0 0 0' if made == 'v128' else '0'})"
    functions = [
        f"""(func $f{at} (param $p {made}) (local $x {made}) (local $y {made}) (local $n i32)
          {code.replace("{T}", made).replace("{E}", expression)})
        (func (export "{name}") (call $f{at} {zero}))"""
        for at, (name, code) in enumerate({**CONSUMERS, **BITS[result(operator)]}.items())
        if name in consumers or not consumers
    ]
    return Running(f"""(memory (export "memory") 1) (global $g (mut {made}) {zero}) (table funcref (elem $store))
      (func $store (param {made}) ({made}.store (i32.const 64) (local.get 0)))
      (func $made (result {made}) {expression})
      (func $early (result {made}) (loop (return {expression})) (unreachable))
      {" ".join(functions)}""")


def seen(running: Running, values: bytes, length: int, name: str = "f") -> bytes:
    """What a function writes to 64 where the memory begins with some values."""
    running.write(0, values.ljust(64, b"\0"))
    running.write(64, b"\xaa" * 16)
    outcome = running.call(name)
    assert outcome.results == (), (name, outcome)
    return running.read(64, length)


def canonical_or_number(operator: Operator, bits: bytes) -> bool:
    wide = operator.name.startswith("f64")
    infinity, nan = (0x7FF << 52, NAN64) if wide else (0xFF << 23, NAN32)
    lanes = struct.unpack(f"<{len(bits) // (8 if wide else 4)}{'Q' if wide else 'I'}", bits)
    return all(lane == nan or lane & (nan | nan - 1) <= infinity for lane in lanes)


@pytest.mark.parametrize("operator", MAKERS, ids=lambda operator: str(operator.name))
def test_no_operator_shows_other_nans_than_the_canonical_ones(operator: Operator) -> None:
    running = consuming(operator, "store")
    size = SIZE[result(operator)]
    found = [seen(running, values, size, "store") for values in inputs(operands(operator), lanes_in(operator))]
    assert all(canonical_or_number(operator, bits) for bits in found)
    nan = struct.pack("<Q", NAN64) if operator.name.startswith("f64") else struct.pack("<I", NAN32)
    assert any(nan in bits for bits in found)
    assert any(nan not in bits for bits in found)


REPRESENTATIVES = ("f32.add", "f64.div", "f64.promote_f32", "f32.demote_f64", "f32x4.mul", "f64x2.sqrt",
                   "f64x2.promote_low_f32x4", "f32x4.demote_f64x2_zero")  # fmt: skip


@pytest.mark.parametrize("name", REPRESENTATIVES)
def test_no_consumer_sees_other_nans(name: str) -> None:
    operator = next(operator for operator in MAKERS if operator.name == name)
    kind = result(operator)
    values = (ODD64 if lanes_in(operator) == 8 else ODD32) * 8
    nan = struct.pack("<Q", NAN64) if name.startswith("f64") else struct.pack("<I", NAN32)
    expected = (nan * 4)[: SIZE[kind]] if name != "f32x4.demote_f64x2_zero" else nan * 2 + bytes(8)
    for consumer in [*CONSUMERS, *BITS[kind]]:
        assert seen(consuming(operator), values, SIZE[kind], consumer) == expected, consumer


MOVES = {
    "local": "(local.set $x (f64.load (i32.const 0))) (f64.store (i32.const 64) (local.get $x))",
    "tee": "(f64.store (i32.const 64) (local.tee $x (f64.load (i32.const 0))))",
    "parameter": "(call $store (f64.load (i32.const 0)))",
    "result": "(f64.store (i32.const 64) (call $load (f64.const 1)))",
    "result into a local": "(local.set $x (call $load (f64.const 1))) (f64.store (i32.const 64) (local.get $x))",
    "indirect result": """(local.set $x (call_indirect (param f64) (result f64) (f64.const 1) (i32.const 0)))
        (f64.store (i32.const 64) (local.get $x))""",
    "global": "(global.set $g (f64.load (i32.const 0))) (f64.store (i32.const 64) (global.get $g))",
    "global into a local": """(global.set $g (f64.load (i32.const 0))) (f64.const 1) (drop)
        (local.set $x (global.get $g)) (f64.store (i32.const 64) (local.get $x))""",
    "select": "(f64.store (i32.const 64) (select (f64.load (i32.const 0)) (f64.const 1) (i32.const 1)))",
    "select into a local": """(local.set $x (select (f64.load (i32.const 0)) (f64.const 1) (i32.const 1)))
        (f64.store (i32.const 64) (local.get $x))""",
    "select of constants": """(local.set $x (select (f64.const 2) (f64.const 1) (i32.const 1)))
        (local.set $x (f64.load (i32.const 0))) (f64.store (i32.const 64) (local.get $x))""",
    "neg of neg": "(f64.store (i32.const 64) (f64.neg (f64.neg (f64.load (i32.const 0)))))",
    "neg into a local": """(local.set $x (f64.neg (f64.load (i32.const 0)))) (f64.const 1) (drop)
        (f64.store (i32.const 64) (f64.neg (local.get $x)))""",
    "block": "(f64.store (i32.const 64) (block (result f64) (f64.load (i32.const 0))))",
    "block that ends with a constant": """(block (result f64) (drop (br_if 0 (f64.load (i32.const 0)) (i32.const 1)))
        (f64.const 1)) (local.set $x) (f64.store (i32.const 64) (local.get $x))""",
    "if that ends with a constant": """(if (result f64) (i32.const 1) (then (f64.load (i32.const 0))) (else
        (f64.const 1)))
        (local.set $x) (f64.store (i32.const 64) (local.get $x))""",
    "loop result": """(loop (result f64) (f64.load (i32.const 0))) (local.set $x) (f64.store (i32.const 64)
        (local.get $x))""",
    "under a constant": """(f64.load (i32.const 0)) (f64.const 1) (local.set $y) (local.set $x)
        (f64.store (i32.const 64) (local.get $x))""",
    "under a dropped constant": """(f64.load (i32.const 0)) (f64.const 1) (drop) (local.set $x)
        (f64.store (i32.const 64) (local.get $x))""",
    "under a constant for a global": """(f64.load (i32.const 0)) (f64.const 1) (global.set $g) (local.set $x)
        (f64.store (i32.const 64) (local.get $x))""",
    "a parameter into a local": "(local.set $x (local.get $p)) (f64.store (i32.const 64) (local.get $x))",
    "a parameter under a constant": """(local.get $p) (f64.const 1) (drop) (local.set $x)
        (f64.store (i32.const 64) (local.get $x))""",
    "copies": """(local.set $x (f64.load (i32.const 0))) (local.set $y (local.get $x)) (local.set $z (local.get $y))
        (f64.store (i32.const 64) (local.get $z))""",
    "reinterpreted": """(local.set $x (f64.reinterpret_i64 (i64.load (i32.const 0)))) (f64.store (i32.const 64)
        (local.get $x))""",
    "a constant": "(local.set $x (f64.const -nan:0x4000000000001)) (f64.store (i32.const 64) (local.get $x))",
    "a lane": """(local.set $x (f64x2.extract_lane 1 (v128.load (i32.const 0)))) (f64.store (i32.const 64)
        (local.get $x))""",
    "lane after zero": """(v128.const i32x4 0 0 0 0) (drop) (local.set $x (f64x2.extract_lane 1 (v128.load
        (i32.const 0))))
        (f64.store (i32.const 64) (local.get $x))""",
}
ALSO_MADE = """(if (i32.load (i32.const 48)) (then
  (local.set $x (f64.div (f64.const 0) (f64.const 0))) (local.set $y (f64.div (f64.const 0) (f64.const 0)))
  (local.set $z (f64.div (f64.const 0) (f64.const 0)))))"""
"""Arithmetic that the same locals would get, if it ran."""


@pytest.mark.parametrize("also", ["", ALSO_MADE], ids=["alone", "mixed"])
@pytest.mark.parametrize("code", MOVES.values(), ids=MOVES.keys())
def test_bits_that_are_only_moved_stay(code: str, also: str) -> None:
    running = Running(f"""(memory (export "memory") 1) (global $g (mut f64) (f64.const 0)) (table funcref (elem $load))
      (func $store (param f64) (f64.store (i32.const 64) (local.get 0)))
      (func $load (param f64) (result f64) (f64.load (i32.const 0)))
      (func $f (param $p f64) (local $x f64) (local $y f64) (local $z f64) {also} {code})
      (func (export "f") (call $f (f64.load (i32.const 0))))""")
    assert seen(running, ODD64 * 2, 8) == ODD64


VECTOR_MOVES = {
    "result into a local": "(local.set $x (call $load (v128.const i32x4 0 0 0 0)))",
    "under a constant": "(v128.load (i32.const 0)) (v128.const i32x4 0 0 0 0) (drop) (local.set $x)",
    "integers": "(local.set $x (i32x4.add (v128.load (i32.const 0)) (v128.const i32x4 0 0 0 0)))",
    "not of not": "(local.set $x (v128.not (v128.not (v128.load (i32.const 0)))))",
    "constant": "(local.set $x (v128.const i32x4 0xffa00001 0xfff40001 -1 0x7fa00001))",
    "block": """(block (result v128) (drop (br_if 0 (v128.load (i32.const 0)) (i32.const 1)))
        (v128.const i32x4 0 0 0 0)) (local.set $x)""",
    "lane load": "(local.set $x (v128.load64_lane 1 (i32.const 8) (v128.load (i32.const 0))))",
}
VECTOR = struct.pack("<IIII", 0xFFA00001, 0xFFF40001, 0xFFFFFFFF, 0x7FA00001)


@pytest.mark.parametrize("makes", ["f32x4.div", "f64x2.div"])
@pytest.mark.parametrize("code", VECTOR_MOVES.values(), ids=VECTOR_MOVES.keys())
def test_vectors_that_are_only_moved_stay(code: str, makes: str) -> None:
    running = Running(f"""(memory (export "memory") 1)
      (func $load (param v128) (result v128) (v128.load (i32.const 0)))
      (func (export "f") (local $x v128)
        (if (i32.load (i32.const 48)) (then (local.set $x ({makes} (v128.load (i32.const 0)) (local.get $x)))))
        {code} (v128.store (i32.const 64) (local.get $x)))""")
    assert seen(running, VECTOR, 16) == VECTOR


def test_integers_converted_in_pairs_are_no_nans_of_four_lanes() -> None:
    """The lower half of 2147483647 as a double has the bits of a NaN."""
    running = Running("""(memory (export "memory") 1) (func (export "f") (local $x v128)
      (if (i32.load (i32.const 48)) (then (local.set $x (f32x4.div (local.get $x) (local.get $x)))))
      (local.set $x (f64x2.convert_low_i32x4_s (v128.load (i32.const 0)))) (v128.store (i32.const 64)
      (local.get $x)))""")
    assert seen(running, struct.pack("<iiii", 2**31 - 1, -(2**31) + 1, 0, 0), 16) == struct.pack(
        "<dd", 2**31 - 1, -(2**31) + 1
    )


def test_a_nan_of_one_width_read_as_the_other_was_made_canonical_first() -> None:
    running = Running("""(memory (export "memory") 1) (func (export "f") (local $x v128)
      (local.set $x (f32x4.add (v128.load (i32.const 0)) (v128.load (i32.const 0))))
      (v128.store (i32.const 64) (f64x2.pmin (f64x2.splat (f64.const inf)) (local.get $x)))
      (if (i32.load (i32.const 48)) (then (local.set $x (f64x2.add (local.get $x) (local.get $x))))))""")
    assert seen(running, ODD32 * 4, 16) == struct.pack("<IIII", *(NAN32,) * 4)

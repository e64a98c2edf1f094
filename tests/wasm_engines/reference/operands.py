"""Every operator without state, and operands for it: at the edges of their types, beside them, and random ones."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Final, NamedTuple

from wavelock.core.form.features import REFUSED
from wavelock.core.form.immediates import Immediate
from wavelock.core.form.operators import BY_CODE, Operator
from wavelock.wasm_engines.reference.floats import F32, F64
from wavelock.wasm_engines.reference.lanes import join, split
from wavelock.wasm_engines.reference.plain import OPERATIONS

RECORDS: Final = 160
"""How many operands each operator is tried with."""
SLOT: Final = 16
RESULTS: Final = 3 * SLOT * RECORDS
KINDS: Final = {"i": ("i32", 4), "I": ("i64", 8), "f": ("f32", 4), "F": ("f64", 8), "v": ("v128", 16)}
LANES: Final = {"i8x16": 16, "i16x8": 8, "i32x4": 4, "i64x2": 2, "f32x4": 4, "f64x2": 2}
F32_EDGES: Final = (
    *(0x00000000, 0x00000001, 0x007FFFFF, 0x00800000, 0x33800000, 0x3EFFFFFF, 0x3F000000, 0x3F000001, 0x3F7FFFFF),
    *(0x3F800000, 0x3FC00000, 0x40000000, 0x40200000, 0x40400000, 0x4AFFFFFF, 0x4B000000, 0x4B800001, 0x4EFFFFFF),
    *(0x4F000000, 0x4F7FFFFF, 0x4F800000, 0x5EFFFFFF, 0x5F000000, 0x5F7FFFFF, 0x5F800000, 0x7F7FFFFF, 0x7F800000),
    *(0x7F800001, 0x7FA00000, 0x7FC00000, 0x7FC00123, 0x7FFFFFFF),
)
F64_EDGES: Final = (
    *(0x0000000000000000, 0x0000000000000001, 0x000FFFFFFFFFFFFF, 0x0010000000000000, 0x36A0000000000000),
    *(0x36A0000000000001, 0x380FFFFFE0000000, 0x380FFFFFFFFFFFFF, 0x3810000000000000, 0x3FDFFFFFFFFFFFFF),
    *(0x3FE0000000000000, 0x3FE0000000000001, 0x3FEFFFFFFFFFFFFF, 0x3FF0000000000000, 0x3FF0000010000000),
    *(0x3FF0000030000000, 0x3FF8000000000000, 0x4000000000000000, 0x4004000000000000, 0x4008000000000000),
    *(0x41DFFFFFFFC00000, 0x41DFFFFFFFE00000, 0x41E0000000000000, 0x41EFFFFFFFE00000, 0x41EFFFFFFFFFFFFF),
    *(0x41F0000000000000, 0x432FFFFFFFFFFFFF, 0x4330000000000000, 0x4330000000000001, 0x43DFFFFFFFFFFFFF),
    *(0x43E0000000000000, 0x43EFFFFFFFFFFFFF, 0x43F0000000000000, 0x47EFFFFFE0000000, 0x47EFFFFFEFFFFFFF),
    *(0x47EFFFFFF0000000, 0x47F0000000000000, 0x7FEFFFFFFFFFFFFF, 0x7FF0000000000000, 0x7FF0000000000001),
    *(0x7FF4000000000000, 0x7FF8000000000000, 0x7FF8000000000123, 0x7FFFFFFFFFFFFFFF),
)


class Case(NamedTuple):
    """An operator with its immediates."""

    operator: Operator
    text: str

    @property
    def operands(self) -> str:
        return self.operator.signature.partition(":")[0]

    @property
    def result(self) -> str:
        return self.operator.signature.partition(":")[2]


def cases() -> Iterator[Case]:
    for operator in BY_CODE.values():
        if operator.name in OPERATIONS and operator.feature not in REFUSED:
            for immediates in immediates_of(operator):
                yield Case(operator, f"{operator.name}{immediates}")


def immediates_of(operator: Operator) -> list[str]:
    if operator.immediates is Immediate.LANE:
        return [f" {lane}" for lane in range(LANES[operator.name.partition(".")[0]])]
    if operator.immediates is Immediate.LANES:
        chance = random.Random(13)
        rows = [range(16), range(31, 15, -1), *([chance.randrange(32) for _ in range(16)] for _ in range(3))]
        return ["".join(f" {lane}" for lane in row) for row in rows]
    return [""]


CASES: Final = {case.text: case for case in cases()}


def function(case: Case) -> str:
    """Applies an operator to `$count` records of operands from `$first` on."""
    loads = "".join(
        f"({KINDS[letter][0]}.load offset={SLOT * index} (local.get $at))" for index, letter in enumerate(case.operands)
    )
    return f"""(func (export "{case.text}") (param $first i32) (param $count i32) (local $at i32) (local $to i32)
      (local.set $at (i32.mul (local.get $first) (i32.const {3 * SLOT})))
      (local.set $to (i32.add (i32.const {RESULTS}) (i32.mul (local.get $first) (i32.const {SLOT}))))
      (loop $next
        ({KINDS[case.result][0]}.store (local.get $to) ({case.text} {loads}))
        (local.set $at (i32.add (local.get $at) (i32.const {3 * SLOT})))
        (local.set $to (i32.add (local.get $to) (i32.const {SLOT})))
        (br_if $next (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))"""


def integer_edges(bits: int) -> list[int]:
    ones = (1 << bits) - 1
    near = {1 << bit for bit in range(bits)} | {(1 << bit) - 1 for bit in range(bits)} | {0, 3, 5, 7}
    return sorted(near | {ones - value for value in near})


EDGES: Final = {
    8: integer_edges(8),
    16: integer_edges(16),
    32: sorted({*integer_edges(32), *F32_EDGES, *(bits | F32.sign for bits in F32_EDGES)}),
    64: sorted({*integer_edges(64), *F64_EDGES, *(bits | F64.sign for bits in F64_EDGES)}),
}
FLOAT_EDGES: Final = {
    "f": [*F32_EDGES, *(bits | F32.sign for bits in F32_EDGES)],
    "F": [*F64_EDGES, *(bits | F64.sign for bits in F64_EDGES)],
}


def operand(letter: str, chance: random.Random) -> int:
    """An operand: at an edge, beside one, or anything."""
    if letter == "v":
        bits = chance.choice((8, 16, 32, 64))
        return join((number(EDGES[bits], bits, chance) for _ in range(128 // bits)), bits)
    bits = 8 * KINDS[letter][1]
    return number(FLOAT_EDGES.get(letter, EDGES[bits]), bits, chance)


def number(edges: list[int], bits: int, chance: random.Random) -> int:
    kind = chance.randrange(4)
    if kind == 0:
        return chance.getrandbits(bits)
    found = chance.choice(edges)
    return found if kind < 3 else (found + chance.randrange(-2, 3)) % (1 << bits)


def records(case: Case) -> Iterator[list[int]]:
    """Every edge first; of two operands pairs of edges in random order; then anything."""
    chance = random.Random(case.text)
    if len(case.operands) == 1 and case.operands != "v":
        edges = FLOAT_EDGES.get(case.operands) or EDGES[8 * KINDS[case.operands][1]]
        yield from ([edge] for edge in edges)
    elif set(case.operands) <= {"f", "F"}:
        edges = FLOAT_EDGES[case.operands[0]]
        yield from map(list, chance.sample(list(itertools.product(edges, repeat=2)), RECORDS // 2))
    elif case.operands in ("ii", "II"):
        bits = 8 * KINDS[case.operands[0]][1]
        ones, sign = (1 << bits) - 1, 1 << (bits - 1)
        yield from map(list, itertools.product((0, 1, 7, sign - 1, sign, ones - 6, ones), repeat=2))
    while True:
        yield [operand(letter, chance) for letter in case.operands]


def filling(case: Case) -> bytes:
    """What a memory begins with: the operands, and room for the results."""
    taken = itertools.islice(records(case), RECORDS)
    slots = (value for record in taken for value in [*record, 0, 0][:3])
    return b"".join(value.to_bytes(SLOT, "little") for value in slots) + bytes(SLOT * RECORDS)


def results(case: Case, memory: bytes) -> list[int]:
    raw = memory[RESULTS : RESULTS + SLOT * RECORDS]
    return [int.from_bytes(raw[at : at + KINDS[case.result][1]], "little") for at in range(0, len(raw), SLOT)]


MAKES_NAN: Final = {
    *(f"{kind}.{name}" for kind in ("f32", "f64", "f32x4", "f64x2") for name in ("add", "sub", "mul", "div", "sqrt")),
    *(f"{kind}.{name}" for kind in ("f32", "f64", "f32x4", "f64x2") for name in ("min", "max", "trunc", "nearest")),
    *(f"{kind}.{name}" for kind in ("f32", "f64", "f32x4", "f64x2") for name in ("ceil", "floor")),
    *("f32.demote_f64", "f64.promote_f32", "f32x4.demote_f64x2_zero", "f64x2.promote_low_f32x4"),
}
"""Operators whose NaN may have any payload on wasmtime, and has none here."""
TRAPS: Final = {
    *(f"{kind}.{name}" for kind in ("i32", "i64") for name in ("div_s", "div_u", "rem_s", "rem_u")),
    *(f"{kind}.trunc_{real}_{s}" for kind in ("i32", "i64") for real in ("f32", "f64") for s in "su"),
}


def canonical(case: Case, value: int) -> int:
    """What a NaN made by an operator must be."""
    if case.operator.name not in MAKES_NAN:
        return value
    form = F32 if case.operator.name.startswith("f32") else F64
    lanes = split(value, form.bits) if case.result == "v" else [value]
    return join((form.nan if form.is_nan(lane) else lane for lane in lanes), form.bits)

"""What the pass must know of each operator it meets: operand and result types, cost, and what it does to a NaN.

One row an accepted operator, derived from the tables of operators and costs. The kinds of NaN:
an operator *makes* a NaN of a lane type (f32, f64, f32x4, f64x2) whose bits engines may choose; an operator *hides* one
if none of its results shows an operand's NaN bits, because it answers no float, or makes a NaN of its own that is
made canonical in turn.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from wavelock.core.form.costs import cost
from wavelock.core.form.features import REFUSED, TAIL_CALL, THREADS
from wavelock.core.form.immediates import Immediate
from wavelock.core.form.operators import BY_CODE, Operator

LETTERS: Final = {"i": 0x7F, "I": 0x7E, "f": 0x7D, "F": 0x7C, "v": 0x7B}
"""Letters of signatures to the codes of value types."""

_ROUNDED: Final = ("add", "sub", "mul", "div", "sqrt", "min", "max", "ceil", "floor", "trunc", "nearest")
_COMPARED: Final = ("eq", "ne", "lt", "gt", "le", "ge")
_LANES: Final = ("f32", "f64", "f32x4", "f64x2")
_MAKES: Final = {
    **{f"{lanes}.{operation}": lanes for lanes in _LANES for operation in _ROUNDED},
    "f32.demote_f64": "f32",
    "f64.promote_f32": "f64",
    "f32x4.demote_f64x2_zero": "f32x4",
    "f64x2.promote_low_f32x4": "f64x2",
}
"""Operators that can make a NaN: the lane type of the result."""
_HIDES: Final = {
    **{f"{lanes}.{operation}": lanes for lanes in _LANES for operation in (*_ROUNDED, *_COMPARED)},
    "f32.demote_f64": "f64",
    "f64.promote_f32": "f32",
    "f32x4.demote_f64x2_zero": "f64x2",
    "f64x2.promote_low_f32x4": "f32x4",
    **{
        f"{integer}.trunc_{sat}{lanes}_{sign}": lanes
        for integer in ("i32", "i64")
        for sat in ("", "sat_")
        for lanes in ("f32", "f64")
        for sign in "su"
    },
    **{f"i32x4.trunc_sat_f32x4_{sign}": "f32x4" for sign in "su"},
    **{f"i32x4.trunc_sat_f64x2_{sign}_zero": "f64x2" for sign in "su"},
}
"""Operators that hide an operand's NaN bits: the lane type of the operands."""


@dataclass(frozen=True, eq=False)
class Step:
    """One operator as the pass sees it.

    pops, pushes: codes of value types, the last on top; both empty where a handler of the pass finds them out.
    alignment: the largest alignment exponent that its memarg may have, -1 without one.
    """

    operator: Operator
    plain: bool
    """The signature says all: no handler is needed."""
    pops: bytes
    pushes: bytes
    cost: int
    alignment: int
    makes: str | None
    hides: str | None
    vector: bool
    """A v128 is among its operands or results."""
    special: bool
    """It makes a NaN, or has to do with vectors."""
    number: bool
    """Its result is a float but surely no NaN, unless it is a constant that says so."""


def _step(operator: Operator) -> Step:
    before, _, after = operator.signature.partition(":")
    return Step(
        operator=operator,
        plain=bool(operator.signature) and operator.immediates in _PLAIN and operator.feature != THREADS,
        pops=bytes(LETTERS[letter] for letter in before),
        pushes=bytes(LETTERS[letter] for letter in after),
        cost=cost(operator),
        alignment=_alignment(operator),
        makes=_MAKES.get(operator.name),
        hides=_HIDES.get(operator.name),
        vector="v" in operator.signature,
        special="v" in operator.signature or operator.name in _MAKES,
        number=operator.immediates in (Immediate.F32, Immediate.F64, Immediate.V128)
        or operator.name.startswith(("f32.convert_", "f64.convert_")),
    )


_PLAIN: Final = (
    Immediate.NONE, Immediate.MEMARG, Immediate.I32, Immediate.I64, Immediate.F32, Immediate.F64, Immediate.V128,
)  # fmt: skip


def _alignment(operator: Operator) -> int:
    """log2 of the bytes that a load or store touches: its own width, or the bits in its name."""
    if operator.immediates not in (Immediate.MEMARG, Immediate.MEMARG_LANE):
        return -1
    kind, _, operation = operator.name.partition(".")
    width = re.search(r"(\d+)(x\d+)?", operation)
    if operation == "atomic.notify":
        bits = 32
    elif width is None:
        bits = int(kind[1:])
    else:
        bits = 64 if width[2] else int(width[1])  # 8x8, 16x4 and 32x2 are eight bytes
    return (bits // 8).bit_length() - 1


STEPS: Final = {
    code: _step(operator)
    for code, operator in BY_CODE.items()
    if operator.feature not in REFUSED or operator.feature in (THREADS, TAIL_CALL)
}
"""Every operator that the pass can rewrite, by code."""

"""Operators on floats, held as their bits: nothing but arithmetic sees a float, so that no NaN's payload is touched.

Every operator that can make a NaN makes the canonical one: positive, quiet, no payload. An f32's sum, difference,
product, quotient and root are computed as f64 and rounded again: with 53 bits against 24 the second rounding cannot
change the outcome (Figueroa, "When is double rounding innocuous?", 1995).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from typing import Final

from wavelock.wasm_engines.reference.integers import Operation


class Format:
    """A binary format of IEEE 754: 32 or 64 bits."""

    def __init__(self, bits: int, precision: int, layout: str) -> None:
        self.bits = bits
        self.precision = precision
        """Bits of the significand, the hidden one among them."""
        self.sign = 1 << (bits - 1)
        self.infinity = self.sign - (1 << (precision - 1))
        self.nan = self.infinity | 1 << (precision - 2)
        self._layout = struct.Struct(layout)

    def is_nan(self, bits: int) -> bool:
        """Whether these are the bits of a NaN."""
        return bits & (self.sign - 1) > self.infinity

    def value(self, bits: int) -> float:
        """The number; any NaN for a NaN."""
        found: float = self._layout.unpack(bits.to_bytes(self._layout.size, "little"))[0]
        return found

    def rounded(self, value: float) -> int:
        """The bits of the nearest number of this format, ties to even; of a NaN the canonical one's."""
        if math.isnan(value):
            return self.nan
        try:
            return int.from_bytes(self._layout.pack(value), "little")
        except OverflowError:  # only struct's own: what rounds past the largest f32
            return self.infinity | (self.sign if value < 0 else 0)


F32: Final = Format(32, 24, "<f")
F64: Final = Format(64, 53, "<d")


def operations(form: Format) -> dict[str, Operation]:
    """All operators of a format, by the name behind `f32.` or `f32x4.`."""
    return {**_arithmetic(form), **_to_integers(form), **_signs(form), **_extremes(form), **comparisons(form)}


def _arithmetic(form: Format) -> dict[str, Operation]:
    value, rounded = form.value, form.rounded
    return {
        "add": lambda left, right: rounded(value(left) + value(right)),
        "sub": lambda left, right: rounded(value(left) - value(right)),
        "mul": lambda left, right: rounded(value(left) * value(right)),
        "div": lambda left, right: rounded(_quotient(value(left), value(right))),
        "sqrt": lambda operand: rounded(_root(value(operand))),
    }


def _quotient(left: float, right: float) -> float:
    if right != 0:
        return left / right
    if left == 0 or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


def _root(value: float) -> float:
    return math.nan if value < 0 else math.sqrt(value)


def _to_integers(form: Format) -> dict[str, Operation]:
    def rounding(integer: Callable[[float], int]) -> Operation:
        return lambda bits: form.rounded(_integral(form.value(bits), integer))

    return {
        "ceil": rounding(math.ceil),
        "floor": rounding(math.floor),
        "trunc": rounding(math.trunc),
        "nearest": rounding(round),  # Python's rounds half to even, too
    }


def _integral(value: float, integer: Callable[[float], int]) -> float:
    """The value made an integer; a zero keeps the operand's sign."""
    if math.isnan(value) or math.isinf(value):
        return value
    return math.copysign(float(integer(value)), value)


def _signs(form: Format) -> dict[str, Operation]:
    """Operators on the sign's bit alone: a NaN keeps its payload."""
    sign, magnitude = form.sign, form.sign - 1
    return {
        "abs": lambda bits: bits & magnitude,
        "neg": lambda bits: bits ^ sign,
        "copysign": lambda bits, other: bits & magnitude | other & sign,
    }


def _extremes(form: Format) -> dict[str, Operation]:
    """min and max answer a NaN for a NaN and hold -0 below +0; pmin and pmax choose as a comparison does."""
    value, nan = form.value, form.nan

    def least(left: int, right: int) -> int:
        if form.is_nan(left) or form.is_nan(right):
            return nan
        if value(left) == value(right):
            return left | right  # equal but for the sign of zero
        return left if value(left) < value(right) else right

    def greatest(left: int, right: int) -> int:
        if form.is_nan(left) or form.is_nan(right):
            return nan
        if value(left) == value(right):
            return left & right
        return left if value(left) > value(right) else right

    return {
        "min": least,
        "max": greatest,
        "pmin": lambda left, right: right if value(right) < value(left) else left,
        "pmax": lambda left, right: right if value(left) < value(right) else left,
    }


def comparisons(form: Format) -> dict[str, Operation]:
    """The comparisons: 1 where they hold, else 0; with a NaN only `ne` holds."""
    value = form.value
    return {
        "eq": lambda left, right: int(value(left) == value(right)),
        "ne": lambda left, right: int(value(left) != value(right)),
        "lt": lambda left, right: int(value(left) < value(right)),
        "gt": lambda left, right: int(value(left) > value(right)),
        "le": lambda left, right: int(value(left) <= value(right)),
        "ge": lambda left, right: int(value(left) >= value(right)),
    }


_VECTORS_ONLY: Final = ("pmin", "pmax")
FLOATS: Final[Mapping[str, Operation]] = {
    f"f{form.bits}.{name}": operation
    for form in (F32, F64)
    for name, operation in operations(form).items()
    if name not in _VECTORS_ONLY
}
"""The scalar operators, by name."""

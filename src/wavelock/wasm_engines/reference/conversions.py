"""Operators between integers and floats, and between floats. Each rounds once: none goes through a wider float."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Final

from wavelock.core.abi import Fault
from wavelock.wasm_engines.interface import Trap
from wavelock.wasm_engines.reference.floats import F32, F64, Format
from wavelock.wasm_engines.reference.integers import Operation, signed


def truncation(form: Format, bits: int, *, is_signed: bool) -> Operation:
    """A float to an integer towards zero; traps for what does not fit."""
    least, most = _range(bits, is_signed)

    def truncate(operand: int) -> int:
        value = form.value(operand)
        if math.isnan(value):
            raise Trap(Fault.BAD_CONVERSION)
        if math.isinf(value) or not least <= math.trunc(value) <= most:
            raise Trap(Fault.INTEGER_OVERFLOW)
        return math.trunc(value) & ((1 << bits) - 1)

    return truncate


def saturation(form: Format, bits: int, *, is_signed: bool) -> Operation:
    """A float to the nearest integer that fits, towards zero; a NaN to 0."""
    least, most = _range(bits, is_signed)

    def saturate(operand: int) -> int:
        value = form.value(operand)
        if math.isnan(value):
            return 0
        if math.isinf(value):
            integer = most if value > 0 else least
        else:
            integer = min(max(math.trunc(value), least), most)
        return integer & ((1 << bits) - 1)

    return saturate


def _range(bits: int, is_signed: bool) -> tuple[int, int]:
    return (-1 << (bits - 1), (1 << (bits - 1)) - 1) if is_signed else (0, (1 << bits) - 1)


def conversion(form: Format, bits: int, *, is_signed: bool) -> Operation:
    """An integer to the nearest float, ties to even."""

    def convert(operand: int) -> int:
        integer = signed(operand, bits) if is_signed else operand
        # No integer of 64 bits is past the largest f32, and what is left after the rounding fits any float.
        return form.rounded(float(_shortened(integer, form.precision)))

    return convert


def _shortened(integer: int, precision: int) -> int:
    """The nearest integer with no more significant bits than this, ties to even."""
    excess = abs(integer).bit_length() - precision
    if excess <= 0:
        return integer
    kept, lost = abs(integer) >> excess, abs(integer) & ((1 << excess) - 1)
    half = 1 << (excess - 1)
    if lost > half or (lost == half and kept & 1):
        kept += 1
    return (kept if integer > 0 else -kept) << excess


def demote(operand: int) -> int:
    """f64 to f32."""
    return F32.rounded(F64.value(operand))


def promote(operand: int) -> int:
    """f32 to f64."""
    return F64.rounded(F32.value(operand))


def _between_integers_and_floats() -> Iterator[tuple[str, Operation]]:
    for form in (F32, F64):
        for bits in (32, 64):
            for suffix, is_signed in (("s", True), ("u", False)):
                integer, real = f"i{bits}", f"f{form.bits}"
                yield f"{integer}.trunc_{real}_{suffix}", truncation(form, bits, is_signed=is_signed)
                yield f"{integer}.trunc_sat_{real}_{suffix}", saturation(form, bits, is_signed=is_signed)
                yield f"{real}.convert_{integer}_{suffix}", conversion(form, bits, is_signed=is_signed)


def _same(bits: int) -> int:
    return bits


CONVERSIONS: Final[Mapping[str, Operation]] = {
    **dict(_between_integers_and_floats()),
    "f32.demote_f64": demote,
    "f64.promote_f32": promote,
    "i32.reinterpret_f32": _same,
    "i64.reinterpret_f64": _same,
    "f32.reinterpret_i32": _same,
    "f64.reinterpret_i64": _same,
}
"""The scalar operators, by name."""

"""Operators on integers, of any width: the scalar ones here, and the same on a vector's lanes in `vectors`.

An integer of n bits is held unsigned: 0 to 2^n - 1. Operands and results are so, whatever an operator reads into them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from wavelock.core.abi import Fault
from wavelock.wasm_engines.interface import Trap

Operation = Callable[..., int]
"""An operator without state: operands in the order they were pushed, as bits, to its one result."""


def signed(value: int, bits: int) -> int:
    """The two's complement value of an unsigned integer of this width."""
    return value - (1 << bits) if value >> (bits - 1) else value


def operations(bits: int) -> dict[str, Operation]:
    """All operators that integers of this width have, by the name behind `i32.` or `i8x16.`."""
    return {
        **_arithmetic(bits),
        **_division(bits),
        **_shifts(bits),
        **_counts(bits),
        **comparisons(bits),
        **_extensions(bits),
    }


def _arithmetic(bits: int) -> dict[str, Operation]:
    mask = (1 << bits) - 1
    return {
        "add": lambda left, right: (left + right) & mask,
        "sub": lambda left, right: (left - right) & mask,
        "mul": lambda left, right: (left * right) & mask,
        "and": lambda left, right: left & right,
        "or": lambda left, right: left | right,
        "xor": lambda left, right: left ^ right,
    }


def _division(bits: int) -> dict[str, Operation]:
    mask = (1 << bits) - 1

    def div_s(left: int, right: int) -> int:
        quotient = _truncated(signed(left, bits), _divisor(signed(right, bits)))
        if quotient >> (bits - 1) == 1:  # the smallest number by -1: one past the largest
            raise Trap(Fault.INTEGER_OVERFLOW)
        return quotient & mask

    def rem_s(left: int, right: int) -> int:
        dividend, divisor = signed(left, bits), _divisor(signed(right, bits))
        return (dividend - divisor * _truncated(dividend, divisor)) & mask

    return {
        "div_s": div_s,
        "div_u": lambda left, right: left // _divisor(right),
        "rem_s": rem_s,
        "rem_u": lambda left, right: left % _divisor(right),
    }


def _divisor(value: int) -> int:
    if value == 0:
        raise Trap(Fault.DIVISION_BY_ZERO)
    return value


def _truncated(dividend: int, divisor: int) -> int:
    """The quotient rounded towards zero; Python's own rounds down."""
    quotient = abs(dividend) // abs(divisor)
    return quotient if (dividend < 0) == (divisor < 0) else -quotient


def _shifts(bits: int) -> dict[str, Operation]:
    """Distances count modulo the width."""
    mask = (1 << bits) - 1

    def rotl(value: int, distance: int) -> int:
        distance %= bits
        return (value << distance | value >> (bits - distance)) & mask

    return {
        "shl": lambda value, distance: (value << distance % bits) & mask,
        "shr_u": lambda value, distance: value >> distance % bits,
        "shr_s": lambda value, distance: (signed(value, bits) >> distance % bits) & mask,
        "rotl": rotl,
        "rotr": lambda value, distance: rotl(value, bits - distance % bits),
    }


def _counts(bits: int) -> dict[str, Operation]:
    return {
        "clz": lambda value: bits - value.bit_length(),
        "ctz": lambda value: (value & -value).bit_length() - 1 if value else bits,
        "popcnt": lambda value: value.bit_count(),
        "eqz": lambda value: int(value == 0),
    }


def comparisons(bits: int) -> dict[str, Operation]:
    """The comparisons: 1 where they hold, else 0."""
    return {
        "eq": lambda left, right: int(left == right),
        "ne": lambda left, right: int(left != right),
        "lt_u": lambda left, right: int(left < right),
        "gt_u": lambda left, right: int(left > right),
        "le_u": lambda left, right: int(left <= right),
        "ge_u": lambda left, right: int(left >= right),
        "lt_s": lambda left, right: int(signed(left, bits) < signed(right, bits)),
        "gt_s": lambda left, right: int(signed(left, bits) > signed(right, bits)),
        "le_s": lambda left, right: int(signed(left, bits) <= signed(right, bits)),
        "ge_s": lambda left, right: int(signed(left, bits) >= signed(right, bits)),
    }


def _extensions(bits: int) -> dict[str, Operation]:
    return {f"extend{part}_s": extension(part, bits) for part in (8, 16, 32) if part < bits}


def extension(part: int, bits: int) -> Operation:
    """Sign extension of the lowest `part` bits to `bits`."""
    low, mask = (1 << part) - 1, (1 << bits) - 1
    return lambda value: signed(value & low, part) & mask


INTEGERS: Final[Mapping[str, Operation]] = {
    **{f"i{bits}.{name}": operation for bits in (32, 64) for name, operation in operations(bits).items()},
    "i32.wrap_i64": lambda value: value & 0xFFFFFFFF,
    "i64.extend_i32_s": extension(32, 64),
    "i64.extend_i32_u": lambda value: value,
}
"""The scalar operators, by name."""

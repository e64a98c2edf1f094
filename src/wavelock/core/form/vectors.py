"""Vector operators that not every engine has, in terms of those that every engine has.

wasmer 1.1.0 was built when these were still proposals; clang writes them whenever it vectorises. Every engine runs what
stands here instead, so that the bits cannot depend on which one it is. The operands are on the stack; A and B are
locals of the pass's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from wavelock.core.form.emit import assemble, unsigned

_HALVES: Final = {"low": 0, "high": 1}
_ZEROS = bytes(16)
_NIBBLE = b"\x0f" * 16
_POPULATION = bytes(bin(nibble).count("1") for nibble in range(16))
_ROUND = b"\x00\x40\x00\x00" * 4
_INTERLEAVE: Final = {
    "low": bytes((0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23)),
    "high": bytes((8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31)),
}
"""Lanes of a first vector's half, each followed by the lane of a second one that is its upper half."""


def _extend(half: str, sign: str, local: str) -> str:
    """i32x4 to i64x2, by way of a local: each lane followed by its sign, or by zero."""
    if sign == "u":
        return f"v128.const ZEROS i8x16.shuffle {half.upper()}"
    return f"local.tee {local} local.get {local} i32.const 31 i32x4.shr_s i8x16.shuffle {half.upper()}"


def _multiply(wide: str, narrow: str, half: str, sign: str) -> str:
    extend = _extend(half, sign, "A") if wide == "i64x2" else f"{wide}.extend_{half}_{narrow}_{sign}"
    return f"{extend} local.set B {extend} local.get B {wide}.mul"


def _texts() -> Iterator[tuple[str, str]]:
    for half in _HALVES:
        for sign in "su":
            yield f"i64x2.extend_{half}_i32x4_{sign}", _extend(half, sign, "A")
            for wide, narrow in (("i16x8", "i8x16"), ("i32x4", "i16x8"), ("i64x2", "i32x4")):
                yield f"{wide}.extmul_{half}_{narrow}_{sign}", _multiply(wide, narrow, half, sign)
    for wide, narrow, bits in (("i16x8", "i8x16", 8), ("i32x4", "i16x8", 16)):
        for sign in "su":
            low = f"i32.const {bits} {wide}.shl i32.const {bits} {wide}.shr_{sign}"
            high = f"local.get A i32.const {bits} {wide}.shr_{sign}"
            yield f"{wide}.extadd_pairwise_{narrow}_{sign}", f"local.tee A {low} {high} {wide}.add"
    for sign in "su":
        convert = f"i32.trunc_sat_f64_{sign}"
        yield (
            f"i32x4.trunc_sat_f64x2_{sign}_zero",
            "local.set A v128.const ZEROS "
            f"local.get A f64x2.extract_lane 0 {convert} i32x4.replace_lane 0 "
            f"local.get A f64x2.extract_lane 1 {convert} i32x4.replace_lane 1",
        )
    yield (
        "f64x2.convert_low_i32x4_u",
        "local.tee A i32x4.extract_lane 0 f64.convert_i32_u f64x2.splat "
        "local.get A i32x4.extract_lane 1 f64.convert_i32_u f64x2.replace_lane 1",
    )
    yield (
        "f64x2.promote_low_f32x4",
        "local.tee A f32x4.extract_lane 0 f64.promote_f32 f64x2.splat "
        "local.get A f32x4.extract_lane 1 f64.promote_f32 f64x2.replace_lane 1",
    )
    yield (
        "f32x4.demote_f64x2_zero",
        "local.set A v128.const ZEROS "
        "local.get A f64x2.extract_lane 0 f32.demote_f64 f32x4.replace_lane 0 "
        "local.get A f64x2.extract_lane 1 f32.demote_f64 f32x4.replace_lane 1",
    )
    yield (
        "i8x16.popcnt",
        "local.set A v128.const POPULATION local.get A v128.const NIBBLE v128.and i8x16.swizzle "
        "v128.const POPULATION local.get A i32.const 4 i8x16.shr_u i8x16.swizzle i8x16.add",
    )
    # Rounded products of Q15 numbers; narrowing saturates the one that does not fit, of -1 and -1.
    products = [
        f"local.get A i32x4.extend_{half}_i16x8_s local.get B i32x4.extend_{half}_i16x8_s i32x4.mul "
        "v128.const ROUND i32x4.add i32.const 15 i32x4.shr_s"
        for half in _HALVES
    ]
    yield "i16x8.q15mulr_sat_s", f"local.set B local.set A {' '.join(products)} i16x8.narrow_i32x4_s"


LOWERED: Final[Mapping[str, str]] = dict(_texts())
"""Operator to the text of what stands for it."""


def lowered(name: str, first: int, second: int) -> bytes:
    """The code that stands for an operator. first, second: two locals of v128."""
    symbols = {
        "A": unsigned(first), "B": unsigned(second), "ZEROS": _ZEROS, "NIBBLE": _NIBBLE, "POPULATION": _POPULATION,
        "ROUND": _ROUND, "LOW": _INTERLEAVE["low"], "HIGH": _INTERLEAVE["high"],
    }  # fmt: skip
    return assemble(LOWERED[name], symbols)

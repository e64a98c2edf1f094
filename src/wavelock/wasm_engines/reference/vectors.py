"""SIMD operators on integers and bits. What reads or writes memory is in `accesses`, floats are in `float_vectors`.

An operator with an immediate (a lane's index, a shuffle's lanes) takes it as its first argument.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from wavelock.wasm_engines.reference import integers
from wavelock.wasm_engines.reference.integers import Operation, signed
from wavelock.wasm_engines.reference.lanes import WIDTH, clamped, each, join, masks, split, split_as

_ONES: Final = (1 << WIDTH) - 1
_SIGNS: Final = (("s", True), ("u", False))

_BITS: Final[Mapping[str, Operation]] = {
    "v128.not": lambda vector: vector ^ _ONES,
    "v128.and": lambda left, right: left & right,
    "v128.andnot": lambda left, right: left & ~right,
    "v128.or": lambda left, right: left | right,
    "v128.xor": lambda left, right: left ^ right,
    "v128.bitselect": lambda first, second, mask: first & mask | second & ~mask,
    "v128.any_true": lambda vector: int(vector != 0),
}


def _shuffle(selection: bytes, left: int, right: int) -> int:
    lanes = split(left, 8) + split(right, 8)
    return join((lanes[index] for index in selection), 8)


def _swizzle(vector: int, selection: int) -> int:
    lanes = split(vector, 8)
    return join((lanes[index] if index < 16 else 0 for index in split(selection, 8)), 8)


def _rounding_product(left: int, right: int) -> int:
    """Q15 numbers: the product of -1 and -1 is the one that saturates."""
    return clamped((signed(left, 16) * signed(right, 16) + 0x4000) >> 15, 16, True)


def _dot(left: int, right: int) -> int:
    """Products of 16-bit lanes, added in pairs."""
    products = [a * b for a, b in zip(split_as(left, 16, True), split_as(right, 16, True), strict=True)]
    return join((products[index] + products[index + 1] for index in range(0, 8, 2)), 32)


def splat(bits: int) -> Operation:
    """The operator that fills all lanes with a value."""
    return lambda value: join([value] * (WIDTH // bits), bits)


def extract(bits: int) -> Operation:
    """The operator that reads a lane, as bits."""
    return lambda lane, vector: split(vector, bits)[lane]


def replace(bits: int) -> Operation:
    """The operator that sets a lane."""

    def apply(lane: int, vector: int, value: int) -> int:
        lanes = split(vector, bits)
        lanes[lane] = value
        return join(lanes, bits)

    return apply


def _of_every_shape(bits: int) -> Iterator[tuple[str, Operation]]:
    """What all four shapes have; `i64x2` lacks the unsigned comparisons, which no opcode names."""
    scalar = integers.operations(bits)
    for name in ("add", "sub"):
        yield name, each(bits, scalar[name])
    for name, comparison in integers.comparisons(bits).items():
        yield name, masks(bits, comparison)
    yield "neg", each(bits, lambda lane: -lane)
    yield "abs", each(bits, lambda lane: abs(signed(lane, bits)))
    yield "all_true", lambda vector: int(all(split(vector, bits)))
    yield "bitmask", lambda vector: join((lane >> (bits - 1) for lane in split(vector, bits)), 1)
    yield "splat", splat(bits)
    yield "replace_lane", replace(bits)
    for name in ("shl", "shr_s", "shr_u"):
        yield name, _shift(bits, scalar[name])


def _shift(bits: int, scalar: Operation) -> Operation:
    return lambda vector, distance: join((scalar(lane, distance) for lane in split(vector, bits)), bits)


def _saturating(bits: int) -> Iterator[tuple[str, Operation]]:
    """Sums and differences that stay at the nearest number there is: of 8 and 16 bits."""
    for suffix, is_signed in _SIGNS:
        yield f"add_sat_{suffix}", _clamping(bits, is_signed, 1)
        yield f"sub_sat_{suffix}", _clamping(bits, is_signed, -1)
    yield "avgr_u", each(bits, lambda left, right: (left + right + 1) >> 1)


def _clamping(bits: int, is_signed: bool, factor: int) -> Operation:
    def apply(left: int, right: int) -> int:
        pairs = zip(split_as(left, bits, is_signed), split_as(right, bits, is_signed), strict=True)
        return join((clamped(a + factor * b, bits, is_signed) for a, b in pairs), bits)

    return apply


def _extremes(bits: int) -> Iterator[tuple[str, Operation]]:
    """Of 8, 16 and 32 bits."""
    yield "min_u", each(bits, min)
    yield "max_u", each(bits, max)
    yield "min_s", each(bits, lambda left, right: min(signed(left, bits), signed(right, bits)))
    yield "max_s", each(bits, lambda left, right: max(signed(left, bits), signed(right, bits)))


def _narrow(half: int, is_signed: bool) -> Operation:
    """Lanes of twice `half` bits, read as signed, to the nearest number of `half` bits: first operand's lanes first."""

    def apply(left: int, right: int) -> int:
        lanes = split_as(left, 2 * half, True) + split_as(right, 2 * half, True)
        return join((clamped(lane, half, is_signed) for lane in lanes), half)

    return apply


def extend(half: int, is_signed: bool) -> Operation:
    """Eight bytes of lanes of `half` bits, each made twice as wide."""
    return lambda low: join(split_as(low, half, is_signed, WIDTH // 2), 2 * half)


def _halves(half: int) -> Iterator[tuple[str, Operation]]:
    """Operators that make lanes twice as wide as their operands'."""
    source = f"i{half}x{WIDTH // half}"
    for suffix, is_signed in _SIGNS:
        for part, shift in (("low", 0), ("high", WIDTH // 2)):
            yield f"extend_{part}_{source}_{suffix}", _extend_part(half, is_signed, shift)
            yield f"extmul_{part}_{source}_{suffix}", _multiply_part(half, is_signed, shift)
        if half <= 16:
            yield f"extadd_pairwise_{source}_{suffix}", _add_pairs(half, is_signed)


def _extend_part(half: int, is_signed: bool, shift: int) -> Operation:
    return lambda vector: extend(half, is_signed)(vector >> shift)


def _multiply_part(half: int, is_signed: bool, shift: int) -> Operation:
    def apply(left: int, right: int) -> int:
        lanes = (split_as(vector >> shift, half, is_signed, WIDTH // 2) for vector in (left, right))
        return join((a * b for a, b in zip(*lanes, strict=True)), 2 * half)

    return apply


def _add_pairs(half: int, is_signed: bool) -> Operation:
    def apply(vector: int) -> int:
        lanes = split_as(vector, half, is_signed)
        return join((lanes[index] + lanes[index + 1] for index in range(0, len(lanes), 2)), 2 * half)

    return apply


def _extract_lanes() -> Iterator[tuple[str, Operation]]:
    for bits in (8, 16):
        shape, wide = f"i{bits}x{WIDTH // bits}", integers.extension(bits, 32)
        yield f"{shape}.extract_lane_u", extract(bits)
        yield f"{shape}.extract_lane_s", lambda lane, vector, bits=bits, wide=wide: wide(extract(bits)(lane, vector))
    yield "i32x4.extract_lane", extract(32)
    yield "i64x2.extract_lane", extract(64)


def _shapes() -> Iterator[tuple[str, Operation]]:
    for bits in (8, 16, 32, 64):
        found = dict(_of_every_shape(bits))
        if bits <= 16:
            found |= {**dict(_saturating(bits)), "narrow_s": _narrow(bits, True), "narrow_u": _narrow(bits, False)}
        if bits <= 32:
            found |= dict(_extremes(bits))
        if bits >= 16:
            found |= {**dict(_halves(bits // 2)), "mul": each(bits, integers.operations(bits)["mul"])}
        for name, operation in found.items():
            yield f"i{bits}x{WIDTH // bits}.{name}", operation


def _integer_vectors() -> dict[str, Operation]:
    found = {**_BITS, **dict(_shapes()), **dict(_extract_lanes())}
    for shape, source in (("i8x16", "i16x8"), ("i16x8", "i32x4")):
        for suffix, _ in _SIGNS:
            found[f"{shape}.narrow_{source}_{suffix}"] = found.pop(f"{shape}.narrow_{suffix}")
    found["i8x16.shuffle"] = _shuffle
    found["i8x16.swizzle"] = _swizzle
    found["i8x16.popcnt"] = each(8, lambda lane: lane.bit_count())
    found["i16x8.q15mulr_sat_s"] = each(16, _rounding_product)
    found["i32x4.dot_i16x8_s"] = _dot
    return found


INTEGER_VECTORS: Final[Mapping[str, Operation]] = _integer_vectors()
"""The operators, by name."""

"""Numbers that find bugs: every kind of float, the ends of every integer, and what lies between."""

from __future__ import annotations

from random import Random
from typing import Final

BITS: Final = {"i": 32, "I": 64, "f": 32, "F": 64, "v": 128}
"""Bits of a value by the letter of its type in `Operator.signature`."""

_F32_HALF: Final = (
    *(0x7FC00000, 0x7FC00001, 0x7FFFFFFF, 0x7F800001, 0x7FA00000, 0x7FBFFFFF),  # NaN: quiet, then signalling
    *(0x7F800000, 0x00000000, 0x00000001, 0x007FFFFF, 0x00800000, 0x7F7FFFFF),  # inf, zero, subnormals, min, max
    *(0x3F800000, 0x3F000000, 0x3EFFFFFF, 0x3F000001, 0x3FC00000, 0x40200000, 0x3F7FFFFF),  # about 1, ties
    *(0x4B000000, 0x4AFFFFFF, 0x4B7FFFFF),  # about 2^23
    *(0x4EFFFFFF, 0x4F000000, 0x4F000001, 0x4F7FFFFF, 0x4F800000),  # about 2^31 and 2^32
    *(0x5EFFFFFF, 0x5F000000, 0x5F7FFFFF, 0x5F800000),  # about 2^63 and 2^64
)
_F64_HALF: Final = (
    *(0x7FF8000000000000, 0x7FF8000000000001, 0x7FFFFFFFFFFFFFFF),
    *(0x7FF0000000000001, 0x7FF4000000000000, 0x7FF7FFFFFFFFFFFF),
    *(0x7FF0000000000000, 0, 1, 0x000FFFFFFFFFFFFF, 0x0010000000000000, 0x7FEFFFFFFFFFFFFF),
    *(0x3FF0000000000000, 0x3FE0000000000000, 0x3FDFFFFFFFFFFFFF, 0x3FE0000000000001, 0x3FF8000000000000),
    *(0x4004000000000000, 0x3FEFFFFFFFFFFFFF),
    *(0x4330000000000000, 0x432FFFFFFFFFFFFF, 0x433FFFFFFFFFFFFF),  # about 2^52
    *(0x41DFFFFFFFC00000, 0x41DFFFFFFFE00000, 0x41E0000000000000, 0x41E0000000200000),  # about 2^31
    *(0x41EFFFFFFFE00000, 0x41EFFFFFFFF00000, 0x41F0000000000000),  # about 2^32
    *(0x43DFFFFFFFFFFFFF, 0x43E0000000000000, 0x43EFFFFFFFFFFFFF, 0x43F0000000000000),  # about 2^63 and 2^64
    *(0x36A0000000000000, 0x369FFFFFFFFFFFFF, 0x380FFFFFFFFFFFFF, 0x47EFFFFFE0000000, 0x47EFFFFFF0000000),  # f32's ends
)
F32: Final = (*_F32_HALF, *(bits | 1 << 31 for bits in _F32_HALF))
F64: Final = (*_F64_HALF, *(bits | 1 << 63 for bits in _F64_HALF))


def _integers(bits: int) -> tuple[int, ...]:
    top = 1 << (bits - 1)
    near = (0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 63, 64, 127, 128, 255, 256, 32767, 32768, 65535, 65536)
    return (*near, *(-each % (2 * top) for each in near[1:]), top, top - 1, top + 1)


I32: Final = _integers(32)
I64: Final = (*_integers(64), 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x100000000)
I8_LANES: Final = (0, 1, 2, 15, 16, 0x7F, 0x80, 0x81, 0xFE, 0xFF)
I16_LANES: Final = (0, 1, 2, 0xFF, 0x100, 0x7FFF, 0x8000, 0x8001, 0xFFFE, 0xFFFF)
_LANES: Final[tuple[tuple[int, tuple[int, ...]], ...]] = (
    *((8, I8_LANES), (16, I16_LANES), (32, I32), (64, I64)),
    *((32, F32), (64, F64), (32, F32), (64, F64)),
)
_SCALARS: Final = {"i": I32, "I": I64, "f": F32, "F": F64}


def seeded(text: str) -> Random:
    """Random numbers that follow from a text alone, the same on every Python."""
    return Random(text)  # noqa: S311 - nothing here is a secret


def specials(letter: str) -> tuple[int, ...]:
    """Special bits of a scalar type; of v128 the special floats in all lanes alike."""
    if letter != "v":
        return _SCALARS[letter]
    return (*(_repeated(bits, 32) for bits in F32), *(_repeated(bits, 64) for bits in F64))


def draw(random: Random, letter: str) -> int:
    """The bits of a value: special ones mostly, else any."""
    if letter == "v":
        return _vector(random)
    if random.random() < 0.25:
        return random.getrandbits(BITS[letter])
    return random.choice(_SCALARS[letter])


def _vector(random: Random) -> int:
    if random.random() < 0.125:
        return random.getrandbits(128)
    bits, lanes = random.choice(_LANES)
    return sum(random.choice(lanes) << at for at in range(0, 128, bits))


def _repeated(lane: int, bits: int) -> int:
    return sum(lane << at for at in range(0, 128, bits))

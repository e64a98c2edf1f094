"""A v128 is an integer of 128 bits, its lane 0 the lowest bits: how to take it apart and put it together."""

from __future__ import annotations

from collections.abc import Iterable

from wavelock.wasm_engines.reference.integers import Operation, signed

WIDTH = 128


def split(vector: int, bits: int, width: int = WIDTH) -> list[int]:
    """The lanes of this many bits, as bits, lowest first; width: the whole vector's bits."""
    mask = (1 << bits) - 1
    return [vector >> position & mask for position in range(0, width, bits)]


def split_as(vector: int, bits: int, is_signed: bool, width: int = WIDTH) -> list[int]:
    """The lanes as numbers, signed or not."""
    lanes = split(vector, bits, width)
    return [signed(lane, bits) for lane in lanes] if is_signed else lanes


def join(lanes: Iterable[int], bits: int) -> int:
    """The vector of these lanes, lowest first; of each the lowest bits count."""
    mask = (1 << bits) - 1
    vector = 0
    for index, lane in enumerate(lanes):
        vector |= (lane & mask) << (index * bits)
    return vector


def each(bits: int, operation: Operation) -> Operation:
    """The operator that applies a scalar one to each lane of its operands, which are all vectors."""

    def apply(*vectors: int) -> int:
        return join(map(operation, *(split(vector, bits) for vector in vectors)), bits)

    return apply


def masks(bits: int, comparison: Operation) -> Operation:
    """The same for a comparison: all bits of a lane are set where it holds."""

    def apply(left: int, right: int) -> int:
        return join((-comparison(*pair) for pair in zip(split(left, bits), split(right, bits), strict=True)), bits)

    return apply


def clamped(value: int, bits: int, is_signed: bool) -> int:
    """The nearest number that a lane of this width holds."""
    least, most = (-1 << (bits - 1), (1 << (bits - 1)) - 1) if is_signed else (0, (1 << bits) - 1)
    return min(max(value, least), most)

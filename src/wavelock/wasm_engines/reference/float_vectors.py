"""SIMD operators on floats: the scalar ones on each lane, so that every lane rounds and makes NaNs as they do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from wavelock.wasm_engines.reference import floats
from wavelock.wasm_engines.reference.conversions import conversion, demote, promote, saturation
from wavelock.wasm_engines.reference.floats import F32, F64, Format
from wavelock.wasm_engines.reference.integers import Operation
from wavelock.wasm_engines.reference.lanes import WIDTH, each, join, masks, split
from wavelock.wasm_engines.reference.vectors import extract, replace, splat

_SCALAR_ONLY: Final = ("copysign",)


def _shape(form: Format) -> Iterator[tuple[str, Operation]]:
    bits = form.bits
    compared = floats.comparisons(form)
    for name, operation in floats.operations(form).items():
        if name not in _SCALAR_ONLY:
            yield name, masks(bits, operation) if name in compared else each(bits, operation)
    yield "splat", splat(bits)
    yield "extract_lane", extract(bits)
    yield "replace_lane", replace(bits)


def _low_lanes(operation: Operation) -> Operation:
    """Two lanes of 32 bits, the lower ones, to two of 64."""
    return lambda vector: join((operation(lane) for lane in split(vector, 32)[:2]), 64)


def _to_low_lanes(operation: Operation) -> Operation:
    """Two lanes of 64 bits to the lower two of 32; the upper ones are zero."""
    return lambda vector: join((operation(lane) for lane in split(vector, 64)), 32)


def _conversions() -> Iterator[tuple[str, Operation]]:
    yield "f32x4.demote_f64x2_zero", _to_low_lanes(demote)
    yield "f64x2.promote_low_f32x4", _low_lanes(promote)
    for suffix, is_signed in (("s", True), ("u", False)):
        yield f"i32x4.trunc_sat_f32x4_{suffix}", each(32, saturation(F32, 32, is_signed=is_signed))
        yield f"i32x4.trunc_sat_f64x2_{suffix}_zero", _to_low_lanes(saturation(F64, 32, is_signed=is_signed))
        yield f"f32x4.convert_i32x4_{suffix}", each(32, conversion(F32, 32, is_signed=is_signed))
        yield f"f64x2.convert_low_i32x4_{suffix}", _low_lanes(conversion(F64, 32, is_signed=is_signed))


FLOAT_VECTORS: Final[Mapping[str, Operation]] = {
    **{
        f"f{form.bits}x{WIDTH // form.bits}.{name}": operation
        for form in (F32, F64)
        for name, operation in _shape(form)
    },
    **dict(_conversions()),
}
"""The operators, by name."""

"""Reads what sections are made of: function types, limits, types of globals, constant expressions."""

from __future__ import annotations

from typing import Final, NamedTuple

from wavelock.core.form import features, limits
from wavelock.core.form.binary import FormError, Reader
from wavelock.core.form.decode import instructions
from wavelock.core.form.module import GlobalType, Limits
from wavelock.core.form.operators import END
from wavelock.core.form.types import (
    FUNCREF,
    V128,
    VALUE_TYPES,
    FunctionType,
    check_reference_type,
    check_value_type,
)

_FUNCTION_TYPE: Final = 0x60
_REFUSED_TYPES: Final = {
    0x5D: (features.STACK_SWITCHING, "a continuation type"),
    0x5E: (features.GC, "an array type"),
    0x5F: (features.GC, "a struct type"),
    0x4D: (features.GC, "a described type"),
    0x4E: (features.GC, "a group of recursive types"),
    0x4F: (features.GC, "a subtype"),
    0x50: (features.GC, "a subtype"),
}
_TABLE_WITH_CONSTANT: Final = 0x40
_HAS_MAXIMUM, _SHARED, _IS_64, _PAGE_SIZE = 1, 2, 4, 8
_EXTENDED: Final = frozenset(
    f"{integer}.{operation}" for integer in ("i32", "i64") for operation in ("add", "sub", "mul")
)


def limited(reader: Reader, what: str, most: int) -> int:
    """A number that counts something not in the section itself, checked against its bound."""
    offset = reader.position
    value = reader.u32()
    if value > most:
        raise FormError(offset, f"found {value} {what}, expected at most {most}")
    return value


def read_value_type(reader: Reader) -> int:
    """A value type's code."""
    return check_value_type(reader.byte(), reader.position - 1)


def read_value_types(reader: Reader, what: str, most: int) -> bytes:
    """A vector of value types, as their codes."""
    count = reader.count(what, most)
    offset = reader.position
    codes = reader.raw(count)
    for index, code in enumerate(codes):
        check_value_type(code, offset + index)
    return codes


def read_function_type(reader: Reader) -> FunctionType:
    """One entry of the type section."""
    offset = reader.position
    form = reader.byte()
    if form in _REFUSED_TYPES:
        raise features.refusal(_REFUSED_TYPES[form][0], offset, _REFUSED_TYPES[form][1])
    if form != _FUNCTION_TYPE:
        raise FormError(offset, f"found a type of form {form:#04x}, expected {_FUNCTION_TYPE:#04x} (a function type)")
    params = read_value_types(reader, "parameters", limits.PARAMETERS)
    return FunctionType(params, read_value_types(reader, "results", limits.RESULTS))


def read_table_limits(reader: Reader) -> Limits:
    """A table's type: a reference type and limits."""
    offset = reader.position
    code = reader.byte()
    if code == _TABLE_WITH_CONSTANT:
        raise features.refusal(features.FUNCTION_REFERENCES, offset, "a table with a first value for its entries")
    check_reference_type(code, offset)
    found = _read_limits(reader, "a table")
    if found.minimum > limits.TABLE_ENTRIES:
        most = limits.TABLE_ENTRIES
        raise FormError(offset, f"found a table of {found.minimum} entries, expected at most {most}")
    return found


def read_memory_limits(reader: Reader) -> Limits:
    """A memory's type: limits in pages of 64 KiB. A shared one has a maximum."""
    offset = reader.position
    found = _read_limits(reader, "a memory")
    if found.shared and found.maximum is None:
        raise FormError(offset, "found a shared memory without a maximum, expected one")
    for pages in (found.minimum, found.maximum or 0):
        if pages > limits.MEMORY_PAGES:
            raise FormError(offset, f"found a memory of {pages} pages, expected at most {limits.MEMORY_PAGES} (4 GiB)")
    return found


def _read_limits(reader: Reader, what: str) -> Limits:
    offset = reader.position
    flags = reader.byte()
    if flags & ~(_HAS_MAXIMUM | _SHARED | _IS_64 | _PAGE_SIZE):
        raise FormError(offset, f"found {what} with flags {flags:#04x}, expected 0 (no maximum) or 1 (a maximum)")
    if flags & _SHARED and what == "a table":
        raise FormError(offset, "found a shared table, expected flags 0 (no maximum) or 1 (a maximum)")
    for bit, feature, kind in (
        (_IS_64, features.MEMORY64, "64-bit"),
        (_PAGE_SIZE, features.CUSTOM_PAGE_SIZES, "resized"),
    ):
        if flags & bit:
            raise features.refusal(feature, offset, what.replace("a ", f"a {kind} "))
    minimum = reader.u32()
    maximum = reader.u32() if flags & _HAS_MAXIMUM else None
    if maximum is not None and maximum < minimum:
        raise FormError(offset, f"found {what} with the maximum {maximum}, expected at least its minimum {minimum}")
    return Limits(minimum, maximum, bool(flags & _SHARED))


def read_global_type(reader: Reader) -> GlobalType:
    """A global's type, without its first value."""
    value_type = read_value_type(reader)
    offset = reader.position
    mutable = reader.byte()
    if mutable > 1:
        raise FormError(offset, f"found the mutability {mutable}, expected 0 or 1")
    return GlobalType(value_type, bool(mutable))


class Constant(NamedTuple):
    """The value of a constant expression: its type's code, and an i32's value or a function's index, else None."""

    type: int
    value: int | None


_CONSTANT_TYPES: Final = {
    "i32.const": 0x7F, "i64.const": 0x7E, "f32.const": 0x7D, "f64.const": 0x7C, "v128.const": V128,
    "ref.null": FUNCREF, "ref.func": FUNCREF,
}  # fmt: skip


def read_constant(reader: Reader, expected: int) -> Constant:
    """A constant expression: one constant. It cannot read a global: only imported ones could be read.

    expected: the code of the type that it must have.
    """
    start, found = reader.position, []
    for offset, operator, value in instructions(reader.data, reader.position, reader.end):
        if operator is END:
            reader.position = offset + 1
            break
        if operator.name in _EXTENDED:
            raise features.refusal(features.EXTENDED_CONST, offset, f"{operator.name} in a constant expression")
        if operator.name not in _CONSTANT_TYPES:
            raise FormError(offset, f"found {operator.name} in a constant expression, expected a constant")
        known = value if operator.name in ("i32.const", "ref.func") and isinstance(value, int) else None
        found.append(Constant(_CONSTANT_TYPES[operator.name], known))
    if len(found) != 1:
        raise FormError(reader.position - 1, f"found {len(found)} constants in a constant expression, expected 1")
    if found[0].type != expected:
        names = VALUE_TYPES[found[0].type], VALUE_TYPES[expected]
        raise FormError(start, f"found a constant of {names[0]}, expected {names[1]}")
    return found[0]

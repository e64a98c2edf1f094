"""Decodes code: one instruction after another with its immediates, the same for every pass over a module.

Rules: no recursion; each byte is read once; nothing is kept but what is handed on; a refused operator raises
before its immediates are read, so a pass sees accepted operators only; operand types are not checked (the
engine does that).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Final

from wavelock.core.form import limits
from wavelock.core.form.binary import FormError, at, read_signed, read_u32
from wavelock.core.form.features import MULTI_MEMORY, REFUSED, refusal
from wavelock.core.form.immediates import Immediate
from wavelock.core.form.operators import END, PLAIN, PREFIXED, Operator
from wavelock.core.form.types import VALUE_TYPES, bad_type, check_reference_type, check_value_type

Value = int | bytes | tuple[int, ...] | None
"""An instruction's immediates, see `Immediate`."""
Instruction = tuple[int, Operator, Value]
"""The opcode's offset in the module, the operator, its immediates."""

NO_BLOCK_TYPE: Final = 0x40 - 128
_MEMORY_INDEX_FOLLOWS: Final = 0x40

_NOTHING: Final[frozenset[str]] = frozenset()


@lru_cache
def _accepted(allowed: frozenset[str]) -> list[Operator | None]:
    """Accepted operators of one byte; None leads to `_rare_operator`, which knows the prefixes and what is refused."""
    refused = REFUSED.keys() - allowed
    return [PLAIN[code] if code in PLAIN and PLAIN[code].feature not in refused else None for code in range(256)]


def instructions(data: bytes, start: int, end: int, allowed: frozenset[str] = _NOTHING) -> Iterator[Instruction]:
    """The instructions from `start` to the `end` operator that closes the body, which must lie before `end`.

    data: the whole module, so that offsets are the module's. allowed: features to accept that are refused else.
    Raises FormError, naming the operator, for what cannot be decoded, is refused, or runs past `end`.
    """
    none, index, memarg, block = Immediate.NONE, Immediate.INDEX, Immediate.MEMARG, Immediate.BLOCK
    offset = position = start
    depth = 1
    accepted = _accepted(allowed)
    value: Value
    try:
        while depth:
            if position >= end:
                raise _cut(offset, position, end)
            offset = position
            operator = accepted[data[position]]
            position += 1
            if operator is None:
                operator, position = _rare_operator(data, offset)
            kind = operator.immediates
            if kind is none:
                value = None
                if operator is END:
                    depth -= 1
            elif kind is index and data[position] < 0x80:
                value = data[position]
                position += 1
            elif kind is index and data[position + 1] < 0x80:
                value = data[position] & 0x7F | data[position + 1] << 7
                position += 2
            elif kind is memarg and data[position] < _MEMORY_INDEX_FOLLOWS and data[position + 1] < 0x80:
                value = data[position], data[position + 1]
                position += 2
            else:
                value, position = _immediates(operator, data, position)
                if kind is block:
                    depth = _deeper(depth, offset)
            yield offset, operator, value
    except IndexError:
        raise _cut(offset, len(data) + 1, end) from None


def _cut(offset: int, position: int, end: int) -> FormError:
    if position > end:
        return FormError(offset, f"the instruction that starts here runs past the end of the code at {at(end)}")
    return FormError(end, "the code ends here without the `end` that closes it")


def _deeper(depth: int, offset: int) -> int:
    if depth > limits.NESTING:
        raise FormError(offset, f"found blocks nested more than {limits.NESTING} deep, expected at most that many")
    return depth + 1


def _rare_operator(data: bytes, offset: int) -> tuple[Operator, int]:
    """The operator with a prefix at `offset`, and the offset after it; refused ones raise."""
    number = data[offset]
    table: Mapping[int, Operator] = PLAIN
    shown, position = f"{number:#04x}", offset + 1
    if number in PREFIXED:
        table = PREFIXED[number]
        number, position = read_u32(data, position)
        shown = f"{shown} {number:#04x}"
    operator = table.get(number)
    if operator is None:
        raise FormError(offset, f"found the unknown operator {shown}, expected one of WebAssembly 2.0")
    if operator.feature in REFUSED:
        raise refusal(operator.feature, offset, operator.name)
    return operator, position


def _immediates(operator: Operator, data: bytes, position: int) -> tuple[Value, int]:
    """The immediates of an operator and the offset after them; their readers do not know whose they are."""
    try:
        return _READERS[operator.immediates](data, position)
    except FormError as error:
        raise FormError(error.offset, f"{operator.name}: {error.what}") from None


def _read_index(data: bytes, position: int) -> tuple[Value, int]:
    return read_u32(data, position)


def _read_block(data: bytes, position: int) -> tuple[Value, int]:
    """A block type is a signed 33-bit integer: one byte for no or one result, else a type's index."""
    byte = data[position]
    if byte == 0x40 or byte in VALUE_TYPES:
        return byte - 128, position + 1
    value, after = read_signed(data, position, 33)
    if value < 0:
        raise bad_type(byte, position)
    return value, after


def _read_memarg(data: bytes, position: int) -> tuple[tuple[int, int], int]:
    align, after = read_u32(data, position)
    if align >= _MEMORY_INDEX_FOLLOWS:
        if align < 2 * _MEMORY_INDEX_FOLLOWS:
            raise refusal(MULTI_MEMORY, position, "a memory's index")
        raise FormError(position, f"found 2^{align} as an alignment, expected at most 2^4")
    offset, after = read_u32(data, after)
    return (align, offset), after


def _read_memarg_lane(data: bytes, position: int) -> tuple[Value, int]:
    memarg, after = _read_memarg(data, position)
    return (*memarg, data[after]), after + 1


def _read_i32(data: bytes, position: int) -> tuple[Value, int]:
    byte = data[position]
    if byte < 0x40:
        return byte, position + 1
    return read_signed(data, position, 32)


def _read_i64(data: bytes, position: int) -> tuple[Value, int]:
    return read_signed(data, position, 64)


def _read_bytes(length: int) -> Callable[[bytes, int], tuple[Value, int]]:
    def read(data: bytes, position: int) -> tuple[Value, int]:
        return data[position : position + length], position + length

    return read


def _read_labels(data: bytes, position: int) -> tuple[Value, int]:
    """A count, that many labels, and the default; each takes at least one byte, so the data bounds them."""
    count, after = _bounded_count(data, position)
    labels = []
    for _ in range(count + 1):
        label, after = read_u32(data, after)
        labels.append(label)
    return tuple(labels), after


def _bounded_count(data: bytes, position: int) -> tuple[int, int]:
    count, after = read_u32(data, position)
    if count > len(data) - after:
        raise FormError(position, f"found a count of {count}, but only {len(data) - after} bytes follow")
    return count, after


def _read_pair(data: bytes, position: int) -> tuple[Value, int]:
    first, after = read_u32(data, position)
    second, after = read_u32(data, after)
    return (first, second), after


def _read_memory(data: bytes, position: int) -> tuple[Value, int]:
    """The memory's index. One zero byte, no longer form: engines without multi-memory want that."""
    if data[position]:
        raise refusal(MULTI_MEMORY, position, f"a memory's index that begins with {data[position]:#04x}")
    return None, position + 1


def _read_memory_pair(data: bytes, position: int) -> tuple[Value, int]:
    _, after = _read_memory(data, position)
    return _read_memory(data, after)


def _read_segment_memory(data: bytes, position: int) -> tuple[Value, int]:
    segment, after = read_u32(data, position)
    _, after = _read_memory(data, after)
    return segment, after


def _read_types(data: bytes, position: int) -> tuple[Value, int]:
    count, after = _bounded_count(data, position)
    if count != 1:
        raise FormError(position, f"found {count} types, expected 1")
    return (check_value_type(data[after], after),), after + 1


def _read_heap(data: bytes, position: int) -> tuple[Value, int]:
    value, after = read_signed(data, position, 33)
    if value >= 0:
        raise bad_type(0x63, position)
    return check_reference_type(data[position], position), after


def _read_lane(data: bytes, position: int) -> tuple[Value, int]:
    return data[position], position + 1


def _read_fence(data: bytes, position: int) -> tuple[Value, int]:
    if data[position]:
        raise FormError(position, f"found the byte {data[position]:#04x}, expected zero")
    return None, position + 1


_READERS: Final[Mapping[Immediate, Callable[[bytes, int], tuple[Value, int]]]] = {
    Immediate.INDEX: _read_index,
    Immediate.BLOCK: _read_block,
    Immediate.MEMARG: _read_memarg,
    Immediate.I32: _read_i32,
    Immediate.I64: _read_i64,
    Immediate.F32: _read_bytes(4),
    Immediate.F64: _read_bytes(8),
    Immediate.V128: _read_bytes(16),
    Immediate.LABELS: _read_labels,
    Immediate.INDEX_PAIR: _read_pair,
    Immediate.MEMORY: _read_memory,
    Immediate.MEMORY_PAIR: _read_memory_pair,
    Immediate.SEGMENT_MEMORY: _read_segment_memory,
    Immediate.TYPES: _read_types,
    Immediate.HEAP: _read_heap,
    Immediate.LANE: _read_lane,
    Immediate.MEMARG_LANE: _read_memarg_lane,
    Immediate.LANES: _read_bytes(16),
    Immediate.FENCE: _read_fence,
}

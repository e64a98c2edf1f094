"""Writes the binary format: integers, vectors, sections, and short pieces of code from text.

`assemble` turns text such as `local.get 0 i64.extend_i32_u call charge` into code, so that what the pass adds to a
module can be read where it is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from wavelock.core.form.immediates import Immediate
from wavelock.core.form.operators import BY_CODE, Operator

BY_NAME: Final[Mapping[str, Operator]] = {operator.name: operator for operator in [*BY_CODE.values()][::-1]}
"""Operators by name; of the two called `select`, the one without types."""
_BLOCK_TYPES: Final = {"void": 0x40, "i32": 0x7F, "i64": 0x7E, "f32": 0x7D, "f64": 0x7C, "v128": 0x7B}


@lru_cache(maxsize=4096)
def unsigned(value: int) -> bytes:
    """An unsigned LEB128 integer, as short as it can be."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


@lru_cache(maxsize=4096)
def signed(value: int) -> bytes:
    """A signed LEB128 integer, as short as it can be."""
    out = bytearray()
    while not -0x40 <= value < 0x40:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value & 0x7F)
    return bytes(out)


def name(text: str) -> bytes:
    """A name: its length in bytes, then UTF-8."""
    raw = text.encode()
    return unsigned(len(raw)) + raw


def vector(count: int, *parts: bytes) -> bytes:
    """A vector whose entries are written already."""
    return unsigned(count) + b"".join(parts)


def section(code: int, content: bytes) -> bytes:
    """A whole section."""
    return bytes((code,)) + unsigned(len(content)) + content


def opcode(operator: Operator) -> bytes:
    """An operator without its immediates."""
    prefix, number = operator.code >> 16, operator.code & 0xFFFF
    return bytes((prefix,)) + unsigned(number) if prefix else bytes((number,))


def assemble(text: str, symbols: Mapping[str, int | bytes] | None = None) -> bytes:
    """Code from text: operators' names, each followed by its immediates.

    An immediate is a decimal integer or one of `symbols`; a block's type is `void`, a value type, or bytes among the
    symbols; a constant of f32, f64 or v128 is bytes among the symbols. Comments go from `;;` to the end of the line.
    """
    symbols = symbols or {}
    words = " ".join(line.partition(";;")[0] for line in text.splitlines()).split()
    out, at = bytearray(), 0
    while at < len(words):
        operator = BY_NAME[words[at]]
        kinds = _IMMEDIATES[operator.immediates]
        out += opcode(operator)
        for place, kind in enumerate(kinds, at + 1):
            out += _immediate(kind, words[place], symbols)
        out += _FIXED.get(operator.immediates, b"")
        at += 1 + len(kinds)
    return bytes(out)


_IMMEDIATES: Final[Mapping[Immediate, str]] = {
    Immediate.NONE: "",
    Immediate.INDEX: "u",
    Immediate.BLOCK: "b",
    Immediate.MEMARG: "uu",
    Immediate.I32: "s",
    Immediate.I64: "s",
    Immediate.F32: "x",
    Immediate.F64: "x",
    Immediate.V128: "x",
    Immediate.INDEX_PAIR: "uu",
    Immediate.MEMORY: "",
    Immediate.HEAP: "",
    Immediate.LABELS: "x",
    Immediate.LANE: "u",
}
"""Immediates of the operators that the pass writes: unsigned, signed, block type, bytes."""
_FIXED: Final = {Immediate.MEMORY: b"\0", Immediate.HEAP: b"\x70"}


def _immediate(kind: str, word: str, symbols: Mapping[str, int | bytes]) -> bytes:
    value = symbols[word] if word in symbols else _BLOCK_TYPES.get(word)
    if value is None:
        value = int(word)
    if isinstance(value, bytes):
        return value
    if kind == "b":
        return bytes((value,))
    return signed(value) if kind == "s" else unsigned(value)


def declarations(locals_: Iterable[tuple[int, int]]) -> bytes:
    """What a body begins with. locals_: runs of (count, value type)."""
    runs = [unsigned(count) + bytes((code,)) for count, code in locals_]
    return vector(len(runs), *runs)


def sized(content: bytes) -> bytes:
    """Bytes with their number before them."""
    return unsigned(len(content)) + content


def function_body(locals_: Iterable[tuple[int, int]], code: bytes) -> bytes:
    """A whole body. locals_: runs of (count, value type); code: up to and with its `end`."""
    return sized(declarations(locals_) + code)

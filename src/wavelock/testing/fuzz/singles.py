"""Modules around one operator: operands are loaded from memory, the result is stored to memory, input after input."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random
from typing import Final, NamedTuple

from wavelock.core.form import features as f
from wavelock.core.form.emit import BY_NAME, assemble, name, opcode, unsigned, vector
from wavelock.core.form.immediates import Immediate
from wavelock.core.form.operators import BY_CODE, Operator
from wavelock.core.form.types import FunctionType
from wavelock.testing.fuzz import draft as d
from wavelock.testing.fuzz.draft import Draft
from wavelock.testing.fuzz.values import BITS, draw, seeded, specials

OPERAND_BYTES: Final = 16
SCRATCH_BYTES: Final = 64
_OPERANDS: Final = 3
_PAGE: Final = 1 << 16
_FEATURES: Final = (f.MVP, f.SIGN_EXTENSION, f.SATURATING_CONVERSION, f.SIMD, f.THREADS)
_KINDS: Final = (
    *(Immediate.NONE, Immediate.I32, Immediate.I64, Immediate.F32, Immediate.F64, Immediate.V128),
    *(Immediate.LANE, Immediate.LANES, Immediate.MEMARG, Immediate.MEMARG_LANE),
)
_LOAD: Final = {"i": "i32.load", "I": "i64.load", "f": "f32.load", "F": "f64.load", "v": "v128.load"}
_STORE: Final = {"i": "i32.store", "I": "i64.store", "f": "f32.store", "F": "f64.store", "v": "v128.store"}
_INPUTS_AT: Final = 64
"""Before it: how far a run is."""


def covered() -> list[Operator]:
    """Every numeric operator: those that take or give numbers and vectors, loads, stores, constants and atomics."""
    return [
        operator
        for operator in BY_CODE.values()
        if operator.feature in _FEATURES and operator.immediates in _KINDS and len(operator.signature) > 1
    ]


class Single(NamedTuple):
    """A module around one operator. Exports `run N`, one for each variant: (first input i64) -> (), and `at`."""

    operator: Operator
    module: bytes
    variants: tuple[bytes, ...]
    """The immediates of each."""
    inputs: tuple[tuple[int, ...], ...]
    """Bits of the operands."""

    def result(self, memory: memoryview, variant: int, number: int) -> bytes:
        """What a variant left for an input: 16 bytes of result, 64 of the memory that it may have written to."""
        out, scratch = _places(len(self.inputs), variant)
        first, second = out + number * OPERAND_BYTES, scratch + number * SCRATCH_BYTES
        return bytes(memory[first : first + OPERAND_BYTES]) + bytes(memory[second : second + SCRATCH_BYTES])


def single(operator: Operator, seed: int, inputs: int) -> Single:
    """The module of an operator, on so many inputs that follow from the seed."""
    random = seeded(f"{seed} {operator.name}")
    variants = tuple(_variants(operator, random))
    columns = [_column(operator, at, random, inputs) for at in range(operator.signature.index(":"))]
    rows = tuple(tuple(column[row] for column in columns) for row in range(inputs))
    return Single(operator, _module(operator, variants, rows, random), variants, rows)


def _column(operator: Operator, position: int, random: Random, count: int) -> list[int]:
    """One operand's values: an address inside the input's own piece of memory mostly, or special numbers, then any."""
    letter = operator.signature[position]
    if position == 0 and _in_memory(operator):
        return [_address(random) for _ in range(count)]
    known = list(specials(letter))
    random.shuffle(known)
    return known[:count] + [draw(random, letter) for _ in range(count - len(known))]


def _address(random: Random) -> int:
    """Relative to the input's piece of memory; a large one is out of bounds."""
    if random.random() < 0.1:
        return random.choice((0x7FFFFFFF, 0xFFFFFF00, 0xFFFFFFFF - (1 << 20)))
    return random.choice((0, 8, 16, 24, 32, random.randrange(40)))


def _in_memory(operator: Operator) -> bool:
    return operator.immediates in (Immediate.MEMARG, Immediate.MEMARG_LANE)


# ---- immediates ----


def _variants(operator: Operator, random: Random) -> list[bytes]:
    kind = operator.immediates
    if kind is Immediate.NONE:
        return [b""]
    if kind is Immediate.LANE:
        return [bytes((lane,)) for lane in (0, _lanes(operator) - 1)]
    if kind is Immediate.LANES:
        return [bytes(range(31, 15, -1)), bytes(random.randrange(32) for _ in range(16))]
    if kind is Immediate.MEMARG:
        return [unsigned(_alignment(operator)) + unsigned(offset) for offset in (0, 8)]
    if kind is Immediate.MEMARG_LANE:
        return [b"\0\0" + bytes((lane,)) for lane in (0, _lanes(operator) - 1)]
    if kind in (Immediate.I32, Immediate.I64):
        return [b"\x00", b"\x7f", b"\xff\xff\xff\xff\x07"]
    letter = operator.signature[-1]
    bits = [*specials(letter)[:6], *(draw(random, letter) for _ in range(4))]
    return [each.to_bytes(BITS[letter] // 8, "little") for each in bits]


def _lanes(operator: Operator) -> int:
    if operator.immediates is Immediate.MEMARG_LANE:
        return 128 // int(re.findall(r"\d+", operator.name)[-1])
    return int(operator.name.partition(".")[0].partition("x")[2])


def _alignment(operator: Operator) -> int:
    """The exponent: an atomic must name its own size, the others may name any that is less."""
    if ".atomic." not in operator.name:
        return 0
    if operator.name == "memory.atomic.notify":
        return 2
    head, _, tail = operator.name.partition(".atomic.")
    numbers = re.findall(r"\d+", tail) or re.findall(r"\d+", head)
    return (int(numbers[0]) // 8).bit_length() - 1


# ---- the module ----


def _places(inputs: int, variant: int) -> tuple[int, int]:
    """Where a variant's results and pieces of memory begin."""
    out = _INPUTS_AT + inputs * (_OPERANDS * OPERAND_BYTES + variant * (OPERAND_BYTES + SCRATCH_BYTES))
    return out, out + inputs * OPERAND_BYTES


def _module(operator: Operator, variants: Sequence[bytes], rows: Sequence[Sequence[int]], random: Random) -> bytes:
    result = Draft()
    size = _places(len(rows), len(variants))[0]
    result.sections[d.MEMORIES] = vector(1, b"\x00" + unsigned(-(-size // _PAGE)))
    result.add(d.EXPORTS, name("memory") + b"\x02\x00")
    for variant, immediates in enumerate(variants):
        out, scratch = _places(len(rows), variant)
        code = _loop(operator, immediates, len(rows), out, scratch)
        result.add_function(f"run {variant}", FunctionType(b"\x7e", b""), code, b"\x7f")
    result.add_function("at", FunctionType(b"", b"\x7e"), assemble("i32.const 0 i32.load 2 0 i64.extend_i32_u"))
    content = b"".join(_packed(row) for row in rows)
    result.add(d.DATA, b"\x00" + assemble(f"i32.const {_INPUTS_AT} end") + vector(len(content), content))
    if _in_memory(operator):
        for variant in range(len(variants)):
            start = assemble(f"i32.const {_places(len(rows), variant)[1]} end")
            content = b"".join(_scratch(random) for _ in rows)
            result.add(d.DATA, b"\x00" + start + vector(len(content), content))
    return result.written()


def _scratch(random: Random) -> bytes:
    """An input's own piece of memory: often all alike, so that an exchange finds what it expects."""
    if random.random() < 0.5:
        return random.choice((b"\x00", b"\xff")) * SCRATCH_BYTES
    return random.randbytes(SCRATCH_BYTES)


def _packed(row: Sequence[int]) -> bytes:
    return b"".join(bits.to_bytes(OPERAND_BYTES, "little") for bits in row).ljust(_OPERANDS * OPERAND_BYTES, b"\0")


def _loop(operator: Operator, immediates: bytes, inputs: int, out: int, scratch: int) -> bytes:
    """Local 1 is the input's number; it is in memory at 0 as well, so that a trap tells which input it was."""
    head = f"""
        local.get 0 i32.wrap_i64 local.set 1
        loop void
        local.get 1 i32.const {inputs} i32.ge_u if void return end
        i32.const 0 local.get 1 i32.store 2 0
    """
    tail = "local.get 1 i32.const 1 i32.add local.set 1 br 0 end"
    return assemble(head) + _applied(operator, immediates, out, scratch) + assemble(tail)


def _applied(operator: Operator, immediates: bytes, out: int, scratch: int) -> bytes:
    operands, _, results = operator.signature.partition(":")
    text = f"local.get 1 i32.const {OPERAND_BYTES} i32.mul " if results else ""
    for at, letter in enumerate(operands):
        text += f"local.get 1 i32.const {_OPERANDS * OPERAND_BYTES} i32.mul "
        text += f"{_LOAD[letter]} 0 {_INPUTS_AT + at * OPERAND_BYTES} "
        if at == 0 and _in_memory(operator):
            text += f"local.get 1 i32.const {SCRATCH_BYTES} i32.mul i32.add i32.const {scratch} i32.add "
    code = assemble(text) + opcode(operator) + immediates
    return code + (opcode(BY_NAME[_STORE[results]]) + b"\0" + unsigned(out) if results else b"")

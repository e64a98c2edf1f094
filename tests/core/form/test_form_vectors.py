"""The vector operators that are written in terms of others: the same bits as the engine's own."""

from __future__ import annotations

import random
import struct
from functools import cache

import pytest
import wasmtime

from core.form.running import NAN32, NAN64, Running, rewrite
from wavelock.core.form.decode import instructions
from wavelock.core.form.emit import BY_NAME
from wavelock.core.form.sections import read_module
from wavelock.core.form.vectors import LOWERED, lowered

NAMES = sorted(LOWERED)
EDGES = {
    1: (0, 1, 0x7F, 0x80, 0xFF, 0x0F, 0xF0, 0x55),
    2: (0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF, 0x4000, 0xC000, 0x00FF),
    4: (
        0,
        1,
        0x7FFFFFFF,
        0x80000000,
        0xFFFFFFFF,
        0x3F800000,
        0x7F800000,
        0xFF800000,
        0x00000001,
        0x4F000000,
        0x7F7FFFFF,
    ),
    8: (
        *(0, 1, 2**63, 2**64 - 1, 0x7FF0000000000000, 0xFFF0000000000000, 0x3FF8000000000000),
        *struct.unpack(
            "<9Q", struct.pack("<9d", 2**31, 2**32, -1.5, -(2.0**31) - 1, 2**31 - 0.5, 4294967295.5, -0.9, 1e39, 1e-46)
        ),
    ),
}


@cache
def instances() -> tuple[Running, Running]:
    """The original and the form of a module with a function for each operator: from 0 and 16 to 64."""
    functions = []
    for name in NAMES:
        count = len(BY_NAME[name].signature.partition(":")[0])
        operands = " ".join(f"(v128.load (i32.const {16 * at}))" for at in range(count))
        functions.append(f'(func (export "{name}") (v128.store (i32.const 64) ({name} {operands})))')
    text = f'(memory (export "memory") 1) {" ".join(functions)}'
    return Running(text, rewritten=False), Running(text)


def vectors(chance: random.Random) -> bytes:
    if chance.random() < 0.3:
        return chance.randbytes(16)
    width = chance.choice((1, 2, 4, 8))
    return b"".join(chance.choice(EDGES[width]).to_bytes(width, "little") for _ in range(16 // width))


def canonical(name: str, bits: bytes) -> bytes:
    """The engine's own result may have any NaN."""
    if name == "f64x2.promote_low_f32x4":
        return struct.pack(
            "<QQ", *(NAN64 if lane & 2**63 - 1 > 0x7FF << 52 else lane for lane in struct.unpack("<QQ", bits))
        )
    if name == "f32x4.demote_f64x2_zero":
        return struct.pack(
            "<4I", *(NAN32 if lane & 2**31 - 1 > 0xFF << 23 else lane for lane in struct.unpack("<4I", bits))
        )
    return bits


@pytest.mark.parametrize("name", NAMES)
def test_a_lowered_operator_gives_the_same_bits(name: str) -> None:
    chance = random.Random(name)
    original, running = instances()
    seen = set()
    for _ in range(150):
        values = vectors(chance) + vectors(chance)
        original.write(0, values)
        running.write(0, values)
        original.raw(name)
        assert running.call(name).results == ()
        expected = canonical(name, original.read(64, 16))
        assert running.read(64, 16) == expected, values.hex()
        seen.add(expected)
    assert len(seen) > 20


def test_there_are_27() -> None:
    assert len(NAMES) == 27


@pytest.mark.parametrize("name", NAMES)
def test_none_is_left_in_the_form_nor_in_what_stands_for_it(name: str) -> None:
    code = lowered(name, 0, 1) + b"\x0b"
    assert not {operator.name for _, operator, _ in instructions(code, 0, len(code))} & LOWERED.keys()
    count = len(BY_NAME[name].signature.partition(":")[0])
    data = rewrite(
        f"(func (param v128 v128) (drop ({name} {' '.join(f'(local.get {at})' for at in range(count))})))"
    ).module
    engine = wasmtime.Engine()
    wasmtime.Module.validate(engine, data)
    body = lines(data)
    assert body
    assert not body & LOWERED.keys()


def lines(data: bytes) -> set[str]:
    """Names of the operators in function 0; the form's own exports have names that are no module's, so sections are read."""
    module = read_module(data)
    return {operator.name for _, operator, _ in instructions(data, module.bodies[0].code, module.bodies[0].end)}

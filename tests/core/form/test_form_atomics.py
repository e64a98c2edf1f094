"""Atomic operators on plain memory: what wasmtime does with shared memory, but for the form's own faults."""

from __future__ import annotations

import random
import struct
from functools import cache

import pytest
import wasmtime

from core.form.running import PLAIN, Running, wasm
from wavelock.core.abi import Fault
from wavelock.core.form.operators import BY_CODE, Operator
from wavelock.core.form.steps import STEPS

ATOMICS = [o for o in BY_CODE.values() if o.feature == "threads" and o.name != "atomic.fence"]
TYPES = {"i": "i32", "I": "i64"}
OFFSETS = (0, 3, 8, 65528, 2**31, 2**32 - 8)
PAGE = 65536


@cache
def text() -> str:
    """A function for each operator and offset, and two to look at the memory."""
    functions = []
    for operator in ATOMICS:
        takes, _, gives = operator.signature.partition(":")
        params = " ".join(f"(param {TYPES[letter]})" for letter in takes)
        operands = " ".join(f"(local.get {at})" for at in range(len(takes)))
        results = f"(result {TYPES[gives]})" if gives else ""
        functions += [
            f'(func (export "{operator.name} {offset}") {params} {results}'
            f" ({operator.name} offset={offset} {operands}))"
            for offset in OFFSETS
        ]
    return f"""(module (memory 1 1 shared) {" ".join(functions)}
      (func (export "poke") (param i32 i64) (i64.store (local.get 0) (local.get 1)))
      (func (export "peek") (param i32) (result i64) (atomic.fence) (i64.load (local.get 0))))"""


class Original:
    """The module as it is, with a shared memory."""

    def __init__(self) -> None:
        self.store = wasmtime.Store(PLAIN)
        module = wasmtime.Module(PLAIN, wasm(text()))
        self.exports = wasmtime.Instance(self.store, module, []).exports(self.store)

    def call(self, name: str, *arguments: int) -> int | None:
        function = self.exports[name]
        assert isinstance(function, wasmtime.Func)
        found: int | None = function(self.store, *arguments)
        return found


@pytest.fixture(scope="module")
def original() -> Original:
    return Original()


@pytest.fixture(scope="module")
def running() -> Running:
    return Running(text())


def operands(chance: random.Random, operator: Operator, word: int) -> list[int]:
    """Operands behind the address; one of two is what the memory has."""
    takes = operator.signature.partition(":")[0][1:]
    if "wait" in operator.name:
        size = 1 << STEPS[operator.code].alignment
        here = int.from_bytes(struct.pack("<q", word)[:size], "little", signed=True)
        return [here if chance.random() < 0.5 else here ^ 1, 0]
    found = []
    for letter in takes:
        bits = 32 if letter == "i" else 64
        value = word if chance.random() < 0.5 else chance.getrandbits(64)
        value ^= chance.getrandbits(64) << 8 * chance.choice((1, 2, 4, 8))
        value &= (1 << bits) - 1
        found.append(value - (value >> (bits - 1) << bits))
    return found


@pytest.mark.parametrize("operator", ATOMICS, ids=lambda operator: str(operator.name))
def test_results_and_memory_are_the_originals(operator: Operator, original: Original, running: Running) -> None:
    chance = random.Random(operator.code)
    for number in range(30):
        base, word = chance.randrange(0, 64, 8), chance.getrandbits(64) - (1 << 63)
        offset = OFFSETS[(0, 2)[number % 2]]
        shift = chance.randrange(0, 8, 1 << STEPS[operator.code].alignment)
        arguments = [base + shift, *operands(chance, operator, word >> 8 * shift)]
        original.call("poke", base + offset, word)
        assert running.call("poke", base + offset, word).results == ()
        expected = original.call(f"{operator.name} {offset}", *arguments)
        found = running.call(f"{operator.name} {offset}", *arguments).results
        bits = 64 if operator.signature.endswith("I") else 32
        assert found == (() if expected is None else (expected & (1 << bits) - 1,))
        assert running.call("peek", base + offset).results == ((original.call("peek", base + offset) or 0) % 2**64,)


@pytest.mark.parametrize("operator", ATOMICS, ids=lambda operator: str(operator.name))
def test_faults(operator: Operator, original: Original, running: Running) -> None:
    """An address that is not aligned, even one out of bounds, is the form's own fault; the rest the engine's trap."""
    size = 1 << STEPS[operator.code].alignment
    others = [0] * (len(operator.signature.partition(":")[0]) - 1)
    trapped = 0
    for offset in OFFSETS:
        for base in (0, 1, 2, 4, 5, 8, PAGE - 8, PAGE - size, PAGE - size + 1, PAGE, 2**31 - 1, -(2**31), -8, -5, -1):
            address = (base & 0xFFFFFFFF) + offset
            outcome = running.call(f"{operator.name} {offset}", base, *others)
            if address % size == 0 and address + size <= PAGE:
                assert outcome.results is not None
                continue
            trapped += 1
            with pytest.raises(wasmtime.Trap):
                original.call(f"{operator.name} {offset}", base, *others)
            assert outcome.results is None
            if address % size:
                assert outcome.fault == Fault.MISALIGNED_ATOMIC
            else:
                assert (outcome.fault, outcome.trap) == (0, "out of bounds memory access")
    assert trapped > 30


def test_a_fence_does_nothing_and_costs_nothing() -> None:
    running = Running('(func (export "f") (atomic.fence))')
    assert running.call("f", fuel=0)[:3] == ((), 0, 0)

"""Random programs: the form on wasmtime does what the original does in the reference interpreter, at the same fuel."""

from __future__ import annotations

import pytest

from core.form.programs import Program
from core.form.running import Outcome, Running, rewrite, valid, wasm
from wavelock.core.abi import Fault
from wavelock.wasm_engines.reference.oracle import Oracle

FUEL = 1 << 20


def check(data: bytes, argument: int) -> int:
    """Runs both; the fuel used."""
    oracle, running = Oracle(data), Running(data)
    expected, found = oracle.call("f", (argument,), fuel=FUEL), running.call("f", argument, fuel=FUEL)
    assert found == Outcome(expected.results, expected.fuel_used, expected.fault)
    assert running.read(0, len(oracle.memory)) == bytes(oracle.memory)
    return expected.fuel_used


@pytest.mark.parametrize("seed", range(100))
def test_random_programs(seed: int) -> None:
    data = wasm(Program(seed, functions=2 + seed % 8).text)
    assert valid(data)
    total = check(data, seed % 3)
    enough, less = Running(data), Running(data)
    assert enough.call("f", seed % 3, fuel=total)[:3] == Running(data).call("f", seed % 3)[:3]
    if total:
        assert less.call("f", seed % 3, fuel=total - 1)[:3] == (None, total - 1, Fault.FUEL)


def test_the_same_seed_gives_the_same_program_and_another_another() -> None:
    assert Program(7).text == Program(7).text
    assert Program(7).text != Program(8).text


def test_the_programs_are_not_trivial() -> None:
    found = [rewrite(Program(seed).text) for seed in range(40)]
    assert sum(each.segments for each in found) > 40 * 20

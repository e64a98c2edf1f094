"""Random programs: the oracle on the original, the rewritten module on the interpreter and on wasmtime."""

from __future__ import annotations

from random import Random

import pytest

from wasm_engines.reference.forms import Trio
from wasm_engines.reference.random_programs import Writer
from wavelock.core.form import FormOptions

BUDGETS = (30, 300, 3000, 20_000)
"""Each run has a budget below one of these: where a program ends by fuel is anywhere in it."""


@pytest.mark.parametrize("seed", range(16))
def test_a_random_program_ends_alike(seed: int) -> None:
    """Results, fault, fuel, memory and globals."""
    chance = Random(seed)
    options = FormOptions(memory_pages=chance.choice((1, 2, 9)), stack_bytes=chance.choice((1000, 4000, 131_072)))
    trio = Trio(Writer(seed).program(), options)
    for budget in BUDGETS:
        arguments = [chance.choice((0, 1, 5, chance.getrandbits(32))), chance.getrandbits(64)]
        trio.run("f", arguments, chance.randrange(budget))

"""Every operator in its deterministic form: the rewritten module on wasmtime gives the bits that the oracle gives."""

from __future__ import annotations

import pytest
import wasmtime

from wasm_engines.reference.accesses import ACCESSES, OFFSETS, access, length
from wasm_engines.reference.beside import module
from wasm_engines.reference.forms import ENGINE, Ended, OnWasmtime, Trio
from wasm_engines.reference.operands import CASES, MAKES_NAN, RECORDS, TRAPS, Case, filling, function
from wavelock.core.abi import Fault
from wavelock.core.form import rewrite_module
from wavelock.core.form.limits import PAGE_BYTES
from wavelock.core.form.reserved import BUDGET, LEFT
from wavelock.wasm_engines.reference.oracle import Oracle


@pytest.mark.parametrize("name", [name for name in ACCESSES if ".atomic." in name])
def test_atomics_become_plain(name: str) -> None:
    operator = ACCESSES[name]
    functions = "".join(access(operator, offset, "") for offset in OFFSETS)
    data = "".join(f"\\{number % 251:02x}" for number in range(400))
    atomic = Trio(f'(module (memory (export "memory") 1 1 shared) (data (i32.const 0) "{data}") {functions})')
    ended = {
        atomic.run(str(offset), [address]).fault
        for offset, address in (
            *(
                (0, 128),
                (0, 129),
                (0, PAGE_BYTES - 8),
                (0, PAGE_BYTES - 4),
                (0, PAGE_BYTES - 1),
                (0, PAGE_BYTES),
                (0, 0xFFFFFFF8),
            ),
            *((5, 123), (5, 124), (8, 0xFFFFFFF8), (0xFFFFFFFF, 1), (0xFFFFFFFF, 129), (0xFFFFFFFF, 0xFFFFFFFF)),
        )
    }
    aligned = {Fault.MISALIGNED_ATOMIC} if length(operator) > 1 else set()
    assert ended == {Fault.NONE, Fault.MEMORY_BOUNDS} | aligned


@pytest.mark.parametrize("name", [name for name in ACCESSES if "cmpxchg" in name])
def test_a_compare_exchange_becomes_plain(name: str) -> None:
    kind = name[:3]
    exchange = Trio(f"""(module (memory (export "memory") 1) (data (i32.const 8) "\\11\\11\\11\\11\\11\\11\\11\\11")
      (func (export "f") (param {kind} {kind}) (result {kind})
        ({name} (i32.const 8) (local.get 0) (local.get 1))))""")
    for expected in (0x11, 0x1111, 0x11111111, 0x1111111111111111, 0x12, 0x1100000011, 0):
        exchange.run("f", [expected, 0xABABABABABABABAB])


@pytest.mark.parametrize("expected", [5, 6])
@pytest.mark.parametrize("bits", [32, 64])
def test_a_wait_becomes_an_answer(bits: int, expected: int) -> None:
    wait = Trio(f"""(module (memory (export "memory") 1 1 shared) (data (i32.const 8) "\\05")
      (func (export "f") (param i32 i64) (result i32)
        (memory.atomic.wait{bits} (local.get 0) (i{bits}.const {expected}) (local.get 1))))""")
    assert wait.sweep("f", [8, -1]) == Ended((2 if expected == 5 else 1,), Fault.NONE, 1)
    assert wait.sweep("f", [9, 0]).fault == Fault.MISALIGNED_ATOMIC
    assert wait.sweep("f", [PAGE_BYTES, 0]).fault == Fault.MEMORY_BOUNDS


class Everything:
    """Every operator in one module: the original on the oracle, the form on wasmtime."""

    def __init__(self) -> None:
        functions = "\n".join(map(function, CASES.values()))
        original = module(f'(module (memory (export "memory") 1) {functions})')
        self.oracle = Oracle(original)
        form = rewrite_module(original, "test", abi=False).module
        self.engine = OnWasmtime(ENGINE, wasmtime.Module(ENGINE, form))

    def run(self, case: Case, records: int) -> None:
        operands = filling(case)
        self.oracle.memory[: len(operands)] = operands
        self.engine.write(operands)
        self.engine.call(BUDGET, 1 << 40)
        outcome = self.oracle.call(case.text, [0, records], fuel=1 << 40)
        self.engine.call(case.text, 0, records)
        assert outcome.fault == Fault.NONE
        assert self.engine.call(LEFT)[0] == (1 << 40) - outcome.fuel_used
        assert self.engine.memory() == self.oracle.memory


@pytest.fixture(scope="session")
def everything() -> Everything:
    return Everything()


@pytest.mark.parametrize("text", [text for text, case in CASES.items() if case.operator.name not in TRAPS])
def test_an_operator_in_its_form_gives_the_oracles_bits(everything: Everything, text: str) -> None:
    """NaNs included: they are stored, so that their bits show."""
    makes_nan = CASES[text].operator.name in MAKES_NAN
    everything.run(CASES[text], RECORDS // 2 if makes_nan else 8)

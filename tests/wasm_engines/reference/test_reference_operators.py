"""Every operator without state, against wasmtime: to the bit."""

from __future__ import annotations

import pytest

from wasm_engines.reference.beside import Pair
from wasm_engines.reference.operands import CASES, RECORDS, TRAPS, canonical, filling, function, results
from wavelock.core.abi import Fault
from wavelock.core.form.features import REFUSED
from wavelock.core.form.immediates import Immediate
from wavelock.core.form.operators import BY_CODE
from wavelock.wasm_engines.reference.plain import OPERATIONS


@pytest.fixture(scope="session")
def pair() -> Pair:
    functions = "\n".join(map(function, CASES.values()))
    return Pair(f'(module (memory (export "memory") 1) {functions})')


@pytest.mark.parametrize("text", [text for text, case in CASES.items() if case.operator.name not in TRAPS])
def test_an_operator_gives_the_bits_that_wasmtime_gives(pair: Pair, text: str) -> None:
    case = CASES[text]
    pair.write(0, filling(case))
    assert pair.call(text, 0, RECORDS) == ()
    expected = [canonical(case, value) for value in results(case, pair.their_memory)]
    assert results(case, pair.our_memory) == expected


@pytest.mark.parametrize("text", [text for text, case in CASES.items() if case.operator.name in TRAPS])
def test_an_operator_traps_where_wasmtime_does(pair: Pair, text: str) -> None:
    case = CASES[text]
    pair.write(0, filling(case))
    ended = {pair.call(text, record, 1) for record in range(RECORDS)}
    assert results(case, pair.our_memory) == results(case, pair.their_memory)
    assert () in ended
    if "trunc" in text:
        assert ended == {(), Fault.BAD_CONVERSION, Fault.INTEGER_OVERFLOW}
    else:
        assert Fault.DIVISION_BY_ZERO in ended
        assert (Fault.INTEGER_OVERFLOW in ended) == text.endswith("div_s")


def test_every_operator_with_operands_and_a_result_is_covered() -> None:
    """Those that are not are control flow, or touch state: other tests have them."""
    covered = {case.operator.name for case in CASES.values()}
    left = {
        operator.name
        for operator in BY_CODE.values()
        if operator.feature not in REFUSED and operator.immediates in (Immediate.NONE, Immediate.LANE, Immediate.LANES)
        if operator.name not in covered
    }
    assert left == {"unreachable", "nop", "else", "end", "return", "drop", "select", "ref.is_null"}
    assert covered == OPERATIONS.keys() & {operator.name for operator in BY_CODE.values()}

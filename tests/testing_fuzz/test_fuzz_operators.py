"""Every operator by itself: one hash over all results, the same on every engine and every Python."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import wasmtime

from testing_fuzz.broken import Broken
from wavelock.core.form.emit import BY_NAME
from wavelock.core.form.operators import BY_CODE
from wavelock.testing.fuzz.operators import INPUTS, PINNED_SEED, Results, fuzz_operators, run_single
from wavelock.testing.fuzz.singles import covered, single
from wavelock.testing.fuzz.subjects import Open, Prepared, Subject
from wavelock.testing.fuzz.values import F32, F64, draw, seeded, specials

PINNED = json.loads((Path(__file__).parent / "operators.json").read_text())
FLOATS = {"f32": 32, "f64": 64, "f32x4": 32, "f64x2": 64}
NAN_MAKERS = ["add", "sub", "mul", "div", "sqrt", "min", "max", "ceil", "floor", "trunc", "nearest"]


def test_the_results_are_the_pinned_ones_on_every_engine(engines: dict[str, Open]) -> None:
    compared = {name: opened for name, opened in engines.items() if name in ("wasmtime", "wasmer", "reference")}
    summary = fuzz_operators(PINNED_SEED, INPUTS, compared)
    assert summary.findings == []
    assert summary.modules == PINNED["operators"]
    assert summary.calls == PINNED["results"]
    assert summary.digests == PINNED["digests"], "results changed: say why in the changelog"


def test_the_oracle_agrees_on_other_inputs(engines: dict[str, Open]) -> None:
    compared = {name: engines[name] for name in ("wasmtime", "oracle")}
    some = covered()[::3]
    summary = fuzz_operators(PINNED_SEED + 1, 24, compared, some)
    assert summary.findings == []
    assert summary.engines == {"wasmtime": len(some), "oracle": len(some)}


def test_all_numeric_operators_are_covered() -> None:
    names = {operator.name for operator in covered()}
    left_out = {operator.name for operator in BY_CODE.values() if operator.signature and operator.name not in names}
    assert left_out == {
        *("nop", "memory.size", "memory.grow", "memory.init", "memory.copy", "memory.fill", "data.drop"),
        *("table.init", "elem.drop", "table.copy", "table.size", "atomic.fence"),
    }
    assert {f"{lanes}.{name}" for lanes in FLOATS for name in NAN_MAKERS} <= names
    assert len(names) == PINNED["operators"]


def _lanes(content: bytes, bits: int) -> list[int]:
    return [int.from_bytes(content[at : at + bits // 8], "little") for at in range(0, 16, bits // 8)]


def _is_nan(lane: int, bits: int) -> bool:
    mantissa = 23 if bits == 32 else 52
    magnitude = lane & ~(1 << (bits - 1))
    return magnitude > ((1 << (bits - 1 - mantissa)) - 1) << mantissa


@pytest.mark.parametrize("lanes", FLOATS)
def test_nans_that_are_made_are_canonical_and_positive(lanes: str, engines: dict[str, Open]) -> None:
    bits = FLOATS[lanes]
    canonical = 0x7FC00000 if bits == 32 else 0x7FF8000000000000
    for name in NAN_MAKERS:
        (results,) = _run(f"{lanes}.{name}", engines["wasmtime"])
        nans = [lane for result in results for lane in _lanes(result.content[:16], bits) if _is_nan(lane, bits)]
        assert set(nans) == {canonical}, f"{lanes}.{name} makes a NaN of a NaN"


def test_operators_that_make_no_nan_leave_its_bits(engines: dict[str, Open]) -> None:
    tried = single(BY_NAME["f32.neg"], 1, 64)
    (results,) = _run("f32.neg", engines["wasmtime"], 64)
    for (bits,), result in zip(tried.inputs, results, strict=True):
        assert int.from_bytes(result.content[:4], "little") == bits ^ 1 << 31


def _run(name: str, opened: Open, inputs: int = INPUTS) -> Results:
    found = run_single(single(BY_NAME[name], 1, inputs), opened)
    assert found is not None
    return found


def test_a_trap_ends_one_input_alone(engines: dict[str, Open]) -> None:
    (results,) = _run("i32.div_s", engines["wasmtime"])
    labels = [result.fault.label for result in results]
    assert "division by zero" in labels
    assert "none" in labels[labels.index("division by zero") + 1 :]


def test_an_engine_that_computes_otherwise_is_found(engines: dict[str, Open]) -> None:
    def opened(prepared: Prepared) -> Callable[[], Subject]:
        make = engines["wasmtime"](prepared)
        assert make is not None
        return lambda: _Flipped(make())

    both = {"wasmtime": engines["wasmtime"], "wrong": opened}
    summary = fuzz_operators(1, 6, both, covered()[:12])
    assert len(summary.findings) == 12
    first = summary.findings[0]
    assert first.seed.startswith("1 i32.load")
    assert first.what[0].startswith("wrong: i32.load")
    assert first.what[-1] == "and 8 more", "two variants of six inputs each, of which four are shown"


class _Flipped(Broken):
    """Flips a bit in every byte of the memory that it shows."""

    def memory(self) -> memoryview:
        return memoryview(bytes(each ^ 1 for each in self.sound.memory()))


@pytest.mark.parametrize("number", range(0, len(covered()), 25))
def test_the_modules_are_valid(number: int) -> None:
    wasmtime.Module.validate(wasmtime.Engine(), single(covered()[number], 1, 3).module)


def test_special_values_have_nans_of_both_signs_quiet_and_signalling() -> None:
    for values, bits, quiet in ((F32, 32, 1 << 22), (F64, 64, 1 << 51)):
        nans = [each for each in values if _is_nan(each, bits)]
        kinds = {(each >> (bits - 1), bool(each & quiet)) for each in nans}
        assert kinds == {(0, False), (0, True), (1, False), (1, True)}
        assert len(nans) == len(set(nans)) == 12
        assert {0, 1, 1 << (bits - 1)} <= set(values)


@pytest.mark.parametrize(("letter", "bits"), [("i", 32), ("I", 64), ("f", 32), ("F", 64), ("v", 128)])
def test_drawn_values_fit_their_type_and_are_often_special(letter: str, bits: int) -> None:
    random = seeded("draw")
    drawn = [draw(random, letter) for _ in range(300)]
    assert all(0 <= each < 1 << bits for each in drawn)
    assert all(0 <= each < 1 << bits for each in specials(letter))
    if letter != "v":
        assert sum(each in specials(letter) for each in drawn) > 150

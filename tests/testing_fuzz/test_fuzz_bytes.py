"""Damaged modules: the pass refuses them or makes valid ones, and never anything else."""

from __future__ import annotations

from pathlib import Path
from random import Random

import wasmtime
from wasmtime import wat2wasm

from wavelock.core.errors import ModuleError
from wavelock.testing.fuzz.binaryen import Binaryen
from wavelock.testing.fuzz.campaign import Range
from wavelock.testing.fuzz.check import case_of
from wavelock.testing.fuzz.damage import damage, fuzz_bytes, problems
from wavelock.testing.fuzz.floats import FloatModules
from wavelock.testing.fuzz.subjects import Open
from wavelock.testing.fuzz.summary import Summary
from wavelock.testing.fuzz.values import seeded


def test_damaged_modules_are_refused_or_do_the_same_everywhere(binaryen: Binaryen, engines: dict[str, Open]) -> None:
    assert binaryen.version
    summary = fuzz_bytes(Range(1, 0, 150), engines)
    assert summary.findings == []
    assert summary.modules == 150
    assert 0 < summary.engines["wasmtime"] == summary.engines["oracle"] <= 150 - summary.refused


def test_damaged_float_modules_are_refused_or_do_the_same_everywhere(engines: dict[str, Open]) -> None:
    maker, engine, summary = FloatModules(), wasmtime.Engine(), Summary("bytes")
    compared = {name: engines[name] for name in ("wasmtime", "oracle")}
    for number in range(150):
        random = seeded(f"damage {number}")
        case = case_of(damage(maker.make(maker.recipe(random)), random), f"{number}")
        assert problems(case, engine, compared, summary) == ()
    assert 0 < summary.refused < 150


def test_damage_follows_from_its_random_numbers_and_leaves_the_header() -> None:
    module = bytes(wat2wasm("(module (func (result i32) i32.const 1))"))
    found = [damage(module, Random(number)) for number in range(100)]
    assert found == [damage(module, Random(number)) for number in range(100)]
    assert all(each.startswith(module[:8]) for each in found)
    assert len(set(found)) > 50
    assert damage(module[:8], Random(1)).startswith(module[:8])


def _crash(module: bytes) -> bytes:
    if len(module) % 3 == 0:
        raise ModuleError("refused")
    raise KeyError(7)


def test_a_pass_that_raises_something_else_is_a_finding() -> None:
    engine, summary = wasmtime.Engine(), Summary("bytes")
    assert problems(case_of(b"1", "1"), engine, {}, summary, _crash) == ("the pass raised KeyError: 7",)
    assert problems(case_of(b"123", "1"), engine, {}, summary, _crash) == ()
    assert summary.refused == 1


def test_a_module_that_is_not_valid_is_a_finding() -> None:
    engine, summary = wasmtime.Engine(), Summary("bytes")
    sound, wrong = bytes(wat2wasm("(module)")), b"\0asm\x01\0\0\0\x01\x01\x07"
    good, bad = case_of(sound, "1"), case_of(wrong, "1")
    assert problems(good, engine, {}, summary, lambda module: module) == ()
    assert "the rewritten module is not valid" in problems(good, engine, {}, summary, lambda _: wrong)[0]
    assert "the module is not valid" in problems(bad, engine, {}, summary, lambda _: sound)[0]


def test_a_finding_is_saved(tmp_path: Path, binaryen: Binaryen) -> None:
    assert binaryen.version
    seen: list[int] = []

    def tell(summary: Summary) -> None:
        seen.append(summary.modules)

    summary = fuzz_bytes(Range(2, 0, 6), {}, keep=tmp_path, progress=tell, form=_crash)
    assert seen == [1, 2, 3, 4, 5, 6]
    assert summary.findings
    for finding in summary.findings:
        assert finding.what == ("the pass raised KeyError: 7",)
        assert len(Path(finding.module).read_bytes()) % 3

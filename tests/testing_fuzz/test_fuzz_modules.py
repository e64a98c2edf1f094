"""Random modules on every engine: a short run, and what a run tells."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import wasmtime

from testing_fuzz.broken import broken
from wavelock.core.errors import UserError
from wavelock.testing.fuzz.binaryen import Binaryen
from wavelock.testing.fuzz.campaign import Range, fuzz_modules
from wavelock.testing.fuzz.cases import load_case
from wavelock.testing.fuzz.check import check
from wavelock.testing.fuzz.floats import FloatModules
from wavelock.testing.fuzz.recipe import Recipe
from wavelock.testing.fuzz.reduce import reduced
from wavelock.testing.fuzz.subjects import Open
from wavelock.testing.fuzz.summary import Summary
from wavelock.testing.fuzz.values import seeded


def test_binaryens_modules_do_the_same_on_every_engine(binaryen: Binaryen, engines: dict[str, Open]) -> None:
    summary = fuzz_modules(Range(1, 0, 60), binaryen, engines)
    assert summary.findings == []
    assert summary.modules == 60
    assert summary.engines["wasmtime"] == 60 - summary.refused - summary.unmade > 40
    assert summary.engines["oracle"] >= 3
    assert summary.faults["none"] > 100
    assert summary.faults["fuel"] > 100
    assert summary.refused == sum(summary.refusals.values())


def test_functions_over_floats_do_the_same_on_every_engine(engines: dict[str, Open]) -> None:
    fast = {name: opened for name, opened in engines.items() if name in ("wasmtime", "wasmer", "oracle")}
    summary = fuzz_modules(Range(2, 0, 60), FloatModules(), fast, slow_every=1)
    assert summary.findings == []
    assert summary.refused == summary.unmade == 0
    assert summary.engines["oracle"] == summary.engines["wasmtime"] == 60


def test_float_modules_are_valid_and_follow_from_their_bytes() -> None:
    maker, engine = FloatModules(), wasmtime.Engine()
    made = []
    for number in range(40):
        wanted = maker.recipe(seeded(f"floats {number}"))
        made.append(maker.make(wanted))
        assert maker.make(wanted) == made[-1]
        wasmtime.Module.validate(engine, made[-1])
    assert len(set(made)) == 40
    wasmtime.Module.validate(engine, maker.make(Recipe(b"", ("all",))))


def test_a_module_depends_on_its_seed_and_number_alone(engines: dict[str, Open]) -> None:
    fast = {"wasmtime": engines["wasmtime"]}
    whole = fuzz_modules(Range(3, 0, 6), FloatModules(), fast)
    first, second = (fuzz_modules(Range(3, at, 3), FloatModules(), fast) for at in (0, 3))
    first.add(second)
    assert first == whole
    assert fuzz_modules(Range(4, 0, 6), FloatModules(), fast) != whole


def test_a_difference_is_reduced_saved_and_found_again(tmp_path: Path, engines: dict[str, Open]) -> None:
    wrong = broken(engines["wasmtime"], state=lambda sound: sound._replace(words=(*sound.words, len(sound.memory[1]))))
    both = {"wasmtime": engines["wasmtime"], "oracle": wrong}
    maker = FloatModules()
    (finding,) = fuzz_modules(Range(5, 1, 1), maker, both, slow_every=1, keep=tmp_path).findings
    assert finding.seed == "5/1"
    case = load_case(Path(finding.module))
    whole = maker.make(maker.recipe(seeded("5/1")))
    assert len(case.module) < len(whole), "it was made smaller"
    again = check(case, both)
    assert tuple(map(str, again.differences)) == finding.what != ()


def test_without_keep_a_difference_is_told_alone(engines: dict[str, Open]) -> None:
    wrong = broken(engines["wasmtime"], state=lambda sound: sound._replace(words=(1, 2, 3)))
    summary = fuzz_modules(Range(5, 1, 1), FloatModules(), {"wasmtime": engines["wasmtime"], "wasmer": wrong})
    (finding,) = summary.findings
    assert finding.module == ""
    assert "DIFFERENCE 5/1 " in summary.lines()
    assert summary.lines()[-1] == "1 differences"


def test_progress_is_told_after_each_module(engines: dict[str, Open]) -> None:
    seen: list[int] = []

    def tell(summary: Summary) -> None:
        seen.append(summary.modules)

    fuzz_modules(Range(6, 0, 3), FloatModules(), {"wasmtime": engines["wasmtime"]}, progress=tell)
    assert seen == [1, 2, 3]


def test_a_missing_binaryen_is_told_with_the_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    with pytest.raises(UserError, match="install binaryen"):
        Binaryen()


def test_what_binaryen_fails_at_is_no_module(binaryen: Binaryen) -> None:
    assert binaryen.make(Recipe(b"abc", ("--no-such-option",))) is None
    assert int(binaryen.version) > 90


def test_bytes_are_reduced_to_what_matters() -> None:
    content = bytes(range(1, 200))
    asked: list[bytes] = []

    def stays(tried: bytes) -> bool:
        asked.append(tried)
        return 100 in tried and len(tried) >= 3

    found = reduced(content, stays)
    assert sorted(found) == [0, 0, 100]
    assert len(asked) <= 300
    assert reduced(content, lambda tried: False) == content
    asked.clear()
    reduced(content, stays, tries=5)
    assert len(asked) == 5

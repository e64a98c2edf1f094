"""Comparing: whatever an engine does otherwise is found, and told with where and what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from wasmtime import wat2wasm

from testing_fuzz.broken import broken
from wavelock.core.abi import Fault
from wavelock.core.errors import EnvironmentFailure
from wavelock.testing.fuzz.cases import load_case
from wavelock.testing.fuzz.check import Case, Verdict, case_of, check
from wavelock.testing.fuzz.subjects import Open, Outcome, Prepared, State, Subject

CASES = sorted((Path(__file__).parent / "cases").glob("*.wasm"))
MODULE = """(module
  (memory (export "memory") 1 4)
  (table 4 4 funcref)
  (elem (i32.const 0) $add $add)
  (global $seen (mut i64) (i64.const 7))
  (global $float (mut f32) (f32.const 1))
  (global $vector (mut v128) (v128.const i64x2 1 2))
  (func $add (param i64) (result i64) (i64.add (local.get 0) (global.get $seen)))
  (func (export "fuzz:count") (param i64) (result i64) (local i64)
    (loop $again
      (local.set 1 (i64.add (local.get 1) (i64.const 3)))
      (i64.store (i32.const 16) (local.get 1))
      (global.set $float (f32.sqrt (f32.sub (f32.const 5) (global.get $float))))
      (br_if $again (i64.lt_u (local.get 1) (i64.const 60))))
    (global.set $seen (i64.add (global.get $seen) (local.get 0)))
    (global.set $vector (f64x2.sqrt (global.get $vector)))
    (global.get $seen))
  (func (export "fuzz:indirect") (param i64) (result i64)
    (call_indirect (param i64) (result i64) (local.get 0) (i32.wrap_i64 (local.get 0))))
  (func (export "fuzz:table") (param i64)
    (table.set (i32.and (i32.wrap_i64 (local.get 0)) (i32.const 3)) (ref.null func)))
)"""


@pytest.fixture(scope="module")
def case() -> Case:
    return Case(bytes(wat2wasm(MODULE)), "a test", 4, 4096)


def test_sound_engines_do_not_differ(case: Case, engines: dict[str, Open]) -> None:
    verdict = check(case, engines)
    assert verdict.differences == []
    assert verdict.ran == [name for name in engines if name != "wasmer"], "wasmer runs no SIMD"
    assert verdict.calls == sum(verdict.faults.values()) == 4 * 4, "four scripts of a start and three functions"
    assert verdict.faults["none"] > 4
    assert verdict.faults["fuel"] > 0


def test_the_same_case_gives_the_same_calls(case: Case, engines: dict[str, Open]) -> None:
    first, second = (check(case, {"wasmtime": engines["wasmtime"]}) for _ in range(2))
    assert first == second
    other = [check(case._replace(seed=f"another {number}"), engines).faults for number in range(4)]
    assert any(faults != first.faults for faults in other)


def _with(engines: dict[str, Open], wrong: Open) -> dict[str, Open]:
    return {"wasmtime": engines["wasmtime"], "wrong": wrong}


def _one_more(name: str, sound: Outcome) -> Outcome:
    return sound._replace(fuel=sound.fuel + 1) if name == "fuzz:count" and not sound.fault else sound


def _other_fault(name: str, sound: Outcome) -> Outcome:
    return sound._replace(fault=Fault.DEPTH) if sound.fault is Fault.FUEL else sound


def _other_result(name: str, sound: Outcome) -> Outcome:
    return sound._replace(results=tuple(each ^ 1 << 63 for each in sound.results)) if name else sound


def _other_memory(sound: State) -> State:
    return sound._replace(memory=(sound.memory[0], "0"))


def _other_words(sound: State) -> State:
    return sound._replace(words=(*sound.words[:-1], sound.words[-1] ^ 1))


@pytest.mark.parametrize(
    ("outcome", "what"), [(_one_more, "fuel"), (_other_fault, "fault fuel / depth"), (_other_result, "results")]
)
def test_an_outcome_that_differs_is_found(
    case: Case, engines: dict[str, Open], outcome: Callable[[str, Outcome], Outcome], what: str
) -> None:
    verdict = check(case, _with(engines, broken(engines["wasmtime"], outcome=outcome)))
    assert verdict.differences
    assert {each.engine for each in verdict.differences} == {"wrong"}
    assert any(what in str(each) for each in verdict.differences)


@pytest.mark.parametrize(("state", "what"), [(_other_memory, "memory"), (_other_words, "globals")])
def test_a_state_that_differs_is_found(
    case: Case, engines: dict[str, Open], state: Callable[[State], State], what: str
) -> None:
    verdict = check(case, _with(engines, broken(engines["wasmtime"], state=state)))
    assert [each.script for each in verdict.differences] == [0, 1, 2, 3]
    assert all(what in each.what for each in verdict.differences)


def test_a_table_that_differs_is_found(case: Case, engines: dict[str, Open]) -> None:
    wrong = broken(engines["wasmtime"], tables=lambda sound: (sound[0][::-1],))
    assert any("tables" in each.what for each in check(case, _with(engines, wrong)).differences)


def test_a_restore_that_loses_state_is_found_on_the_first_engine(case: Case, engines: dict[str, Open]) -> None:
    wrong = broken(engines["wasmtime"], keeps_state=False)
    found = [check(case._replace(seed=f"{number}"), {"wrong": wrong}).differences for number in range(6)]
    assert any(found)
    assert {each.script for differences in found for each in differences} == {3}


def test_a_unit_that_is_not_charged_is_found_on_the_first_engine(case: Case, engines: dict[str, Open]) -> None:
    """It tells of one unit more than it needs: with a unit less than that it ends as before."""
    verdicts = [
        check(case._replace(seed=f"{number}"), {"wrong": broken(engines["wasmtime"], outcome=_one_more)})
        for number in range(8)
    ]
    assert any("fuel" in str(each) for verdict in verdicts for each in verdict.differences)


def test_an_engine_that_raises_is_a_finding(case: Case, engines: dict[str, Open]) -> None:
    def opened(prepared: Prepared) -> Callable[[], Subject]:
        raise EnvironmentFailure("the stack ended")

    verdict = check(case, _with(engines, opened))
    assert [str(each) for each in verdict.differences] == ["wrong, script 0, EnvironmentFailure: the stack ended"]
    assert check(case, {"first": opened, "wasmtime": engines["wasmtime"]}).ran == []


def test_what_the_form_refuses_is_no_difference(engines: dict[str, Open]) -> None:
    module = bytes(wat2wasm('(module (import "a" "b" (func)))'))
    verdict = check(case_of(module, "0/0"), engines)
    assert verdict.differences == []
    assert "a.b" in verdict.refused


def test_limits_follow_from_the_seed() -> None:
    found = {case_of(b"", f"0/{number}")[2:] for number in range(40)}
    assert len(found) > 8
    assert case_of(b"", "0/1") == case_of(b"", "0/1")


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_what_once_differed_does_so_no_more(path: Path, engines: dict[str, Open]) -> None:
    verdict = check(load_case(path), engines)
    assert isinstance(verdict, Verdict)
    assert not verdict.refused
    assert verdict.differences == []

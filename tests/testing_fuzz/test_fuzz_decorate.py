"""What a random module is given before it is called."""

from __future__ import annotations

from random import Random

import pytest
import wasmtime
from wasmtime import wat2wasm

from wavelock.core.errors import ModuleError
from wavelock.core.form import FormOptions, rewrite_module
from wavelock.core.form.module import Kind
from wavelock.core.form.sections import read_module
from wavelock.testing.fuzz.decorate import LOOPS, PREFIX, decorate, without_imports
from wavelock.testing.fuzz.subjects import Open, Subject, prepare

MODULE = """(module
  (import "fuzzing-support" "log-f32" (func $log (param f32)))
  (import "fuzzing-support" "ask" (func $ask (param i32) (result f64 i32)))
  (table 3 funcref)
  (global $limit (mut i32) (i32.const 10))
  (memory 16 17)
  (func $log_it (param f32) (call $log (local.get 0)))
  (func $many (param i32 f32 f64 i64) (result i64 f64 f32 i32)
    (local.get 3) (local.get 2) (local.get 1) (local.get 0))
  (func $wide (param v128) (result v128) (local.get 0))
  (func $nothing)
  (func (export "hangLimitInitializer") (global.set $limit (i32.const 10)))
  (func (export "limit") (result i32) (global.get $limit))
)"""


@pytest.fixture(scope="module")
def made() -> bytes:
    return decorate(bytes(wat2wasm(MODULE)), Random(1))


@pytest.fixture
def subject(made: bytes, engines: dict[str, Open]) -> Subject:
    options = FormOptions()
    make = engines["wasmtime"](prepare(made, rewrite_module(made, "test", options, abi=False), options))
    assert make is not None
    return make()


def _valid(module: bytes) -> bool:
    wasmtime.Module.validate(wasmtime.Engine(), module)
    return True


def test_imported_functions_become_functions_at_the_same_indexes() -> None:
    plain = without_imports(bytes(wat2wasm(MODULE)))
    module = read_module(plain)
    assert _valid(plain)
    assert [str(module.function_type(index)) for index in (0, 1, 2)] == [
        "(f32) -> ()",
        "(i32) -> (f64, i32)",
        "(f32) -> ()",
    ]
    assert module.exports["limit"].index == 7


def test_a_module_without_imports_stays_as_it_is() -> None:
    module = bytes(wat2wasm("(module (func))"))
    assert without_imports(module) == module


@pytest.mark.parametrize("what", ["(memory 1)", "(global i32)", "(table 1 funcref)"])
def test_other_imports_are_refused(what: str) -> None:
    with pytest.raises(ModuleError, match="no function"):
        without_imports(bytes(wat2wasm(f'(module (import "a" "b" {what}))')))


def test_every_function_can_be_called_with_integers_alone(made: bytes) -> None:
    module = read_module(made)
    assert _valid(made)
    wrappers = [name for name, export in module.exports.items() if name.startswith(PREFIX)]
    assert {f"{PREFIX}{index}" for index in range(8)} <= set(wrappers)
    for name in wrappers:
        kind = module.function_type(module.exports[name].index)
        assert set(kind.params + kind.results) <= {0x7E}
    assert module.exports["memory"].kind is Kind.MEMORY
    assert module.memories[0].minimum < 16


def test_values_cross_as_their_bits(subject: Subject) -> None:
    bits = (0x7F80_0001, 0x7FF0_0000_0000_0001, 1 << 63)
    found = subject.call(f"{PREFIX}3", (0xFFFF_FFFF, *bits), 1000).results
    assert found == (bits[2], bits[1], bits[0], 0xFFFF_FFFF)
    assert subject.call(f"{PREFIX}4", (1, 2), 1000).results == (1, 2)


def test_what_is_logged_is_seen(subject: Subject) -> None:
    before = subject.state()
    subject.call(f"{PREFIX}2", (0x7FC0_0000,), 1000)
    middle = subject.state()
    subject.call(f"{PREFIX}2", (0x7FC0_0000,), 1000)
    assert len({before.words, middle.words, subject.state().words}) == 3


def test_the_bound_on_loops_can_be_lifted(subject: Subject) -> None:
    assert subject.call(f"{PREFIX}7", (), 1000).results == (10,)
    subject.call(LOOPS, (), 1000)
    assert subject.call(f"{PREFIX}7", (), 1000).results == (1 << 24,)


def test_some_modules_get_a_start_function_and_some_get_code_that_changes_tables() -> None:
    module = bytes(wat2wasm(MODULE))
    found = [read_module(decorate(module, Random(number))) for number in range(30)]
    starts = sum(each.start is not None for each in found)
    pokes = sum(f"{PREFIX}poke set" in each.exports for each in found)
    assert 0 < starts < 30
    assert 0 < pokes < 30


def test_pokes_are_valid_and_accepted() -> None:
    module = bytes(wat2wasm(MODULE))
    for number in range(30):
        made = decorate(module, Random(number))
        assert _valid(made)
        assert _valid(rewrite_module(made, "test", abi=False).module)


def test_the_same_random_numbers_give_the_same_module() -> None:
    module = bytes(wat2wasm(MODULE))
    assert decorate(module, Random(3)) == decorate(module, Random(3))
    assert decorate(module, Random(3)) != decorate(module, Random(4))

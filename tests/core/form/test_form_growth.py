"""Memory and tables: maxima in the module, growth past them, and what bulk operations cost by their operand."""

from __future__ import annotations

import pytest
import wasmtime

from core.form.running import FULL, PLENTY, Running, rewrite, used
from wavelock.core.abi import Fault
from wavelock.core.form import FormOptions, limits
from wavelock.core.form.costs import BYTE_SHIFT, COSTS, ENTRY_UNITS, PAGE_UNITS

MINUS_ONE = 0xFFFFFFFF
GROW = '(func (export "f") (param i32) (result i32) (memory.grow (local.get 0)))'
SIZE = '(func (export "size") (result i32) (memory.size))'


def exported(module: bytes, name: str) -> wasmtime.Limits:
    found = next(export.type for export in wasmtime.Module(FULL, module).exports if export.name == name)
    assert isinstance(found, (wasmtime.MemoryType, wasmtime.TableType))
    return found.limits


@pytest.mark.parametrize(
    ("own", "limit", "expected"),
    [
        ("1", 10, 10),
        ("1 5", 10, 5),
        ("1 50", 10, 10),
        ("10 10", 10, 10),
        ("0", 1, 1),
        ("0 0", 7, 0),
        ("1 3 shared", 9, 3),
    ],
)
def test_a_memory_has_its_own_maximum_or_the_limit(own: str, limit: int, expected: int) -> None:
    first, options = int(own.split(maxsplit=1)[0]), FormOptions(memory_pages=limit)
    found = rewrite(f'(memory (export "memory") {own}) {GROW}', options)
    bounds = exported(found.module, "memory")
    assert found.memory == (first, expected)
    assert (bounds.min, bounds.max) == (first, None)  # what it may grow to is the form's own business
    assert rewrite(f'(memory (export "memory") {own})', options).memory == (first, first)


def test_a_module_without_memory_has_none() -> None:
    assert rewrite("(func)").memory == (0, 0)


@pytest.mark.parametrize(
    ("own", "expected"), [("1", limits.TABLE_ENTRIES), ("1 5", 5), (f"1 {2**31}", limits.TABLE_ENTRIES)]
)
def test_a_table_has_its_own_maximum_or_the_forms(own: str, expected: int) -> None:
    found = exported(rewrite(f'(table (export "t") {own} funcref)').module, "t")
    assert (found.min, found.max) == (1, expected)


@pytest.mark.parametrize("own", ["1", "1 4"])
def test_growth_past_the_limit_answers_minus_one_and_is_noted(own: str) -> None:
    running = Running(f'(memory (export "memory") {own}) {GROW}', FormOptions(memory_pages=4))
    assert (running.call("f", 0).results, running.refused) == ((1,), False)
    assert (running.call("f", 2).results, running.refused, running.pages) == ((1,), False, 3)
    for pages in (2, 4, -1, -(2**31), 65536):
        assert (running.call("f", pages).results, running.refused, running.pages) == ((MINUS_ONE,), True, 3)
    assert (running.call("f", 1).results, running.refused, running.pages) == ((3,), False, 4)
    assert running.call("f", 1).results == (MINUS_ONE,)
    assert running.call("f", 0).results == (4,)


@pytest.mark.parametrize("pages", [0, 1, 3, 4, 1000])
def test_growth_costs_its_pages_even_where_it_is_refused(pages: int) -> None:
    text = f'(memory (export "memory") 1) {GROW}'
    options = FormOptions(memory_pages=4)
    assert used(text, "f", pages, options=options) == COSTS["memory.grow"] + pages * PAGE_UNITS


def test_growth_charges_all_of_an_unsigned_operand() -> None:
    running = Running(f'(memory (export "memory") 1) {GROW}')
    total = COSTS["memory.grow"] + (2**32 - 1) * PAGE_UNITS
    assert running.call("f", -1, fuel=total)[:3] == ((MINUS_ONE,), total, 0)
    assert running.call("f", -1, fuel=total - 1)[:3] == (None, total - 1, Fault.FUEL)
    assert running.pages == 1


def test_without_fuel_for_it_nothing_grows() -> None:
    running = Running(f'(memory (export "memory") 1) {GROW}')
    assert running.call("f", 2, fuel=2 * PAGE_UNITS).fault == Fault.FUEL
    assert running.pages == 1


BULK = {
    "memory.fill": ("(memory.fill (i32.const 0) (i32.const 7) (local.get 0))", 65536),
    "memory.copy": ("(memory.copy (i32.const 0) (i32.const 0) (local.get 0))", 65536),
    "memory.init": ("(memory.init 0 (i32.const 0) (i32.const 0) (local.get 0))", 20),
    "table.fill": ("(table.fill 0 (i32.const 0) (ref.null func) (local.get 0))", 10),
    "table.copy": ("(table.copy 0 0 (i32.const 0) (i32.const 0) (local.get 0))", 10),
    "table.init": ("(table.init 0 0 (i32.const 0) (i32.const 0) (local.get 0))", 3),
}


@pytest.mark.parametrize("name", BULK)
def test_bulk_operations_cost_their_operand_before_they_run(name: str) -> None:
    code, most = BULK[name]
    text = f"""(memory (export "memory") 1) (data "{"x" * 20}") (table 10 funcref) (elem func $f $f $f)
      (func $f (export "f") (param i32) {code})"""
    shifted, extra = name.startswith("memory"), "ref.null" in code
    for length in (0, 1, 3, most):
        operand = length >> BYTE_SHIFT if shifted else length * ENTRY_UNITS
        assert used(text, "f", length) == COSTS[name] + extra + operand
    running = Running(text)
    for length in (most + 1, -1):
        operand = (length & MINUS_ONE) >> BYTE_SHIFT if shifted else (length & MINUS_ONE) * ENTRY_UNITS
        total = COSTS[name] + extra + operand
        enough = running.call("f", length, fuel=total)
        assert (enough.fault, "out of bounds" in enough.trap) == (0, True)
        assert running.call("f", length, fuel=total - 1).fault == Fault.FUEL


def test_what_was_charged_before_an_operand_counts_too() -> None:
    """A loop holds the fuel in a local: the charge must see what the loop has used, and the other way round."""
    text = """(memory (export "memory") 1) (func (export "f") (param i32)
      (loop (memory.fill (i32.const 0) (i32.const 0) (i32.const 80))
        (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))"""
    for count in (1, 2, 50):
        assert used(text, "f", count) == count * ((3 + 64 + 3 + 8 + 8) // 8 + 10)


TABLE = """(table $t (export "t") 2 {maximum} funcref) (elem func $f)
  (func $f (export "f") (param i32) (result i32) (table.grow $t (ref.func $f) (local.get 0)))
  (func (export "size") (result i32) (table.size $t))
  (func (export "null") (param i32) (result i32) (ref.is_null (table.get $t (local.get 0))))"""


def test_table_growth() -> None:
    running = Running(TABLE.format(maximum="5"))
    assert running.call("f", 2).results == (2,)
    assert [running.call("null", entry).results for entry in range(4)] == [(1,), (1,), (0,), (0,)]
    for entries in (2, -1, 2**31 - 1):
        assert running.call("f", entries).results == (MINUS_ONE,)
    assert running.call("f", 1).results == (4,)
    assert (running.call("size").results, running.refused) == ((5,), False)
    assert running.call("null", 5).trap.startswith("undefined element: out of bounds table access")


def test_table_growth_costs_its_entries() -> None:
    for entries in (0, 1, 3, 100):
        assert used(TABLE.format(maximum="5"), "f", entries) == COSTS["table.grow"] + 1 + entries * ENTRY_UNITS
    running = Running(TABLE.format(maximum=""))
    assert running.call("f", limits.TABLE_ENTRIES - 2).results == (2,)
    assert running.call("f", 1).results == (MINUS_ONE,)
    assert running.call("f", -1, fuel=1 << 31).fault == Fault.FUEL


def test_each_table_has_its_own_limit() -> None:
    text = """(table $a 0 3 funcref) (table $b 0 5 funcref)
      (func (export "a") (param i32) (result i32) (table.grow $a (ref.null func) (local.get 0)))
      (func (export "b") (param i32) (result i32) (table.grow $b (ref.null func) (local.get 0)))"""
    running = Running(text)
    assert [running.call(name, 4).results for name in "ab"] == [(MINUS_ONE,), (0,)]


def test_restoring_a_memory_grows_it_without_a_charge() -> None:
    running = Running(f'(memory (export "memory") 1) {GROW} {SIZE}', FormOptions(memory_pages=4))
    running.raw("wavelock:budget", 0)
    assert running.raw("wavelock:grow", 3) == (1,)
    assert running.raw("wavelock:left") == (0,)
    assert running.raw("wavelock:grow", 1) == (MINUS_ONE,)
    assert running.call("size", fuel=PLENTY).results == (4,)

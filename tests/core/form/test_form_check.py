"""What an agent's module may hold: refused features, imports, the exports of Agent ABI 1."""

from __future__ import annotations

import pytest
import wasmtime

from wavelock.core.errors import ModuleError
from wavelock.core.form import FORM_VERSION, FormOptions, ModuleInfo, limits, rewrite_module

MEMORY = '(memory (export "memory") 2 16)'
ABI = '(func (export "wavelock_abi") (result i32) i32.const 0)'
TURN = '(func (export "wavelock_turn") (param i32) (result i32) local.get 0)'


def module(*fields: str) -> bytes:
    return bytes(wasmtime.wat2wasm(f"(module {' '.join(fields)})"))


def info_of(data: bytes, *, abi: bool = True, features: tuple[str, ...] = ()) -> ModuleInfo:
    return rewrite_module(data, "a.wasm", FormOptions(features=features), abi=abi).info


def failure(data: bytes, *, abi: bool = True) -> str:
    with pytest.raises(ModuleError) as caught:
        rewrite_module(data, "agents/a.wasm", abi=abi)
    text = str(caught.value)
    assert text.startswith("agents/a.wasm: ")
    return text.removeprefix("agents/a.wasm: ")


def test_an_agent() -> None:
    initialize = '(func $i (export "_initialize")) (start $i)'
    extra = '(global (export "g") (mut i64) (i64.const 0)) (table (export "t") 1 funcref)'
    info = info_of(module(MEMORY, ABI, TURN, initialize, extra))
    assert dict(info.exports) == {
        "memory": "memory",
        "wavelock_abi": "function () -> i32",
        "wavelock_turn": "function (i32) -> i32",
        "_initialize": "function () -> ()",
        "g": "global mut i64",
        "t": "table funcref",
    }
    assert (info.memory_minimum_pages, info.memory_maximum_pages, info.has_start) == (2, 16, True)
    assert (info.features, info.functions, info.imports) == (("mutable-global",), 3, ())
    assert info.size_bytes == len(module(MEMORY, ABI, TURN, initialize, extra))
    assert FORM_VERSION == 2


@pytest.mark.parametrize(
    ("code", "features"),
    [
        ("i32.const 0 i32.extend8_s drop", ("sign-extension",)),
        ("f32.const 0 i32.trunc_sat_f32_s drop", ("saturating-conversion",)),
        ("i32.const 0 i32.const 0 i32.const 0 memory.fill", ("bulk-memory",)),
        ("i32.const 0 i8x16.splat drop", ("simd",)),
        ("ref.null func drop", ("reference-types",)),
        ("block (result i32 i32) i32.const 1 i32.const 2 end drop drop", ("multi-value",)),
        ("i32.const 0 i32.load drop", ()),
        ("i32.const 0 i32.atomic.load drop", ("threads",)),
        ("unreachable i32.const 0 i32.extend8_s drop", ("sign-extension",)),
    ],
)
def test_features_used(code: str, features: tuple[str, ...]) -> None:
    assert info_of(module(MEMORY, ABI, TURN, f"(func {code})")).features == features


@pytest.mark.parametrize(
    ("code", "operator", "feature"),
    [
        ("i32x4.relaxed_trunc_f32x4_s", "i32x4.relaxed_trunc_f32x4_s", "relaxed-simd"),
        ("ref.i31", "ref.i31", "gc"),
        ("ref.eq", "ref.eq", "gc"),
        ("struct.new 0", "struct.new", "gc"),
        ("throw 0", "throw", "exceptions"),
        ("try_table end", "try_table", "exceptions"),
        ("return_call 0", "return_call", "tail-call"),
        ("return_call_indirect (type 0)", "return_call_indirect", "tail-call"),
        ("call_ref 0", "call_ref", "function-references"),
        ("resume 0", "resume", "stack-switching"),
        ("i64.add128", "i64.add128", "wide-arithmetic"),
        ("memory.discard", "memory.discard", "memory-control"),
    ],
)
def test_refused_operators_name_function_and_offset(code: str, operator: str, feature: str) -> None:
    data = module("(type (func))", MEMORY, ABI, TURN, f"(func $inner nop nop nop nop nop {code})")
    offset = data.index(b"\1" * 5) + 5
    text = failure(data)
    assert text.startswith(f"function 2 (inner), offset {offset} ({offset:#x}): {operator} needs {feature}, ")


@pytest.mark.parametrize(
    ("field", "feature"),
    [
        ("(func $inner (local externref))", "externref"),
        ("(func $inner (local exnref))", "exceptions"),
        ("(func $inner (local (ref null 0)))", "function-references"),
        ("(func $inner ref.null extern drop)", "externref"),
        ("(func $inner block (result anyref) unreachable end drop)", "gc"),
    ],
)
def test_refused_types_in_a_function(field: str, feature: str) -> None:
    text = failure(module(MEMORY, ABI, TURN, field))
    assert text.startswith("function 2 (inner), offset ")
    assert f" needs {feature}, which an agent cannot use: " in text


@pytest.mark.parametrize(
    ("fields", "feature"),
    [
        ("(func (param externref))", "externref"),
        ("(global externref (ref.null extern))", "externref"),
        ("(table 1 externref)", "externref"),
        ("(elem externref (ref.null extern))", "externref"),
        ("(type (struct (field i32)))", "gc"),
        ("(type (array i8))", "gc"),
        ("(rec (type (func)) (type (func)))", "gc"),
        ("(tag)", "exceptions"),
        ("(memory i64 1)", "memory64"),
        ("(table i64 1 funcref)", "memory64"),
        ("(memory 1) (memory 1)", "multi-memory"),
        ("(memory 1 (pagesize 1))", "custom-page-sizes"),
        ("(type $f (func)) (type (cont $f))", "stack-switching"),
        ("(table 1 (ref null func) (ref.null func))", "function-references"),
        ("(global i32 (i32.sub (i32.const 3) (i32.const 1)))", "extended-const"),
    ],
)
def test_refused_outside_of_code(fields: str, feature: str) -> None:
    text = failure(module(fields), abi=False)
    assert text.startswith("offset ")
    assert f" needs {feature}, which an agent cannot use: " in text


@pytest.mark.parametrize(
    ("field", "named", "way_out"),
    [
        ('(import "env" "f" (func (param i32)))', "env.f (function (i32) -> ())", "--allow-undefined"),
        ('(import "env" "memory" (memory 1))', "env.memory (memory)", "without --import-memory"),
        ('(import "env" "t" (table 1 funcref))', "env.t (table funcref)", "Define it"),
        ('(import "env" "g" (global (mut f32)))', "env.g (global mut f32)", "Define it"),
        ('(import "wasi_snapshot_preview1" "x" (func))', "wasi_snapshot_preview1.x", "wasm32-freestanding"),
    ],
)
def test_imports_are_named_and_refused(field: str, named: str, way_out: str) -> None:
    text = failure(module(field), abi=False)
    assert f"found the import {named}" in text
    assert "an agent imports nothing" in text
    assert way_out in text


def test_a_module_for_threads_is_accepted() -> None:
    info = info_of(
        module("(memory 1 4 shared) (func (drop (i32.atomic.load (i32.const 0))) (atomic.fence))"), abi=False
    )
    assert (info.features, info.memory_maximum_pages) == (("threads",), 4)


def test_tail_calls_are_accepted_where_they_are_asked_for() -> None:
    data = module("(table 1 funcref) (func return_call 1) (func (return_call_indirect (i32.const 0)))")
    assert info_of(data, abi=False, features=("tail-call",)).features == ("tail-call",)
    assert "return_call needs tail-call" in failure(data, abi=False)


@pytest.mark.parametrize("name", ["wavelock:", "wavelock:budget", "wavelock:mine"])
def test_reserved_names_are_refused(name: str) -> None:
    text = failure(module(f'(func (export "f")) (func (export "{name}"))'), abi=False)
    assert f"found the export {name}; names in wavelock: are Wavelock's own" in text
    assert text.startswith("offset ")


def test_the_memory_fits_the_profiles_limit() -> None:
    data = module(MEMORY, ABI, TURN)
    assert rewrite_module(data, "a.wasm", FormOptions(memory_pages=2)).info.memory_minimum_pages == 2
    with pytest.raises(ModuleError, match=r"a memory of 2 pages \(64 KiB each\), expected at most the 1 that limits"):
        rewrite_module(data, "a.wasm", FormOptions(memory_pages=1))


def test_mutable_globals_are_bounded_and_hold_no_references() -> None:
    many = "(global (mut i32) (i32.const 0))" * limits.MUTABLE_GLOBALS
    assert info_of(module(many, "(global i32 (i32.const 0))"), abi=False).functions == 0
    assert "found 4097 mutable globals, expected at most 4096" in failure(module(many, many[:32]), abi=False)
    assert "a mutable global of funcref" in failure(module("(global (mut funcref) (ref.null func))"), abi=False)


def test_imports_are_counted_and_shown_safely() -> None:
    text = failure(module('(import "\\1b[2J" "f" (func)) (import "b" "c" (func))'))
    assert r"'\x1b[2J'.f (function () -> ()) and 1 more" in text


def test_an_object_file_is_told_to_be_linked() -> None:
    linking = b"\0\x09\x07linking\2"
    assert "has not been linked" in failure(module('(import "env" "f" (func))') + linking)


def test_missing_exports_are_all_listed() -> None:
    text = failure(module('(func (export "other"))'))
    assert "found no export memory, expected a memory; found no export wavelock_abi" in text
    assert "found no export wavelock_turn, expected a function (i32) -> i32. " in text
    assert "The module exports other (function () -> ())." in text
    assert "The module exports nothing" in failure(module())


def test_a_near_name_is_suggested() -> None:
    misspelt = TURN.replace("wavelock_turn", "wavelock_tunr")
    text = failure(module(MEMORY, ABI, misspelt))
    assert "found no export wavelock_turn, expected a function (i32) -> i32 (is it wavelock_tunr?)" in text


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        (
            (MEMORY, ABI, '(func (export "wavelock_turn"))'),
            "wavelock_turn as a function () -> (), expected a",
        ),
        (
            (MEMORY, ABI, '(global (export "wavelock_turn") i32 (i32.const 1))'),
            "wavelock_turn as a global i32",
        ),
        ((MEMORY, TURN, ABI.replace("i32", "i64")), "wavelock_abi as a function () -> i64"),
        ((ABI, TURN, '(func (export "memory"))'), "memory as a function () -> (), expected a memory"),
        (
            (MEMORY, ABI, TURN, '(func (export "_initialize") (param i32))'),
            "_initialize as a function (i32) -> ()",
        ),
    ],
)
def test_wrong_exports(fields: tuple[str, ...], what: str) -> None:
    assert f"found the export {what}" in failure(module(*fields))


def test_a_command_is_told_to_be_a_reactor() -> None:
    assert "-mexec-model=reactor" in failure(module(MEMORY, '(func (export "_start"))'))


def test_many_exports_are_cut() -> None:
    fields = [f'(func (export "f{number}"))' for number in range(50)]
    text = failure(module(*fields))
    assert "f19 (function () -> ()) and 30 more" in text
    assert "f20" not in text


def test_the_abi_can_be_left_out() -> None:
    assert info_of(module(), abi=False).exports == ()


def test_a_function_is_named_by_its_export_without_a_name_section() -> None:
    text = failure(module('(func) (func (export "step") ref.i31 drop)'), abi=False)
    assert text.startswith("function 1 (step), offset ")


@pytest.mark.parametrize("names", [b"\1\xff", b"\1\3\1\0\x7f", b"\0\x7f", b"\1\4\1\0\1\xff"])
def test_a_damaged_name_section_is_no_error_of_its_own(names: bytes) -> None:
    plain = module("(func nop) (func ref.i31 drop)")
    content = b"\4name" + names
    text = failure(plain + b"\0" + bytes([len(content)]) + content, abi=False)
    assert text.startswith("function 1, offset ")


def test_bytes_after_the_last_end_are_refused() -> None:
    data = module("(func nop nop)")
    at = data.index(b"\1\1\x0b")
    damaged = data[:at] + b"\1\x0b\1" + data[at + 3 :]
    text = failure(damaged, abi=False)
    assert text.startswith(f"function 0, offset {at + 2} ({at + 2:#x}): found 1 bytes after the `end` that")


def test_exports_of_one_large_type_share_its_text() -> None:
    params = " ".join(["i64"] * 100)
    data = module(
        f"(type $t (func (param {params})))",
        "(func $f (type $t))",
        '(export "a" (func $f)) (export "b" (func $f))',
    )
    info = info_of(data, abi=False)
    assert info.exports[0].type is info.exports[1].type
    assert len(failure(data)) < 1500

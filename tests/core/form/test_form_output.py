"""The rewritten module as bytes: always the same, in the specification's order, with nothing moved."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import wasmtime

from core.form.programs import Program
from core.form.running import FULL, rewrite, wasm
from wavelock.core.errors import ModuleError
from wavelock.core.form import FormOptions, rewrite_module
from wavelock.core.form.binary import read_u32
from wavelock.core.form.sections import frame

TABLES = """(memory (export "memory") 1) (data "abc") (table (export "t") 2 funcref) (elem func $a $b)
    (elem declare func $c)
  (global $g (export "g") (mut v128) (v128.const i64x2 1 2)) (start $a)
  (func $a (table.set 0 (i32.const 0) (ref.func $c)) (data.drop 0) (elem.drop 0))
  (func $b (export "b") (param f64) (result f64) (f64.add (local.get 0) (local.get 0)))
  (func $c (param i32 i64) (result i64 i32) (local.get 1) (memory.grow (local.get 0)))"""
TEXTS = ["", TABLES, *(Program(seed).text for seed in range(6))]
F32_GE, F64_GE, BR_IF = 0x60, 0x66, 0x0D
HASH = """
import hashlib, sys
from wavelock.core.form import rewrite_module
for data in sys.stdin.read().split():
    print(hashlib.sha256(rewrite_module(bytes.fromhex(data), "m", abi=False).module).hexdigest())
"""


def in_another_python(seed: str, modules: list[bytes]) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    given = " ".join(data.hex() for data in modules)
    done = subprocess.run(
        [sys.executable, "-c", HASH], input=given, env=environment, capture_output=True, check=True, text=True
    )
    return done.stdout


def test_the_same_module_gives_the_same_bytes() -> None:
    modules = [wasm(text) for text in TEXTS]
    assert [rewrite(data) for data in modules] == [rewrite(data) for data in modules]
    first = in_another_python("1", modules)
    assert len(set(first.split())) == len(TEXTS)
    assert in_another_python("4000", modules) == first


def test_other_options_give_other_bytes() -> None:
    found = {
        rewrite(TABLES, options).module
        for options in (FormOptions(), FormOptions(memory_pages=9), FormOptions(stack_bytes=1 << 20))
    }
    assert len(found) == 3


@pytest.mark.parametrize("text", TEXTS)
def test_a_rewritten_module_is_refused(text: str) -> None:
    with pytest.raises(ModuleError, match=r"found the export wavelock:\w+; names in wavelock: are Wavelock's own"):
        rewrite(rewrite(text).module)


@pytest.mark.parametrize("text", TEXTS)
def test_sections_are_in_order_and_custom_ones_are_left_out(text: str) -> None:
    data = wasm(text)
    junk = b"\0\6\4junk!"
    found = rewrite(data[:8] + junk + data[8:] + junk)
    assert found.module == rewrite(data).module
    codes = [section.code for section in frame(found.module).sections]
    order = [1, 3, 4, 5, 6, 7, 9, 12, 0, 10, 11]
    assert codes == [code for code in order if code in codes]
    assert {1, 3, 6, 7, 10} <= set(codes)


def test_branches_over_what_mends_a_nan_are_hinted_as_taken() -> None:
    text = """(memory (export "memory") 1)
      (func $none (param f64) (result f64) (f64.abs (local.get 0)))
      (func $two (param f32 f64) (result f64) (local v128 v128 i64)
        (f32.store (i32.const 0) (f32.sqrt (local.get 0)))
        (v128.store (i32.const 8) (f32x4.sqrt (local.get 2)))
        (loop (br_if 0 (i32.eqz (i32.load8_u (i32.const 9)))))
        (f64.mul (local.get 1) (local.get 1)))
      (func $one (param f64) (result f64) (f64.sqrt (local.get 0)))"""
    form = rewrite(text).module
    module = frame(form)
    hints, code = module.section(0), module.section(10)
    assert hints is not None
    assert code is not None
    name = b"metadata.code.branch_hint"
    assert form[: hints.start].endswith(bytes((len(name),)) + name)
    bodies, offset = [], code.start + 1
    for _ in range(3):
        size, offset = read_u32(form, offset)
        bodies.append(form[offset : offset + size])
        offset += size
    numbers, offset = [], hints.start
    while offset < hints.end:
        number, offset = read_u32(form, offset)
        numbers.append(number)
    # (count of functions) (function, count of hints, (place, 1, taken)...)...
    first, second, third = numbers[3], numbers[6], numbers[11]
    assert numbers == [2, 1, 2, first, 1, 1, second, 1, 1, 2, 1, third, 1, 1]
    for body, place, comparison in ((1, first, F32_GE), (1, second, F64_GE), (2, third, F64_GE)):
        assert bodies[body][place - 1 : place + 2] == bytes((comparison, BR_IF, 0))
    config = wasmtime.Config()
    wasmtime._ffi.wasmtime_config_wasm_branch_hinting_set(config.ptr(), True)
    wasmtime.Module(wasmtime.Engine(config), form)
    assert frame(rewrite("").module).section(0) is None


@pytest.mark.parametrize("text", TEXTS)
def test_exports_are_the_modules_and_the_forms(text: str) -> None:
    original = [(export.name, str(export.type)) for export in wasmtime.Module(FULL, wasm(text)).exports]
    form = rewrite(text)
    found = [export.name for export in wasmtime.Module(FULL, form.module).exports]
    assert found[: len(original)] == [name for name, _ in original]
    added = found[len(original) :]
    assert all(name.startswith("wavelock:") for name in added)
    assert {"wavelock:budget", "wavelock:left", "wavelock:start", "wavelock:get", "wavelock:set", "wavelock:fault",
            "wavelock:refused"} <= set(added)  # fmt: skip
    assert ("wavelock:grow" in added) == ("(memory" in text)
    assert ("wavelock:table_get" in added) == (text == TABLES)
    assert "wavelock:turn" not in added


def test_data_and_elements_are_copied_byte_for_byte() -> None:
    data, form = frame(wasm(TABLES)), frame(rewrite(TABLES).module)
    for code in (9, 11, 12):
        before, after = data.section(code), form.section(code)
        assert before is not None
        assert after is not None
        assert data.data[before.start : before.end] == form.data[after.start : after.end]
    assert form.section(8) is None


def test_what_it_says_of_the_original() -> None:
    info = rewrite(TABLES).info
    assert (info.functions, info.has_start, info.memory_maximum_pages) == (3, True, None)
    assert info.features == ("bulk-memory", "multi-value", "mutable-global", "reference-types", "simd")
    assert info.size_bytes == len(wasm(TABLES))


def test_a_name_comes_first_in_errors() -> None:
    with pytest.raises(
        ModuleError, match=r"^agents/x.wasm: function 0, offset \d+ \(0x[0-9a-f]+\): drop: found no operand"
    ):
        rewrite_module(b"\0asm\1\0\0\0\1\4\1\x60\0\0\3\2\1\0\x0a\5\1\3\0\x1a\x0b", "agents/x.wasm", abi=False)

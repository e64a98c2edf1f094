"""Framing and sections: order, counts, bounds, truncation, and what is refused outside of code."""

from __future__ import annotations

import pytest
import wasmtime

from wavelock.core.errors import ModuleError
from wavelock.core.form import limits, rewrite_module
from wavelock.core.form.module import SegmentMode
from wavelock.core.form.sections import read_module

HEAD = b"\0asm\1\0\0\0"
TYPE = b"\1\4\1\x60\0\0"
FUNCTION = b"\3\2\1\0"
CODE = b"\x0a\4\1\2\0\x0b"
REAL = """(module (memory (export "memory") 1) (global $g (mut i32) (i32.const 7)) (table 1 funcref)
  (elem (i32.const 0) $f) (func $f (export "f") (param i32) (result i32) (local i64 f32)
    (local.set 1 (i64.const 123456789)) (i32.add (local.get 0) (global.get $g))))"""


def leb(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def section(code: int, content: bytes) -> bytes:
    return bytes([code]) + leb(len(content)) + content


def stripped(text: str) -> bytes:
    """An assembled module without its name section, so that nothing in it is optional."""
    data = bytes(wasmtime.wat2wasm(text))
    return data[: data.index(b"\x04name") - 2] if b"\x04name" in data else data


def failure(data: bytes) -> str:
    with pytest.raises(ModuleError) as caught:
        rewrite_module(data, "m.wasm", abi=False)
    return str(caught.value)


def test_an_empty_module_is_a_module() -> None:
    assert rewrite_module(HEAD, "m.wasm", abi=False).info.functions == 0


def test_truncation_at_every_offset_is_an_error_with_an_offset() -> None:
    data = stripped(REAL)
    assert rewrite_module(data, "m.wasm", abi=False).info.functions == 1
    complete = [len(HEAD)] + [s.end for s in read_module(data).sections if s.code in (1,)]
    for length in range(len(data)):
        if length not in complete:
            assert "offset" in failure(data[:length]), length


def test_truncation_names_the_section_and_the_end() -> None:
    data = HEAD + TYPE + FUNCTION + CODE
    assert "offset 23 (0x17): the module ends here, inside the code section" in failure(data[:-1])
    assert "it says 4 bytes and has 3; it starts at offset 18 (0x12)" in failure(data[:-1])
    assert "inside the head of the code section" in failure(data[:19])


def test_function_without_body_and_body_without_function() -> None:
    assert "found 1 functions declared and 0 bodies" in failure(HEAD + TYPE + FUNCTION)
    assert "found more bodies than the 0 functions declared" in failure(HEAD + TYPE + CODE)


def test_order_and_duplicates() -> None:
    assert "the type section after the function section, expected it before" in failure(HEAD + FUNCTION + TYPE)
    assert "found the type section twice" in failure(HEAD + TYPE + TYPE)
    assert "unknown id 14" in failure(HEAD + b"\x0e\0")
    data_count = b"\x0c\1\0"
    assert rewrite_module(HEAD + TYPE + FUNCTION + data_count + CODE, "m", abi=False).info.features == ("bulk-memory",)
    assert "the data count section after the code section" in failure(HEAD + TYPE + FUNCTION + CODE + data_count)


def test_custom_sections_may_stand_anywhere_and_need_a_name() -> None:
    custom = section(0, b"\1x junk")
    data = custom.join([HEAD, TYPE, FUNCTION, CODE, b""])
    assert rewrite_module(data, "m.wasm", abi=False).info.functions == 1
    assert "a custom section ends" in failure(HEAD + section(0, b"\5x"))
    assert "not UTF-8" in failure(HEAD + section(0, b"\1\xff"))


def test_data_count_must_match() -> None:
    assert "found 0 data segments, expected the 2" in failure(HEAD + b"\x0c\1\2")


def test_content_must_fill_its_section() -> None:
    assert "2 bytes more in the type section, expected its end" in failure(HEAD + section(1, b"\0ab"))
    assert "but only 0 bytes are left there" in failure(HEAD + section(1, b"\1\x60\1"))
    assert "the export section ends at offset 13" in failure(HEAD + section(7, b"\1\2x"))


@pytest.mark.parametrize(
    ("code", "count", "what"),
    [
        (1, limits.TYPES, "types"),
        (2, limits.IMPORTS, "imports"),
        (3, limits.FUNCTIONS, "functions"),
        (4, limits.TABLES, "tables"),
        (6, limits.GLOBALS, "globals"),
        (7, limits.EXPORTS, "exports"),
        (9, limits.SEGMENTS, "element segments"),
        (10, limits.FUNCTIONS, "bodies"),
        (11, limits.SEGMENTS, "data segments"),
        (12, limits.SEGMENTS, "data segments"),
    ],
)
def test_counts_are_bounded_before_they_are_used(code: int, count: int, what: str) -> None:
    text = failure(HEAD + section(code, leb(count + 1) + bytes(count + 1 if code != 12 else 0)))
    assert f"found {count + 1} {what}" in text
    assert f"expected at most {count}" in text
    assert "bytes are left" in failure(HEAD + section(code, leb(count))) or code == 12


def function(body: bytes) -> bytes:
    return HEAD + TYPE + FUNCTION + section(10, b"\1" + leb(len(body)) + body)


def test_locals_are_bounded_over_all_runs() -> None:
    most = leb((limits.LOCALS - limits.ADDED_LOCALS) // 2)
    assert rewrite_module(function(b"\2" + most + b"\x7f" + most + b"\x7e\x0b"), "m", abi=False).info.functions == 1
    half = leb(limits.LOCALS // 2)
    text = failure(function(b"\2" + half + b"\x7f" + half + b"\x7e\x0b"))
    found, bound = limits.LOCALS, limits.LOCALS - limits.ADDED_LOCALS
    assert f"found {found} parameters and locals, expected at most {bound}" in text
    text = failure(function(b"\3" + half + b"\x7f" + half + b"\x7e\1\x7f\x0b"))
    assert text.startswith("m.wasm: function 0, offset 31")
    assert "found 1 more locals, expected at most 0" in text
    assert "4294967295 more locals" in failure(function(b"\1\xff\xff\xff\xff\x0f\x7f\x0b"))


def test_function_and_module_sizes_are_bounded() -> None:
    big = limits.FUNCTION_BYTES + 1
    assert f"found {big} bytes of code" in failure(function(b"\0" + bytes(big - 2) + b"\x0b"))
    with pytest.raises(ModuleError, match=r"m.wasm: found 67108865 bytes, expected at most 67108864"):
        rewrite_module(bytes(limits.MODULE_BYTES + 1), "m.wasm")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (section(5, b"\1\0\x81\x80\x04"), "found a memory of 65537 pages, expected at most 65536"),
        (section(5, b"\1\1\1\x81\x80\x04"), "found a memory of 65537 pages"),
        (section(5, b"\1\1\2\1"), "found a memory with the maximum 1, expected at least its minimum 2"),
        (section(5, b"\1\2\1"), "found a shared memory without a maximum, expected one"),
        (section(4, b"\1\x70\3\1\1"), "found a shared table"),
        (
            section(5, b"\1\0\1") + section(11, b"\1\0\x41\xff\xff\3\x0b\2ab"),
            "2 bytes of data at 65535, which the memory of 1",
        ),
        (section(5, b"\1\0\1") + section(11, b"\1\0\x41\x7f\x0b\0"), "found 0 bytes of data at 4294967295"),
        (section(11, b"\1\0\x41\0\x0b\0"), "found an active data segment, but no memory"),
        (section(9, b"\1\0\x41\0\x0b\0"), "found an active element segment, but no table"),
        (section(4, b"\1\x70\0\1") + section(9, b"\1\0\x41\2\x0b\0"), "found 0 elements at 2, which the table of 1"),
        (section(5, b"\1\0\1") + section(11, b"\1\0\x42\0\x0b\0"), "found a constant of i64, expected i32"),
        (section(6, b"\1\x7f\0\x42\0\x0b"), "found a constant of i64, expected i32"),
        (section(5, b"\1\4\1"), "a 64-bit memory needs memory64"),
        (section(5, b"\1\x08\1\0"), "a resized memory needs custom-page-sizes"),
        (section(5, b"\1\x10\1"), "found a memory with flags 0x10"),
        (section(5, b"\2\0\1\0\1"), "a module with 2 memories needs multi-memory"),
        (
            section(4, b"\1\x70\0\x81\xad\xe2\x04"),
            "found a table of 10000001 entries, expected at most 1048576",
        ),
        (section(4, b"\1\x70\4\1"), "a 64-bit table needs memory64"),
        (section(4, b"\1\x6f\0\1"), "the type externref needs externref"),
        (section(4, b"\1\x40\0\x70\0\1\xd0\x70\x0b"), "a table with a first value for its entries needs"),
        (section(4, b"\1\x7f\0\1"), "found type i32, expected funcref"),
        (section(13, b"\1\0\0"), "a tag needs exceptions"),
        (section(1, b"\1\x5f\0"), "a struct type needs gc"),
        (section(1, b"\1\x4e\0"), "a group of recursive types needs gc"),
        (section(1, b"\1\x5d\0"), "a continuation type needs stack-switching"),
        (section(1, b"\1\x00"), "found a type of form 0x00, expected 0x60"),
        (section(1, b"\1\x60\1\x6f\0"), "the type externref needs externref"),
        (section(1, b"\1\x60\2\x64\x70\0"), "the type (ref ...) needs function-references"),
        (section(1, b"\1\x60\0\1\x6e"), "the type anyref needs gc"),
        (section(1, b"\1\x60\1\x42\0"), "found type 0x42, expected one of i32"),
        (section(6, b"\1\x7f\2\x41\0\x0b"), "found the mutability 2"),
        (section(6, b"\1\x7f\0\x0b"), "found 0 constants"),
        (section(6, b"\1\x7f\0\x41\0\x41\0\x0b"), "found 2 constants"),
        (section(6, b"\1\x7f\0\x23\0\x0b"), "found global.get in a constant expression"),
        (
            section(6, b"\1\x7f\0\x41\1\x41\1\x6a\x0b"),
            "i32.add in a constant expression needs extended-const",
        ),
        (section(6, b"\1\x6f\0\xd0\x6f\x0b"), "the type externref needs externref"),
        (section(6, b"\1\x7f\0\x41\0"), "without the `end`"),
        (section(7, b"\1\1x\4\0"), "a tag needs exceptions"),
        (section(7, b"\1\1x\5\0"), "found the kind 5"),
        (section(7, b"\1\1x\0\0"), "found the function index 0, expected one below 0"),
        (section(8, b"\0"), "found the function index 0, expected one below 0"),
        (section(9, b"\1\x08"), "found an element segment with flags 8"),
        (section(9, b"\1\1\1\0"), "found the element kind 1"),
        (section(11, b"\1\3"), "found a data segment with flags 3"),
        (section(11, b"\1\2\1\x41\0\x0b\0"), "a data segment of another memory needs multi-memory"),
    ],
)
def test_what_is_wrong_in_a_section(content: bytes, what: str) -> None:
    assert what in failure(HEAD + content)


def test_export_names_are_unique() -> None:
    text = failure(HEAD + section(5, b"\1\0\1") + section(7, b"\2\1m\2\0\1m\2\0"))
    assert "offset 20 (0x14): found the export m twice" in text


def test_a_start_function_takes_and_gives_nothing() -> None:
    data = HEAD + section(1, b"\1\x60\1\x7f\0") + FUNCTION + section(8, b"\0") + CODE
    assert "found a start function (i32) -> (), expected () -> ()" in failure(data)


def test_segments_with_every_flag() -> None:
    text = """(module (memory 1) (table $t 4 funcref) (table $u 4 funcref) (func $f)
      (elem (i32.const 0) $f) (elem func $f) (elem (table $u) (i32.const 0) func $f) (elem declare func $f)
      (elem (table $t) (i32.const 0) funcref (ref.func $f)) (elem funcref (ref.null func))
      (elem (table $u) (i32.const 1) funcref (ref.func $f)) (elem declare funcref (ref.func $f))
      (data (i32.const 0) "a") (data "b"))"""
    module = read_module(bytes(wasmtime.wat2wasm(text)))
    active, passive, declared = SegmentMode.ACTIVE, SegmentMode.PASSIVE, SegmentMode.DECLARED
    assert [s.mode for s in module.elements] == [active, passive, active, declared] * 2
    assert [s.mode for s in module.data_segments] == [active, passive]
    assert module.features == {"bulk-memory", "reference-types"}


def test_what_a_real_module_holds() -> None:
    info = rewrite_module(stripped(REAL), "m.wasm", abi=False).info
    assert info.exports == (("memory", "memory"), ("f", "function (i32) -> i32"))
    assert (info.functions, info.memory_minimum_pages, info.memory_maximum_pages) == (1, 1, None)
    assert (info.features, info.imports, info.has_start) == ((), (), False)
    module = read_module(stripped(REAL))
    assert module.bodies[0].locals == ((1, 0x7E), (1, 0x7D))
    assert [limit.minimum for limit in module.tables] == [1]

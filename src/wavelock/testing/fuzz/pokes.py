"""Functions that change tables and drop segments, added to random modules: binaryen makes hardly any such code."""

from __future__ import annotations

from random import Random
from typing import Final

from wavelock.core.form.emit import BY_NAME, assemble, opcode, unsigned, vector
from wavelock.core.form.module import Module
from wavelock.core.form.types import FUNCREF, V128, FunctionType
from wavelock.testing.fuzz import draft as d
from wavelock.testing.fuzz.draft import Draft

_I64: Final = 0x7E
_THREE: Final = "local.get 0 i32.wrap_i64 local.get 1 i32.wrap_i64 local.get 2 i32.wrap_i64 "
_ENTRIES: Final = 5
ZERO: Final = {
    0x7F: "i32.const 0",
    0x7E: "i64.const 0",
    0x7D: "i32.const 0 f32.reinterpret_i32",
    0x7C: "i64.const 0 f64.reinterpret_i64",
    V128: "i64.const 0 i64x2.splat",
    FUNCREF: "ref.null",
}
"""Code that gives a value of a type."""


def add_pokes(result: Draft, module: Module, random: Random) -> None:
    """Adds exported functions `fuzz:poke ...` of three i64 parameters and at most one i64 result."""
    functions = [random.randrange(len(module.functions)) for _ in range(_ENTRIES)] if module.functions else []
    if functions:
        _fill_first_table(result, module, functions)
    segment = result.add(d.ELEMENTS, b"\x01\x00" + vector(len(functions), *map(unsigned, functions)))
    table = random.randrange(len(module.tables))
    pokes = _pokes(table, segment, _passive_data(result, random), functions)
    if functions:
        pokes.append(("call", _call_indirect(module, random.choice(functions), table), False))
    for label, code, answers in pokes:
        kind = FunctionType(bytes([_I64] * 3), bytes([_I64] * answers))
        result.add_function(f"fuzz:poke {label}", kind, code)


def _fill_first_table(result: Draft, module: Module, functions: list[int]) -> None:
    """Makes the first table larger than what is put into it, so that some entries are null."""
    tables = []
    for index, found in enumerate(module.tables):
        minimum = found.minimum + (0 if index else 2 * len(functions))
        most = b"" if found.maximum is None else unsigned(max(minimum, found.maximum))
        tables.append(b"\x70" + bytes((found.maximum is not None,)) + unsigned(minimum) + most)
    result.sections[d.TABLES] = vector(len(tables), *tables)
    start = assemble(f"i32.const {module.tables[0].minimum} end")
    result.add(d.ELEMENTS, b"\x00" + start + vector(len(functions), *map(unsigned, functions)))


def _call_indirect(module: Module, function: int, table: int) -> bytes:
    """Calls an entry of the table as if it were of the function's type; nothing of the results is kept."""
    kind = module.function_type(function)
    arguments = " ".join(ZERO[code] for code in kind.params)
    text = f"{arguments} local.get 0 i32.wrap_i64 call_indirect TYPE TABLE {'drop ' * len(kind.results)}"
    return assemble(text, {"TYPE": module.functions[function], "TABLE": table})


def _passive_data(result: Draft, random: Random) -> int:
    content = random.randbytes(random.randrange(24))
    index = result.add(d.DATA, b"\x01" + vector(len(content), content))
    result.sections[d.DATA_COUNT] = unsigned(index + 1)
    return index


def _operator(text: str, *indexes: int) -> bytes:
    """An operator whose immediates are plain indexes."""
    return opcode(BY_NAME[text]) + b"".join(map(unsigned, indexes))


def _pokes(table: int, segment: int, data: int, functions: list[int]) -> list[tuple[str, bytes, bool]]:
    three, entry = assemble(_THREE), assemble("local.get 0 i32.wrap_i64")
    one = functions[0] if functions else None
    reference = assemble(f"ref.func {one}" if one is not None else "ref.null")
    widen = assemble("i64.extend_i32_u")
    length, load = assemble("local.get 1 i32.wrap_i64"), assemble("i32.load 0 0")
    return [
        ("set", entry + reference + _operator("table.set", table), False),
        ("clear", entry + assemble("ref.null") + _operator("table.set", table), False),
        ("get", entry + _operator("table.get", table) + assemble("ref.is_null") + widen, True),
        ("grow", reference + length + _operator("table.grow", table) + widen, True),
        ("size", _operator("table.size", table) + widen, True),
        ("fill", entry + reference + length + _operator("table.fill", table), False),
        ("copy", three + _operator("table.copy", table, table), False),
        ("init", three + _operator("table.init", segment, table), False),
        ("elem drop", _operator("elem.drop", segment), False),
        ("memory init", three + _operator("memory.init", data, 0), False),
        ("memory copy", three + _operator("memory.copy", 0, 0), False),
        ("memory fill", three + _operator("memory.fill", 0), False),
        ("data drop", _operator("data.drop", data), False),
        ("memory grow", length + _operator("memory.grow", 0) + widen, True),
        ("grow and load", length + _operator("memory.grow", 0) + assemble("drop") + entry + load + widen, True),
    ]

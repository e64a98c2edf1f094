"""Makes a random module one that can be called from outside: no imports, and exported functions of i64 alone.

- Imported functions (binaryen's are loggers) become functions at the same indexes that fold what they are given into a
  global, so that it is compared.
- Each function gets an exported wrapper whose parameters and results are i64: floats and vectors cross as bits.
- The memory is made small, so that its end is near and its hash is cheap, and is exported under the name of the ABI.
- What binaryen makes rarely is added at random: a start function, code that changes tables and drops segments.
"""

from __future__ import annotations

from random import Random
from typing import Final

from wavelock.core.abi import EXPORT_MEMORY
from wavelock.core.form.binary import FormError, Reader, read_signed, read_u32
from wavelock.core.form.emit import assemble, function_body, name, unsigned, vector
from wavelock.core.form.module import Kind, Module
from wavelock.core.form.sections import read_module
from wavelock.core.form.types import FUNCREF, V128, FunctionType, check_value_type
from wavelock.testing.fuzz import draft as d
from wavelock.testing.fuzz.draft import Draft
from wavelock.testing.fuzz.pokes import ZERO, add_pokes

PREFIX: Final = "fuzz:"
"""Exports with this prefix take and give i64 alone."""
LOOPS: Final = "fuzz:loops"
"""Sets binaryen's own bound on loops so high that fuel ends them."""
_MOST_LOOPS: Final = 1 << 24
_WRAPPERS: Final = 24
_MEMORY_PAGES: Final = (1, 1, 2, 4)
_I64: Final = 0x7E
_IN: Final = {
    0x7F: "local.get A i32.wrap_i64",
    0x7E: "local.get A",
    0x7D: "local.get A i32.wrap_i64 f32.reinterpret_i32",
    0x7C: "local.get A f64.reinterpret_i64",
    V128: "local.get A i64x2.splat local.get B i64x2.replace_lane 1",
    FUNCREF: "ref.null",
}
"""From i64 parameters A (and B) to a value."""
_OUT: Final = {
    0x7F: "local.get A i64.extend_i32_u",
    0x7E: "local.get A",
    0x7D: "local.get A i32.reinterpret_f32 i64.extend_i32_u",
    0x7C: "local.get A i64.reinterpret_f64",
    V128: "local.get A i64x2.extract_lane 0 local.get A i64x2.extract_lane 1",
    FUNCREF: "local.get A ref.is_null i64.extend_i32_u",
}
"""From a value in local A to one or two i64."""


def decorate(data: bytes, random: Random) -> bytes:
    """The module as the fuzzing calls it. Raises FormError for one that the form refuses before it reads its code."""
    plain = without_imports(data)
    module = read_module(plain)
    result = Draft(plain)
    _make_memory_small(result, module, random)
    _add_loops(result, module)
    chosen = list(range(len(module.functions)))
    if len(chosen) > _WRAPPERS:
        chosen = sorted(random.sample(chosen, _WRAPPERS))
    for index in chosen:
        _add_wrapper(result, module.function_type(index), index)
    if module.tables and random.random() < 0.3:
        add_pokes(result, module, random)
    _add_start(result, module, random)
    return result.written()


# ---- imports ----


def without_imports(data: bytes) -> bytes:
    """The module with functions of its own instead of imported ones. Raises FormError for other imports."""
    result = Draft(data)
    if not result.count(d.IMPORTS):
        return data
    types = _types(result.sections.get(d.TYPES, b"\0"))
    imported = _imported(result.sections.pop(d.IMPORTS), len(types))
    log = result.add(d.GLOBALS, b"\x7e\x01\x42\x00\x0b")
    result.add_first(d.FUNCTIONS, [unsigned(index) for index in imported])
    result.add_first(d.CODE, [_logger(types[index], log) for index in imported])
    return result.written()


def _types(content: bytes) -> list[FunctionType]:
    reader, found = Reader(content, 0, len(content), "the type section"), []
    for _ in range(reader.u32()):
        reader.byte()
        found.append(FunctionType(_value_types(reader), _value_types(reader)))
    return found


def _value_types(reader: Reader) -> bytes:
    return bytes([check_value_type(reader.byte(), reader.position - 1) for _ in range(reader.u32())])


def _imported(content: bytes, types: int) -> list[int]:
    reader, found = Reader(content, 0, len(content), "the import section"), []
    for _ in range(reader.u32()):
        reader.name()
        reader.name()
        kind, index = reader.byte(), reader.u32()
        if kind != Kind.FUNCTION or index >= types:
            raise FormError(reader.position, "found an import that is no function")
        found.append(index)
    return found


def _logger(kind: FunctionType, log: int) -> bytes:
    """A function that folds its arguments into a global and answers zeros."""
    code = ""
    for at, value_type in enumerate(kind.params):
        if value_type not in _OUT or value_type == FUNCREF:
            continue
        words = _OUT[value_type].replace(" A", f" {at}")
        fold = f"global.get {log} i64.const 1099511628211 i64.mul i64.add global.set {log} "
        code += words + " i64.add " * (value_type == V128) + f" {fold}"
    code += " ".join(ZERO.get(value_type, "unreachable") for value_type in kind.results)
    return function_body([], assemble(code) + b"\x0b")


# ---- what is added ----


def _add_wrapper(result: Draft, kind: FunctionType, target: int) -> None:
    code, params = "", 0
    for value_type in kind.params:
        code += _IN[value_type].replace(" A", f" {params}").replace(" B", f" {params + 1}") + " "
        params += _words(value_type)
    results = sum(max(1, _words(each)) for each in kind.results)
    code += f"call {target} "
    code += "".join(f"local.set {params + at} " for at in reversed(range(len(kind.results))))
    code += " ".join(_OUT[each].replace(" A", f" {params + at}") for at, each in enumerate(kind.results))
    wrapper = FunctionType(bytes([_I64] * params), bytes([_I64] * results))
    result.add_function(f"{PREFIX}{target}", wrapper, assemble(code), kind.results)


def _words(value_type: int) -> int:
    """The i64 parameters that stand for a value."""
    return {V128: 2, FUNCREF: 0}.get(value_type, 1)


def _add_loops(result: Draft, module: Module) -> None:
    found = module.exports.get("hangLimitInitializer")
    if found is None:
        return
    at = module.bodies[found.index].code
    if module.data[at] != 0x41:
        return
    _, at = read_signed(module.data, at + 1, 32)
    if module.data[at] != 0x24:
        return
    index, _ = read_u32(module.data, at + 1)
    result.add_function(LOOPS, FunctionType(b"", b""), assemble(f"i32.const {_MOST_LOOPS} global.set {index}"))


def _make_memory_small(result: Draft, module: Module, random: Random) -> None:
    pages = random.choice(_MEMORY_PAGES)
    if not module.memories:
        result.sections[d.MEMORIES] = vector(1, b"\x00" + unsigned(pages))
    else:
        found = module.memories[0]
        flags = (found.maximum is not None) + 2 * found.shared
        most = b"" if found.maximum is None else unsigned(max(pages, found.maximum))
        result.sections[d.MEMORIES] = vector(1, bytes((flags,)) + unsigned(pages) + most)
    if EXPORT_MEMORY not in module.exports:
        result.add(d.EXPORTS, name(EXPORT_MEMORY) + b"\x02\x00")


def _add_start(result: Draft, module: Module, random: Random) -> None:
    nothing = FunctionType(b"", b"")
    found = [index for index in range(len(module.functions)) if module.function_type(index) == nothing]
    if found and module.start is None and random.random() < 0.3:
        result.sections[d.START] = unsigned(random.choice(found))

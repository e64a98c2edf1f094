"""Reads a module's sections into a `Module`: framing first, so that a cut module is told from a damaged one.

Rules: sections come in the specification's order, each once; a section's content ends where its size says; a
count is checked against its bound and against the bytes that are left before anything grows with it; an index
that the form uses itself (types of functions, exports, start) is in range. What is refused outside of code is
refused here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from wavelock.core.form import features, limits
from wavelock.core.form.binary import FormError, Reader, at, read_u32, shown
from wavelock.core.form.entities import (
    Constant,
    limited,
    read_constant,
    read_function_type,
    read_global_type,
    read_memory_limits,
    read_table_limits,
    read_value_type,
)
from wavelock.core.form.module import (
    Body,
    Export,
    Import,
    Kind,
    Module,
    Section,
    Segment,
    SegmentMode,
)
from wavelock.core.form.sniff import HEADER_BYTES
from wavelock.core.form.types import FUNCREF, V128, check_reference_type

_CUSTOM: Final = 0
_I32: Final = 0x7F
_IN_ORDER: Final = {
    1: "type",
    2: "import",
    3: "function",
    4: "table",
    5: "memory",
    13: "tag",
    6: "global",
    7: "export",
    8: "start",
    9: "element",
    12: "data count",
    10: "code",
    11: "data",
}
"""Section ids in the order that the specification sets, which is not that of the numbers."""
_RANK: Final = {code: rank for rank, code in enumerate(_IN_ORDER, 1)}
_FUNCTION_INDEXES: Final = 0x00
"""The only element kind of segments that list function indexes."""


def read_module(data: bytes) -> Module:
    """The module in `data`, whose header has been checked. Raises FormError."""
    module = frame(data)
    read_sections(module)
    return module


def read_sections(module: Module) -> None:
    """Fills a module that `frame` made; an error leaves what was read, names of functions among it."""
    for section in module.sections:
        if section.code != _CUSTOM:
            reader = Reader(module.data, section.start, section.end, part_name(section.code))
            _READERS[section.code](reader, module)
            reader.finish()
    _check_counts(module)


def part_name(code: int) -> str:
    """A section as errors name it: `the export section`."""
    return f"the {_IN_ORDER.get(code, 'custom')} section"


def frame(data: bytes) -> Module:
    """The sections of a module, none of them read yet."""
    sections = []
    position, rank = HEADER_BYTES, 0
    while position < len(data):
        section = _frame_one(data, position)
        if section.code != _CUSTOM:
            rank = _check_order(section.code, rank, position)
        sections.append(section)
        position = section.end
    return Module(data, tuple(sections))


def _frame_one(data: bytes, offset: int) -> Section:
    code = data[offset]
    if code != _CUSTOM and code not in _IN_ORDER:
        raise FormError(offset, f"found a section with the unknown id {code}, expected one of 0 to 13")
    try:
        size, start = read_u32(data, offset + 1)
    except IndexError:
        raise FormError(
            len(data), f"the module ends here, inside the head of {part_name(code)} at {at(offset)}"
        ) from None
    if size > len(data) - start:
        has = f"it says {size} bytes and has {len(data) - start}"
        raise FormError(len(data), f"the module ends here, inside {part_name(code)}: {has}; it starts at {at(offset)}")
    if code != _CUSTOM:
        return Section(code, start, start + size)
    reader = Reader(data, start, start + size, "a custom section")
    name = reader.name()
    return Section(code, reader.position, reader.end, name)


def _check_order(code: int, rank: int, offset: int) -> int:
    if _RANK[code] == rank:
        raise FormError(offset, f"found {part_name(code)} twice, expected it once")
    if _RANK[code] < rank:
        last = next(part_name(other) for other in _IN_ORDER if _RANK[other] == rank)
        raise FormError(offset, f"found {part_name(code)} after {last}, expected it before")
    return _RANK[code]


def _check_counts(module: Module) -> None:
    end = len(module.data)
    functions, bodies = len(module.functions), len(module.bodies)
    if functions != bodies:
        raise FormError(end, f"found {functions} functions declared and {bodies} bodies, expected as many of each")
    declared, found = module.data_count, len(module.data_segments)
    if declared is not None and declared != found:
        raise FormError(end, f"found {found} data segments, expected the {declared} that the data count section says")


def _types(reader: Reader, module: Module) -> None:
    for _ in range(reader.count("types", limits.TYPES)):
        found = read_function_type(reader)
        if len(found.results) > 1:
            module.features.add(features.MULTI_VALUE)
        _note_types(module, found.params + found.results)
        module.types.append(found)


def _note_types(module: Module, codes: Iterable[int]) -> None:
    """Types that the MVP lacks are features, even where no operator touches a value of them."""
    for code in codes:
        if code == V128:
            module.features.add(features.SIMD)
        elif code == FUNCREF:
            module.features.add(features.REFERENCE_TYPES)


def _imports(reader: Reader, module: Module) -> None:
    found = [_import(reader, module) for _ in range(reader.count("imports", limits.IMPORTS))]
    if found:
        raise _imports_refused(found, module)


def _import(reader: Reader, module: Module) -> Import:
    offset = reader.position
    owner, name, kind_offset = reader.name(), reader.name(), reader.position
    kind = reader.byte()
    if kind == Kind.FUNCTION:
        text = f"function {module.types[_index(reader, len(module.types), 'type')]}"
    elif kind == Kind.TABLE:
        read_table_limits(reader)
        text = "table funcref"
    elif kind == Kind.MEMORY:
        read_memory_limits(reader)
        text = "memory"
    elif kind == Kind.GLOBAL:
        text = f"global {read_global_type(reader)}"
    else:
        raise _bad_kind(kind, kind_offset)
    return Import(offset, owner, name, text)


def _imports_refused(found: list[Import], module: Module) -> FormError:
    first = found[0]
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    name = f"{shown(first.module)}.{shown(first.name)}"
    what = f"found the import {name} ({shown(first.type)}){more}, expected none"
    why = "an agent imports nothing: all comes in through its inbox and goes out through its outbox"
    return FormError(first.offset, f"{what}; {why}. {_import_way_out(first, module)}")


def _import_way_out(first: Import, module: Module) -> str:
    if any(section.name == "linking" for section in module.sections):
        return "This is an object file that has not been linked: link it (wasm-ld, or the compiler without -c)"
    if first.module.startswith("wasi"):
        return "Build for wasm32-freestanding or wasm32-unknown-unknown, without calls to an operating system"
    if first.type == "memory":
        return "Link without --import-memory"
    return "Define it in the module; a linker without --allow-undefined tells what needs it"


def _functions(reader: Reader, module: Module) -> None:
    types = len(module.types)
    for _ in range(reader.count("functions", limits.FUNCTIONS)):
        module.functions.append(_index(reader, types, "type"))


def _tables(reader: Reader, module: Module) -> None:
    for _ in range(reader.count("tables", limits.TABLES)):
        module.tables.append(read_table_limits(reader))
    if len(module.tables) > 1:
        module.features.add(features.REFERENCE_TYPES)


def _memories(reader: Reader, module: Module) -> None:
    offset = reader.position
    count = reader.count("memories", reader.left)
    if count > limits.MEMORIES:
        raise features.refusal(features.MULTI_MEMORY, offset, f"a module with {count} memories")
    for _ in range(count):
        module.memories.append(read_memory_limits(reader))
        if module.memories[-1].shared:
            module.features.add(features.THREADS)


def _tags(reader: Reader, module: Module) -> None:
    offset = reader.position
    if reader.count("tags", reader.left):
        raise features.refusal(features.EXCEPTIONS, offset, "a tag")


def _globals(reader: Reader, module: Module) -> None:
    for _ in range(reader.count("globals", limits.GLOBALS)):
        offset = reader.position
        found = read_global_type(reader)
        _note_types(module, (found.value_type,))
        if found.mutable and found.value_type == FUNCREF:
            raise FormError(offset, "found a mutable global of funcref, which no snapshot could hold; use a table")
        _declare(module, read_constant(reader, found.value_type), offset)
        module.globals.append(found)


def _declare(module: Module, found: Constant, offset: int) -> None:
    """Notes the function that a constant names."""
    if found.type == FUNCREF and found.value is not None:
        if found.value >= len(module.functions):
            most = len(module.functions)
            raise FormError(offset, f"found ref.func of function {found.value}, expected one below {most}")
        module.declared.add(found.value)


def _exports(reader: Reader, module: Module) -> None:
    for _ in range(reader.count("exports", limits.EXPORTS)):
        offset = reader.position
        name = reader.name()
        if name in module.exports:
            raise FormError(offset, f"found the export {shown(name)} twice, expected each name once")
        module.exports[name] = _export(reader, module, offset)


def _export(reader: Reader, module: Module, offset: int) -> Export:
    kind_offset = reader.position
    kind = reader.byte()
    owners = (module.functions, module.tables, module.memories, module.globals)
    if kind >= len(owners):
        raise _bad_kind(kind, kind_offset)
    index = _index(reader, len(owners[kind]), str(Kind(kind)))
    if kind == Kind.GLOBAL and module.globals[index].mutable:
        module.features.add(features.MUTABLE_GLOBAL)
    if kind == Kind.FUNCTION:
        module.declared.add(index)
    return Export(offset, Kind(kind), index)


def _bad_kind(kind: int, offset: int) -> FormError:
    if kind == 4:
        return features.refusal(features.EXCEPTIONS, offset, "a tag")
    return FormError(offset, f"found the kind {kind}, expected 0 (function), 1 (table), 2 (memory) or 3 (global)")


def _start(reader: Reader, module: Module) -> None:
    offset = reader.position
    module.start = _index(reader, len(module.functions), "function")
    found = module.function_type(module.start)
    if found.params or found.results:
        raise FormError(offset, f"found a start function {found}, expected () -> ()")


def _elements(reader: Reader, module: Module) -> None:
    for _ in range(reader.count("element segments", limits.SEGMENTS)):
        module.elements.append(_element(reader, module))


def _element(reader: Reader, module: Module) -> Segment:
    """Bit 0: not active. Bit 1: declared, or an active one's table. Bit 2: constants, not indexes."""
    start = reader.position
    flags = reader.u32()
    if flags > 7:
        raise FormError(start, f"found an element segment with flags {flags}, expected at most 7")
    if flags:
        module.features.add(features.BULK_MEMORY if flags == 1 else features.REFERENCE_TYPES)
    mode, table, first = _element_mode(flags), 0, 0
    if mode is SegmentMode.ACTIVE:
        if flags & 2:
            table = _index(reader, len(module.tables), "table")
        elif not module.tables:
            raise FormError(start, "found an active element segment, but no table")
        first = (read_constant(reader, _I32).value or 0) & 0xFFFFFFFF
    if flags & 3:
        _element_kind(reader, bool(flags & 4))
    count = reader.count("entries", limits.SEGMENT_ENTRIES)
    for _ in range(count):
        offset = reader.position
        if flags & 4:
            _declare(module, read_constant(reader, FUNCREF), offset)
        else:
            module.declared.add(_index(reader, len(module.functions), "function"))
    if mode is SegmentMode.ACTIVE and first + count > module.tables[table].minimum:
        size = module.tables[table].minimum
        raise FormError(start, f"found {count} elements at {first}, which the table of {size} entries does not have")
    return Segment(mode, start, reader.position)


def _element_mode(flags: int) -> SegmentMode:
    if not flags & 1:
        return SegmentMode.ACTIVE
    return SegmentMode.DECLARED if flags & 2 else SegmentMode.PASSIVE


def _element_kind(reader: Reader, constants: bool) -> None:
    offset = reader.position
    code = reader.byte()
    if constants:
        check_reference_type(code, offset)
    elif code != _FUNCTION_INDEXES:
        raise FormError(offset, f"found the element kind {code}, expected 0 (function indexes)")


def _data_count(reader: Reader, module: Module) -> None:
    module.data_count = limited(reader, "data segments", limits.SEGMENTS)
    module.features.add(features.BULK_MEMORY)


def _code(reader: Reader, module: Module) -> None:
    for index in range(reader.count("bodies", limits.FUNCTIONS)):
        if index >= len(module.functions):
            raise FormError(reader.position, f"found more bodies than the {index} functions declared")
        try:
            module.bodies.append(_body(reader, module, index))
        except FormError as error:
            raise FormError(error.offset, error.what, index) from None


def _body(reader: Reader, module: Module, index: int) -> Body:
    size = limited(reader, "bytes of code", limits.FUNCTION_BYTES)
    start = reader.position
    reader.skip(size)
    inner = Reader(reader.data, start, reader.position, "the function's body")
    found = tuple(_local_runs(inner, module, len(module.function_type(index).params)))
    return Body(start, inner.position, inner.end, found)


def _local_runs(reader: Reader, module: Module, total: int) -> Iterator[tuple[int, int]]:
    for _ in range(reader.count("runs of locals", limits.LOCALS)):
        count = limited(reader, "more locals", limits.LOCALS - total)
        total += count
        code = read_value_type(reader)
        _note_types(module, (code,))
        yield count, code


def _data(reader: Reader, module: Module) -> None:
    for _ in range(reader.count("data segments", limits.SEGMENTS)):
        module.data_segments.append(_data_segment(reader, module))


def _data_segment(reader: Reader, module: Module) -> Segment:
    start = reader.position
    flags = reader.u32()
    if flags > 2:
        raise FormError(start, f"found a data segment with flags {flags}, expected 0, 1 or 2")
    if flags == 2 and reader.u32() != 0:
        raise features.refusal(features.MULTI_MEMORY, start, "a data segment of another memory")
    first, passive = 0, flags == 1
    if passive:
        module.features.add(features.BULK_MEMORY)
    else:
        if not module.memories:
            raise FormError(start, "found an active data segment, but no memory")
        first = (read_constant(reader, _I32).value or 0) & 0xFFFFFFFF
    length = reader.u32()
    reader.skip(length)
    if not passive and first + length > module.memories[0].minimum << 16:
        pages = module.memories[0].minimum
        what = f"found {length} bytes of data at {first}, which the memory of {pages} pages does not have"
        raise FormError(start, what)
    return Segment(SegmentMode.PASSIVE if passive else SegmentMode.ACTIVE, start, reader.position)


def _index(reader: Reader, count: int, what: str) -> int:
    offset = reader.position
    index = reader.u32()
    if index >= count:
        raise FormError(offset, f"found the {what} index {index}, expected one below {count}")
    return index


_READERS: Final[Mapping[int, Callable[[Reader, Module], None]]] = {
    1: _types,
    2: _imports,
    3: _functions,
    4: _tables,
    5: _memories,
    13: _tags,
    6: _globals,
    7: _exports,
    8: _start,
    9: _elements,
    12: _data_count,
    10: _code,
    11: _data,
}

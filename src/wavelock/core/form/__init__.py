"""The deterministic form of a module: the rewriting that makes it do the same on every engine.

A module is read (`sections`), each function is checked and rewritten (`function`), and a new module is written
(`rewrite`) with what the pass adds (`additions`). Engines see nothing but that. A module comes out only if it is valid:
every byte is read and every operand's type is checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from wavelock.core.errors import ModuleError
from wavelock.core.form import limits
from wavelock.core.form.binary import FormError, at, shown
from wavelock.core.form.check import check_exports
from wavelock.core.form.features import MVP
from wavelock.core.form.module import Module
from wavelock.core.form.names import function_name
from wavelock.core.form.options import FormOptions
from wavelock.core.form.rewrite import Written, refusals, write_module
from wavelock.core.form.sections import frame, read_sections
from wavelock.core.form.sniff import check_header

__all__ = [
    "FORM_VERSION",
    "Extern",
    "FormOptions",
    "ModuleInfo",
    "Rewritten",
    "StateSizes",
    "rewrite_module",
    "survey_module",
]

FORM_VERSION: Final = 2
"""Part of every digest: the same module under another version may do other things."""
_DEFAULT: Final = FormOptions()


class Extern(NamedTuple):
    """An import (`module.name`) or export, and its type as text.

    `function (i32) -> i32`, `memory`, `table funcref`, `global mut i32`.
    """

    name: str
    type: str


@dataclass(frozen=True)
class ModuleInfo:
    """What a checked module is. Memory is in pages of 64 KiB: 0 and None without one."""

    size_bytes: int
    imports: tuple[Extern, ...]
    """Always empty in this version of the form."""
    exports: tuple[Extern, ...]
    """In the module's order."""
    features: tuple[str, ...]
    """Features beyond the MVP that it needs, sorted."""
    functions: int
    memory_minimum_pages: int
    memory_maximum_pages: int | None
    has_start: bool


class StateSizes(NamedTuple):
    """How much hidden state a capture reads through the functions of `reserved`: words; tables and their types."""

    words: int
    tables: int
    table_types: int


@dataclass(frozen=True)
class Rewritten:
    """A module in its deterministic form. segments: pieces of code that charge fuel."""

    module: bytes
    info: ModuleInfo
    """Of the original."""
    segments: int
    state: StateSizes


def rewrite_module(data: bytes, name: str, options: FormOptions = _DEFAULT, *, abi: bool = True) -> Rewritten:
    """The deterministic form of a module, with `abi` of one that has an agent's exports.

    name: what errors begin with, the file's path for one.
    Raises ModuleError: name, function, byte offset, found against expected, the way out.
    """
    if len(data) > limits.MODULE_BYTES:
        raise ModuleError(f"{name}: found {len(data)} bytes, expected at most {limits.MODULE_BYTES} in a module")
    module: Module | None = None
    try:
        check_header(data)
        module = frame(data)
        read_sections(module)
        if abi:
            check_exports(module)
        written = write_module(module, options, abi=abi)
    except FormError as error:
        raise ModuleError(f"{name}: {_described(error, module)}") from None
    layout = written.layout
    sizes = StateSizes(layout.words, layout.tables, layout.table_types)
    return Rewritten(written.data, _info(module, written), written.segments, sizes)


def survey_module(data: bytes, name: str, options: FormOptions = _DEFAULT) -> list[str]:
    """Everything for which a module would be refused as an agent, as texts; empty for one that can be.

    One text a function, and one for what lies outside of them: what follows a mistake need not mean anything.
    """
    module: Module | None = None
    found: list[FormError] = []
    try:
        check_header(data)
        module = frame(data)
        read_sections(module)
        found += refusals(module, options)
        check_exports(module)
    except FormError as error:
        found.append(error)
    return [f"{name}: {_described(error, module)}" for error in found]


def _described(error: FormError, module: Module | None) -> str:
    found = function_name(module, error.function) if module and error.function is not None else None
    if found is None:
        return str(error)
    return f"function {error.function} ({shown(found)}), {at(error.offset)}: {error.what}"


def _info(module: Module, written: Written) -> ModuleInfo:
    memory = module.memories[0] if module.memories else None
    return ModuleInfo(
        size_bytes=len(module.data),
        imports=(),
        exports=tuple(Extern(name, module.export_type(export)) for name, export in module.exports.items()),
        features=tuple(sorted(written.features - {MVP})),
        functions=len(module.functions),
        memory_minimum_pages=memory.minimum if memory else 0,
        memory_maximum_pages=memory.maximum if memory else None,
        has_start=module.start is not None,
    )

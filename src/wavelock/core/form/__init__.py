"""The deterministic form of a module: what an agent's module may hold.

It validates and refuses so far; it rewrites nothing.

Every byte is read, every instruction decoded. Types of operands and most indexes are not checked: the engine,
which sees the module next, does that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from wavelock.core.errors import ModuleError
from wavelock.core.form import limits
from wavelock.core.form.binary import FormError, at, shown
from wavelock.core.form.check import check_code, check_exports
from wavelock.core.form.features import MVP
from wavelock.core.form.module import Module
from wavelock.core.form.names import function_name
from wavelock.core.form.sections import frame, read_sections
from wavelock.core.form.sniff import check_header

__all__ = ["FORM_VERSION", "Extern", "ModuleInfo", "check_module"]

FORM_VERSION: Final = 1
"""Part of every digest: the same module under another version may do other things."""


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


def check_module(data: bytes, name: str, *, abi: bool = True) -> ModuleInfo:
    """Checks that `data` is a module that every engine runs alike, with `abi` one with an agent's exports.

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
        features = module.features | check_code(module)
        if abi:
            check_exports(module)
    except FormError as error:
        raise ModuleError(f"{name}: {_described(error, module)}") from None
    return _info(module, features)


def _described(error: FormError, module: Module | None) -> str:
    found = function_name(module, error.function) if module and error.function is not None else None
    if found is None:
        return str(error)
    return f"function {error.function} ({shown(found)}), {at(error.offset)}: {error.what}"


def _info(module: Module, features: set[str]) -> ModuleInfo:
    memory = module.memories[0] if module.memories else None
    return ModuleInfo(
        size_bytes=len(module.data),
        imports=(),
        exports=tuple(Extern(name, module.export_type(export)) for name, export in module.exports.items()),
        features=tuple(sorted(features - {MVP})),
        functions=len(module.functions),
        memory_minimum_pages=memory.minimum if memory else 0,
        memory_maximum_pages=memory.maximum if memory else None,
        has_start=module.start is not None,
    )

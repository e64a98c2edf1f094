"""Holds a module's exports against Agent ABI 1."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from itertools import islice
from typing import Final

from wavelock.core.abi import EXPORT_ABI, EXPORT_INITIALIZE, EXPORT_MEMORY, EXPORT_TURN
from wavelock.core.form.binary import FormError, shown
from wavelock.core.form.module import Kind, Module
from wavelock.core.form.types import FunctionType

_I32: Final = b"\x7f"
_FUNCTIONS: Final = {
    EXPORT_ABI: FunctionType(b"", _I32),
    EXPORT_TURN: FunctionType(_I32, _I32),
    EXPORT_INITIALIZE: FunctionType(b"", b""),
}
"""Functions of the ABI and their types."""
_REQUIRED: Final = (EXPORT_MEMORY, EXPORT_ABI, EXPORT_TURN)
_LISTED_EXPORTS: Final = 20


def check_exports(module: Module) -> None:
    """Raises FormError, with every problem in one text, unless the exports are those of Agent ABI 1."""
    problems = [*_missing(module), *_wrong(module)]
    if not problems:
        return
    section = module.section(7)
    offset = section.start if section else len(module.data)
    raise FormError(offset, f"{'; '.join(problems)}. {_exported(module)}. {_way_out(module)}")


def _missing(module: Module) -> Iterator[str]:
    for name in _REQUIRED:
        if name not in module.exports:
            wanted = f"function {_FUNCTIONS[name]}" if name in _FUNCTIONS else "memory"
            near = difflib.get_close_matches(name, [other for other in module.exports if other not in _REQUIRED], 1)
            hint = f" (is it {shown(near[0])}?)" if near else ""
            yield f"found no export {name}, expected a {wanted}{hint}"


def _wrong(module: Module) -> Iterator[str]:
    for name, export in module.exports.items():
        found = module.export_type(export)
        if name == EXPORT_MEMORY and export.kind is not Kind.MEMORY:
            yield f"found the export {name} as a {shown(found)}, expected a memory"
        elif name in _FUNCTIONS and found != f"function {_FUNCTIONS[name]}":
            yield f"found the export {name} as a {shown(found)}, expected a function {_FUNCTIONS[name]}"


def _exported(module: Module) -> str:
    if not module.exports:
        return "The module exports nothing"
    first = islice(module.exports.items(), _LISTED_EXPORTS)
    listed = ", ".join(f"{shown(name)} ({shown(module.export_type(export))})" for name, export in first)
    left = len(module.exports) - _LISTED_EXPORTS
    return f"The module exports {listed}{f' and {left} more' if left > 0 else ''}"


def _way_out(module: Module) -> str:
    if "_start" in module.exports:
        return "It has a _start: build it as a reactor (-mexec-model=reactor) or with -Wl,--no-entry"
    return "In C, WL_AGENT and WL_TURN of wavelock.h export these; elsewhere mark the functions for export"

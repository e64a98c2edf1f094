"""A function's name for error messages: from the name section, else from an export.

Read only when an error needs it. The name section is a custom one, so damage in it is no error: there is no
name then.
"""

from __future__ import annotations

from typing import Final

from wavelock.core.form.binary import FormError, Reader
from wavelock.core.form.module import Kind, Module, Section

_FUNCTION_NAMES: Final = 1


def function_name(module: Module, index: int) -> str | None:
    """The name of function `index`, or None if it has none."""
    return _from_name_section(module, index) or _from_exports(module, index)


def _from_exports(module: Module, index: int) -> str | None:
    for name, export in module.exports.items():
        if export.kind is Kind.FUNCTION and export.index == index:
            return name
    return None


def _from_name_section(module: Module, index: int) -> str | None:
    for section in module.sections:
        if section.code == 0 and section.name == "name":
            try:
                return _search(module.data, section, index)
            except FormError:
                return None
    return None


def _search(data: bytes, section: Section, index: int) -> str | None:
    reader = Reader(data, section.start, section.end, "the name section")
    while reader.left:
        kind, length = reader.byte(), reader.u32()
        if kind == _FUNCTION_NAMES:
            return _search_functions(reader, index)
        reader.skip(length)
    return None


def _search_functions(reader: Reader, index: int) -> str | None:
    for _ in range(reader.count("names", reader.left)):
        found, name = reader.u32(), reader.name()
        if found == index:
            return name
    return None

"""What comes of the pass: light to import, as a run whose modules are cached needs no more of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

FORM_VERSION: Final = 2
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


class StateSizes(NamedTuple):
    """How much hidden state a capture reads through the functions of `reserved`: words; tables and their types."""

    words: int
    tables: int
    table_types: int


class MemorySize(NamedTuple):
    """How large a module's memory is at first, and how large it can ever get: in pages of 64 KiB, 0 without one."""

    first: int
    most: int


@dataclass(frozen=True)
class Rewritten:
    """A module in its deterministic form. segments: pieces of code that charge fuel."""

    module: bytes
    info: ModuleInfo
    """Of the original."""
    segments: int
    state: StateSizes
    memory: MemorySize

"""What a module holds, as `sections.read_module` finds it: values and spans of bytes, no code decoded.

The rewriting pass reads the same values and copies the spans that it does not change.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from enum import IntEnum

from wavelock.core.form.types import VALUE_TYPES, FunctionType


class Kind(IntEnum):
    """What an import or export names, by its code in the binary format."""

    FUNCTION = 0
    TABLE = 1
    MEMORY = 2
    GLOBAL = 3

    def __str__(self) -> str:
        return self.name.lower()


class SegmentMode(IntEnum):
    """When a segment is copied: at instantiation, by an instruction, or (element segments) never."""

    ACTIVE = 0
    PASSIVE = 1
    DECLARED = 2


@dataclass(frozen=True)
class Section:
    """A section's contents, [start, end) in the module: after id, size and a custom section's name."""

    code: int
    start: int
    end: int
    name: str = ""


@dataclass(frozen=True)
class Limits:
    """A memory's size in pages or a table's in entries."""

    minimum: int
    maximum: int | None
    shared: bool = False
    """A memory of a module for threads, which becomes a plain one."""


@dataclass(frozen=True)
class GlobalType:
    """A global's value type (its code) and whether it can be set."""

    value_type: int
    mutable: bool

    def __str__(self) -> str:
        return f"{'mut ' if self.mutable else ''}{VALUE_TYPES[self.value_type]}"


@dataclass(frozen=True)
class Import:
    """One import; `type` is its type as text."""

    offset: int
    module: str
    name: str
    type: str


@dataclass(frozen=True)
class Export:
    """One export: the index is among the module's functions, tables, memories or globals."""

    offset: int
    kind: Kind
    index: int


@dataclass(frozen=True)
class Body:
    """A function's body: its local declarations from `start`, its code from `code` to `end`."""

    start: int
    code: int
    end: int
    locals: tuple[tuple[int, int], ...]
    """Runs of (count, value type)."""


@dataclass(frozen=True)
class Segment:
    """A data or element segment: when it is copied, and its span of bytes."""

    mode: SegmentMode
    start: int
    end: int


@dataclass
class Module:
    """A module, filled section by section. It imports nothing: every index counts its own definitions."""

    data: bytes
    sections: tuple[Section, ...]
    types: list[FunctionType] = field(default_factory=list)
    functions: array[int] = field(default_factory=lambda: array("I"))
    """The type's index of each function."""
    tables: list[Limits] = field(default_factory=list)
    """All of funcref."""
    memories: list[Limits] = field(default_factory=list)
    globals: list[GlobalType] = field(default_factory=list)
    exports: dict[str, Export] = field(default_factory=dict)
    start: int | None = None
    elements: list[Segment] = field(default_factory=list)
    data_segments: list[Segment] = field(default_factory=list)
    data_count: int | None = None
    bodies: list[Body] = field(default_factory=list)
    features: set[str] = field(default_factory=set)
    """Features that are seen outside of code."""
    declared: set[int] = field(default_factory=set)
    """Functions that something outside of code names, so that `ref.func` may name them and a table may hold them."""

    _texts: dict[int, str] = field(default_factory=dict)

    def function_type(self, index: int) -> FunctionType:
        """The type of a function."""
        return self.types[self.functions[index]]

    def section(self, code: int) -> Section | None:
        """The section with this id; not for custom sections (0), of which there may be several."""
        return next((section for section in self.sections if section.code == code), None)

    def export_type(self, export: Export) -> str:
        """An export's type as text: `function (i32) -> i32`, `memory`, `global mut i32`, `table funcref`."""
        if export.kind is Kind.FUNCTION:
            return self._function_text(self.functions[export.index])
        if export.kind is Kind.GLOBAL:
            return f"global {self.globals[export.index]}"
        return "memory" if export.kind is Kind.MEMORY else "table funcref"

    def _function_text(self, type_index: int) -> str:
        """Shared by all exports of one type: few bytes can export a function of 1,000 parameters again."""
        if type_index not in self._texts:
            self._texts[type_index] = f"function {self.types[type_index]}"
        return self._texts[type_index]

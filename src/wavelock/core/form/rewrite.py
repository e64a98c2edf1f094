"""A whole module to its deterministic form: every function rewritten, limits written in, exports added.

Rules:
- Sections come out in the specification's order; what is not changed is copied byte for byte.
- Whatever the pass adds stands behind what the module has, so that no index shifts.
- The start function becomes an ordinary call of the added `start`.
- Custom sections are left out; one with branch hints is added where the code has checks that hardly ever fail.
- The same module and options give the same bytes, on every Python.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from wavelock.core.form import limits
from wavelock.core.form.additions import Additions
from wavelock.core.form.binary import FormError, read_u32, shown
from wavelock.core.form.emit import name, section, unsigned, vector
from wavelock.core.form.function import FunctionPass
from wavelock.core.form.module import Module
from wavelock.core.form.options import FormOptions
from wavelock.core.form.reserved import PREFIX
from wavelock.core.form.rewritten import MemorySize
from wavelock.core.form.sniff import MAGIC, VERSION
from wavelock.core.form.state import StateLayout
from wavelock.core.form.types import FunctionType

_BRANCH_HINTS: Final = "metadata.code.branch_hint"
"""The branch hinting proposal's custom section: engines that know it move what is seldom run out of the way."""


@dataclass(frozen=True)
class Written:
    """The outcome of the pass. features: those that the code needs; segments: how many charge fuel."""

    data: bytes
    features: frozenset[str]
    segments: int
    layout: StateLayout
    memory: MemorySize


def write_module(module: Module, options: FormOptions, *, abi: bool) -> Written:
    """The deterministic form of a module whose sections were read. Raises FormError for code that is not valid."""
    _check_state(module)
    _check_memory(module, options)
    written = _write(module, options, abi, probing=False)
    if written.layout.tables_change:
        written = _write(module, options, abi, probing=True)
    return written


def _check_state(module: Module) -> None:
    """What is added must not meet what is there, and what a capture reads is bounded."""
    for export, found in module.exports.items():
        if export.startswith(PREFIX):
            raise FormError(found.offset, f"found the export {shown(export)}; names in {PREFIX} are Wavelock's own")
    mutable = sum(found.mutable for found in module.globals)
    if mutable > limits.MUTABLE_GLOBALS:
        section = module.section(6)
        most = limits.MUTABLE_GLOBALS
        raise FormError(section.start if section else 0, f"found {mutable} mutable globals, expected at most {most}")


def _check_memory(module: Module, options: FormOptions) -> None:
    if module.memories and module.memories[0].minimum > options.memory_pages:
        found = module.section(5)
        pages = module.memories[0].minimum
        raise FormError(
            found.start if found else 0,
            f"found a memory of {pages} pages (64 KiB each), expected at most the {options.memory_pages} that "
            "limits.memory allows",
        )


def refusals(module: Module, options: FormOptions) -> Iterator[FormError]:
    """What of a module whose sections were read cannot be: the first in each function, and of the whole."""
    additions = Additions(module, options, frozenset(module.declared), abi=False, probing=False)
    try:
        _check_state(module)
        _check_memory(module, options)
    except FormError as error:
        yield error
    yield from (outcome for _, outcome in _walks(module, additions) if isinstance(outcome, FormError))


def _walks(module: Module, additions: Additions) -> Iterator[tuple[FunctionPass, bytes | FormError]]:
    """The walk over each function, with its rewritten body or what is wrong with it."""
    labels = 0
    for index in range(len(module.functions)):
        walk = FunctionPass(module, additions, index)
        outcome: bytes | FormError
        try:
            _check_locals(walk)
            outcome = walk.run()
            _check_size(outcome, walk.body.code)
            labels += walk.labels
            _check_labels(labels, walk)
        except FormError as error:
            outcome = FormError(error.offset, error.what, index)
        yield walk, outcome


def _write(module: Module, options: FormOptions, abi: bool, *, probing: bool) -> Written:
    additions = Additions(module, options, frozenset(module.declared), abi=abi, probing=probing)
    needed, segments = set(module.features), 0
    bodies, hints = [], []
    for walk, outcome in _walks(module, additions):
        if isinstance(outcome, FormError):
            raise outcome
        bodies.append(outcome)
        if walk.taken:
            hints.append(_branch_hints(walk))
        segments += walk.meter.segments
        needed |= walk.features()
    data, first = _join(module, additions, bodies, hints), module.memories[0].minimum if module.memories else 0
    memory = MemorySize(first, additions.most_pages if additions.memory_grows else first)
    return Written(data, frozenset(needed), segments, additions.layout, memory)


def _check_locals(walk: FunctionPass) -> None:
    most = limits.LOCALS - limits.ADDED_LOCALS
    if len(walk.local_types) > most:
        what = f"found {len(walk.local_types)} parameters and locals, expected at most {most}"
        raise FormError(walk.body.start, what)


def _check_size(body: bytes, offset: int) -> None:
    """Engines bound a function's body; what the pass writes must not pass what the original could not."""
    if len(body) > limits.FUNCTION_BYTES:
        what = f"its deterministic form takes {len(body)} bytes, expected at most {limits.FUNCTION_BYTES}"
        raise FormError(offset, what)


def _check_labels(labels: int, walk: FunctionPass) -> None:
    if labels > limits.BRANCH_TARGETS:
        most = limits.BRANCH_TARGETS
        raise FormError(walk.body.code, f"found {labels} labels of br_table up to here, expected at most {most}")


def _branch_hints(walk: FunctionPass) -> bytes:
    """One function's entry in the section of branch hints."""
    return unsigned(walk.index) + vector(len(walk.taken), *(unsigned(place) + b"\x01\x01" for place in walk.taken))


def _join(module: Module, additions: Additions, bodies: list[bytes], hints: list[bytes]) -> bytes:
    additions.finish()
    added = list(additions.written())
    for _, body, _ in added:
        _check_size(body, 0)
    types = [_function_type(found) for found in additions.types]
    exports = [
        name(export) + b"\x00" + unsigned(len(module.functions) + at)
        for at, (_, _, export) in enumerate(added)
        if export
    ]
    parts = {
        1: _extended(module, 1, len(module.types), types),
        3: _extended(module, 3, len(module.functions), [unsigned(index) for index, _, _ in added]),
        4: vector(len(module.tables), *_tables(module, additions)) if module.tables else b"",
        5: _memory(module) if module.memories else b"",
        6: _extended(module, 6, len(module.globals), additions.globals()),
        7: _extended(module, 7, len(module.exports), [*exports, *additions.exports()]),
        9: _copied(module, 9),
        12: _copied(module, 12),
        0: name(_BRANCH_HINTS) + vector(len(hints), *hints) if hints else b"",
        10: vector(len(bodies) + len(added), *bodies, *(body for _, body, _ in added)),
        11: _copied(module, 11),
    }
    return MAGIC + VERSION + b"".join(section(code, content) for code, content in parts.items() if content)


def _copied(module: Module, code: int) -> bytes:
    found = module.section(code)
    return module.data[found.start : found.end] if found else b""


def _extended(module: Module, code: int, count: int, added: list[bytes]) -> bytes:
    """A section's vector with entries added behind its own."""
    found, own = module.section(code), b""
    if found:
        own = module.data[read_u32(module.data, found.start)[1] : found.end]
    return vector(count + len(added), own, *added)


def _function_type(found: FunctionType) -> bytes:
    return b"\x60" + vector(len(found.params), found.params) + vector(len(found.results), found.results)


def _tables(module: Module, additions: Additions) -> Iterator[bytes]:
    for index, table in enumerate(module.tables):
        yield b"\x70\x01" + unsigned(table.minimum) + unsigned(additions.most_entries(index))


def _memory(module: Module) -> bytes:
    """Without a maximum, as the helpers that grow it keep to it."""
    return b"\x01\x00" + unsigned(module.memories[0].minimum)

"""Modules that were found to differ, as files: NAME.wasm, and beside it NAME.json with how it is called."""

from __future__ import annotations

from pathlib import Path

import msgspec

from wavelock.core.errors import UserError
from wavelock.testing.fuzz.check import Case


class _Notes(msgspec.Struct, frozen=True, omit_defaults=True):
    seed: str
    memory_pages: int
    stack_bytes: int
    what: tuple[str, ...] = ()


def save_case(folder: Path, case: Case, what: tuple[str, ...]) -> Path:
    """Writes a case; answers its module's path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{case.seed.replace('/', '-')}.wasm"
    path.write_bytes(case.module)
    notes = _Notes(case.seed, case.memory_pages, case.stack_bytes, what)
    path.with_suffix(".json").write_bytes(msgspec.json.format(msgspec.json.encode(notes)) + b"\n")
    return path


def load_case(path: Path) -> Case:
    """The case of a module's file. Raises UserError where its notes are not beside it, or are none."""
    notes = path.with_suffix(".json")
    try:
        found = msgspec.json.decode(notes.read_bytes(), type=_Notes)
        return Case(path.read_bytes(), found.seed, found.memory_pages, found.stack_bytes)
    except (OSError, msgspec.DecodeError) as error:
        raise UserError(f"{path}: found no case there: {error}; it needs {path.name} and {notes.name}") from None

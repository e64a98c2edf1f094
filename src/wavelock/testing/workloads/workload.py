"""What a workload is: a profile without its plugins, and the files it names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Workload:
    """A run that every combination of plugins must do alike.

    summary: what it exercises, one line. profile: TOML without the sections that pick plugins. files: beside the
    profile, by relative path. schedulers: settings for a scheduler of that name. models: whether it asks models, once
    for each inference backend. faults: the kinds of fault it must show, all of them and no others. optional: a feature
    of WebAssembly for which an engine may refuse its modules. quick: whether the quick suite has it.
    """

    name: str
    summary: str
    profile: str
    files: Mapping[str, str | bytes]
    schedulers: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    models: bool = False
    faults: frozenset[str] = frozenset()
    optional: str = ""
    quick: bool = False

    def write(self, folder: Path) -> Path:
        """Write profile and files into a folder; answers the profile's path."""
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        path = folder / "profile.toml"
        path.write_text(self.profile, encoding="utf-8")
        return path


def table(header: str, /, **keys: Any) -> str:
    """A table of TOML."""
    return f"[{header}]\n{_lines(keys)}\n"


def row(header: str, /, **keys: Any) -> str:
    """One table of an array of tables."""
    return f"[[{header}]]\n{_lines(keys)}\n"


def group(name: str, module: str, count: int = 1, **keys: Any) -> str:
    """An agent group."""
    return row("agents", name=name, module=module, count=count, **keys)


def _lines(keys: Mapping[str, Any]) -> str:
    return "".join(f"{key} = {_value(value)}\n" for key, value in keys.items())


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value)

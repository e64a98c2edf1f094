"""Distributions made up for a test: a real folder of metadata on `sys.path`, with plugins in it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a distribution: (name, version, module's source by module's name, entry points: name = module)."""
    made: list[str] = []

    def run(name: str, entries: dict[str, str], modules: dict[str, str], version: str = "1.0") -> None:
        folder = tmp_path / name
        info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        lines = "".join(f"{key} = {value}\n" for key, value in entries.items())
        (info / "entry_points.txt").write_text(f"[wavelock]\n{lines}")
        for module, source in modules.items():
            (folder / f"{module}.py").write_text(source)
            made.append(module)
        monkeypatch.syspath_prepend(folder)
        importlib.invalidate_caches()

    yield run
    for module in made:
        sys.modules.pop(module, None)

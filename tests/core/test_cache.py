"""The cache of compiled modules: torn and foreign files are misses, and the folder stays within its bound."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import wavelock
from helpers import HELLO, write_profile
from wavelock.core.cache import ModuleCache, cache_folder


def files(folder: Path) -> list[Path]:
    return sorted((folder / "e").iterdir())


def test_what_was_stored_is_loaded_and_nothing_else(tmp_path: Path) -> None:
    cache = ModuleCache("e", tmp_path)
    assert cache.load("key") is None
    cache.store("key", b"compiled")
    assert cache.load("key") == b"compiled"
    assert cache.load("other") is None
    assert [path.suffix for path in files(tmp_path)] == [".bin"]


@pytest.mark.parametrize("cut", [0, 1, 17, 40, -1])
def test_a_torn_file_is_a_miss_and_goes(tmp_path: Path, cut: int) -> None:
    cache = ModuleCache("e", tmp_path)
    cache.store("key", b"compiled")
    (path,) = files(tmp_path)
    path.write_bytes(path.read_bytes()[:cut])
    assert cache.load("key") is None
    assert files(tmp_path) == []


def test_a_changed_byte_is_a_miss(tmp_path: Path) -> None:
    cache = ModuleCache("e", tmp_path)
    cache.store("key", b"compiled")
    (path,) = files(tmp_path)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert cache.load("key") is None


def test_the_oldest_files_go_first(tmp_path: Path) -> None:
    cache = ModuleCache("e", tmp_path, max_bytes=3 * 150)
    for number in range(3):
        cache.store(str(number), bytes(100))
        os.utime(cache._path(str(number)), ns=(number, number))
    cache.load("0")  # used again: no longer the oldest
    cache.store("3", bytes(100))
    assert [cache.load(str(number)) is not None for number in range(4)] == [True, False, False, True] or [
        cache.load(str(number)) is not None for number in range(4)
    ] == [True, False, True, True]


def test_a_folder_that_cannot_be_written_is_only_a_miss(tmp_path: Path) -> None:
    (tmp_path / "e").write_text("a file where the folder should be")
    cache = ModuleCache("e", tmp_path)
    cache.store("key", b"compiled")
    assert cache.load("key") is None


def test_a_run_survives_foreign_bytes_in_its_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVELOCK_CACHE", str(tmp_path / "cache"))
    path = write_profile(tmp_path, said=HELLO)

    def digest() -> str:
        with wavelock.Runtime(wavelock.load_profile(path), record=False) as runtime:
            return runtime.run().digest

    first = digest()
    (stored,) = (cache_folder() / "wasmtime").iterdir()
    cache = ModuleCache("wasmtime")
    for foreign in (b"not a compiled module", stored.read_bytes()[49:-8]):
        original = ModuleCache._path
        monkeypatch.setattr(ModuleCache, "_path", lambda self, key: stored)
        cache.store("any", foreign)  # whole by its hash, but not what this wasmtime wrote
        monkeypatch.setattr(ModuleCache, "_path", original)
        assert digest() == first


def test_an_engine_without_a_cache_keeps_nothing_that_it_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAVELOCK_CACHE", str(tmp_path / "cache"))
    path = write_profile(tmp_path, said=HELLO)
    with wavelock.Runtime(wavelock.load_profile(path, ["engine.cache=false"]), record=False) as runtime:
        runtime.run()
    assert {folder.name for folder in cache_folder().iterdir()} == {"form", "plugins"}

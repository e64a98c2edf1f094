"""The public names: sorted, each with one home and a docstring, and `import wavelock` costs nothing."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import helpers
import wavelock
from wavelock import __all__ as public

CLASSES_AND_FUNCTIONS = [name for name in public if not name.startswith("__")]


def fresh(code: str) -> object:
    """Run code in a fresh interpreter; what it prints as JSON."""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_the_list_is_sorted_and_without_repeats() -> None:
    assert list(public) == sorted(set(public))


def test_the_lists_agree() -> None:
    assert sorted({*wavelock._HOMES, "__version__"}) == sorted(public)
    assert set(public) <= set(dir(wavelock))


@pytest.mark.parametrize("name", CLASSES_AND_FUNCTIONS)
def test_a_name_is_the_one_of_its_home(name: str) -> None:
    home = importlib.import_module(wavelock._HOMES[name])
    assert getattr(wavelock, name) is getattr(home, name)
    if name != "hookimpl":  # an object of pluggy's, made in its home
        assert getattr(wavelock, name).__module__ == home.__name__


@pytest.mark.parametrize("name", [name for name in CLASSES_AND_FUNCTIONS if name != "hookimpl"])
def test_a_name_is_documented(name: str) -> None:
    value = getattr(wavelock, name)
    assert len(inspect.getdoc(value) or "") > 20
    if inspect.isclass(value):
        methods = [
            (key, inspect.getdoc(member))
            for key, member in vars(value).items()
            if not key.startswith("_") and (inspect.isfunction(member) or isinstance(member, property))
        ]
        assert [key for key, text in methods if not text] == []


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="module 'wavelock' has no attribute 'Runtme'"):
        getattr(wavelock, "Runtme")  # noqa: B009 - mypy would refuse the attribute


def test_importing_costs_nothing() -> None:
    loaded = fresh("import wavelock, sys, json; print(json.dumps([n.split('.')[0] for n in sys.modules]))")
    assert isinstance(loaded, list)
    assert {"numpy", "wasmtime", "onnxruntime", "rich", "click", "anyio", "pluggy", "msgspec"} & set(loaded) == set()
    assert "wavelock" in loaded


def test_listing_plugins_loads_no_engine_and_no_backend() -> None:
    code = "import wavelock, sys, json; wavelock.Registry().listed(); print(json.dumps(sorted(sys.modules)))"
    loaded = fresh(code)
    assert isinstance(loaded, list)
    assert {"wasmtime", "onnxruntime"} & set(loaded) == set()


def test_a_run_imports_what_it_needs(tmp_path: Path) -> None:
    """The start of a short run is imports: what one command needs, another may not pay for."""
    path = helpers.write_profile(tmp_path, "[run]\nwaves = 1\n", one=helpers.HELLO)
    code = f"""
        import json, sys
        from wavelock.cli.app import run_command
        assert run_command(["run", {str(path)!r}, "--no-record"]) == 0
        with open({str(tmp_path / "loaded")!r}, "w") as file:
            json.dump(sorted(sys.modules), file)
        """
    for _ in range(2):  # the first one fills the caches
        subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, stdout=subprocess.DEVNULL)
    loaded = json.loads((tmp_path / "loaded").read_text())
    unneeded = {
        *("anyio", "asyncio", "difflib", "importlib.metadata", "onnxruntime", "rich", "sqlite3", "zstandard"),
        *("wavelock.core.form.transform", "wavelock.core.journal", "wavelock.core.replay", "wavelock.core.runfile"),
        *("wavelock.models.interface", "wavelock.models.stage", "wavelock.testing"),
        "wavelock.wasm_engines.reference.engine",
    }
    assert unneeded & set(loaded) == set()
    assert {"numpy", "wasmtime", "click"} <= set(loaded)


def test_the_version_is_the_distributions() -> None:
    assert wavelock.__version__ == importlib.import_module("importlib.metadata").version("wavelock")


def test_the_package_says_that_it_is_typed() -> None:
    assert (importlib.import_module("importlib.resources").files("wavelock") / "py.typed").is_file()

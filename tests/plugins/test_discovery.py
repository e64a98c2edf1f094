"""Discovery: built-ins and third parties through one door, sorted, refused where two have one name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

import helpers
from wavelock import Registry, Runtime, load_profile
from wavelock.core.cache import ModuleCache
from wavelock.core.errors import PluginError, Problem
from wavelock.plugins import manager
from wavelock.plugins.discovery import Entry, path_state, read_entries, remembered_entries
from wavelock.plugins.manager import FAMILIES, Found, find_entry_points

Install = Callable[..., None]
SCHEDULER = """
'''A scheduler that lets one agent go at a time, the youngest first.'''
from wavelock import hookimpl
from wavelock.plugins.members import Member

class Youngest:
    def __init__(self, settings): pass
    def open(self, groups): pass
    def add(self, first, groups): pass
    def plan(self, wave, ready): return ready[-1:]
    def capture(self): return b""
    def restore(self, state): pass

@hookimpl
def wavelock_scheduler():
    return Member(name="{name}", summary="the youngest first", create=Youngest)
"""
OBSERVER = """
'''Counts waves.'''
from wavelock import hookimpl
seen = []

@hookimpl
def wavelock_wave_committed(wave):
    seen.append(wave.wave)
"""
BUILT_IN = {
    "engine": ["wasmtime"],
    "scheduler": ["dag", "priority", "round-robin"],
    "transport": ["shared-memory"],
    "workers": ["inline", "threads"],
    "model_backend": ["onnx"],
}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_built_ins_are_found(registry: Registry, family: str) -> None:
    assert set(BUILT_IN[family]) <= set(registry.names(family))
    assert registry.names(family) == sorted(registry.names(family))


def test_the_built_ins_come_from_the_distribution(registry: Registry) -> None:
    listed = {(item.family, item.name): item for item in registry.listed()}
    for family, names in BUILT_IN.items():
        for name in names:
            item = listed[family, name]
            assert item.distribution == f"wavelock {metadata.version('wavelock')}"
            assert len(item.summary) > 10


def test_the_listing_is_sorted_by_family_and_name(registry: Registry) -> None:
    order = [FAMILIES.index(item.family) for item in registry.listed() if item.family in FAMILIES]
    assert order == sorted(order)


def test_a_third_party_comes_in_on_equal_terms(install: Install, tmp_path_factory: pytest.TempPathFactory) -> None:
    install("acme-youngest", {"youngest": "acme_youngest"}, {"acme_youngest": SCHEDULER.format(name="youngest")}, "2.1")
    registry = Registry()
    assert registry.names("scheduler") == ["dag", "priority", "round-robin", "youngest"]
    (item,) = [item for item in registry.listed() if item.name == "youngest"]
    assert (item.family, item.distribution, item.unavailable) == ("scheduler", "acme-youngest 2.1", None)
    text = '[scheduler]\nuse = "youngest"\n[run]\nwaves = 3\n'
    path = helpers.write_profile(tmp_path_factory.mktemp("run"), text, one=helpers.TICKS, two=helpers.TICKS)
    with Runtime(load_profile(path, registry=registry), registry=registry, record=False) as runtime:
        runtime.run()
        assert [output.agent for output in runtime.outputs()] == ["two/0"] * 3
        assert runtime.started.scheduler == "youngest"


def test_a_plugin_that_only_observes_is_listed_and_told(
    install: Install, tmp_path_factory: pytest.TempPathFactory
) -> None:
    install("watcher", {"watch": "watch_plugin"}, {"watch_plugin": OBSERVER})
    registry = Registry()
    (item,) = [item for item in registry.listed() if item.name == "watch"]
    assert (item.family, item.summary, item.distribution) == ("observer", "Counts waves.", "watcher 1.0")
    path = helpers.write_profile(tmp_path_factory.mktemp("run"), "[run]\nwaves = 2\n", one=helpers.TICKS)
    with Runtime(load_profile(path, registry=registry), registry=registry, record=False) as runtime:
        runtime.run()
    assert sys.modules["watch_plugin"].seen == [0, 1]


def test_two_plugins_of_one_name(install: Install) -> None:
    install("acme", {"dag": "acme_dag"}, {"acme_dag": SCHEDULER.format(name="other")}, "3.0")
    ours = f"wavelock {metadata.version('wavelock')}"
    with pytest.raises(PluginError) as caught:
        Registry()
    assert str(caught.value) == (
        f'two plugins are named "dag": one from acme 3.0, one from {ours}; uninstall one of them'
    )


def test_two_members_of_one_name(install: Install) -> None:
    install("acme", {"acme": "acme_dag"}, {"acme_dag": SCHEDULER.format(name="dag")}, "3.0")
    with pytest.raises(PluginError) as caught:
        Registry()
    message = str(caught.value)
    assert message.startswith('two members of the family scheduler are named "dag": one from ')
    assert "acme 3.0" in message
    assert f"wavelock {metadata.version('wavelock')}" in message


def test_the_same_entry_point_listed_twice_is_one(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    before = find_entry_points()
    monkeypatch.setattr(manager, "remembered_entries", read_entries)
    twice = list(metadata.entry_points(group="wavelock")) * 2
    monkeypatch.setattr(metadata, "entry_points", lambda group: twice)
    assert [item.name for item in find_entry_points()] == [item.name for item in before]


def test_the_order_of_entry_points_does_not_matter() -> None:
    found = find_entry_points()
    assert [item.name for item in found] == sorted(item.name for item in found)
    listings = [[(item.family, item.name) for item in Registry(order).listed()] for order in (found, found[::-1])]
    assert listings[0] == listings[1]


def test_the_order_of_the_metadata_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager, "remembered_entries", read_entries)
    entries = list(metadata.entry_points(group="wavelock"))
    monkeypatch.setattr(metadata, "entry_points", lambda group: entries[::-1])
    one = find_entry_points()
    monkeypatch.setattr(metadata, "entry_points", lambda group: entries)
    assert one == find_entry_points()


# ---- plugins that do not work ----

BROKEN = {
    "raises": ("raise ValueError('out of order')", "ValueError: out of order"),
    "exits": ("import sys; sys.exit('no')", "SystemExit: no"),
    "lacks a package": ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
    "is no Python": ("def", "SyntaxError: invalid syntax"),
    "has an unknown hook": (
        "from wavelock import hookimpl\n@hookimpl\ndef wavelock_enigne(): pass",
        "PluginValidationError: unknown hook 'wavelock_enigne'",
    ),
    "has an unknown argument": (
        "from wavelock import hookimpl\n@hookimpl\ndef wavelock_wave_committed(wav): pass",
        "PluginValidationError: Plugin 'bad' for hook 'wavelock_wave_committed'",
    ),
    "raises in a hook": (
        "from wavelock import hookimpl\n@hookimpl\ndef wavelock_engine(): raise KeyError('x')",
        "KeyError: 'x'",
    ),
    "answers no member": (
        "from wavelock import hookimpl\n@hookimpl\ndef wavelock_engine(): return 'fast'",
        "TypeError: wavelock_engine answered 'fast'; expected a wavelock.plugins.members.Member",
    ),
}


@pytest.mark.parametrize(("source", "reason"), BROKEN.values(), ids=list(BROKEN))
def test_a_plugin_that_does_not_load_is_listed_and_breaks_no_other(
    install: Install, registry: Registry, source: str, reason: str
) -> None:
    install("acme", {"bad": "acme_bad"}, {"acme_bad": source})
    found = Registry()
    (item,) = [item for item in found.listed() if item.distribution == "acme 1.0"]
    assert (item.family, item.name, item.summary, item.member) == ("plugin", "bad", "does not load", None)
    assert item.unavailable is not None
    assert item.unavailable.reason.startswith(reason)
    assert item.unavailable.remedy == "mend or uninstall acme 1.0"
    others = [(item.family, item.name, item.unavailable) for item in found.listed()]
    assert [row for row in others if row[0] != "plugin"] == [
        (item.family, item.name, item.unavailable) for item in registry.listed()
    ]
    found.tell("wavelock_wave_committed", wave=None)


def test_a_broken_plugin_takes_no_members_name(install: Install) -> None:
    """An entry point may be called `wasmtime2` or like a member of any family; broken, it is none of them."""
    install("acme", {"fast": "acme_bad"}, {"acme_bad": "1 / 0"})
    install("beta", {"beta": "beta_good"}, {"beta_good": SCHEDULER.format(name="fast")})
    registry = Registry()
    assert "fast" in registry.names("scheduler")
    assert "fast" not in registry.names("engine")


def test_an_entry_point_without_a_distribution() -> None:
    entry = metadata.EntryPoint("odd", "no_such_module_at_all", "wavelock")
    (item,) = Registry([Found("odd", "(no distribution)", entry)]).listed()
    assert item.unavailable is not None
    assert item.unavailable.reason.startswith("ModuleNotFoundError")


# ---- what is remembered ----


def test_what_is_remembered_is_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = sorted(read_entries())
    assert sorted(remembered_entries()) == expected
    monkeypatch.setattr(metadata, "entry_points", None)  # not asked again
    assert sorted(remembered_entries()) == expected


def test_what_was_installed_or_removed_since_is_seen(install: Install, tmp_path: Path) -> None:
    before = set(remembered_entries())
    install("acme", {"acme": "acme_one"}, {}, "1.0")
    assert set(remembered_entries()) - before == {Entry("acme", "acme_one", "acme 1.0")}
    info = tmp_path / "acme" / "acme-1.0.dist-info"
    (info / "entry_points.txt").write_text("[wavelock]\nacme = acme_one:other\nsecond = acme_two\n")
    assert set(remembered_entries()) - before == {
        Entry("acme", "acme_one:other", "acme 1.0"),
        Entry("second", "acme_two", "acme 1.0"),
    }
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-renamed\nVersion: 1.0\n")
    assert {entry.distribution for entry in set(remembered_entries()) - before} == {"acme-renamed 1.0"}
    info.rename(info.with_name("acme-2.0.other"))
    assert set(remembered_entries()) == before


def test_a_torn_memory_is_read_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WAVELOCK_CACHE", str(tmp_path / "cache"))
    expected = remembered_entries()
    state = path_state()
    assert state is not None
    ModuleCache("plugins").store(state, b"no msgpack")
    assert remembered_entries() == expected


def test_nothing_is_remembered_beside_a_finder_of_somebodys_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Finder:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> None:
            return None

        @staticmethod
        def find_distributions(context: object = None) -> list[metadata.Distribution]:
            return []

    monkeypatch.setenv("WAVELOCK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
    assert path_state() is None
    assert sorted(remembered_entries()) == sorted(read_entries())
    assert not (tmp_path / "cache").exists()


def test_plugins_are_found_where_the_working_folder_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> str:
        raise FileNotFoundError

    expected = sorted(read_entries())
    monkeypatch.setattr("os.getcwd", gone)
    assert path_state() is None
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if Path(entry).is_absolute()])
    assert sorted(remembered_entries()) == expected


@pytest.mark.parametrize("value", ["os.path", "os.path:join", "os : path.join", "os.path:join [fast]"])
def test_an_entry_loads_as_pythons_own(value: str) -> None:
    assert Entry("name", value, "").load() is metadata.EntryPoint("name", value, "wavelock").load()


def test_an_entry_that_names_nothing() -> None:
    with pytest.raises(ValueError, match="an entry point is `module` or `module:attribute`"):
        Entry("name", "os-path", "").load()


# ---- members that are not available ----


def test_a_member_whose_check_fails_is_not_available_and_breaks_no_other(install: Install) -> None:
    source = SCHEDULER.format(name="acme").replace("create=Youngest", "create=Youngest, unavailable=lambda: 1 / 0")
    install("acme", {"acme": "acme_one"}, {"acme_one": source})
    registry = Registry()
    (item,) = [item for item in registry.listed() if item.name == "acme"]
    assert str(item.unavailable) == "ZeroDivisionError: division by zero; mend or uninstall acme 1.0"
    assert isinstance(registry.look_up("scheduler", "acme"), Problem)


def test_a_missing_dependency_is_named_with_the_command_that_brings_it() -> None:
    code = """
from importlib import util
real = util.find_spec
util.find_spec = lambda name, package=None: None if name == "onnxruntime" else real(name, package)
from wavelock import Registry
registry = Registry()
(item,) = [item for item in registry.listed() if item.name == "onnx"]
print(item.unavailable.reason)
print(item.unavailable.remedy)
print(registry.look_up("model_backend", "onnx"))
print(registry.names("engine"), registry.look_up("engine", "wasmtime").name)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "the package onnxruntime is not installed",
        "pip install 'wavelock[onnx]'",
        'model_backend.use: the model_backend plugin "onnx" is not available: the package onnxruntime is not '
        "installed; pip install 'wavelock[onnx]'",
        "['reference', 'wasmer', 'wasmtime'] wasmtime",
    ]


@pytest.mark.parametrize("make", ["engine", "scheduler", "transport", "workers"])
def test_making_what_is_not_there(registry: Registry, make: str) -> None:
    with pytest.raises(PluginError, match=f'no {make} plugin is named "nope"; allowed: '):
        getattr(registry, make)("nope", None)


def test_making_a_backend_that_is_not_there(registry: Registry) -> None:
    with pytest.raises(PluginError, match='no model_backend plugin is named "onx"; did you mean "onnx"'):
        registry.model_backend("onx")


def test_looking_up(registry: Registry) -> None:
    assert isinstance(registry.look_up("engine", "wasmtim"), Problem)
    member = registry.look_up("engine", "wasmtime")
    assert not isinstance(member, Problem)
    assert registry.settings("engine", "wasmtime") is member.settings

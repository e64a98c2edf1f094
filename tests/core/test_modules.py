"""Modules of a profile: their deterministic form from the cache, what is refused, and what a run file says of them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

import helpers
from wavelock import Profile, ProfileError, Registry, Runtime, UserError, load_profile, replay
from wavelock.core import modules
from wavelock.core.cache import ModuleCache
from wavelock.core.digest import hash_bytes, header_digest
from wavelock.core.errors import PluginError
from wavelock.core.form import FORM_VERSION, FormOptions, Rewritten, rewrite_module
from wavelock.core.modules import Module, Source, load_modules, load_source, make_module
from wavelock.core.runfile import row_checksum
from wavelock.core.runreader import RunFileReader
from wavelock.wasm_engines import wasmer_plugin
from wavelock.wasm_engines.interface import Engine
from wavelock.wasm_engines.wasmtime_engine import WasmtimeEngine, assemble_text

SMALL = FormOptions(memory_pages=4)
Load = Callable[..., Profile]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that holds nothing yet: the folder of forms."""
    monkeypatch.setenv("WAVELOCK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "form"


@pytest.fixture
def passes(cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the modules that went through the pass, over an empty cache."""
    seen: list[str] = []

    def counted(data: bytes, name: str, options: FormOptions) -> Rewritten:
        seen.append(name)
        return rewrite_module(data, name, options)

    monkeypatch.setattr(modules, "rewrite_module", counted)
    return seen


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Makes a profile: its text, settings, and its modules by group."""

    def run(text: str = "", settings: Sequence[str] = (), **agents: str) -> Profile:
        return load_profile(helpers.write_profile(tmp_path, text, **agents), settings)

    return run


def source(text: str = helpers.HELLO, name: str = "m.wat") -> Source:
    data = assemble_text(text, name)
    return Source(name, hash_bytes(data), data)


# ---- the cache ----


def test_the_form_is_made_once(passes: list[str], cache: Path) -> None:
    first = make_module(source(), SMALL)
    assert passes == ["m.wat"]
    again = make_module(source(), SMALL)
    assert passes == ["m.wat"]
    assert again == first
    assert first.form == rewrite_module(source().data, "m.wat", SMALL)
    assert (first.digest, first.form_digest) == (source().digest, hash_bytes(first.form.module))
    assert first.digest != first.form_digest
    assert len(list(cache.iterdir())) == 1


def test_a_module_under_another_name_is_the_same_one(passes: list[str]) -> None:
    assert make_module(source(), SMALL).form == make_module(source(name="n.wat"), SMALL).form
    assert passes == ["m.wat"]


@pytest.mark.parametrize(
    "options",
    [
        FormOptions(memory_pages=5),
        FormOptions(memory_pages=4, stack_bytes=4096),
        FormOptions(memory_pages=4, features=("tail-call",)),
    ],
    ids=["memory", "stack", "features"],
)
def test_other_options_are_another_entry(passes: list[str], cache: Path, options: FormOptions) -> None:
    made = [make_module(source(), each) for each in (SMALL, options, SMALL, options)]
    assert passes == ["m.wat"] * 2
    assert len(list(cache.iterdir())) == 2
    assert made[:2] == made[2:]
    assert made[1].form == rewrite_module(source().data, "m.wat", options)


def test_another_module_is_another_entry(passes: list[str], cache: Path) -> None:
    forms = [make_module(source(text), SMALL).form_digest for text in (helpers.HELLO, helpers.TICKS, helpers.HELLO)]
    assert forms[0] == forms[2] != forms[1]
    assert len(passes) == len(list(cache.iterdir())) == 2


def test_another_state_of_the_pass_is_another_entry(passes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    make_module(source(), SMALL)
    monkeypatch.setattr(modules, "_pass_digest", lambda: "changed")
    make_module(source(), SMALL)
    assert passes == ["m.wat"] * 2


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"", lambda data: data[:-1] + b"?"])
def test_a_damaged_entry_is_made_anew(passes: list[str], cache: Path, damage: Callable[[bytes], bytes]) -> None:
    first = make_module(source(), SMALL)
    (entry,) = cache.iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(damage(whole))
    assert make_module(source(), SMALL) == first
    assert passes == ["m.wat"] * 2
    assert entry.read_bytes() == whole


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x90", b"\x94\xc4\x00\x90\x00\x90"])
def test_an_entry_of_another_kind_is_made_anew(passes: list[str], data: bytes) -> None:
    """What is whole by its checksum, but no form: written by another Wavelock, say."""
    key = f"{modules._pass_digest()} {source().digest} {SMALL}"
    ModuleCache("form").store(key, data)
    assert make_module(source(), SMALL).form == rewrite_module(source().data, "m.wat", SMALL)
    assert passes == ["m.wat"]
    make_module(source(), SMALL)
    assert passes == ["m.wat"]


def test_a_module_that_is_refused_is_not_kept(passes: list[str], cache: Path) -> None:
    for _ in range(2):
        with pytest.raises(UserError, match=r"^m\.wat: "):
            make_module(source("(module)"), SMALL)
    assert passes == ["m.wat"] * 2
    assert not cache.exists()


def test_groups_of_one_module_are_read_and_rewritten_once(passes: list[str], load: Load, registry: Registry) -> None:
    profile = load('[[agents]]\nname = "b"\nmodule = "a.wat"\n', a=helpers.HELLO)
    one, other = load_modules(profile, registry)
    assert one == other
    assert one.source is other.source
    assert len(passes) == 1


def test_limits_of_groups_go_into_their_forms(passes: list[str], load: Load, registry: Registry) -> None:
    text = '[[agents]]\nname = "b"\nmodule = "a.wat"\nlimits = { memory = "2 MiB" }\n'
    profile = load(text, ["limits.stack=16 KiB"], a=helpers.HELLO)
    small, large = load_modules(profile, registry)
    assert small.form == rewrite_module(small.source.data, "a", FormOptions(32, 16 << 10))
    assert large.form == rewrite_module(small.source.data, "a", FormOptions(int(profile.limits.memory) >> 16, 16 << 10))
    assert len(passes) == 2


def test_a_forms_digest_tells_it_from_others(passes: list[str]) -> None:
    form = make_module(source(), SMALL).form_digest
    found = make_module(source(), SMALL)
    assert isinstance(found, Module)
    assert found.form_digest == form
    assert make_module(source(), FormOptions(memory_pages=5)).form_digest != form


def test_groups_that_share_a_module_share_what_is_made_of_it(
    passes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = modules.Made()
    first = make_module(source(), SMALL, made)
    monkeypatch.setattr(modules, "_cached", lambda *_: pytest.fail("looked up again"))
    assert make_module(source(), SMALL, made) is first


# ---- what is refused ----


def test_all_modules_that_cannot_be_are_told_at_once(load: Load, tmp_path: Path, registry: Registry) -> None:
    profile = load(
        a="(module)", good=helpers.HELLO, b='(module (import "env" "f" (func)))', c="(module", gone=helpers.QUIET
    )
    (tmp_path / "gone.wat").unlink()
    with pytest.raises(ProfileError) as caught:
        load_modules(profile, registry)
    problems = caught.value.problems
    assert [problem.where for problem in problems] == [f"agents[{index}].module" for index in (0, 2, 3, 4)]
    for problem, name in zip(problems, ("a", "b", "c", "gone"), strict=True):
        assert problem.what.startswith(f"{tmp_path / name}.wat: ")
    assert "cannot be read: No such file or directory" in problems[3].what


def test_one_refused_module_is_told_for_each_of_its_groups(load: Load, registry: Registry) -> None:
    with pytest.raises(ProfileError) as caught:
        load_modules(load('[[agents]]\nname = "b"\nmodule = "a.wat"\n', a="(module)"), registry)
    assert [problem.where for problem in caught.value.problems] == ["agents[0].module", "agents[1].module"]


def test_a_group_whose_own_limit_is_too_small_is_told(load: Load, registry: Registry) -> None:
    big = helpers.HELLO.replace('(memory (export "memory") 1)', '(memory (export "memory") 40)')
    text = '[[agents]]\nname = "small"\nmodule = "a.wat"\nlimits = { memory = "2 MiB" }\n'
    with pytest.raises(ProfileError) as caught:
        load_modules(load(text, a=big), registry)
    assert [problem.where for problem in caught.value.problems] == ["agents[0].module"]
    assert "at most the 32 that limits.memory" in caught.value.problems[0].what


def test_text_begins_with_a_parenthesis_or_a_comment(tmp_path: Path, registry: Registry) -> None:
    expected = source().data
    for text in (helpers.HELLO, f"\n  {helpers.HELLO}", f";; what it does: grüßen\n{helpers.HELLO}"):
        (tmp_path / "m").write_text(text, encoding="utf-8")
        assert load_source(tmp_path / "m", registry) == Source(str(tmp_path / "m"), hash_bytes(expected), expected)


def test_what_is_no_text_is_taken_as_it_is(tmp_path: Path, registry: Registry) -> None:
    for data in (expected := source().data, b"(\xff\xfe", b""):
        (tmp_path / "m").write_bytes(data)
        assert load_source(tmp_path / "m", registry).data == data
    assert expected.startswith(b"\0asm")


# ---- features of one engine ----

TAIL_CALLS = helpers.agent("(return_call $down (i32.const 1000))").replace(
    "(data",
    "(func $down (param i32) (result i32) (if (result i32) (local.get 0) "
    "(then (return_call $down (i32.sub (local.get 0) (i32.const 1)))) (else (i32.const 0)))) (data",
    1,
)
"""An agent whose thousand calls fit into the smallest stack, as each takes the place of the one before."""
ASKED = '[engine]\nfeatures = ["tail-call"]\n[limits]\nstack = "16 KiB"\n'
PLUGGED = {"wasmtime": True, "reference": True, "wasmer": False}


def outcome(profile: Profile) -> tuple[str, list[str]]:
    with Runtime(profile, record=False) as runtime:
        return runtime.run().digest, [fault.kind for fault in runtime.faults()]


def test_tail_calls_run_where_they_are_asked_for(load: Load) -> None:
    found = [outcome(load(ASKED, [f"engine.use={name}"], a=TAIL_CALLS)) for name in ("wasmtime", "reference")]
    assert found[0] == found[1]
    assert found[0][1] == []


def test_tail_calls_are_refused_where_they_are_not_asked_for(load: Load) -> None:
    with pytest.raises(ProfileError, match=r"agents\[0\]\.module: .*return_call.*tail-call"):
        outcome(load(a=TAIL_CALLS))


@pytest.mark.parametrize("name", PLUGGED)
def test_engines_say_which_features_they_have(load: Load, registry: Registry, name: str) -> None:
    if name == "wasmer" and wasmer_plugin.unavailable():
        pytest.skip(str(wasmer_plugin.unavailable()))
    profile = load(ASKED, [f"engine.use={name}"], a=helpers.HELLO)
    if PLUGGED[name]:
        assert outcome(profile)[1] == []
    else:
        with pytest.raises(PluginError) as caught:
            outcome(profile)
        assert str(caught.value) == f'engine.features: "{name}" has no tail-call; use another engine'


class PlainEngine(WasmtimeEngine):
    """An engine with nothing beyond the portable features."""

    features: frozenset[str] = frozenset()  # type: ignore[misc] # final for those that have some


class PlainRegistry(Registry):
    """The plugins of this environment, whose engines are plain."""

    def engine(self, name: str, settings: object) -> Engine:
        return PlainEngine(cache=False, memory_layout="auto")


def test_an_engine_without_a_feature_is_told(load: Load) -> None:
    """On every Python, as wasmer is not."""
    with pytest.raises(PluginError) as caught:
        Runtime(load(ASKED, a=helpers.HELLO), registry=PlainRegistry(), record=False)
    assert str(caught.value) == 'engine.features: "wasmtime" has no tail-call; use another engine'


@pytest.mark.parametrize("value", ['["threads"]', '"tail-call"', "[1]"])
def test_an_unknown_feature_is_the_profiles_problem(load: Load, value: str) -> None:
    with pytest.raises(ProfileError, match=r"engine\.features"):
        load(f"[engine]\nfeatures = {value}\n", a=helpers.HELLO)


def test_features_are_part_of_the_header(load: Load) -> None:
    plain, asked = load(a=helpers.HELLO), load('[engine]\nfeatures = ["tail-call"]\n', a=helpers.HELLO)
    one, other = header_digest(plain, ["m"]), header_digest(asked, ["m"])
    assert one != other
    assert header_digest(load("[engine]\nfeatures = []\n", a=helpers.HELLO), ["m"]) == one
    twice = load('[engine]\nfeatures = ["tail-call", "tail-call"]\n', a=helpers.HELLO)
    assert outcome(asked)[0] != outcome(plain)[0]
    assert outcome(twice)[1] == []


# ---- run files ----


@pytest.fixture
def run_file(load: Load, tmp_path: Path) -> Path:
    """A run of two groups of two modules."""
    profile = load('[run]\nwaves = 2\n[limits]\nmemory = "4 MiB"\nstack = "32 KiB"\n', a=helpers.TICKS, b=helpers.HELLO)
    with Runtime(load_profile(profile.source, [f'record.file="{tmp_path / "run.wavelock"}"'])) as runtime:
        runtime.run()
    return tmp_path / "run.wavelock"


def test_a_run_file_names_the_forms(run_file: Path) -> None:
    with RunFileReader(run_file) as reader:
        assert reader.head["form"] == str(FORM_VERSION)
        sources = [source(helpers.TICKS), source(helpers.HELLO)]
        assert reader.group_modules() == [each.digest for each in sources]
        options = FormOptions(64, 32 << 10)
        assert reader.group_forms() == [make_module(each, options).form_digest for each in sources]
    assert replay(run_file).identical


def change_head(path: Path, key: str, value: str) -> None:
    """Change a row of the table `run` and make its checksum right again."""
    with closing(sqlite3.connect(path)) as connection, connection:
        changed = connection.execute(
            "UPDATE run SET value = ?, checksum = ? WHERE key = ?", (value, row_checksum(key, value), key)
        )
    assert changed.rowcount == 1


def test_a_replay_finds_another_form(run_file: Path) -> None:
    with RunFileReader(run_file) as reader:
        forms = reader.group_forms()
    change_head(run_file, "group_forms", json.dumps([forms[0], forms[0]]))
    report = replay(run_file)
    assert (report.identical, report.waves) == (False, 0)
    assert report.first_divergence is not None
    assert "the deterministic form of a module is not the recorded one" in report.first_divergence.what


@pytest.mark.parametrize("value", ["[]", "{}", "?", '["00"]', "[1, 2]", "null"])
def test_a_replay_finds_damaged_forms(run_file: Path, value: str) -> None:
    change_head(run_file, "group_forms", value)
    report = replay(run_file)
    assert (report.identical, report.waves) == (False, 0)

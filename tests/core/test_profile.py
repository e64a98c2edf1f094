"""Profiles: what is read from them, files that are none, and that no junk is ever more than an error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavelock import Profile, ProfileError, Registry, load_profile, parse_profile
from wavelock.core.profile import AgentLimits, Grants, LimitsSection
from wavelock.core.profile_reader import ARRAYS, DEFAULTS, TABLES, build_profile
from wavelock.core.profile_rules import config_bytes, stream_files

AGENT = '[[agents]]\nname = "a"\nmodule = "a.wat"\n'
Parse = Callable[..., Profile]
Refused = Callable[..., list[str]]


# ---- what is read ----


def test_defaults(parse: Parse, profile_folder: Path) -> None:
    profile = parse(AGENT)
    assert (profile.run.name, profile.run.seed, profile.run.waves, profile.run.wave_ns) == ("run", 0, None, 1_000_000)
    chosen = {family: getattr(profile, family).use for family in DEFAULTS}
    assert chosen == {
        "engine": "wasmtime",
        "scheduler": "round-robin",
        "transport": "shared-memory",
        "workers": "inline",
    }
    assert profile.workers.count == 1
    assert profile.limits == LimitsSection()
    assert (profile.models, profile.topics, profile.inputs) == ((), (), ())
    (group,) = profile.agents
    assert (group.count, group.config, group.priority, group.after, group.restart) == (1, "", 0, (), "never")
    assert (group.grants.models, group.grants.state, group.grants.spawn) == ((), (), ())
    assert profile.record.enabled
    assert profile.path("a.wat") == profile_folder / "a.wat"
    assert profile.raw == {"agents": [{"name": "a", "module": "a.wat"}]}


def test_every_section_is_read(parse: Parse) -> None:
    profile = parse(
        """
        [run]
        name = "full"
        seed = 18446744073709551615
        waves = 7
        wave_ns = "5 ms"
        [engine]
        use = "wasmtime"
        cache = false
        [scheduler]
        use = "priority"
        width = 3
        [workers]
        use = "threads"
        count = 4
        [limits]
        memory = "4 GiB"
        overflow = "drop-oldest"
        [[topics]]
        name = "news"
        subscribers = ["a"]
        [[inputs]]
        name = "scans"
        files = ["data/*.txt"]
        to = ["a"]
        cut = "fixed"
        record_bytes = "1 KiB"
        [[agents]]
        name = "a"
        module = "a.wat"
        count = 2
        config = { b = 1, a = [1.5, "x"] }
        limits = { memory = 65536 }
        grants = { topics = ["news"], spawn = ["*"], state = ["k/"] }
        [record]
        enabled = false
        """
    )
    assert profile.run.seed == 2**64 - 1
    assert profile.run.wave_ns == 5_000_000
    assert getattr(profile.engine.settings, "cache") is False  # noqa: B009 - the plugin's own struct
    assert (profile.scheduler.use, getattr(profile.scheduler.settings, "width")) == ("priority", 3)  # noqa: B009
    assert (profile.workers.use, profile.workers.count) == ("threads", 4)
    assert profile.limits.memory == 2**32
    assert profile.topics[0].subscribers == ("a",)
    assert profile.inputs[0].record_bytes == 1024
    assert config_bytes(profile.agents[0]) == b'{"a":[1.5,"x"],"b":1}'
    assert not profile.record.enabled


def test_a_groups_own_limits_go_before_the_runs(parse: Parse) -> None:
    profile = parse(
        '[limits]\ninbox = 1000\nmemory = "1 MiB"\n' + AGENT + 'limits = { inbox = 2000, denied = "fault" }'
    )
    merged = profile.limits_of(profile.agents[0])
    assert (merged.inbox, merged.memory, merged.denied) == (2000, 1 << 20, "fault")
    assert profile.limits.inbox == 1000


def test_a_group_may_set_only_what_the_run_also_has() -> None:
    assert set(AgentLimits.__struct_fields__) < set(LimitsSection.__struct_fields__)


@pytest.mark.parametrize(
    ("config", "given"),
    [
        ('""', b""),
        ('"plain é"', "plain é".encode()),
        ("{}", b"{}"),
        ('{ z = 1, a = "é\\n", m = { y = true, x = [] } }', '{"a":"é\\n","m":{"x":[],"y":true},"z":1}'.encode()),
        ("{ big = 18446744073709551615, small = -9223372036854775808 }",
         b'{"big":18446744073709551615,"small":-9223372036854775808}'),
        ("{ f = 1.0, g = 1e300 }", b'{"f":1.0,"g":1e+300}'),
    ],
)  # fmt: skip
def test_canonical_config(parse: Parse, config: str, given: bytes) -> None:
    assert config_bytes(parse(AGENT + f"config = {config}").agents[0]) == given


def test_inputs_are_files_in_order(parse: Parse, profile_folder: Path) -> None:
    profile = parse(AGENT + '[[inputs]]\nname = "i"\nto = ["a"]\nfiles = ["data/b.txt", "data/[1].txt", "**/*.txt"]')
    names = [path.name for path in stream_files(profile_folder, profile.inputs[0])]
    assert names == ["b.txt", "[1].txt", "[1].txt", "a.txt", "b.txt"]


def test_a_byte_order_mark_is_not_in_the_way(profile_folder: Path, registry: Registry) -> None:
    path = profile_folder / "bom.toml"
    path.write_bytes(b"\xef\xbb\xbf" + AGENT.encode())
    assert load_profile(path, registry=registry).agents[0].name == "a"


def test_a_relative_path_starts_from_the_profile(profile_folder: Path, registry: Registry) -> None:
    path = profile_folder / "data" / "p.toml"
    path.write_text('[[agents]]\nname = "a"\nmodule = "../a.wat"\n')
    assert load_profile(str(path), registry=registry).base == profile_folder / "data"


# ---- files that are no profile ----


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[run]\nseed = = 1\n", "line 2, column 8"),
        ("[run\n", "line 1, column 5"),
        ("a = [", "line 1, at the end"),
        ("[run]\nseed = 1\n[run]\n", "line 3, column 5"),
        ('x = "\\q"', "line 1, column "),
    ],
)
def test_not_toml(refused: Refused, text: str, where: str) -> None:
    (problem,) = refused(text)
    assert problem.startswith(where)
    assert ": not TOML: " in problem


@pytest.mark.parametrize("text", ["a = " + "[" * 20_000, "a = " + "1" * 5000])
def test_toml_that_python_cannot_hold(refused: Refused, text: str) -> None:
    (problem,) = refused(text)
    assert problem.startswith("not TOML: ")


def file_problem(path: Path) -> str:
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    return str(caught.value)


def test_no_such_file(tmp_path: Path) -> None:
    assert file_problem(tmp_path / "none.toml") == f"{tmp_path / 'none.toml'}: no such file"


def test_a_folder(tmp_path: Path) -> None:
    assert file_problem(tmp_path) == f"{tmp_path}: is a folder; expected a profile file such as profile.toml in it"


def test_not_utf_8(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_bytes(b"abc\xff")
    assert file_problem(tmp_path / "p.toml") == f"{tmp_path / 'p.toml'}: byte 3: not UTF-8 text, so not TOML"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "p.toml"
    assert file_problem(path) == f"{path}: cannot be read: Not a directory"


# ---- any junk ----

SECTIONS: dict[str, type[msgspec.Struct]] = {**TABLES, **ARRAYS}
STRUCTS: tuple[type[msgspec.Struct], ...] = (*SECTIONS.values(), AgentLimits, Grants)
KEYS = {field for struct in STRUCTS for field in struct.__struct_fields__}
KNOWN = st.sampled_from(sorted({*DEFAULTS, *SECTIONS, *KEYS, "use", "width", "unknown"}))
LEAF = (
    st.none().map(lambda _: 0)
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.dates()
    | st.datetimes()
    | st.times()
    | st.sampled_from(["a", "dag", "priority", "threads", "fixed", "64 KiB", "../*", "**/*.txt"])
)
JUNK = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KNOWN, inner, max_size=4), max_leaves=20
)


@given(st.dictionaries(KNOWN, JUNK, max_size=6))
def test_junk_is_a_profile_or_a_profile_error(profile_folder: Path, registry: Registry, raw: dict[str, Any]) -> None:
    try:
        build_profile(raw, "p", profile_folder, registry.settings)
    except ProfileError as error:
        assert all(problem.what for problem in error.problems)


@given(st.dictionaries(KNOWN, JUNK, max_size=4), st.dictionaries(KNOWN, JUNK, max_size=4))
def test_junk_in_a_sound_profile(
    profile_folder: Path, registry: Registry, group: dict[str, Any], limits: dict[str, Any]
) -> None:
    raw: dict[str, Any] = {"limits": limits, "agents": [{"name": "a", "module": "a.wat"} | group]}
    try:
        profile = build_profile(raw, "p", profile_folder, registry.settings)
    except ProfileError as error:
        assert all(problem.where for problem in error.problems)
    else:
        assert isinstance(config_bytes(profile.agents[0]), bytes)


@given(st.text(max_size=60))
def test_any_text_is_toml_or_a_profile_error(registry: Registry, text: str) -> None:
    with pytest.raises(ProfileError):
        parse_profile(text, "p", ".", (), registry)

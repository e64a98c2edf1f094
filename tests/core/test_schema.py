"""The JSON schema of profiles: checked in, current, described in full, and of one mind with the reader."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavelock import ProfileError, Registry
from wavelock.cli.about import schema_text
from wavelock.core.profile import AgentLimits, Choice, Grants, WorkersSection
from wavelock.core.profile_reader import ARRAYS, DEFAULTS, TABLES, build_profile, read_toml
from wavelock.core.schema import SCHEMA_URI, profile_schema
from wavelock.core.units import ByteSize, Duration, parse_unit

ROOT = Path(__file__).parents[2]
CHECKED_IN = ROOT / "docs" / "profile.schema.json"
EXAMPLES = sorted((ROOT / "examples").glob("*/profile.toml"))
AGENT = '[[agents]]\nname = "a"\nmodule = "a.wat"\n'


@pytest.fixture(scope="module")
def schema(registry: Registry) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(schema_text(registry=registry))
    return found


@pytest.fixture(scope="module")
def validator(schema: dict[str, Any]) -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_checked_in_schema_is_current(registry: Registry) -> None:
    foreign = [item for item in registry.listed() if not item.distribution.startswith("wavelock ")]
    if foreign:
        pytest.skip(f"other plugins are installed: {[item.name for item in foreign]}")
    assert CHECKED_IN.read_text(encoding="utf-8") == schema_text(registry=registry) + "\n", (
        "write it again: wavelock schema -o docs/profile.schema.json"
    )


def test_the_header(schema: dict[str, Any]) -> None:
    assert schema["$schema"] == SCHEMA_URI
    assert schema["required"] == ["agents"]
    assert set(schema["properties"]) == {*TABLES, *ARRAYS, *DEFAULTS}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_the_examples_are_valid(validator: jsonschema.Draft202012Validator, path: Path) -> None:
    validator.validate(read_toml(path.read_text(encoding="utf-8"), str(path)))


def test_there_are_examples() -> None:
    assert [path.parent.name for path in EXAMPLES][:2] == ["digits", "tournament"]


GOOD = [
    "",
    '[run]\nwave_ns = "1.5 us"\nseed = 18446744073709551615',
    '[limits]\nmemory = "64 KiB"\ninbox = 1_000',
    '[workers]\nuse = "threads"\ncount = 4',
    "[workers]\ncount = 1",
    '[scheduler]\nuse = "priority"\nwidth = 2\naging = 3',
    "[scheduler]\nwidth = 2",
]


@pytest.mark.parametrize("text", GOOD)
def test_good_profiles_are_valid(validator: jsonschema.Draft202012Validator, parse: Any, text: str) -> None:
    validator.validate(parse(f"{text}\n{AGENT}").raw)


BAD = [
    "[rnu]",
    "[run]\nsed = 1",
    "[run]\nseed = -1",
    "[run]\nseed = 18446744073709551616",
    "[run]\nwaves = 0",
    '[run]\nname = "9"',
    '[run]\nwave_ns = "1 KiB"',
    '[limits]\nmemory = "1 XB"',
    "[limits]\nmemory = -1",
    '[limits]\noverflow = "drop"',
    '[engine]\nuse = "v8"',
    '[engine]\nuse = "wasmtime"\nwidth = 1',
    '[scheduler]\nuse = "dag"\nwidth = 1',
    "[scheduler]\naging = 1",
    "[workers]\ncount = 0",
    '[[models]]\nname = "m"',
    '[[models]]\nname = "m"\nrepository = "r"\nproviders = []',
    "[[topics]]",
    '[[inputs]]\nname = "i"\nfiles = []\nto = ["a"]',
    '[[inputs]]\nname = "i"\nfiles = ["x"]\nto = ["a"]\ncut = "words"',
    '[[agents]]\nname = "b"',
    '[[agents]]\nname = "b"\nmodule = "b"\nlimits = { stack = 1 }',
    '[[agents]]\nname = "b"\nmodule = "b"\ngrants = { models = "m" }',
    '[[agents]]\nname = "b"\nmodule = "b"\nconfig = 1',
]


@pytest.mark.parametrize("text", BAD)
def test_bad_profiles_are_invalid_for_both(validator: jsonschema.Draft202012Validator, refused: Any, text: str) -> None:
    raw = read_toml(f"{AGENT}{text}", "p")
    assert not validator.is_valid(raw)
    assert refused(f"{AGENT}{text}")


def test_a_profile_without_agents_is_invalid(validator: jsonschema.Draft202012Validator) -> None:
    assert not validator.is_valid({})


VALUES = st.sampled_from([0, 1, -1, 2**32, True, 1.5, "x", "64 KiB", "5 ms", "reject", "threads", [], ["a"], {}])
LIMITS = st.dictionaries(st.sampled_from(["memory", "timers", "overflow", "agents", "message", "x"]), VALUES)
RUN = st.dictionaries(st.sampled_from(["name", "seed", "waves", "wave_ns", "x"]), VALUES)


@given(LIMITS, RUN)
def test_what_the_reader_takes_the_schema_takes(
    validator: jsonschema.Draft202012Validator,
    registry: Registry,
    profile_folder: Path,
    limits: dict[str, Any],
    run: dict[str, Any],
) -> None:
    raw: dict[str, Any] = {"limits": limits, "run": run, "agents": [{"name": "a", "module": "a.wat"}]}
    try:
        build_profile(raw, "p", profile_folder, registry.settings)
    except ProfileError:
        return
    validator.validate(raw)


# ---- descriptions ----


def test_every_key_is_described(schema: dict[str, Any]) -> None:
    choices = [choice for family in DEFAULTS for choice in schema["properties"][family]["oneOf"]]
    tables = [*schema["$defs"].values(), *choices]
    keys = [(key, value.get("description", "")) for table in tables for key, value in table["properties"].items()]
    assert len(keys) > 80
    assert [key for key, description in keys if len(description) < 8] == []


def test_there_is_no_null(schema: dict[str, Any]) -> None:
    """TOML has none: an absent key is just absent."""
    assert "null" not in json.dumps(schema)


def test_every_section_has_a_description(schema: dict[str, Any]) -> None:
    definitions = schema["$defs"]
    kinds: list[type[msgspec.Struct]] = [*TABLES.values(), *ARRAYS.values(), AgentLimits, Grants]
    sections = {kind.__name__ for kind in kinds}
    assert set(definitions) == sections
    for name, definition in definitions.items():
        assert definition["description"].startswith("`["), name


def test_unit_defaults_are_plain_numbers(schema: dict[str, Any]) -> None:
    limits = schema["$defs"]["LimitsSection"]["properties"]
    assert limits["memory"]["default"] == 16 << 20
    assert schema["$defs"]["RunSection"]["properties"]["wave_ns"]["default"] == 1_000_000


# ---- the settings of plugins ----


class TwinSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of two structs of this name."""

    first: int
    wait: Duration = Duration(5)


def make_twin() -> type[msgspec.Struct]:
    return msgspec.defstruct("TwinSettings", [("second", ByteSize, ByteSize(9))], module="elsewhere", frozen=True)


def test_two_plugins_may_call_their_settings_the_same() -> None:
    made = profile_schema({"engine": [("one", TwinSettings), ("two", make_twin())]})
    one, two = made["properties"]["engine"]["oneOf"]
    assert one["properties"]["wait"]["default"] == 5
    assert one["required"] == ["use", "first"]
    assert two["properties"]["second"]["default"] == 9
    assert not [name for name in made["$defs"] if "Twin" in name]


# ---- docs/profile.md ----


def keys_of(kind: type[msgspec.Struct]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(kind) if field.name != "settings"]


def documented(registry: Registry) -> dict[str, list[str]]:
    """For each section, its keys: those of the structs, and those of the members' settings."""
    found = {key: keys_of(kind) for key, kind in (*TABLES.items(), *ARRAYS.items())}
    for family in DEFAULTS:
        found[family] = keys_of(WorkersSection if family == "workers" else Choice)
        for item in registry.listed():
            if item.family == family and item.member is not None and item.distribution.startswith("wavelock "):
                found[family] += keys_of(item.member.settings)
    return found | {"agents.limits": keys_of(AgentLimits), "agents.grants": keys_of(Grants)}


def test_the_docs_name_every_key(registry: Registry) -> None:
    text = (ROOT / "docs" / "profile.md").read_text(encoding="utf-8")
    sections = documented(registry)
    assert sum(map(len, sections.values())) > 70
    missing = [f"{section}.{key}" for section, keys in sections.items() for key in keys if f"`{key}`" not in text]
    assert missing == []


def examples_in_the_docs() -> list[str]:
    return re.findall(r"^```toml\n(.*?)^```", (ROOT / "docs" / "profile.md").read_text("utf-8"), re.M | re.S)


@pytest.mark.parametrize("text", examples_in_the_docs())
def test_the_docs_examples_are_taken(
    validator: jsonschema.Draft202012Validator, registry: Registry, profile_folder: Path, text: str
) -> None:
    raw = read_toml(text, "docs/profile.md")
    raw.setdefault("agents", [{"name": "reader", "module": "a.wat"}])
    validator.validate(raw)
    build_profile(raw, "docs/profile.md", profile_folder, registry.settings, files=False)


def test_the_docs_defaults_are_the_defaults() -> None:
    text = (ROOT / "docs" / "profile.md").read_text("utf-8").partition("\n## [limits]\n")[2].partition("\n## ")[0]
    shown = {
        key: value.replace(",", "") for key, value in re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|", text, re.M)
    }
    assert list(shown) == [field.name for field in msgspec.structs.fields(TABLES["limits"])]
    for field in msgspec.structs.fields(TABLES["limits"]):
        if isinstance(field.default, ByteSize):
            assert parse_unit(ByteSize, shown[field.name]) == field.default
        else:
            assert shown[field.name].strip('`"') == str(field.default)

"""`--set key.path=value`: what it reaches, what it makes of a value, and which paths lead nowhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavelock import Profile, ProfileError
from wavelock.core.profile_reader import override, read_toml

AGENTS = "".join(f'[[agents]]\nname = "{name}"\nmodule = "a.wat"\n' for name in ("a", "b"))
Parse = Callable[..., Profile]


def changed(text: str, *settings: str) -> dict[str, Any]:
    raw = read_toml(text, "p")
    override(raw, settings, "p")
    return raw


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("x.k=4", 4),
        ("x.k=-0.5", -0.5),
        ("x.k=true", True),
        ("x.k=[1, 2]", [1, 2]),
        ("x.k={ a = 1 }", {"a": 1}),
        ('x.k="4"', "4"),
        ("x.k='a=b'", "a=b"),
        ("x.k=64 KiB", "64 KiB"),
        ("x.k=dag", "dag"),
        ("x.k=", ""),
        ("x.k=a=b", "a=b"),
        ("x.k=[1", "[1"),
        ("x.k=1\ny = 2", "1\ny = 2"),
        (" x.k =7", 7),
        ("x.k=" + "9" * 5000, "9" * 5000),
        ("x.k=" + "[" * 20_000, "[" * 20_000),
    ],
)
def test_values(setting: str, value: object) -> None:
    assert changed("", setting) == {"x": {"k": value}}


def test_paths() -> None:
    raw = changed(AGENTS, "agents.b.count=3", "agents.0.count=4", "agents[1].limits.memory=5", "run.seed=6", "new=7")
    assert raw["agents"][0]["count"] == 4
    assert raw["agents"][1] == {"name": "b", "module": "a.wat", "count": 3, "limits": {"memory": 5}}
    assert (raw["run"], raw["new"]) == ({"seed": 6}, 7)


def test_the_last_setting_of_a_key_counts() -> None:
    assert changed("[run]\nseed = 1", "run.seed=2", "run.seed=3") == {"run": {"seed": 3}}


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("run.seed", "--set run.seed: expected key.path=value"),
        ("", "--set : expected key.path=value"),
        ("=5", "--set =5: expected key.path=value"),
        (".[]=5", "--set .[]=5: expected key.path=value"),
        ("agents.c.count=1", '--set agents.c.count: there is no "c" to set this in'),
        ("agents.2.count=1", '--set agents.2.count: there is no "2" to set this in'),
        ("agents.a.name.x=1", '--set agents.a.name.x: there is no "name" to set this in'),
        ("agents.a=1", "--set agents.a: an array's item cannot be replaced whole; name a key in it"),
        ("run.name=\udcff", "--set run.name: is not UTF-8 text"),
    ],
)
def test_paths_that_lead_nowhere(setting: str, problem: str) -> None:
    with pytest.raises(ProfileError) as caught:
        changed(AGENTS, setting)
    assert [str(found) for found in caught.value.problems] == [problem]


def test_all_bad_settings_at_once() -> None:
    with pytest.raises(ProfileError) as caught:
        changed(AGENTS, "x", "agents.c.count=1", "run.seed=1", "y")
    assert len(caught.value.problems) == 3


def test_settings_are_checked_like_the_file(parse: Parse, refused: Callable[..., Sequence[str]]) -> None:
    assert parse(AGENTS, ["limits.memory=64 KiB", "scheduler.use=dag"]).limits.memory == 65536
    assert refused(AGENTS, ["limits.memory=64 KB", "run=5"]) == [
        "run: expected a table, found a whole number",
        'limits.memory: "64 KB" is not a quantity; expected one such as "64 KiB" (units: B, KiB, MiB, GiB, kB, MB, GB)',
    ]


@given(st.lists(st.text(max_size=20), max_size=3))
def test_any_setting_is_taken_or_a_profile_error(settings: list[str]) -> None:
    raw = read_toml(AGENTS, "p")
    try:
        override(raw, settings, "p")
    except ProfileError as error:
        assert len(error.problems) <= len(settings)
    assert {"agents"} <= raw.keys()

"""TOML values to structs: every problem, each with its key path, in words that a reader of TOML knows."""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from wavelock.core.errors import Problem
from wavelock.core.reading import build_struct, join, kind_name, nearest, shown
from wavelock.core.units import ByteSize


class Inner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    size: ByteSize = ByteSize(1)
    names: tuple[str, ...] = ()


class Outer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    count: Annotated[int, Meta(ge=1, le=9)]
    mode: Annotated[Literal["slow", "fast"], Meta(description="How.")] = "slow"
    one: Annotated[Inner, Meta(description="A described table.")] = Inner()
    many: tuple[Inner, ...] = ()
    limit: Annotated[int, Meta(ge=0)] | None = None
    anything: str | dict[str, Any] = ""


def problems_of(values: object) -> list[str]:
    problems: list[Problem] = []
    built = build_struct(Outer, values, "outer", problems)
    assert (built is None) == bool(problems)
    return [str(problem) for problem in problems]


def test_values_arrive() -> None:
    problems: list[Problem] = []
    built = build_struct(
        Outer,
        {"count": 3, "mode": "fast", "one": {"size": "2 KiB"}, "many": [{"names": ["a"]}, {}], "limit": 0},
        "",
        problems,
    )
    assert problems == []
    assert built == Outer(count=3, mode="fast", one=Inner(ByteSize(2048)), many=(Inner(names=("a",)), Inner()), limit=0)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (3, "outer: expected a table, found a whole number"),
        ({}, "outer.count: is required and missing"),
        ({"count": 1, "moed": "x"}, 'outer.moed: unknown key; did you mean "mode"?'),
        ({"count": 1, "zzz": 1}, "outer.zzz: unknown key; allowed: anything, count, limit, many, mode, one"),
        ({"count": 0}, "outer.count: expected a whole number >= 1, found 0"),
        ({"count": 10}, "outer.count: expected a whole number <= 9, found 10"),
        ({"count": "1"}, "outer.count: expected a whole number, found text"),
        ({"count": True}, "outer.count: expected a whole number, found true or false"),
        ({"count": 1.5}, "outer.count: expected a whole number, found a float"),
        (
            {"count": 1, "mode": "fats"},
            'outer.mode: expected "slow" or "fast", found "fats"; did you mean "fast"?',
        ),
        ({"count": 1, "mode": "other"}, 'outer.mode: expected "slow" or "fast", found "other"'),
        ({"count": 1, "mode": 1}, "outer.mode: expected text, found a whole number"),
        ({"count": 1, "one": []}, "outer.one: expected a table, found an array"),
        ({"count": 1, "one": {"sise": 1}}, 'outer.one.sise: unknown key; did you mean "size"?'),
        ({"count": 1, "one": {"names": ["a", 2]}}, "outer.one.names[1]: expected text, found a whole number"),
        ({"count": 1, "many": {}}, "outer.many: expected an array of tables ([[outer.many]]), found a table"),
        ({"count": 1, "many": [1]}, "outer.many[0]: expected a table, found a whole number"),
        ({"count": 1, "many": [{}, {"size": []}]}, 'outer.many[1].size: expected a whole number or text such as '
         '"64 KiB", found an array'),
        ({"count": 1, "limit": -1}, "outer.limit: expected a whole number >= 0, found -1"),
        ({"count": 1, "limit": "x"}, "outer.limit: expected a whole number, found text"),
        ({"count": 1, "anything": 1}, "outer.anything: expected text or a table, found a whole number"),
    ],
)  # fmt: skip
def test_one_problem(values: object, problem: str) -> None:
    assert problems_of(values) == [problem]


def test_all_problems_at_once() -> None:
    values = {"cuont": 1, "mode": 1, "one": {"size": -1, "names": 2}, "many": [{"size": "x"}, 5]}
    assert [problem.partition(":")[0] for problem in problems_of(values)] == [
        "outer.cuont",
        "outer.count",
        "outer.mode",
        "outer.one.size",
        "outer.one.names",
        "outer.many[0].size",
        "outer.many[1]",
    ]


def test_a_number_too_long_to_write() -> None:
    assert problems_of({"count": 1 << 50_000}) == [
        "outer.count: expected a whole number <= 9, found a very large number"
    ]


def test_nearest() -> None:
    assert nearest("sed", ["seed", "name"]) == '; did you mean "seed"?'
    assert nearest("qqq", ["seed", "name"]) == "; allowed: name, seed"
    assert nearest("qqq", []) == "; none is defined"


def test_shown_is_short() -> None:
    assert shown("x" * 60) == "x" * 60
    assert shown("x" * 61) == "x" * 60 + "..."


def test_kind_names() -> None:
    values: list[object] = [{}, [], "", True, 1, 1.5, datetime.date(2026, 1, 1)]
    names = ["a table", "an array", "text", "true or false", "a whole number", "a float", "a date or time"]
    assert [kind_name(value) for value in values] == names


def test_join() -> None:
    assert join("", "run") == "run"
    assert join("run", "seed") == "run.seed"

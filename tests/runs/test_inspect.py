"""`wavelock inspect`: a run file's summary and sections, for people and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from wavelock.cli.app import SECTIONS
from wavelock.cli.inspection import QUERIES

if TYPE_CHECKING:
    from runs.conftest import Kit

Command = Callable[..., tuple[int, str, str]]
FIRST: dict[str, dict[str, Any]] = {
    "agents": {
        "id": 0, "agent": "talker/0", "group": "talker", "parent": None, "born": 0, "ended": 6, "reason": "exited",
        "code": 7,
    },
    "logs": {"wave": 0, "agent": "talker/0", "level": "info", "by": "agent", "text": "hello"},
    "faults": {"wave": 1, "agent": "coder/0", "fault": "agent code", "detail": "code -42"},
    "state": {"key": "k/a", "value": "two", "agent": "talker/1", "wave": 1},
    "outputs": {"wave": 0, "agent": "talker/0", "tag": 0, "payload": "0xb82e16da6a461f29"},
    "inputs": {"wave": 0, "agent": "echo/0", "tag": 0, "stream": "lines", "payload": "line 0"},
    "inference": {
        "request_wave": 0, "wave": 2, "model": 0, "agent": "asker/0", "tag": 0, "reason": 0, "bytes": 24,
    },
}  # fmt: skip


def rows(wavelock: Command, path: Path, *arguments: str) -> list[dict[str, Any]]:
    """A section as JSON."""
    code, output, errors = wavelock("inspect", path, *arguments, "--json")
    found = json.loads(output)
    assert (code, errors) == (0, "")
    assert (found["run_file"], found["section"]) == (str(path), arguments[0])
    listed: list[dict[str, Any]] = found["rows"]
    return listed


def test_every_section_is_offered() -> None:
    assert set(SECTIONS) == set(QUERIES)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_is_shown_in_both_forms(kit: Kit, rich: Path, wavelock: Command, section: str) -> None:
    listed = rows(wavelock, rich, section)
    assert len(listed) == {**kit.COUNTS, "waves": 12}[section]
    if section in FIRST:
        assert listed[0] == FIRST[section]
    code, output, errors = wavelock("inspect", rich, section)
    lines = output.splitlines()
    assert (code, errors) == (0, "")
    assert lines[0].split() == list(listed[0])
    assert len(lines) >= 1 + len(listed)
    for value in listed[0].values():
        assert value is None or str(value) in lines[1]


def test_waves_show_what_they_came_to(rich: Path, wavelock: Command, kit: Kit) -> None:
    listed = rows(wavelock, rich, "waves")
    assert list(listed[3]) == ["wave", "digest", "turns", "messages", "fuel", "faults", "lost"]
    assert (listed[3]["wave"], listed[3]["turns"], listed[3]["faults"]) == (3, 3, 0)
    assert listed[3]["digest"] == kit.query(rich, "SELECT digest FROM waves WHERE wave = 3")[0][0].hex()


def test_modules_show_their_digests_and_sizes(rich: Path, wavelock: Command) -> None:
    listed = rows(wavelock, rich, "modules")
    assert [row["name"] for row in listed] == ["asker", "child", "coder", "crasher", "echo", "talker"]
    assert all(len(row["digest"]) == 64 and row["bytes"] > 100 for row in listed)


def test_names_stand_for_numbers(rich: Path, wavelock: Command) -> None:
    assert {row["reason"] for row in rows(wavelock, rich, "agents")} == {"exited", "faulted", None}
    assert {row["fault"] for row in rows(wavelock, rich, "faults")} == {"agent code", "unreachable"}
    assert {(row["level"], row["by"]) for row in rows(wavelock, rich, "logs")} == {
        ("info", "agent"), ("warning", "agent"), ("warning", "kernel"),
    }  # fmt: skip


def test_rows_are_limited_and_in_order(rich: Path, wavelock: Command) -> None:
    every = rows(wavelock, rich, "outputs", "--limit", "0")
    assert len(every) == 40
    assert rows(wavelock, rich, "outputs", "--limit", "7") == every[:7]
    assert [row["wave"] for row in every] == sorted(row["wave"] for row in every)
    assert len(wavelock("inspect", rich, "outputs", "--limit", "7")[1].splitlines()) == 8


def test_an_agents_rows_alone(rich: Path, wavelock: Command) -> None:
    every = rows(wavelock, rich, "outputs", "--limit", "0")
    for agent in ("talker/1", "child/0"):
        mine = [row for row in every if row["agent"] == agent]
        assert rows(wavelock, rich, "outputs", "--agent", agent) == mine != []
    assert (
        rows(wavelock, rich, "outputs", "--agent", "talker/1", "--limit", "2")
        == [row for row in every if row["agent"] == "talker/1"][:2]
    )
    assert [row["id"] for row in rows(wavelock, rich, "agents", "--agent", "echo/0")] == [2]
    assert rows(wavelock, rich, "logs", "--agent", "nobody") == []
    assert wavelock("inspect", rich, "logs", "--agent", "nobody")[1] == "no logs\n"


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["waves", "--agent", "echo/0"], "--agent: the section waves has no agents"),
        (["nosuch"], "nosuch"),
        (["logs", "--limit", "-1"], "-1"),
    ],
)
def test_a_wrong_argument_is_the_users_mistake(rich: Path, wavelock: Command, arguments: list[str], shown: str) -> None:
    code, output, errors = wavelock("inspect", rich, *arguments)
    assert (code, output) == (2, "")
    assert shown in errors


def test_the_summary_has_head_totals_and_sections(kit: Kit, rich: Path, wavelock: Command) -> None:
    code, output, _ = wavelock("inspect", rich, "--json")
    found = json.loads(output)
    assert code == 0
    expected = {
        "name": "rich", "seed": "7", "engine": "wasmtime", "scheduler": "round-robin", "workers": "inline:1",
        "ended": "quiet", "waves": 12, "last_wave": 11, "turns": 35, "faults": 5, "rows": {**kit.COUNTS, "waves": 12},
    }  # fmt: skip
    assert {key: found[key] for key in expected} == expected
    assert found["digest"] == rows(wavelock, rich, "waves")[-1]["digest"]
    code, output, _ = wavelock("inspect", rich)
    assert "ended      quiet\n" in output
    assert "outputs 40" in output


def test_a_run_that_goes_on_or_was_killed_says_so(kit: Kit, wavelock: Command) -> None:
    kit.write_rich()
    with kit.open() as runtime:
        code, output, _ = wavelock("inspect", kit.folder / "run.wavelock")
        assert code == 0
        assert "ended      cut off (the run was killed, or still goes on)" in output
        assert "waves      0\n" in output
        runtime.run()
    assert "ended      quiet" in wavelock("inspect", kit.folder / "run.wavelock")[1]


def test_numbers_without_a_name_stay_numbers(kit: Kit, rich: Path, wavelock: Command) -> None:
    kit.change(rich, "UPDATE faults SET fault = 99")
    kit.change(rich, "UPDATE logs SET level = 'x', agent = 1000")
    kit.change(rich, "UPDATE agents SET reason = x'ff' WHERE id = 0")
    assert {row["fault"] for row in rows(wavelock, rich, "faults")} == {99}
    assert {(row["level"], row["agent"]) for row in rows(wavelock, rich, "logs")} == {("x", None)}
    assert rows(wavelock, rich, "agents")[0]["reason"] == "0xff"

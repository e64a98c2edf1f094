"""The suite: its cases, its tables, and the page, which shows what the JSON beside it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmarks import suite, tables
from benchmarks.suite import Case, matrix, run, run_all, shown

from wavelock.bench import AGAINST, WORKS
from wavelock.bench.works import make_job

RESULTS = json.loads((suite.FOLDER / suite.RESULTS).read_text(encoding="utf-8"))


def result(case: Case, ns: float = 100.0) -> dict[str, Any]:
    """A case as `wavelock bench` would answer it, against a floor of half the time."""
    floor = {"name": "floor", "agents": case.agents, "ns_per_turn": ns / 2, "ratio": 2.0, "spread": [1.5, 2.5]}
    gone = {"name": "pooled-floor", "left_out": "no compiler"}
    return {
        **{key: getattr(case, key) for key in ("work", "agents", "bytes", "workers", "record")},
        "case": vars(case),
        "ns_per_turn": ns,
        "against": [floor, gone],
    }


def test_the_page_shows_what_was_measured() -> None:
    page = tables.PAGE.read_text(encoding="utf-8")
    assert tables.fill(page, RESULTS) == page, "python -m benchmarks.suite --draw"
    assert set(tables.TABLES) == {line[5:-4] for line in page.splitlines() if line.startswith("<!-- ")} - {"end"}


def test_filling_touches_nothing_else() -> None:
    results = {"results": [result(Case("ring", bytes=64))]}
    page = "# A\n<!-- bytes -->\n<!-- end -->\nbetween\n<!-- bytes -->\nold\n\nold\n<!-- end -->\nafter\n"
    made = f"<!-- bytes -->\n{tables.bytes_table(results)}\n<!-- end -->"
    assert tables.fill(page, results) == f"# A\n{made}\nbetween\n{made}\nafter\n"


@pytest.mark.parametrize("name", ["agents", "ratio", "bytes", "peers", "phases"])
def test_every_plot_is_there_and_shown(name: str) -> None:
    assert (suite.FOLDER / f"{name}.svg").read_text(encoding="utf-8").startswith("<?xml")
    assert f"(benchmarks/{name}.svg)" in tables.PAGE.read_text(encoding="utf-8")


def test_the_suite_knows_what_the_command_knows() -> None:
    assert tuple(WORKS) == suite.WORKS
    assert {"floor", "pooled-floor", *suite.PEERS} == set(AGAINST)


def test_cases_are_what_the_command_takes() -> None:
    cases = [*shown(1_000_000, [2]), *matrix([2])]
    for case in cases:
        make_job(case.work, case.agents, case.bytes)
        assert case.agents * case.bytes <= suite.LOAD_BYTES
    assert {case.agents for case in cases} == {*suite.AGENTS, suite.FLOOR_AGENTS}
    assert {(case.bytes, case.workers, case.record) for case in cases} == {
        (size, workers, record) for size in suite.BYTES for workers in (1, 2) for record in (False, True)
    }
    assert max(case.agents for case in shown(100_000, [2])) == 100_000


def test_a_command_line() -> None:
    words = Case("random", 50_000, 64, 2, record=True).command(3)
    assert " ".join(words[1:]) == (
        "-m wavelock bench --json --work random --rounds 3 --agents 50000 --bytes 64 --workers 2 --record "
        "--against pooled-floor"
    )
    assert Case("ring").against == ("floor", "pooled-floor")
    assert Case("ring", peers=True).against == suite.PEERS


def test_a_case_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def play(program: str, code: int = 0) -> dict[str, Any]:
        monkeypatch.setattr(Case, "command", lambda _self, _rounds: [sys.executable, "-c", program])
        return run(Case("ring"), 1)

    assert play("print('{\"ratio\": 2}')") == {"case": vars(Case("ring")), "ratio": 2}
    assert play('print(\'{"error": "no luck"}\')')["error"] == "no luck"
    assert play("import sys; sys.exit('killed')")["error"] == "ended with 1: killed"
    assert play("print(3)")["error"] == "found 3, expected an object"
    monkeypatch.setattr(suite, "CASE_TIMEOUT_S", 0.2)
    assert play("import time; time.sleep(600)")["error"] == "not done within 0.2 s"


def test_no_case_begins_after_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "run", lambda case, _rounds: {"case": vars(case), "error": "played"})
    cases = [Case(work) for work in suite.WORKS]
    assert run_all(cases, 1, budget_s=-1) == ([], 5)
    found, left = run_all(cases, 1, budget_s=60)
    assert ([row["case"]["work"] for row in found], left) == (list(suite.WORKS), 0)


def test_tables() -> None:
    cases = [Case("ring", 10_000), Case("ring", 100), Case("ring", 1000, bytes=64), Case("ring", 20_000, workers=2)]
    results = {"results": [*map(result, cases), {"case": vars(Case("random")), "error": "no luck"}]}
    rest = "100 | 50 | 2 (1.5 to 2.5) | - | - |"
    assert tables.agents_table(results).splitlines()[2:] == [f"| ring | 100 | {rest}", f"| ring | 10,000 | {rest}"]
    assert tables.bytes_table(results).splitlines()[2:] == [f"| 64 | {rest}"]
    assert tables.modes_table(results).splitlines()[2:] == [f"| ring | 2 workers | {rest}"]


def test_a_table_of_peers() -> None:
    row = result(Case("ring", peers=True))
    slow = {"name": "ray", "agents": 20, "ns_per_turn": 857_000.0, "ratio": 0.000567, "spread": [0.0004, 0.0006]}
    row["against"] = [slow, {"name": "pykka", "left_out": "no network"}]
    lines = tables.peers_table({"results": [row]}).splitlines()
    assert lines[0] == "|  | agents | ring, ns a turn | ring |"
    assert lines[2:] == ["| ray | 20 | 857,000 | 1,800 |", "| pykka | - | - | - |"]


@pytest.mark.parametrize(
    ("value", "text"), [(0.011346, "0.0113"), (1.999, "2"), (92.44, "92.4"), (999.9, "1,000"), (57_140.0, "57,100")]
)
def test_numbers(value: float, text: str) -> None:
    assert tables.number(value) == text


def test_help_names_the_way_to_draw_again() -> None:
    root = Path(suite.__file__).parents[1]
    command = [sys.executable, "-m", "benchmarks.suite", "--help"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert "--draw" in done.stdout

"""`wavelock conformance`: what it prints, and its exit codes."""

from __future__ import annotations

import io
import json
import logging
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from rich.console import Console

from wavelock.cli.app import run_command
from wavelock.cli.conformance import LiveTold
from wavelock.testing import WORKLOADS, Case, Check, Combination, Outcome, Status

Command = Callable[..., "subprocess.CompletedProcess[str]"]
FEW = ("--engine", "wasmtime", "--scheduler", "dag", "--workers", "inline", "--workload", "state")


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Cli = Callable[..., Done]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    """Runs a command line in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Done:
        capsys.readouterr()
        code = run_command(["conformance", *arguments])
        return Done(code, *capsys.readouterr())

    yield run
    logging.disable(logging.NOTSET)


def test_a_matrix_for_people(cli: Cli) -> None:
    done = cli(*FEW, "--workload", "topics", "--workers", "threads:2")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].split() == ["1", "2"]
    assert "dag" in lines[1]
    assert lines[2].split() == ["wasmtime", "inline:1", "=", "="]
    assert lines[3].split() == ["wasmtime", "threads:2", "=", "="]
    assert "= equal   X differs   ! error   - unavailable" in lines
    assert any(line.split()[:2] == ["2", "topics"] for line in lines)
    assert lines[-2] == "conforms: 10 cases of 2 workloads under 2 combinations: 10 equal"
    assert "wasmtime" in lines[-1]


def test_one_object_for_programs(cli: Cli) -> None:
    done = cli(*FEW, "--json")
    assert done.code == 0
    assert done.out.count("\n") == 1
    report = json.loads(done.out)
    assert {"combinations", "workloads", "cases", "differences", "unavailable"} <= set(report)
    assert report["cases"] == 3
    assert report["conforms"] is True
    assert "compared" not in report


def test_beside_a_report_made_elsewhere(cli: Cli) -> None:
    report = json.loads(cli(*FEW, "--json").out)
    Path("here.json").write_text(json.dumps(report))
    done = cli(*FEW, "--compare", "here.json")
    assert done.code == 0
    assert "1 runs compared, 0 differ" in done.out
    report["digests"]["state"]["dag"]["waves"][1][3] = 5
    Path("there.json").write_text(json.dumps(report))
    done = cli(*FEW, "--workload", "topics", "--compare", "there.json")
    assert done.code == 3
    assert "state, dag: wave 1: fuel: found " in done.out
    assert "expected 5" in done.out
    assert "not compared: topics: not in the other report" in done.out
    done = cli(*FEW, "--compare", "there.json", "--json")
    assert done.code == 3
    (difference,) = json.loads(done.out)["compared"]["differences"]
    assert (difference["wave"], difference["what"], difference["expected"]) == (1, "fuel", 5)


def test_a_page(cli: Cli) -> None:
    assert cli(*FEW, "--html", "report.html").code == 0
    assert Path("report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--engine", "wasmtim"), 'no engine plugin is named "wasmtim"; did you mean "wasmtime"?'),
        (("--workload", "stat"), 'no workload is named "stat"; did you mean "state"?'),
        (("--workers", "threads:x"), '--workers threads:x: expected NAME or NAME:COUNT, such as "threads:4"'),
        (("--html", "no/folder.html"), "no/folder.html: cannot be written: there is no folder no"),
        (("--html", "."), ".: cannot be written: Is a directory"),
        (("--compare", "missing.json"), "missing.json: cannot be read: No such file or directory"),
        (("--compare", "list.json"), "list.json: not a conformance report of format 1"),
        (("--compare", "text.json"), "text.json: not a conformance report: Expecting value"),
        (("--nonsense",), "No such option"),
    ],
)
def test_what_the_user_gave_is_wrong(cli: Cli, arguments: tuple[str, ...], told: str) -> None:
    Path("list.json").write_text("[]")
    Path("text.json").write_text("conforms")
    done = cli(*FEW, *arguments)
    assert done.code == 2
    assert told in done.err


def test_a_bar_on_a_terminal() -> None:
    screen = io.StringIO()
    told = LiveTold(Console(file=screen, force_terminal=True, width=100))
    case = Case(WORKLOADS[0], Combination("dag", "e\x1b[2J", "t", "inline", 1), Check.SAME)
    with told.bar:
        told(Outcome(case, Status.EQUAL), 1, 4)
        told.bar.refresh()
    assert "messages: dag, e\\x1b[2J, t, inline:1" in screen.getvalue()
    assert "25%" in screen.getvalue()


def test_a_difference_is_3(run_with: Command) -> None:
    done = run_with("FuelEngine", "wavelock", "conformance", "--engine", "canary", *FEW[2:])
    assert done.returncode == 3
    assert "X" in done.stdout.splitlines()[2].split()
    assert "state (dag, canary, shared-memory, inline:1; same): wave 2, agent keeper/1: fuel: found" in done.stdout
    assert "compared with dag, wasmtime, shared-memory, inline:1" in done.stdout
    assert "DOES NOT CONFORM: 4 cases" in done.stdout


def test_an_error_is_4(run_with: Command) -> None:
    done = run_with("FailingEngine", "wavelock", "conformance", "--engine", "canary", *FEW[2:])
    assert done.returncode == 4
    assert "!" in done.stdout.splitlines()[2].split()
    assert "no memory left in wave 2" in done.stdout


def test_what_is_unavailable_is_listed(run_with: Command) -> None:
    done = run_with("UnavailableEngine", "wavelock", "conformance", *FEW)
    assert done.returncode == 0
    assert "  engine canary: no wings; grow some" in done.stdout.splitlines()
    done = run_with("UnavailableEngine", "wavelock", "conformance", *FEW, "--json")
    (found,) = (each for each in json.loads(done.stdout)["unavailable"] if each["name"] == "canary")
    assert found == {"family": "engine", "name": "canary", "reason": "no wings", "remedy": "grow some"}

"""`python -m wavelock.testing.fuzz`, and long runs in processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from wavelock.core.errors import UserError
from wavelock.testing.fuzz import jobs
from wavelock.testing.fuzz.binaryen import Binaryen
from wavelock.testing.fuzz.campaign import Range
from wavelock.testing.fuzz.cases import load_case, save_case
from wavelock.testing.fuzz.check import Case
from wavelock.testing.fuzz.command import main
from wavelock.testing.fuzz.decorate import decorate
from wavelock.testing.fuzz.floats import FloatModules
from wavelock.testing.fuzz.summary import Finding, Summary
from wavelock.testing.fuzz.values import seeded


def test_a_run_tells_its_summary_and_writes_it_as_json(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    options = ["--seed", "1", "--count", "4", "--engine", "wasmtime", "--engine", "oracle", "--slow-every", "2"]
    done = CliRunner().invoke(main, ["floats", *options, "--json", str(report)])
    assert done.exit_code == 0, done.output
    assert "4 modules: 0 refused" in done.output
    assert "ran: wasmtime 4, oracle 2" in done.output
    found = json.loads(report.read_text())
    assert found["engines"] == {"wasmtime": 4, "oracle": 2}
    assert found["findings"] == []


def test_processes_give_the_same_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "CHUNK", 2)
    options = ["floats", "--seed", "1", "--count", "3", "--engine", "wasmtime"]
    found = []
    for more in ([], ["--jobs", "2"]):
        report = tmp_path / f"{len(more)}.json"
        done = CliRunner().invoke(main, [*options, *more, "--json", str(report)])
        assert done.exit_code == 0, done.output
        found.append(report.read_text())
    assert found[0] == found[1]


def test_operators_and_bytes_are_commands(binaryen: Binaryen) -> None:
    assert binaryen.version
    done = CliRunner().invoke(main, ["operators", "--count", "1", "--engine", "wasmtime"])
    assert done.exit_code == 0, done.output
    assert "digest: simd " in done.output
    done = CliRunner().invoke(main, ["bytes", "--count", "5"])
    assert done.exit_code == 0, done.output
    assert "5 modules: " in done.output


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    maker = FloatModules()
    module = decorate(maker.make(maker.recipe(seeded("saved"))), seeded("saved"))
    return save_case(tmp_path, Case(module, "7/8", 4, 4096), ("what",))


def test_a_saved_case_is_loaded_and_run_again(saved: Path) -> None:
    case = load_case(saved)
    assert saved.name == "7-8.wasm"
    assert (case.seed, case.memory_pages, case.stack_bytes) == ("7/8", 4, 4096)
    done = CliRunner().invoke(main, ["case", str(saved), "--engine", "wasmtime", "--engine", "oracle"])
    assert done.exit_code == 0, done.output
    assert "on wasmtime, oracle: 0 differences" in done.output


def test_a_case_without_notes_is_an_error_with_the_way_out(saved: Path) -> None:
    saved.with_suffix(".json").unlink()
    with pytest.raises(UserError, match=r"needs 7-8\.wasm and 7-8\.json"):
        load_case(saved)


def test_a_process_that_fails_is_narrowed_down_to_its_module() -> None:
    ran: list[tuple[int, int]] = []

    def process(arguments: Sequence[str]) -> str:
        given = dict(zip(arguments[1::2], arguments[2::2], strict=True))
        first, count = int(given["--first"]), int(given["--count"])
        ran.append((first, count))
        if first <= 5 < first + count:
            return "ended with -11"
        Path(given["--json"]).write_bytes(msgspec.json.encode(Summary("modules", modules=count)))
        return ""

    found = jobs.in_processes(Range(9, 0, 16), "modules", (), 1, lambda summary: None, process)
    assert found.findings == [Finding("9/5", ("ended with -11",))]
    assert found.modules == 16
    assert (5, 1) in ran


def test_a_command_that_fails_says_how() -> None:
    assert jobs.run_command(("floats", "--count", "1", "--engine", "wasmtime")) == ""
    assert jobs.run_command(("no-such-command",)).startswith("ended with 2: ")


def test_differences_are_exit_code_1_and_errors_are_one_line(tmp_path: Path, saved: Path) -> None:
    saved.with_suffix(".json").write_text("{")
    done = subprocess.run(
        [sys.executable, "-m", "wavelock.testing.fuzz", "case", str(saved)],
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {saved}: found no case there")


def test_summaries_add_up() -> None:
    one = Summary("modules", 3, 1, 0, 10, {"none": 4}, {"wasmtime": 2}, {"gc": 1}, {}, [Finding("1/1", ("x",))])
    one.add(Summary("modules", 2, 0, 1, 5, {"none": 1, "fuel": 2}, {"wasmtime": 1, "oracle": 1}))
    assert one.modules == 5
    assert one.faults == {"none": 5, "fuel": 2}
    assert one.engines == {"wasmtime": 3, "oracle": 1}
    text = one.lines()
    assert text[0] == "5 modules: 1 refused, 1 not made"
    assert "15 calls: none 5, fuel 2" in text
    assert text[-3:] == ["DIFFERENCE 1/1 ", "  x", "1 differences"]

"""The digits example against its models run without Wavelock, scan by scan."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

import onnxruntime

import wavelock

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "digits"
AGENTS = ("reader", "classifier", "voter", "report")
MODELS = ("digits", "digits-linear")


def scans() -> list[tuple[int, int, Any]]:
    """Number, digit and pixels of each scan."""
    rows = [list(map(int, line.split(","))) for line in (EXAMPLE / "scans.csv").read_text().splitlines()]
    return [(row[0], row[1], np.array([row[2:]], dtype="<f4")) for row in rows]


def voted_without_wavelock() -> dict[int, int]:
    sessions = [
        onnxruntime.InferenceSession(
            str(EXAMPLE / "models" / name / "1" / "model.onnx"), providers=["CPUExecutionProvider"]
        )
        for name in MODELS
    ]
    said = {}
    for number, _, pixels in scans():
        first, second = (session.run(None, {"pixels": pixels})[0][0] for session in sessions)
        said[number] = int(np.argmax(first + second))
    return said


def run(folder: Path, *settings: str) -> tuple[Any, dict[bytes, bytes], list[str]]:
    profile = wavelock.load_profile(EXAMPLE / "profile.toml", [f'record.folder="{folder.as_posix()}"', *settings])
    with wavelock.Runtime(profile) as runtime:
        result = runtime.run()
        return result, runtime.state(), [output.payload.decode() for output in runtime.outputs()]


def test_every_prediction_is_the_models_own(tmp_path: Path) -> None:
    said = voted_without_wavelock()
    assert len(said) == 540
    _, state, printed = run(tmp_path)
    assert {int(key.removeprefix(b"predictions/")): int(value) for key, value in state.items()} == said
    right = sum(said[number] == digit for number, digit, _ in scans())
    assert printed[0] == f"{right} of 540 scans right ({right / 5.4:.1f} %)"
    assert table(printed[3:]) == confusion(said)


def table(lines: Sequence[str]) -> list[list[int]]:
    return [[0 if cell == "." else int(cell) for cell in line.split()[1:]] for line in lines]


def confusion(said: dict[int, int]) -> list[list[int]]:
    counts = [[0] * 10 for _ in range(10)]
    for number, digit, _ in scans():
        counts[digit][said[number]] += 1
    return counts


def test_workers_do_not_show_and_a_replay_needs_no_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, state, printed = run(tmp_path / "one")
    second, *same = run(tmp_path / "two", "workers.use=threads", "workers.count=2")
    assert first.digest == second.digest
    assert same == [state, printed]

    def no_models(*_: Any) -> None:
        raise AssertionError("a replay opened a model")

    monkeypatch.setattr("wavelock.models.stage.open_stage", no_models)
    report = wavelock.replay(first.run_file)
    assert (report.identical, report.digest) == (True, first.digest)


def test_a_model_that_refuses_leaves_a_question_mark(tmp_path: Path) -> None:
    helper = pytest.importorskip("onnx.helper")
    three = [helper.make_tensor_value_info(name, 1, ["n", 3]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", three[:1], three[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "models" / "digits-linear" / "1" / "model.onnx"
    path.parent.mkdir(parents=True)
    path.write_bytes(model.SerializeToString())
    _, state, printed = run(tmp_path, f'models.1.repository="{(tmp_path / "models").as_posix()}"')
    assert set(state.values()) == {b"?"}
    assert printed[0] == "0 of 540 scans right (0.0 %), 540 without an answer"


def test_lines_that_are_no_scans_are_counted_and_stop_nothing(tmp_path: Path) -> None:
    good = (EXAMPLE / "scans.csv").read_text().splitlines()[:3]
    bad = ["", "hello", good[0] + ",1", good[0][:-2], good[0] + ",", "5,10" + ",0" * 64, "9999,1" + ",0" * 64]
    bad += ["7,1" + ",17" * 64, "7,1" + ",4294967297" * 64]
    broken = tmp_path / "broken.csv"
    broken.write_text("\n".join([bad[1], *good, *bad[2:]]) + "\n")
    files = f'inputs.0.files=["{broken.as_posix()}"]'
    _, state, printed = run(tmp_path, files, f'agents.4.config="{len(good) + len(bad) - 1}"')
    assert sorted(state) == [b"predictions/1257", b"predictions/1258", b"predictions/1259"]
    assert printed[0].endswith(f"{len(bad) - 1} lines that are no scan")
    assert printed[0].startswith("3 of 3 scans right (100.0 %)")


@pytest.mark.parametrize("agent", AGENTS)
def test_the_modules_are_what_the_sources_make(agent: str, tmp_path: Path) -> None:
    pytest.importorskip("ziglang")
    made = tmp_path / "made.wasm"
    command = [sys.executable, "-m", "ziglang", "cc", "-target", "wasm32-freestanding", "-O2", "-nostdlib"]
    command += ["-Wl,--no-entry", "-Wl,--strip-all", "-Wall", "-Wextra", "-Werror", "-I", "guests/c"]
    subprocess.run([*command, f"examples/digits/{agent}.c", "-o", str(made)], cwd=ROOT, check=True)
    assert made.read_bytes() == (EXAMPLE / f"{agent}.wasm").read_bytes()

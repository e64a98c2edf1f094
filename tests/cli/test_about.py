"""`wavelock check`, `plugins`, `doctor`, `schema`, `version` and help."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import helpers
from wavelock import __version__
from wavelock.cli import about

Cli = Callable[..., Any]
ROOT = Path(__file__).parents[2]


# ---- check ----


def test_check(cli: Cli, tmp_path: Path) -> None:
    path = helpers.write_profile(tmp_path, '[run]\nname = "two"\n', one=helpers.TICKS, other=helpers.QUIET)
    done = cli("check", path)
    assert (done.code, done.err) == (0, "")
    assert (
        done.out
        == f"{path}: ok: 2 agents in 2 groups; wasmtime (guarded memories), round-robin, shared-memory, inline:1\n"
    )
    assert not (tmp_path / "runs").exists()


def test_check_as_json(cli: Cli, tmp_path: Path) -> None:
    path = helpers.write_profile(tmp_path, one=helpers.TICKS, other=helpers.QUIET)
    done = cli("check", path, "--json", "--workers", "threads:2", "--set", "run.name=x", "--set", "agents.one.count=3")
    assert done.code == 0
    assert done.json == {
        "ok": True,
        "profile": str(path),
        "name": "x",
        "agents": 4,
        "groups": ["one", "other"],
        "engine": "wasmtime",
        "memory_layout": "guarded",
        "scheduler": "round-robin",
        "transport": "shared-memory",
        "workers": "threads",
        "worker_count": 2,
        "models": [],
    }


def test_check_says_what_is_wrong(cli: Cli, tmp_path: Path) -> None:
    path = helpers.write_profile(tmp_path, bad="(module)")
    done = cli("check", path)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {path}: agents[0].module: {tmp_path / 'bad.wat'}: ")


@pytest.mark.parametrize("name", ["digits", "tournament"])
def test_the_examples_are_sound(cli: Cli, name: str) -> None:
    pytest.importorskip("onnxruntime")
    assert cli("check", ROOT / "examples" / name / "profile.toml", "--json").json["ok"] is True


@pytest.mark.parametrize("content", [None, b"not a model", b""])
def test_a_model_that_is_none(cli: Cli, tmp_path: Path, content: bytes | None) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "models" / "m" / "1").mkdir(parents=True)
    if content is not None:
        (tmp_path / "models" / "m" / "1" / "model.onnx").write_bytes(content)
    text = '[[models]]\nname = "m"\nrepository = "models"\n'
    done = cli("check", helpers.write_profile(tmp_path, text, one=helpers.QUIET), "--json")
    assert done.code == 2
    assert done.json["kind"] in ("ModelError", "ProfileError")
    assert "m" in done.json["error"]


# ---- plugins and doctor ----

ROW = {"family", "name", "summary", "distribution", "available", "reason", "remedy"}


def test_plugins(cli: Cli) -> None:
    done = cli("plugins", "--json")
    assert (done.code, done.err) == (0, "")
    rows = done.json["plugins"]
    assert all(set(row) == ROW for row in rows)
    assert ("engine", "wasmtime", True) in {(row["family"], row["name"], row["available"]) for row in rows}
    lines = cli("plugins").out.splitlines()
    assert [line.split()[:2] for line in lines] == [[row["family"], row["name"]] for row in rows]
    assert (
        f"engine         wasmtime       Bytecode Alliance's wasmtime, through its C interface  [wavelock {__version__}]"
    ) in lines


@pytest.fixture
def without_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without onnxruntime."""
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else real(name))
    installed = about._version
    monkeypatch.setattr(about, "_version", lambda name: None if name.startswith("onnxruntime") else installed(name))


@pytest.mark.usefixtures("without_onnxruntime")
def test_what_is_missing_is_told_with_the_way_to_get_it(cli: Cli) -> None:
    rows = {row["name"]: row for row in cli("plugins", "--json").json["plugins"]}
    assert (rows["onnx"]["available"], rows["wasmtime"]["available"]) == (False, True)
    assert rows["onnx"]["reason"] == "the package onnxruntime is not installed"
    assert rows["onnx"]["remedy"] == "pip install 'wavelock[onnx]'"
    assert "NOT AVAILABLE: the package onnxruntime is not installed; pip install 'wavelock[onnx]'" in cli("plugins").out
    doctor = cli("doctor")
    assert doctor.code == 0
    assert "onnxruntime  not installed\n" in doctor.out
    assert "providers    none: no inference backend is available\n" in doctor.out
    assert "missing      model_backend onnx: the package onnxruntime is not installed; pip install" in doctor.out


@pytest.mark.usefixtures("without_onnxruntime")
def test_a_profile_that_needs_what_is_missing(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    text = '[[models]]\nname = "m"\nrepository = "models"\n'
    done = cli("run", helpers.write_profile(tmp_path, text, one=helpers.QUIET))
    assert done.code == 2
    assert done.err.endswith(
        'models[0].backend: the model_backend plugin "onnx" is not available: the package onnxruntime is not '
        "installed; pip install 'wavelock[onnx]'\n"
    )


def test_doctor(cli: Cli) -> None:
    found = cli("doctor", "--json").json
    assert set(found) == {
        "wavelock", "python", "executable", "system", "packages", "cache", "providers", "plugins",
    }  # fmt: skip
    assert (found["wavelock"], found["executable"]) == (__version__, sys.executable)
    assert found["packages"]["wasmtime"].count(".") == 2
    text = cli("doctor").out
    assert f"wavelock     {__version__}\n" in text
    assert f"cache        {found['cache']}\n" in text


def test_doctor_where_onnxruntime_is_broken(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert cli("doctor", "--json").json["providers"] == []


# ---- schema ----


def test_schema_is_json_with_and_without_the_option(cli: Cli) -> None:
    plain, as_json = cli("schema"), cli("schema", "--json")
    assert (plain.code, as_json.code) == (0, 0)
    assert json.loads(plain.out) == as_json.json
    assert as_json.json["title"] == "Wavelock profile"


def test_schema_to_a_file(cli: Cli, tmp_path: Path) -> None:
    done = cli("schema", "-o", tmp_path / "s.json")
    assert (done.code, done.out) == (0, f"wrote {tmp_path / 's.json'}\n")
    assert (tmp_path / "s.json").read_text(encoding="utf-8") == cli("schema").out
    assert cli("schema", "-o", tmp_path / "s.json", "--json").json == {"written": str(tmp_path / "s.json")}


def test_schema_to_where_nothing_can_be_written(cli: Cli, tmp_path: Path) -> None:
    done = cli("schema", "-o", tmp_path / "none" / "s.json")
    assert (done.code, done.err) == (
        2,
        f"error: {tmp_path / 'none' / 's.json'}: cannot be written: No such file or directory\n",
    )


# ---- version and help ----


def test_version(cli: Cli) -> None:
    assert cli("version").out == f"wavelock {__version__}\n"
    assert cli("version", "--json").json == {"version": __version__}


COMMANDS = ("run", "check", "replay", "diff", "inspect", "plugins", "doctor", "schema", "version")


def test_help_lists_every_command(cli: Cli) -> None:
    done = cli("--help")
    assert done.code == 0
    assert all(f"  {command} " in done.out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(cli: Cli, command: str) -> None:
    done = cli(command, "--help")
    assert (done.code, done.err) == (0, "")
    assert "--json" in done.out


def test_no_command_at_all(cli: Cli) -> None:
    done = cli()
    assert done.code == 2
    assert done.err.count("Usage: ") == 1
    assert "Commands:" in done.err

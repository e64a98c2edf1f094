"""The README: its two commands, and its example built and run as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(kind: str) -> str:
    """The first fenced block of a kind."""
    found = re.search(rf"```{kind}\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_first_block_is_two_commands() -> None:
    lines = block("sh").splitlines()
    assert len(lines) == 2
    assert "wavelock run examples/tournament/profile.toml" in lines[0]
    assert lines[1].endswith("python -m pytest -q")


def test_the_readmes_agent_builds_runs_and_replays(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ziglang", reason="builds the README's agent")
    (tmp_path / "counter.c").write_text(block("c"))
    (tmp_path / "profile.toml").write_text(block("toml"))
    build = next(line for line in README.splitlines() if line.startswith("$ python -m ziglang"))
    command = build.removeprefix("$ python").replace("guests/c", str(ROOT / "guests" / "c")).split()
    subprocess.run([sys.executable, *command], cwd=tmp_path, check=True)
    before = os.getcwd()
    os.chdir(tmp_path)
    try:
        exec(compile(block("python"), "README.md", "exec"), {})
    finally:
        os.chdir(before)
    digest, _, said = capfd.readouterr().out.partition(" ")
    assert re.fullmatch("[0-9a-f]{64}", digest)
    assert "bytes so far: 5" in said

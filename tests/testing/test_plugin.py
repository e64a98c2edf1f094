"""The suite under pytest, as a plugin's author runs it: in a process of its own, with one command."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., "subprocess.CompletedProcess[str]"]
PYTEST = ("pytest", "-p", "no:cacheprovider", "-p", "wavelock.testing.plugin", "-q", "--wavelock-scheduler", "dag")
FEW = ("--wavelock-workers", "inline", "--wavelock-workload", "state", "--wavelock-engine", "canary")


@pytest.mark.parametrize("what", ["wavelock.testing", "wavelock.testing.suite"])
def test_an_engine_that_conforms_passes(run_with: Command, what: str) -> None:
    done = run_with("HonestEngine", *PYTEST, "--pyargs", what, *FEW)
    assert "4 passed" in done.stdout, done.stdout
    assert done.returncode == 0


def test_an_engine_that_does_not_fails_with_the_place(run_with: Command) -> None:
    done = run_with("FuelEngine", *PYTEST, "--pyargs", "wavelock.testing", *FEW)
    assert "3 failed, 1 passed" in done.stdout, done.stdout
    assert "test_conformance[state-dag-canary-shared-memory-inline:1-same]" in done.stdout
    assert "wave 2, agent keeper/1: fuel: found" in done.stdout
    assert done.returncode == 1


def test_what_cannot_be_used_is_said(run_with: Command) -> None:
    done = run_with("UnavailableEngine", *PYTEST, "--pyargs", "wavelock.testing", *FEW)
    assert 'the engine plugin "canary" is not available: no wings; grow some' in done.stdout
    assert done.returncode != 0


def test_an_option_that_cannot_be_read_is_said(run_with: Command) -> None:
    done = run_with("HonestEngine", *PYTEST, "--pyargs", "wavelock.testing", "--wavelock-workers", "threads:x")
    assert 'threads:x: expected NAME or NAME:COUNT, such as "threads:4"' in done.stderr
    assert done.returncode == 4


def test_ones_own_tests_may_use_the_fixtures(run_with: Command, tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        "def test_mine(wavelock_case, wavelock_conformance):\n"
        "    assert wavelock_conformance.run(wavelock_case).status.value == 'equal'\n"
    )
    done = run_with("HonestEngine", *PYTEST, "test_mine.py", *FEW, "--wavelock-quick")
    assert "4 passed" in done.stdout, done.stdout


def test_the_whole_quick_suite_is_collected(run_with: Command) -> None:
    done = run_with("HonestEngine", *PYTEST, "--pyargs", "wavelock.testing", "--wavelock-quick", "--collect-only")
    names = [line for line in done.stdout.splitlines() if "test_conformance[" in line]
    assert len(names) == len(set(names)) > 20
    assert any("messages-dag-canary-shared-memory-threads:2-seed" in name for name in names)

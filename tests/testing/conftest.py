"""Canaries beside the installed plugins, registered as a third party's are; and the suite's runs, each made once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from wavelock.plugins.manager import Found, Registry, find_entry_points
from wavelock.testing import WORKLOADS, Conformance, Selection, Trace

TESTS = Path(__file__).parents[1]
Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def registry_with() -> Callable[[str], Registry]:
    """The installed plugins and one of `canaries.py`, by its name there."""

    def make(canary: str) -> Registry:
        entry = EntryPoint(name="canary", value=f"testing.canaries:{canary}", group="wavelock")
        return Registry([*find_entry_points(), Found("canary", "wavelock-canary 1.0", entry)])

    return make


@pytest.fixture(scope="session")
def traces(registry: Registry) -> Iterator[Callable[[str], Trace]]:
    """The reference run of a workload, by name."""
    selection = Selection(schedulers=["round-robin"], workers=[("inline", 1)])
    with Conformance(registry, selection, [workload.name for workload in WORKLOADS]) as suite:
        cases = {case.workload.name: case for case in suite.cases}

        def trace(name: str) -> Trace:
            case = cases[name]
            return suite.reference(case.workload, case.combination)[1]

        yield trace


@pytest.fixture
def run_with(tmp_path: Path) -> Command:
    """Runs a Python module's command line in a process of its own, where one canary is installed."""

    def run(canary: str, *arguments: str, hash_seed: int = 0) -> subprocess.CompletedProcess[str]:
        site = tmp_path / f"site-{canary}"
        info = site / "wavelock_canary-1.0.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wavelock-canary\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[wavelock]\ncanary = testing.canaries:{canary}\n")
        path = os.pathsep.join([str(site), str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            env={**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": path},
            cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return run

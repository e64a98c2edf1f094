"""`wavelock replay` and `wavelock diff`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from wavelock.cli.report import emit
from wavelock.cli.run import split_workers
from wavelock.core.diff import diff
from wavelock.core.divergence import ReplayReport
from wavelock.core.errors import EXIT_DONE, EXIT_NOT_IDENTICAL
from wavelock.core.replay import replay


def replay_file(run_file: Path, engine: str | None, workers: str | None, as_json: bool) -> int:
    """Replay a run file. Answers the exit code."""
    settings = [f'engine.use="{engine}"'] if engine else []
    if workers:
        kind, count = split_workers(workers)
        settings += [f'workers.use="{kind}"', f"workers.count={1 if count is None else count}"]
    report = replay(run_file, settings=settings)
    return _show(report, as_json, {"run_file": str(run_file)}, f"{run_file}: ")


def diff_files(run_file: Path, other: Path, as_json: bool) -> int:
    """Compare two run files. Answers the exit code."""
    report = diff(run_file, other)
    return _show(report, as_json, {"run_file": str(run_file), "other": str(other)}, f"{run_file}, {other}: ")


def _show(report: ReplayReport, as_json: bool, extra: dict[str, Any], head: str) -> int:
    values = {**asdict(report), **extra}

    def show() -> None:
        if report.identical:
            click.echo(f"{head}identical: {report.waves:,} waves, {report.turns:,} turns, digest {report.digest}")
        else:
            click.echo(f"{head}not identical: {report.first_divergence}")

    emit(values, as_json, show)
    return EXIT_DONE if report.identical else EXIT_NOT_IDENTICAL

"""`wavelock conformance`: the shipped suite over all plugins that are installed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from wavelock.cli.report import emit, one_line
from wavelock.cli.run import split_workers
from wavelock.core.errors import EXIT_DONE, EXIT_ENVIRONMENT, EXIT_NOT_IDENTICAL, UserError
from wavelock.testing import Combination, Compared, Outcome, Report, compare, run_conformance
from wavelock.testing.html import render
from wavelock.testing.report import statuses, worst

MARKS: Final = {"equal": "=", "differs": "X", "error": "!", "unavailable": "-"}
_STYLES: Final = {"equal": "green", "differs": "bold red", "error": "bold yellow", "unavailable": "dim"}
_WIDTH: Final = 120
"""Columns of output that goes to no terminal."""


def conformance(
    engine: tuple[str, ...],
    scheduler: tuple[str, ...],
    transport: tuple[str, ...],
    workers: tuple[str, ...],
    backend: tuple[str, ...],
    workload: tuple[str, ...],
    quick: bool,
    html: Path | None,
    compare_with: Path | None,
    as_json: bool,
) -> int:
    """Run the suite. Answers the exit code."""
    other = None if compare_with is None else _read(compare_with)
    if html is not None and not html.parent.is_dir():
        raise UserError(f"{html}: cannot be written: there is no folder {html.parent}")
    with _progress(quiet=as_json) as told:
        report = run_conformance(
            engines=engine or None,
            schedulers=scheduler or None,
            transports=transport or None,
            workers=[split_workers(text) for text in workers] or None,
            backends=backend or None,
            workloads=workload or None,
            quick=quick,
            on_case=told,
        )
    values = report.as_dict()
    compared = None if other is None else _compare(values, other, compare_with)
    if compared is not None:
        values["compared"] = {
            "file": str(compare_with),
            "runs": compared.runs,
            "differences": list(compared.differences),
            "skipped": list(compared.skipped),
        }
    if html is not None:
        _write(html, render(report, compared))
    emit(values, as_json, lambda: _show(report, compared))
    if report.differences or (compared is not None and compared.differences):
        return EXIT_NOT_IDENTICAL
    return EXIT_DONE if report.conforms else EXIT_ENVIRONMENT


def _read(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{path}: not a conformance report: {error}") from None


def _compare(values: dict[str, Any], other: object, path: Path | None) -> Compared:
    try:
        return compare(values, other)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None


class Told:
    """Is told of each case; shows nothing."""

    def __call__(self, outcome: Outcome, done: int, total: int) -> None:
        """A case is done."""


class LiveTold(Told):
    """Shows a bar on the terminal."""

    def __init__(self, console: Console) -> None:
        from rich.progress import Progress

        self.bar = Progress(console=console, transient=True)
        self._task = self.bar.add_task("", total=None)

    def __call__(self, outcome: Outcome, done: int, total: int) -> None:
        """Move the bar."""
        description = f"{outcome.case.workload.name}: {outcome.case.combination}"
        self.bar.update(self._task, completed=done, total=total, description=one_line(description))


@contextmanager
def _progress(quiet: bool) -> Iterator[Told]:
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield Told()
        return
    told = LiveTold(console)
    with told.bar:
        yield told


# ---- for people ----


def _show(report: Report, compared: Compared | None) -> None:
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=_WIDTH)
    console.print(_matrix(report))
    click.echo(f"\n{'   '.join(f'{mark} {name}' for name, mark in MARKS.items())}\n")
    for number, workload in enumerate(report.workloads, 1):
        click.echo(f"{number:>4} {workload.name:<12} {workload.summary}")
    lists = {
        "differences": [f"{each.case}: {each}\n    compared with {each.reference}" for each in report.differences],
        "errors": [f"{each.case}: {one_line(each.told)}" for each in report.errors],
        "not run": _not_run(report),
        "unavailable": [
            f"{each.family} {each.name}: {one_line(f'{each.reason}; {each.remedy}')}" for each in report.unavailable
        ],
        "against the other report": [] if compared is None else _compared_lines(compared),
    }
    for head, lines in lists.items():
        if lines:
            click.echo("\n".join([f"\n{head}:", *(f"  {line}" for line in lines)]))
    click.echo(f"\n{_verdict(report)}")


def _matrix(report: Report) -> Table:
    """Combinations down, workloads across, by number; their names stand below."""
    table = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
    table.add_column("")
    for number in range(1, len(report.workloads) + 1):
        table.add_column(str(number), justify="right", no_wrap=True)
    several = len({each.transport for each in report.combinations}) > 1
    rows: dict[Combination, list[Text]] = {}
    for combination, _, outcomes in statuses(report):
        rows.setdefault(combination, []).append(_mark(outcomes))
    before = ""
    for combination, marks in rows.items():
        if combination.scheduler != before:
            before = combination.scheduler
            table.add_row(before, style="bold")
        transport = f" {combination.transport}" if several else ""
        table.add_row(f"  {combination.engine}{transport} {combination.workers}:{combination.count}", *marks)
    return table


def _mark(outcomes: list[Outcome]) -> Text:
    status = worst(outcomes).value
    return Text(MARKS[status], style=_STYLES[status])


def _not_run(report: Report) -> list[str]:
    """One line for each workload and reason, not for each combination."""
    rows = [(each.case.workload.name, one_line(each.told)) for each in report.not_run]
    return [f"{name}: {told}" for name, told in dict.fromkeys(rows)]


def _compared_lines(compared: Compared) -> list[str]:
    lines = [
        f"{row['workload']}, {row['scheduler']}: "
        + (f"wave {row['wave']}: " if row["wave"] is not None else "")
        + f"{row['what']}: found {row['found']}, expected {row['expected']}"
        for row in compared.differences
    ]
    lines += [f"not compared: {one_line(text)}" for text in compared.skipped]
    return [*lines, f"{compared.runs} runs compared, {len(compared.differences)} differ"]


def _verdict(report: Report) -> str:
    found = report.versions
    engines = ", ".join(f"{name} {version}" for name, version in found["engines"].items())
    counts = ", ".join(f"{count} {name}" for name, count in report.counts.items() if count)
    return (
        f"{'conforms' if report.conforms else 'DOES NOT CONFORM'}: {report.cases} cases of {len(report.workloads)} "
        f"workloads under {len(report.combinations)} combinations: {counts}\n"
        f"Wavelock {found['wavelock']} (form {found['form']}), Python {found['python']}, {found['system']}; {engines}"
    )

"""`python -m wavelock.testing.fuzz`: see `docs/fuzzing.md`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click
import msgspec

from wavelock.core.errors import WavelockError
from wavelock.testing.fuzz.binaryen import Binaryen
from wavelock.testing.fuzz.campaign import SLOW_EVERY, Range, fuzz_modules, open_engines
from wavelock.testing.fuzz.cases import load_case
from wavelock.testing.fuzz.check import check
from wavelock.testing.fuzz.damage import fuzz_bytes
from wavelock.testing.fuzz.floats import FloatModules
from wavelock.testing.fuzz.jobs import EXIT_DIFFERENT, in_processes
from wavelock.testing.fuzz.operators import INPUTS, fuzz_operators
from wavelock.testing.fuzz.recipe import Maker
from wavelock.testing.fuzz.subjects import RUNNERS, available
from wavelock.testing.fuzz.summary import Summary

_EVERY_S: Final = 10
_seed = click.option("--seed", default=0, show_default=True, help="What all modules follow from.")
_first = click.option("--first", default=0, show_default=True, help="Number of the first module.")
_json = click.option(
    "--json", "report", type=click.Path(dir_okay=False, path_type=Path), help="Write the summary there."
)
_jobs = click.option("--jobs", default=0, show_default=True, help="Processes at a time; 0: in this one.")
_engine = click.option(
    "--engine",
    "engines",
    multiple=True,
    type=click.Choice(list(RUNNERS)),
    help="What runs the modules; may be given several times. All that this Python has, if not given.",
)


@click.group()
def main() -> None:
    """Look for modules that the deterministic form, or an engine, gets wrong."""


def _modules(mode: str, make: Callable[[], Maker], text: str) -> None:
    """Adds a command that runs random modules."""

    @main.command(name=mode, help=text)
    @_seed
    @_first
    @_json
    @_jobs
    @_engine
    @click.option("--count", default=1000, show_default=True, help="Modules.")
    @click.option("--slow-every", default=SLOW_EVERY, show_default=True, help="Slow engines run one module in so many.")
    @click.option(
        "--keep", type=click.Path(file_okay=False, path_type=Path), help="Reduce and save what differs there."
    )
    def modules(
        seed: int,
        first: int,
        report: Path | None,
        jobs: int,
        engines: tuple[str, ...],
        count: int,
        slow_every: int,
        keep: Path | None,
    ) -> None:
        wanted, names, progress = Range(seed, first, count), engines or tuple(available()), _progress(count, report)
        if jobs:
            options = [*_each("--engine", names), "--slow-every", str(slow_every)]
            options += ["--keep", str(keep)] if keep else []
            _ended(in_processes(wanted, mode, options, jobs, progress), report)
        else:
            opened = open_engines(names)
            found = fuzz_modules(wanted, make(), opened, mode=mode, slow_every=slow_every, keep=keep, progress=progress)
            _ended(found, report)


_modules("modules", Binaryen, "Random modules of binaryen's on every engine.")
_modules("floats", FloatModules, "Random functions over floats and vectors on every engine.")


@main.command()
@_seed
@_json
@_engine
@click.option("--count", default=INPUTS, show_default=True, help="Inputs for each operator.")
def operators(seed: int, report: Path | None, engines: tuple[str, ...], count: int) -> None:
    """Every operator by itself, on special and random numbers."""
    _ended(fuzz_operators(seed, count, open_engines(engines or available())), report)


@main.command(name="bytes")
@_seed
@_first
@_json
@_jobs
@_engine
@click.option("--count", default=1000, show_default=True, help="Damaged modules.")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), help="Save what is found there.")
def damaged(
    seed: int, first: int, report: Path | None, jobs: int, engines: tuple[str, ...], count: int, keep: Path | None
) -> None:
    """Modules with bytes flipped, cut and repeated: refused, or rewritten to valid ones."""
    wanted, names, progress = Range(seed, first, count), engines or tuple(available()), _progress(count, report)
    if jobs:
        options = [*_each("--engine", names), *(["--keep", str(keep)] if keep else [])]
        _ended(in_processes(wanted, "bytes", options, jobs, progress), report)
        return
    _ended(fuzz_bytes(wanted, open_engines(names), keep=keep, progress=progress), report)


@main.command()
@click.argument("module", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_engine
def case(module: Path, engines: tuple[str, ...]) -> None:
    """Run a saved module again."""
    verdict = check(load_case(module), open_engines(engines or available()))
    for line in (verdict.refused, *map(str, verdict.differences)):
        if line:
            click.echo(line)
    click.echo(f"{verdict.calls} calls on {', '.join(verdict.ran)}: {len(verdict.differences)} differences")
    sys.exit(EXIT_DIFFERENT if verdict.differences else 0)


def run() -> None:
    """The command, with errors as one line."""
    try:
        main()
    except WavelockError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)


def _each(option: str, values: tuple[str, ...]) -> list[str]:
    return [word for value in values for word in (option, value)]


def _progress(count: int, report: Path | None) -> Callable[[Summary], None]:
    """Tells how far it is, some seconds apart, and keeps what was found so far."""
    began = last = time.monotonic()

    def tell(summary: Summary) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < _EVERY_S:
            return
        last = now
        rate = summary.modules / (now - began)
        click.echo(
            f"{summary.modules:,} of {count:,} modules, {rate:.1f}/s, {summary.refused:,} refused, "
            f"{len(summary.findings)} differences",
            err=True,
        )
        _write(summary, report)

    return tell


def _write(summary: Summary, report: Path | None) -> None:
    if report is not None:
        report.write_bytes(msgspec.json.format(msgspec.json.encode(summary)) + b"\n")


def _ended(summary: Summary, report: Path | None) -> None:
    _write(summary, report)
    for line in summary.lines():
        click.echo(line)
    sys.exit(EXIT_DIFFERENT if summary.findings else 0)

"""`wavelock bench`: what a turn and its message cost here, measured against others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console

from wavelock.bench import Options, measure
from wavelock.cli.report import cost_of_agents, emit, one_line
from wavelock.core.errors import EXIT_DONE


def bench(
    work: str,
    agents: int,
    message_bytes: int,
    workers: int,
    record: bool,
    engine: str,
    against: tuple[str, ...],
    rounds: int,
    as_json: bool,
) -> int:
    """Measure. Answers the exit code."""
    options = Options(work, agents, message_bytes, workers, record, engine, against, rounds)
    with _progress(quiet=as_json) as told:
        found = measure(options, told)
    emit(found, as_json, lambda: _show(found))
    return EXIT_DONE


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str], None]]:
    """Says on a terminal what is being done; elsewhere nothing."""
    console = Console(stderr=True, highlight=False, markup=False)
    if quiet or not console.is_terminal:
        yield lambda _text: None
        return
    with console.status("") as status:
        yield lambda text: status.update(one_line(text))


# ---- for people ----


def _show(found: Mapping[str, Any]) -> None:
    workers = f"{found['workers']} worker{'s' if found['workers'] > 1 else ''}"
    recorded = "with a run file" if found["record"] else "no run file"
    click.echo(
        f"{found['work']}: {found['agents']:,} agents, messages of {found['bytes']} bytes, {workers}, {recorded}, "
        f"engine {found['engine']}\n"
    )
    click.echo(f"{'':<14} {'ns a turn':>12} {'turns/s':>12}   Wavelock's time over it, least to most")
    click.echo(_row("Wavelock", found["ns_per_turn"], found["turns_per_s"]))
    for other in found["against"]:
        if "left_out" in other:
            click.echo(f"{other['name']:<14} left out: {one_line(other['left_out'])}")
            continue
        low, high = other["spread"]
        row = _row(other["name"], other["ns_per_turn"], other["turns_per_s"])
        faster = f"; {_times(other['times_as_fast'])} times as fast" if other["ratio"] < 1 else ""
        fewer = f"; {other['agents']:,} agents" if other["agents"] != found["agents"] else ""
        click.echo(f"{row}   {other['ratio']:.3g}, {low:.3g} to {high:.3g}{faster}{fewer}")
    phases = ", ".join(f"{name} {ns:,.3g}" for name, ns in found["phases_ns_per_turn"].items())
    versions = {"wasmtime": found["wasmtime"]}
    for other in found["against"]:
        versions |= other.get("versions", {})
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    machine = found["machine"]
    click.echo(f"\nns a turn by phase: {phases}")
    layout = f"; {found['memory_layout']} memories" if found["memory_layout"] else ""
    click.echo(f"agents made in {cost_of_agents(found['create_ns_per_agent'], found['agent_bytes'])}{layout}")
    click.echo(f"digest after {found['digest_waves']} waves {found['digest']}")
    click.echo(
        f"{_rounds(found['rounds'])}; Wavelock {found['wavelock']}, Python {found['python']}, {named}; "
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}"
    )


def _times(factor: float) -> str:
    """`4.1`, `88`, `1,500`: two digits are all that such a figure is good for."""
    return f"{factor:.1f}" if factor < 10 else f"{float(f'{factor:.2g}'):,.0f}"


def _rounds(count: int) -> str:
    return "one round" if count == 1 else f"medians of {count} rounds"


def _row(name: str, ns: float, turns_per_s: int) -> str:
    return f"{name:<14} {ns:>12,.1f} {turns_per_s:>12,}"

"""`wavelock inspect`: a run file's summary and its tables, for people and as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from wavelock.cli.report import emit, one_line, readable
from wavelock.core.abi import LOG_LEVELS, EndReason, Fault
from wavelock.core.errors import EXIT_DONE, UserError
from wavelock.core.runreader import RunFileReader

QUERIES: Final[dict[str, tuple[tuple[str, ...], str, str]]] = {
    "agents": (
        ("id", "agent", "group", "parent", "born", "ended", "reason", "code"),
        "SELECT id, name AS agent, grp, parent, born, ended, reason, code FROM agents",
        "id",
    ),
    "waves": (
        ("wave", "digest", "turns", "messages", "fuel", "faults", "lost"),
        "SELECT wave, lower(hex(digest)), turns, messages, fuel, faults, lost FROM waves",
        "wave",
    ),
    "logs": (
        ("wave", "agent", "level", "by", "text"),
        "SELECT wave, agents.name AS agent, level, CASE kernel WHEN 1 THEN 'kernel' ELSE 'agent' END, text "
        "FROM logs LEFT JOIN agents ON agents.id = agent",
        "wave, position",
    ),
    "faults": (
        ("wave", "agent", "fault", "detail"),
        "SELECT wave, agents.name AS agent, fault, detail FROM faults LEFT JOIN agents ON agents.id = agent",
        "wave, position",
    ),
    "state": (
        ("key", "value", "agent", "wave"),
        "SELECT key, value, agents.name AS agent, wave FROM state LEFT JOIN agents ON agents.id = agent",
        "key",
    ),
    "outputs": (
        ("wave", "agent", "tag", "payload"),
        "SELECT wave, agents.name AS agent, tag, payload FROM outputs LEFT JOIN agents ON agents.id = agent",
        "wave, position",
    ),
    "inputs": (
        ("wave", "agent", "tag", "stream", "payload"),
        "SELECT wave, agents.name AS agent, tag, stream, payload FROM inputs LEFT JOIN agents ON agents.id = agent",
        "wave, position",
    ),
    "inference": (
        ("request_wave", "wave", "model", "agent", "tag", "reason", "bytes"),
        "SELECT request_wave, wave, model, agents.name AS agent, tag, inference.reason, length(payload) "
        "FROM inference LEFT JOIN agents ON agents.id = agent",
        "request_wave, position",
    ),
    "modules": (("digest", "name", "bytes"), "SELECT digest, name, length(bytes) FROM modules", "name"),
}
"""By section: the columns, the query, and its order."""


def inspect(run_file: Path, section: str | None, limit: int, agent: str | None, as_json: bool) -> int:
    """Show a run file. Answers the exit code."""
    with RunFileReader(run_file) as reader:
        if section is None:
            summary = _summary(reader)
            emit(summary, as_json, lambda: _show_summary(summary))
        else:
            rows = _rows(reader, section, limit, agent)
            emit(
                {"run_file": str(run_file), "section": section, "rows": rows},
                as_json,
                lambda: _show_rows(section, rows),
            )
    return EXIT_DONE


def _summary(reader: RunFileReader) -> dict[str, Any]:
    totals = "SELECT count(*), sum(turns), sum(messages), sum(fuel), sum(faults), max(wave) FROM waves"
    waves, turns, messages, fuel, faults, last = reader.rows(totals)[0]
    digest = reader.rows("SELECT lower(hex(digest)) FROM waves ORDER BY wave DESC LIMIT 1")
    shown = ("name", "seed", "wavelock", "engine", "scheduler", "transport", "workers", "python", "system")
    head = {key: reader.head.get(key) for key in shown}
    counts = {name: reader.rows(f"SELECT count(*) FROM {name}")[0][0] for name in QUERIES}  # noqa: S608 - our own names
    return {
        "run_file": str(reader.path),
        **head,
        "ended": reader.head.get("ended") or "cut off (the run was killed, or still goes on)",
        "waves": waves,
        "last_wave": last,
        "turns": turns or 0,
        "messages": messages or 0,
        "fuel": fuel or 0,
        "faults": faults or 0,
        "digest": digest[0][0] if digest else "",
        "rows": counts,
    }


def _show_summary(summary: dict[str, Any]) -> None:
    for key, value in summary.items():
        if key != "rows":
            click.echo(f"{key:<10} {value}")
    counts = ", ".join(f"{name} {count}" for name, count in summary["rows"].items())
    click.echo(f"{'sections':<10} {counts}")


def _rows(reader: RunFileReader, section: str, limit: int, agent: str | None) -> list[dict[str, Any]]:
    columns, query, order = QUERIES[section]
    if agent is not None and "agent" not in columns:
        raise UserError(f"--agent: the section {section} has no agents")
    where = " WHERE agent = ?" if agent is not None else ""
    text = f"SELECT * FROM ({query} ORDER BY {order}){where} LIMIT ?"  # noqa: S608 - our own names
    values = ([agent] if agent is not None else []) + [limit or -1]
    return [_readable_row(dict(zip(columns, row, strict=True))) for row in reader.rows(text, *values)]


_FAULTS: Final = {int(fault): fault.label for fault in Fault}
_REASONS: Final = {int(reason): reason.name.lower() for reason in EndReason}
_LEVELS: Final = dict(enumerate(LOG_LEVELS))


def _readable_row(row: dict[str, Any]) -> dict[str, Any]:
    """Numbers that stand for something by name, bytes as text. A number without a name (a damaged row) stays."""
    named = {"fault": _FAULTS, "level": _LEVELS, **({"reason": _REASONS} if "born" in row else {})}
    for key, names in named.items():
        if key in row:
            row[key] = names.get(row[key], row[key])
    return {key: readable(value) if isinstance(value, bytes) else value for key, value in row.items()}


def _show_rows(section: str, rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        click.echo(f"no {section}")
        return
    table = Table(*rows[0], box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text("" if value is None else one_line(str(value))) for value in row.values()))
    console = Console()
    Console(width=None if console.is_terminal else 200).print(table)

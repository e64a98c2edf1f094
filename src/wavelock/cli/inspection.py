"""`wavelock inspect`: a run file's summary and its tables, for people and as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from wavelock.cli.report import emit, readable
from wavelock.core.abi import LOG_LEVELS, EndReason, Fault
from wavelock.core.errors import EXIT_DONE, UserError
from wavelock.core.runreader import RunFileReader

_NAMED: Final = "(SELECT name FROM agents WHERE id = t.agent) AS agent"
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
        f"SELECT wave, {_NAMED}, level, CASE kernel WHEN 1 THEN 'kernel' ELSE 'agent' END, text FROM logs t",
        "wave, position",
    ),
    "faults": (
        ("wave", "agent", "fault", "detail"),
        f"SELECT wave, {_NAMED}, fault, detail FROM faults t",
        "wave, position",
    ),
    "state": (("key", "value", "agent", "wave"), f"SELECT key, value, {_NAMED}, wave FROM state t", "key"),
    "outputs": (
        ("wave", "agent", "tag", "payload"),
        f"SELECT wave, {_NAMED}, tag, payload FROM outputs t",
        "wave, position",
    ),
    "inputs": (
        ("wave", "agent", "tag", "stream", "payload"),
        f"SELECT wave, {_NAMED}, tag, stream, payload FROM inputs t",
        "wave, position",
    ),
    "inference": (
        ("request_wave", "wave", "model", "agent", "tag", "reason", "bytes"),
        f"SELECT request_wave, wave, model, {_NAMED}, tag, reason, length(payload) FROM inference t",
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


def _readable_row(row: dict[str, Any]) -> dict[str, Any]:
    """Numbers that stand for something by name, bytes as text."""
    if row.get("fault") is not None:
        row["fault"] = Fault(row["fault"]).label
    if "born" in row and row["reason"] is not None:
        row["reason"] = EndReason(row["reason"]).name.lower()
    if "level" in row:
        row["level"] = LOG_LEVELS[row["level"]]
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
        table.add_row(*(Text("" if value is None else str(value)) for value in row.values()))
    console = Console()
    Console(width=None if console.is_terminal else 200).print(table)

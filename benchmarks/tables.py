"""The tables of `docs/benchmarks.md`, from the JSON that the suite writes. A test holds the page to it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

PAGE: Final = Path(__file__).parents[1] / "docs" / "benchmarks.md"
Results = Mapping[str, Any]
Row = Mapping[str, Any]


def rows(results: Results, **wanted: Any) -> list[Row]:
    """The measured cases that have these values, peers apart."""
    wanted = {"peers": False, **wanted}
    return [
        row
        for row in results["results"]
        if "error" not in row and all(row["case"][key] == value for key, value in wanted.items())
    ]


def measured(row: Row, name: str) -> Row | None:
    """What a case says of one that it was measured against; None where it was left out."""
    return next((other for other in row["against"] if other["name"] == name and "left_out" not in other), None)


def number(value: float) -> str:
    """Three digits: `0.0113`, `92.4`, `57,100`."""
    short = float(f"{value:.3g}")
    return f"{short:,.0f}" if short >= 100 else f"{short:g}"


def ratio(other: Row | None) -> str:
    """A ratio with its spread; a dash where there is none."""
    if other is None:
        return "-"
    low, high = other["spread"]
    return f"{number(other['ratio'])} ({number(low)} to {number(high)})"


def time_of(other: Row | None) -> str:
    """Nanoseconds a turn; a dash where there are none."""
    return "-" if other is None else number(other["ns_per_turn"])


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    texts = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in texts)


FLOOR_HEAD: Final = ("Wavelock, ns", "floor, ns", "ratio", "pooled floor, ns", "ratio")


def against_floors(row: Row) -> list[str]:
    """The columns of FLOOR_HEAD."""
    floor, pooled = measured(row, "floor"), measured(row, "pooled-floor")
    return [time_of(row), time_of(floor), ratio(floor), time_of(pooled), ratio(pooled)]


def machine(results: Results) -> str:
    """When, on what, with which versions."""
    first = next(row for row in results["results"] if "error" not in row)
    versions = {"wasmtime": first["wasmtime"]}
    for row in results["results"]:
        for other in row.get("against", ()):
            versions |= other.get("versions", {})
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    of = first["machine"]
    return (
        f"Measured {results['when']}, medians of {results['rounds']} rounds: {of['processor']}, {of['cores']} cores, "
        f"{of['system']}; Wavelock {first['wavelock']}, Python {first['python']}, {named}."
    )


def agents_table(results: Results) -> str:
    """By work and number of agents."""
    found = rows(results, bytes=16, workers=1, record=False)
    lines = [[row["work"], f"{row['agents']:,}", *against_floors(row)] for row in found]
    order = list(dict.fromkeys(line[0] for line in lines))
    lines.sort(key=lambda line: (order.index(line[0]), int(line[1].replace(",", ""))))
    return table(("work", "agents", *FLOOR_HEAD), lines)


def bytes_table(results: Results) -> str:
    """By size of the message."""
    found = sorted(rows(results, work="ring", agents=1000, workers=1, record=False), key=lambda row: int(row["bytes"]))
    return table(("bytes", *FLOOR_HEAD), ([f"{row['bytes']:,}", *against_floors(row)] for row in found))


def modes_table(results: Results) -> str:
    """With workers and with a run file, at 20,000 agents."""
    found = [row for row in rows(results, agents=20_000, bytes=16) if not (row["record"] and row["workers"] > 1)]
    lines = [[row["work"], _mode(row), *against_floors(row)] for row in found]
    return table(("work", "", *FLOOR_HEAD), lines)


def _mode(row: Row) -> str:
    workers = "1 worker" if row["workers"] == 1 else f"{row['workers']} workers"
    return f"{workers}, run file" if row["record"] else workers


def peers_table(results: Results) -> str:
    """Peers, by work: how many times as fast Wavelock is."""
    found = rows(results, peers=True)
    names = list(dict.fromkeys(other["name"] for row in found for other in row["against"]))
    first = found[0]
    lines = []
    for name in names:
        others = [measured(row, name) for row in found]
        one = measured(first, name)
        count = "-" if one is None else f"{one['agents']:,}"
        lines.append([name, count, time_of(one), *(_times(other) for other in others)])
    return table(("", "agents", f"{first['work']}, ns a turn", *(row["work"] for row in found)), lines)


def _times(other: Row | None) -> str:
    return "-" if other is None else f"{float(format(1 / other['ratio'], '.2g')):,g}"


TABLES: Final[Mapping[str, Callable[[Results], str]]] = {
    "machine": machine,
    "agents": agents_table,
    "bytes": bytes_table,
    "modes": modes_table,
    "peers": peers_table,
}
"""What stands between `<!-- NAME -->` and `<!-- end -->`."""


def fill(page: str, results: Results) -> str:
    """The page with its tables made anew."""

    def made(found: re.Match[str]) -> str:
        return f"<!-- {found[1]} -->\n{TABLES[found[1]](results)}\n<!-- end -->"

    return re.sub(r"<!-- (\w+) -->\n(?:(?!<!-- ).*\n)*<!-- end -->", made, page)

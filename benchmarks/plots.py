"""The plots of `docs/benchmarks.md`, as SVG, from the JSON that the suite writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from benchmarks.tables import Results, Row, measured, rows
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

COLOURS: Final = {"Wavelock": "#0b6e99", "floor": "#c2571a", "pooled-floor": "#8a8a8a"}
LABELS: Final = {
    "Wavelock": "Wavelock",
    "floor": "floor: C loop, engine's defaults",
    "pooled-floor": "floor: C loop, memories in a pool",
}
WORK_COLOURS: Final = ("#0b6e99", "#c2571a", "#4c8c2b", "#8e44ad", "#7f7f7f")
PHASE_AGENTS: Final = 10_000
STYLE: Final[Mapping[str, Any]] = {
    "font.size": 10,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "wavelock",  # the same figures, the same file
}
ROOM: Final = 1.5
"""Above and below the lines, as a factor: small differences should look small."""
NS: Final = "time of a turn and its message, ns"


def draw(results: Results, folder: Path) -> None:
    """Write every plot into the folder."""
    with mpl.rc_context(dict(STYLE)):
        for name, make in (
            ("agents", by_agents),
            ("ratio", by_ratio),
            ("bytes", by_bytes),
            ("peers", by_peer),
            ("phases", by_phase),
        ):
            figure = make(results)
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight")
            plt.close(figure)


def _plain(value: float, _position: object = None) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def _log(axes: Any, x: str | None = None, y: str | None = None) -> None:
    """Logarithmic axes with plain numbers and labels; 1, 2 and 5 of each decade upwards."""
    if x is not None:
        axes.set_xscale("log")
        axes.set_xlabel(x)
        _ticks(axes.xaxis, (1,))
    if y is not None:
        axes.set_yscale("log")
        axes.set_ylabel(y)
        _ticks(axes.yaxis, (1, 2, 5))


def _ticks(axis: Any, digits: Sequence[int]) -> None:
    axis.set_major_locator(LogLocator(subs=digits))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(_plain))


def _lines(axes: Any, found: Sequence[Row], key: str) -> None:
    """Wavelock and the floors over a key of the case."""
    axes.plot(
        [row[key] for row in found],
        [row["ns_per_turn"] for row in found],
        "o-",
        ms=4,
        color=COLOURS["Wavelock"],
        label=LABELS["Wavelock"],
    )
    for name in ("floor", "pooled-floor"):
        points = [(row[key], other["ns_per_turn"]) for row in found if (other := measured(row, name))]
        if points:
            axes.plot(*zip(*points, strict=True), "o--", ms=3, lw=1.2, color=COLOURS[name], label=LABELS[name])


def _of_work(results: Results, work: str) -> list[Row]:
    found = rows(results, work=work, bytes=16, workers=1, record=False)
    return sorted(found, key=lambda row: int(row["agents"]))


def _works(results: Results) -> list[str]:
    return list(dict.fromkeys(row["work"] for row in rows(results)))


def by_agents(results: Results) -> Any:
    """A panel for each work: time over agents."""
    works = _works(results)
    figure, grid = plt.subplots(2, 3, figsize=(10, 6), sharex=True, layout="constrained")
    panels = grid.flatten()
    for axes, work in zip(panels, works, strict=False):
        _lines(axes, _of_work(results, work), "agents")
        _log(axes, "agents", NS if axes in (panels[0], panels[3]) else "")
        axes.set_title(work, loc="left", fontweight="bold")
        low, high = axes.get_ylim()
        axes.set_ylim(low / ROOM, high * ROOM)
        axes.tick_params(labelbottom=True)
    for axes in panels[len(works) :]:
        axes.axis("off")
    handles, labels = panels[0].get_legend_handles_labels()
    panels[-1].legend(handles, labels, loc="center")
    return figure


def by_ratio(results: Results) -> Any:
    """Wavelock's time over the floors', with the spread over the rounds."""
    figure, panels = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    for axes, name in zip(panels, ("floor", "pooled-floor"), strict=True):
        for colour, work in zip(WORK_COLOURS, _works(results), strict=False):
            points = [(row["agents"], other) for row in _of_work(results, work) if (other := measured(row, name))]
            if not points:
                continue
            agents, others = zip(*points, strict=True)
            low, high = zip(*(other["spread"] for other in others), strict=True)
            axes.plot(agents, [other["ratio"] for other in others], "o-", ms=4, color=colour, label=work)
            axes.fill_between(agents, low, high, color=colour, alpha=0.1, lw=0)
        _log(axes, "agents", "Wavelock's time over the floor's" if name == "floor" else "")
        axes.axhline(1, color="black", lw=0.8)
        axes.set_title(LABELS[name], loc="left", fontweight="bold")
    panels[0].legend(title="work; bands: least to most")
    return figure


def by_bytes(results: Results) -> Any:
    """Time over the size of the message."""
    found = sorted(rows(results, work="ring", agents=1000, workers=1, record=False), key=lambda row: int(row["bytes"]))
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    _lines(axes, found, "bytes")
    _log(axes, "bytes of a message", NS)
    axes.set_xticks([row["bytes"] for row in found])
    axes.set_title("ring, 1,000 agents", loc="left", fontweight="bold")
    axes.legend()
    return figure


def by_peer(results: Results) -> Any:
    """Turns a second of all."""
    row = rows(results, work="ring", peers=True)[0]
    bars = [
        (other["name"], other["turns_per_s"], other["agents"]) for other in row["against"] if "left_out" not in other
    ]
    bars.append(("Wavelock", row["turns_per_s"], row["agents"]))
    bars.sort(key=lambda bar: bar[1])
    figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
    names = [name if agents == row["agents"] else f"{name} ({agents} agents)" for name, _, agents in bars]
    colours = [COLOURS["Wavelock" if name == "Wavelock" else "pooled-floor"] for name, *_ in bars]
    axes.scatter([turns for _, turns, _ in bars], names, color=colours, s=60, zorder=3)
    for name, (_, turns, _) in zip(names, bars, strict=True):
        text = f"{float(format(turns, '.2g')):,.0f}"
        axes.annotate(text, (turns, name), xytext=(8, 0), textcoords="offset points", va="center")
    _log(axes, "turns a second, each with its message")
    axes.set_xlim(bars[0][1] / 3, bars[-1][1] * 4)
    axes.set_title("ring, 1,000 agents, one worker", loc="left", fontweight="bold")
    return figure


def by_phase(results: Results) -> Any:
    """Where Wavelock's time goes; `compute` apart, whose turns are all of it."""
    measured_there = rows(results, agents=PHASE_AGENTS, bytes=16, workers=1, record=False)
    found = [row for row in measured_there if row["work"] != "compute"]
    phases = [
        name for name in found[0]["phases_ns_per_turn"] if any(row["phases_ns_per_turn"][name] > 1 for row in found)
    ]
    figure, axes = plt.subplots(figsize=(8, 3), layout="constrained")
    names, left = [row["work"] for row in found], [0.0] * len(found)
    for colour, phase in zip(plt.get_cmap("tab10").colors, phases, strict=False):
        widths = [row["phases_ns_per_turn"][phase] for row in found]
        axes.barh(names, widths, left=left, label=phase, color=colour, height=0.65)
        left = [at + width for at, width in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(NS)
    axes.set_title(f"{PHASE_AGENTS:,} agents, one worker: phases of a wave", loc="left", fontweight="bold")
    axes.legend(ncols=1, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure

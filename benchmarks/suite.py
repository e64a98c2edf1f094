"""Measures what `docs/benchmarks.md` shows, writes it as JSON, and draws it: `python -m benchmarks.suite --help`.

Every case is a `wavelock bench --json` of its own, so that none is measured beside what another left in memory. The
cases that the page shows come first; with time left, the rest of the matrix follows.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.tables import PAGE, fill

FOLDER: Final = Path(__file__).parents[1] / "docs" / "benchmarks"
RESULTS: Final = "results.json"
WORKS: Final = ("ring", "random", "all-to-one", "broadcast", "compute")
AGENTS: Final = (100, 1_000, 10_000, 100_000, 1_000_000)
BYTES: Final = (16, 64, 256, 1024, 4096)
PEERS: Final = ("wasmtime-py", "extism", "pykka", "autogen-core", "ray")
FLOOR_AGENTS: Final = 20_000
"""With the engine's defaults no more instances than this fit the mappings that Linux allows."""
LOAD_BYTES: Final = 256 << 20
"""Agents times message size, at most: what all that is measured together needs of memory is some hundred times that."""
CASE_TIMEOUT_S: Final = 900


@dataclass(frozen=True)
class Case:
    """One call of `wavelock bench`."""

    work: str
    agents: int = 1_000
    bytes: int = 16
    workers: int = 1
    record: bool = False
    peers: bool = False

    @property
    def against(self) -> Sequence[str]:
        """Peers are measured without the floors: some of them have servers that work on when they are not asked."""
        if self.peers:
            return PEERS
        return ("floor", "pooled-floor") if self.agents <= FLOOR_AGENTS else ("pooled-floor",)

    def command(self, rounds: int) -> list[str]:
        """The command line."""
        words = [sys.executable, "-m", "wavelock", "bench", "--json", "--work", self.work, "--rounds", str(rounds)]
        words += ["--agents", str(self.agents), "--bytes", str(self.bytes), "--workers", str(self.workers)]
        words += ["--record"] if self.record else []
        return words + [word for name in self.against for word in ("--against", name)]


def shown(most: int, workers: Sequence[int]) -> Iterator[Case]:
    """The cases that the page shows. most: agents."""
    for agents in (agents for agents in AGENTS if agents <= most):
        yield from (Case(work, agents) for work in WORKS)
    yield from (Case(work, peers=True) for work in WORKS)
    yield from (Case("ring", bytes=size) for size in BYTES)
    for work in WORKS:
        yield Case(work, FLOOR_AGENTS)
        yield from (Case(work, FLOOR_AGENTS, workers=count) for count in workers)
        yield Case(work, FLOOR_AGENTS, record=True)


def matrix(workers: Sequence[int]) -> Iterator[Case]:
    """All combinations that fit a machine with 24 GiB."""
    for work, size, agents, count, record in itertools.product(WORKS, BYTES, AGENTS, (1, *workers), (False, True)):
        if agents * size <= LOAD_BYTES:
            yield Case(work, agents, size, count, record)


def run(case: Case, rounds: int) -> dict[str, Any]:
    """What a case came to: the command's own object, or `error`; with the case itself."""
    try:
        done = subprocess.run(case.command(rounds), capture_output=True, text=True, timeout=CASE_TIMEOUT_S, check=False)
        found = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        found = {"error": f"not done within {CASE_TIMEOUT_S} s"}
    except ValueError:
        found = {"error": f"ended with {done.returncode}: {done.stderr[-300:].strip()}"}
    if not isinstance(found, dict):
        found = {"error": f"found {found!r}, expected an object"}
    return {"case": asdict(case), **found}


def run_all(cases: Sequence[Case], rounds: int, budget_s: float) -> tuple[list[dict[str, Any]], int]:
    """The results of as many cases as the budget allows, in order, and how many were left."""
    began = time.monotonic()
    results: list[dict[str, Any]] = []
    for number, case in enumerate(cases):
        spent = time.monotonic() - began
        if spent > budget_s:
            return results, len(cases) - number
        results.append(run(case, rounds))
        found = results[-1]
        said = found.get("error") or f"{found['ns_per_turn']:,} ns a turn, {found['ratio']} of {found['ratio_of']}"
        print(f"{number + 1}/{len(cases)} {spent:.0f} s {case}: {said}", file=sys.stderr, flush=True)
    return results, 0


def main() -> int:
    """Measure, write, draw. Answers the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.suite", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few minutes: fewer rounds, 100,000 agents at most")
    parser.add_argument("--minutes", type=float, default=60.0, help="start no case after so many (default: 60)")
    parser.add_argument("--rounds", type=int, help="of each case (default: 7, with --quick 3)")
    parser.add_argument("--workers", type=int, action="append", help="counts beside 1, may be repeated (default: 2)")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder for the JSON and the plots")
    parser.add_argument("--draw", action="store_true", help="measure nothing: draw what the JSON has, fill the page")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / RESULTS
    if not options.draw:
        measure(options, path)
    results = json.loads(path.read_text(encoding="utf-8"))
    from benchmarks.plots import draw  # matplotlib is only needed here

    draw(results, options.out)
    if options.out == FOLDER:
        PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")
    return 0


def measure(options: argparse.Namespace, path: Path) -> None:
    """Run the cases and write what they came to."""
    workers = options.workers or [2]
    cases = list(shown(100_000 if options.quick else AGENTS[-1], workers))
    if not options.quick:
        cases += matrix(workers)
    cases = list(dict.fromkeys(cases))
    rounds = options.rounds or (3 if options.quick else 7)
    found, left = run_all(cases, rounds, 60 * options.minutes)
    when = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
    path.write_text(json.dumps({"when": when, "rounds": rounds, "left": left, "results": found}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())

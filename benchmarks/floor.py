"""A turn and its message: Wavelock against the least it can cost on the engine, in turn, in one call.

The floor is `floor.c`, a C loop over the engine's own library, compiled on the spot: once with wasmtime's defaults, a
mapping for each memory, and once with all memories in one pool, as Wavelock has them from 4,096 agents on. Neither
meters, bounds, digests or records anything.

The work: as many 16-byte messages on their way as there are agents; each is passed on, to the next agent of a ring
(`ring`) or to one picked by chance (`random`, where an agent gets none, one or more). Times are for one message.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import wasmtime

import wavelock

HERE = Path(__file__).parent
SLOT_BYTES = 1024
WORKS = ("ring", "random")
FLOORS = ("defaults", "pool")


class Floor:
    """One floor program, with its agents made."""

    def __init__(self, program: Path, module: Path, agents: int, kind: str) -> None:
        command = [str(program), str(module), str(agents), str(SLOT_BYTES), str(FLOORS.index(kind))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self._agents = agents

    def time(self, waves: int) -> float:
        """Nanoseconds a message, over so many waves. Raises SystemExit where the program is gone."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(f"{waves}\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            sys.exit("the floor program ended; see above")
        return int(answer) / waves / self._agents

    def close(self) -> None:
        """End the program."""
        self._process.communicate()


def build(folder: Path, work: str) -> tuple[Path, Path]:
    """The floor program and the agents' module. Raises SystemExit without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("clang") or shutil.which("gcc")
    if compiler is None:
        sys.exit("floor.c needs a C compiler: cc, clang or gcc on the PATH")
    library = Path(wasmtime._ffi.dll._name)
    program, module = folder / "floor", folder / f"{work}.wasm"
    subprocess.run(
        [compiler, "-O2", "-o", program, HERE / "floor.c", library, f"-Wl,-rpath,{library.parent}"], check=True
    )
    module.write_bytes(wasmtime.wat2wasm((HERE / f"{work}.wat").read_text(encoding="utf-8")))
    return program, module


def open_run(work: str, agents: int, workers: int, record: bool, folder: Path) -> wavelock.Runtime:
    """The same on Wavelock, with everything on."""
    text = f"""
    [limits]
    agents = {agents}
    memory = "64KiB"
    [workers]
    use = "{"inline" if workers == 1 else "threads"}"
    count = {workers}
    [record]
    folder = '{folder}'
    [[agents]]
    name = "ring"
    module = '{HERE / f"{work}.wat"}'
    count = {agents}
    """
    return wavelock.Runtime(wavelock.parse_profile(text), record=record)


def seconds(run: wavelock.Runtime, waves: int) -> float:
    """Wall time of so many waves."""
    began = time.perf_counter()
    run.run(waves)
    return time.perf_counter() - began


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Time all in turn. Answers medians, and the ratios round by round."""
    agents = options.agents
    waves = max(2, options.messages // agents)
    rounds: list[tuple[float, ...]] = []
    with tempfile.TemporaryDirectory() as folder:
        program, module = build(Path(folder), options.work)
        floors = [Floor(program, module, agents, kind) for kind in options.floor or FLOORS]
        with open_run(options.work, agents, options.workers, options.record, Path(folder)) as run:
            run.run(4)
            for floor in floors:
                floor.time(2)
            for _ in range(options.rounds):
                found = [floor.time(waves) for floor in floors]
                rounds.append((*found, 1e9 * seconds(run, waves) / waves / agents))
        for floor in floors:
            floor.close()
    columns = list(zip(*rounds, strict=True))
    result: dict[str, Any] = {"work": options.work, "agents": agents, "bytes": 16, "workers": options.workers}
    result |= {"recording": options.record, "rounds": options.rounds, "waves": waves}
    result["ns_per_message"] = round(statistics.median(columns[-1]), 1)
    result["floors"] = {}
    for at, kind in enumerate(options.floor or FLOORS):
        ratios = sorted(row[-1] / row[at] for row in rounds)
        result["floors"][kind] = {
            "floor_ns_per_message": round(statistics.median(columns[at]), 1),
            "ratio": round(statistics.median(ratios), 2),
            "spread": [round(ratios[0], 2), round(ratios[-1], 2)],
        }
    result["python"], result["wasmtime"] = platform.python_version(), metadata.version("wasmtime")
    result["machine"] = f"{platform.machine()}, {os.cpu_count()} cores"
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", choices=WORKS, default="ring")
    parser.add_argument("--agents", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--messages", type=int, default=1_000_000, help="messages of one measurement, about")
    parser.add_argument("--floor", action="append", choices=FLOORS, help="only this one; the default is both")
    parser.add_argument("--record", action="store_true", help="with a run file")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options)
    if options.json:
        print(json.dumps(result))
        return
    print(f"{result['agents']:,} agents, {result['work']}, {result['machine']}, Python {result['python']}")
    print(f"Wavelock           {result['ns_per_message']:>8.1f} ns a message")
    for kind, found in result["floors"].items():
        low, high = found["spread"]
        print(
            f"floor ({kind + ')':<12}{found['floor_ns_per_message']:>7.1f} ns a message, ratio {found['ratio']:.2f} "
            f"({low:.2f} to {high:.2f})"
        )


if __name__ == "__main__":
    main()

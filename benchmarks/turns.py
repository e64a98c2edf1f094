"""Turns and messages a second: Wavelock against wasmtime-py used plainly, in turn, in one process.

The work: a ring of agents, each passing a 16-byte message on. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import struct
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import wasmtime

import wavelock

RING = Path(__file__).with_name("ring.wat")
HEADER = struct.Struct("<QQQII")
FRAME = struct.Struct("<IHHII")


class Plain:
    """The ring as somebody would write it with wasmtime-py's documented calls."""

    def __init__(self, agents: int) -> None:
        engine = wasmtime.Engine()
        module = wasmtime.Module(engine, RING.read_text())
        self.agents = [self._make(engine, module) for _ in range(agents)]
        directory = FRAME.pack(16, 8, 0, 0, 0) + struct.pack("<BBHII4s", 1, 0, 4, 0, agents, b"ring")
        self.mail: list[list[bytes]] = [[directory] for _ in self.agents]
        self.wave = 0

    @staticmethod
    def _make(engine: wasmtime.Engine, module: wasmtime.Module) -> tuple[Any, ...]:
        store = wasmtime.Store(engine)
        exports = wasmtime.Instance(store, module, []).exports(store)
        memory: Any = exports["memory"]
        abi: Any = exports["wavelock_abi"]
        at = abi(store)
        _, inbox, _, outbox, _ = struct.unpack("<5I", memory.read(store, at, at + 20))
        return store, memory, exports["wavelock_turn"], inbox, outbox

    def run(self, waves: int) -> None:
        """Run so many waves."""
        for _ in range(waves):
            following: list[list[bytes]] = [[] for _ in self.agents]
            for number, (store, memory, turn, inbox, outbox) in enumerate(self.agents):
                frames = self.mail[number]
                data = HEADER.pack(self.wave, 0, 0, number, len(frames)) + b"".join(frames)
                memory.write(store, data, inbox)
                length = turn(store, len(data))
                written = bytes(memory.read(store, outbox, outbox + length))
                at = 0
                while at < length:
                    size, _, _, peer, tag = FRAME.unpack_from(written, at)
                    end = at + 16 + (size + 7 & ~7)
                    following[peer].append(FRAME.pack(size, 2, 0, number, tag) + written[at + 16 : end])
                    at = end
            self.mail = following
            self.wave += 1


def open_ring(agents: int, record: bool, folder: str) -> wavelock.Runtime:
    """The same ring on Wavelock, with its defaults."""
    text = f"""
    [limits]
    agents = {agents}
    [record]
    folder = '{folder}'
    [[agents]]
    name = "ring"
    module = '{RING}'
    count = {agents}
    """
    return wavelock.Runtime(wavelock.parse_profile(text), record=record)


LONGER = 6
"""Wavelock runs so many times the plain loop's waves: both are then measured for about as long, noise included."""


def seconds(run: Callable[[int], object], waves: int) -> float:
    """Wall time of one wave, measured over so many."""
    began = time.perf_counter()
    run(waves)
    return (time.perf_counter() - began) / waves


def measure(agents: int, waves: int, rounds: int, record: bool) -> dict[str, Any]:
    """Time both in turn. Answers medians, and the ratios pair by pair."""
    with tempfile.TemporaryDirectory() as folder:
        plain = Plain(agents)
        with open_ring(agents, record, folder) as runtime:
            plain.run(1)
            runtime.run(2)
            pairs = [(seconds(plain.run, waves), seconds(runtime.run, LONGER * waves)) for _ in range(rounds)]
    ratios = [one / other for one, other in pairs]
    return {
        "agents": agents,
        "waves": waves,
        "rounds": rounds,
        "recording": record,
        "plain_turns_per_s": round(agents / statistics.median(one for one, _ in pairs)),
        "wavelock_turns_per_s": round(agents / statistics.median(other for _, other in pairs)),
        "ratio": round(statistics.median(ratios), 2),
        "spread": [round(min(ratios), 2), round(max(ratios), 2)],
        "python": platform.python_version(),
        "wasmtime": metadata.version("wasmtime"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--waves", type=int, default=20, help="waves of one measurement")
    parser.add_argument("--rounds", type=int, default=7, help="pairs of measurements")
    parser.add_argument("--record", action="store_true", help="with a run file")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options.agents, options.waves, options.rounds, options.record)
    if options.json:
        print(json.dumps(result))
        return
    print(f"{result['agents']:,} agents in a ring, {result['machine']}, Python {result['python']}")
    print(f"wasmtime-py, plainly  {result['plain_turns_per_s']:>10,} turns/s")
    print(f"Wavelock              {result['wavelock_turns_per_s']:>10,} turns/s")
    print(f"ratio                 {result['ratio']:>10.2f} ({result['spread'][0]:.2f} to {result['spread'][1]:.2f})")


if __name__ == "__main__":
    main()

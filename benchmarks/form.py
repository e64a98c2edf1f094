"""What the deterministic form costs: kernels in their original and their rewritten form, in turn, in one process.

The kernels are C programs in the folder beside this file; examples/build.py builds them. See README.md, too.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Protocol

from wavelock.core.form import FormOptions, rewrite_module
from wavelock.core.form.reserved import BUDGET

KERNELS: Final = Path(__file__).with_name("kernels")
WORK: Final[Mapping[str, int]] = {
    "sha256": 60_000,
    "sort": 140_000,
    "sieve": 5_000_000,
    "crc32": 120,
    "compress": 2_000_000,
    "nbody": 360_000,
    "matrix": 340,
    "mandelbrot": 400,
    "spectral": 1_000,
    "fft": 150,
    "simd_matrix": 480,
    "simd_saxpy": 20_000,
    "simd_checksum": 4_000,
    "fib": 34,
    "tak": 26,
    "queens": 11,
    "interpreter": 90_000,
    "automaton": 220,
    "copies": 600_000,
    "chase": 60_000,
    "hashes": 1_300_000,
    "scatter": 6_000_000,
}
"""Every kernel, and the argument of its `run` that takes some 20 to 60 ms."""
FUEL: Final = 1 << 62
GEOMETRIC_MEAN_AT_MOST: Final = 1.10
RATIO_AT_MOST: Final = 1.5


class Loaded(Protocol):
    """An instance of a kernel."""

    def run(self, work: int) -> int:
        """The kernel's checksum."""

    def refuel(self) -> None:
        """Set the budget; nothing in the original form."""


Load = Callable[[bytes], Loaded]


class OnWasmtime:
    """Kernels on wasmtime with its defaults and branch hints: guard pages, no fuel, NaNs as they come."""

    distribution = "wasmtime"

    def __init__(self) -> None:
        wasmtime = importlib.import_module("wasmtime")
        config = wasmtime.Config()
        wasmtime._ffi.wasmtime_config_wasm_branch_hinting_set(config.ptr(), True)
        self._engine = wasmtime.Engine(config)

    def __call__(self, wasm: bytes) -> Loaded:
        """A new instance."""
        return _WasmtimeInstance(self._engine, wasm)


class _WasmtimeInstance:
    def __init__(self, engine: Any, wasm: bytes) -> None:
        wasmtime = importlib.import_module("wasmtime")
        self._store = wasmtime.Store(engine)
        instance = wasmtime.Instance(self._store, wasmtime.Module(engine, wasm), [])
        exports = instance.exports(self._store)
        self._run, self._budget = exports["run"], exports.get(BUDGET)

    def run(self, work: int) -> int:
        return int(self._run(self._store, work))

    def refuel(self) -> None:
        if self._budget is not None:
            self._budget(self._store, FUEL)


class OnWasmer:
    """Kernels on wasmer 1.1: Python 3.10 and the packages wasmer and wasmer-compiler-cranelift."""

    distribution = "wasmer"

    def __init__(self) -> None:
        compiler = importlib.import_module("wasmer_compiler_cranelift").Compiler
        self._engine = importlib.import_module("wasmer").engine.JIT(compiler)

    def __call__(self, wasm: bytes) -> Loaded:
        """A new instance."""
        return _WasmerInstance(self._engine, wasm)


class _WasmerInstance:
    def __init__(self, engine: Any, wasm: bytes) -> None:
        wasmer = importlib.import_module("wasmer")
        module = wasmer.Module(wasmer.Store(engine), wasm)
        self._instance = wasmer.Instance(module)
        self._run = self._instance.exports.run
        added = any(export.name == BUDGET for export in module.exports)
        self._budget = getattr(self._instance.exports, BUDGET) if added else None

    def run(self, work: int) -> int:
        return int(self._run(work))

    def refuel(self) -> None:
        if self._budget is not None:
            self._budget(FUEL)


ENGINES: Final[Mapping[str, type[OnWasmtime] | type[OnWasmer]]] = {"wasmtime": OnWasmtime, "wasmer": OnWasmer}


@dataclass(frozen=True)
class Result:
    """One kernel.

    ratio: the rewritten form's time over the original's, the median over the pairs; spread: its quartiles.
    """

    kernel: str
    original_ms: float
    ratio: float
    spread: tuple[float, float]
    functions: int
    original_bytes: int
    rewritten_bytes: int


def seconds(kernel: Loaded, work: int, expected: int) -> float:
    """Processor time of one call: what else the machine does is not in it. Raises SystemExit for a wrong checksum."""
    kernel.refuel()
    began = time.thread_time()
    found = kernel.run(work)
    took = time.thread_time() - began
    if found != expected:
        sys.exit(f"found the checksum {found}, expected {expected}, the original's")
    return took


class Kernel:
    """Both forms of one kernel, and what they took so far: (original, rewritten) in seconds, a pair a round."""

    def __init__(self, name: str, load: Load) -> None:
        """Raises SystemExit where the two forms differ."""
        self.name = name
        self.original = (KERNELS / f"{name}.wasm").read_bytes()
        self.rewritten = rewrite_module(self.original, name, FormOptions(), abi=False)
        self.forms = load(self.original), load(self.rewritten.module)
        self.expected = self.forms[0].run(WORK[name])
        self.pairs: list[tuple[float, float]] = []
        seconds(self.forms[1], WORK[name], self.expected)

    def time(self) -> None:
        """Another pair; each form is the first in every other one."""
        order = (1, 0) if len(self.pairs) % 2 else (0, 1)
        took = {form: seconds(self.forms[form], WORK[self.name], self.expected) for form in order}
        self.pairs.append((took[0], took[1]))

    def result(self) -> Result:
        """What came of the pairs."""
        ratios = [other / one for one, other in self.pairs]
        low, _, high = statistics.quantiles(ratios, n=4)
        return Result(
            kernel=self.name,
            original_ms=round(1e3 * statistics.median(one for one, _ in self.pairs), 1),
            ratio=round(statistics.median(ratios), 3),
            spread=(round(low, 3), round(high, 3)),
            functions=self.rewritten.info.functions,
            original_bytes=len(self.original),
            rewritten_bytes=len(self.rewritten.module),
        )


def summary(results: Sequence[Result], engine: str, rounds: int) -> dict[str, Any]:
    """All of it, as --json prints it."""
    largest = max(results, key=lambda result: result.ratio)
    original = sum(result.original_bytes for result in results)
    rewritten = sum(result.rewritten_bytes for result in results)
    return {
        "geometric_mean": round(math.exp(statistics.mean(math.log(result.ratio) for result in results)), 3),
        "largest": largest.ratio,
        "largest_kernel": largest.kernel,
        "original_bytes": original,
        "rewritten_bytes": rewritten,
        "growth": round(rewritten / original, 2),
        "rounds": rounds,
        "engine": f"{engine} {metadata.version(ENGINES[engine].distribution)}",
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "kernels": [asdict(result) for result in results],
    }


def show(result: Result) -> None:
    """One row of the table."""
    low, high = result.spread
    size = f"{result.original_bytes:>6,} to {result.rewritten_bytes:>6,}"
    print(
        f"{result.kernel:<14}{result.original_ms:>8.1f} ms{result.ratio:>9.3f}  ({low:.3f} to {high:.3f})"
        f"{result.functions:>6}  {size}",
        flush=True,
    )


def show_summary(found: Mapping[str, Any]) -> None:
    """The lines under the table."""
    print(f"geometric mean {found['geometric_mean']:.3f}, largest {found['largest']:.3f} ({found['largest_kernel']})")
    print(f"size {found['original_bytes']:,} to {found['rewritten_bytes']:,} bytes: {found['growth']:.2f} times")


def main() -> int:
    """Measure and print. Answers the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=ENGINES, default="wasmtime")
    parser.add_argument("--rounds", type=int, default=25, help="pairs of measurements of each kernel, at least 2")
    parser.add_argument("--kernel", action="append", choices=WORK, help="only this one; may be repeated")
    parser.add_argument("--json", action="store_true")
    limits = f"the geometric mean is above {GEOMETRIC_MEAN_AT_MOST:.2f} or one ratio above {RATIO_AT_MOST}"
    parser.add_argument("--check", action="store_true", help=f"exit with 1 where {limits}")
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error("--rounds: at least 2")
    load = ENGINES[options.engine]()
    kernels = [Kernel(name, load) for name in options.kernel or WORK]
    for _ in range(options.rounds):  # round by round, so that a noisy moment is not all that is seen of one kernel
        for kernel in kernels:
            kernel.time()
    results = [kernel.result() for kernel in kernels]
    if not options.json:
        print(f"{'kernel':<14}{'original':>11}{'ratio':>9}  {'(quartiles)':<16}{'functions':>9}  size in bytes")
        for result in results:
            show(result)
    found = summary(results, options.engine, options.rounds)
    print(json.dumps(found)) if options.json else show_summary(found)
    beyond = found["geometric_mean"] > GEOMETRIC_MEAN_AT_MOST or found["largest"] > RATIO_AT_MOST
    return 1 if options.check and beyond else 0


if __name__ == "__main__":
    sys.exit(main())

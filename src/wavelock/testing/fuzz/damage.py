"""Modules with bytes flipped, cut and repeated.

The pass must refuse each with a ModuleError or rewrite it; what it rewrites, wasmtime must find valid, before and
after, and must do the same on every engine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Final

import wasmtime

from wavelock.core.abi import EXPORT_MEMORY
from wavelock.core.errors import ModuleError
from wavelock.core.form import rewrite_module
from wavelock.core.form.module import Kind
from wavelock.core.form.sections import read_module
from wavelock.testing.fuzz.binaryen import Binaryen
from wavelock.testing.fuzz.campaign import Progress, Range
from wavelock.testing.fuzz.cases import save_case
from wavelock.testing.fuzz.check import Case, case_of, check
from wavelock.testing.fuzz.decorate import decorate
from wavelock.testing.fuzz.subjects import Open
from wavelock.testing.fuzz.summary import Finding, Summary, count
from wavelock.testing.fuzz.values import seeded

VARIANTS: Final = 50
"""Damaged modules that are made of each sound one."""
_SLOW_S: Final = 20.0
"""A module of some kilobytes takes milliseconds: more than this is as good as a hang."""


Rewrite = Callable[[bytes], bytes]
"""A module to its deterministic form. Raises ModuleError for one that is refused."""


def rewrite(module: bytes) -> bytes:
    """The pass itself: a `Rewrite`."""
    return rewrite_module(module, "fuzz", abi=False).module


def fuzz_bytes(
    wanted: Range,
    engines: Mapping[str, Open],
    *,
    keep: Path | None = None,
    progress: Progress | None = None,
    form: Rewrite = rewrite,
) -> Summary:
    """Damages modules, gives them to the pass, and runs them. Raises UserError where there is no binaryen."""
    summary = Summary("bytes")
    engine = wasmtime.Engine()
    for number, module in _modules(wanted):
        seed = f"{wanted.seed}/{number}"
        damaged = damage(module, seeded(f"{seed} damage"))
        summary.modules += 1
        what = problems(case_of(damaged, seed), engine, engines, summary, form)
        if what:
            saved = str(save_case(keep, case_of(damaged, seed), what)) if keep else ""
            summary.findings.append(Finding(seed, what, saved))
        if progress is not None:
            progress(summary)
    return summary


def _modules(wanted: Range) -> Iterator[tuple[int, bytes]]:
    """For each number the sound module that it damages: one for `VARIANTS` numbers."""
    binaryen = Binaryen()
    made, known = b"", -1
    try:
        for number in wanted.numbers():
            if number // VARIANTS != known:
                known = number // VARIANTS
                made = _sound(binaryen, seeded(f"{wanted.seed} sound {known}"))
            yield number, made
    finally:
        binaryen.close()


def _sound(binaryen: Binaryen, random: Random) -> bytes:
    """A module that the form accepts, or at least reads."""
    while True:
        made = binaryen.make(binaryen.recipe(random))
        try:
            if made:
                return decorate(made, random)
        except ModuleError:
            continue


def damage(module: bytes, random: Random) -> bytes:
    """The module with one to eight changes."""
    data = bytearray(module)
    for _ in range(random.choice((1, 1, 2, 3, 8))):
        at = random.randrange(8, max(9, len(data)))
        length = random.choice((1, 1, 2, 5, random.randrange(1, 200)))
        kind = random.randrange(6)
        piece = bytes(data[at : at + length])
        if kind == 0:
            data[at : at + 1] = bytes((random.getrandbits(8),))
        elif kind == 1 and at < len(data):
            data[at] ^= 1 << random.randrange(8)
        elif kind == 2:
            del data[at : at + length]
        elif kind == 3:
            data[at:at] = piece
        elif kind == 4:
            data[at : at + length] = random.randbytes(length)
        else:
            to = random.randrange(8, max(9, len(data)))
            data[to : to + length] = piece
    return bytes(data)


def problems(
    case: Case, engine: wasmtime.Engine, engines: Mapping[str, Open], summary: Summary, form: Rewrite = rewrite
) -> tuple[str, ...]:
    """What the pass does wrong with a module, or engines with what it makes of it; mostly nothing."""
    began = time.monotonic()
    try:
        rewritten = form(case.module)
    except ModuleError:
        summary.refused += 1
        return ()
    except Exception as error:
        return (f"the pass raised {type(error).__name__}: {error}",)
    took = time.monotonic() - began
    if took > _SLOW_S:
        return (f"the pass took {took:.1f} s for {len(case.module)} bytes",)
    for name, data in (("module", case.module), ("rewritten module", rewritten)):
        try:
            wasmtime.Module.validate(engine, data)
        except wasmtime.WasmtimeError as error:
            return (f"the pass accepts a module, and the {name} is not valid: {error}",)
    return _run(case, engines, summary)


def _run(case: Case, engines: Mapping[str, Open], summary: Summary) -> tuple[str, ...]:
    memory = read_module(case.module).exports.get(EXPORT_MEMORY)
    if memory is None or memory.kind is not Kind.MEMORY:
        return ()  # an engine's instance has nothing to view
    verdict = check(case, engines)
    if verdict.refused:  # for its memory, which a case has less of
        summary.refused += 1
    summary.calls += verdict.calls
    count(summary.faults, verdict.faults)
    count(summary.engines, verdict.ran)
    return tuple(map(str, verdict.differences))

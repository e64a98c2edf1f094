"""Random modules, one after the other: made, decorated, run on every engine, and reduced where they differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from wavelock.core.errors import ModuleError
from wavelock.testing.fuzz.cases import save_case
from wavelock.testing.fuzz.check import Case, Verdict, case_of, check
from wavelock.testing.fuzz.decorate import decorate
from wavelock.testing.fuzz.recipe import Maker, Recipe
from wavelock.testing.fuzz.reduce import reduced
from wavelock.testing.fuzz.subjects import RUNNERS, Open
from wavelock.testing.fuzz.summary import Finding, Summary, count
from wavelock.testing.fuzz.values import seeded

SLOW_EVERY: Final = 10
"""Slow engines run one module in so many."""
_AHEAD: Final = 6
"""Modules that are made while others run."""

Progress = Callable[[Summary], None]


class Range(NamedTuple):
    """Which modules: each is made from the seed and its own number alone."""

    seed: int
    first: int
    modules: int

    def numbers(self) -> range:
        """The modules' numbers."""
        return range(self.first, self.first + self.modules)


def open_engines(names: Sequence[str]) -> dict[str, Open]:
    """The engines of these names, ready to compile. Raises ImportError for one that this Python does not have."""
    return {name: RUNNERS[name].make() for name in RUNNERS if name in names}


def fuzz_modules(
    wanted: Range,
    maker: Maker,
    engines: Mapping[str, Open],
    *,
    mode: str = "modules",
    slow_every: int = SLOW_EVERY,
    keep: Path | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Runs random modules. slow_every: see `SLOW_EVERY`. keep: where modules that differ are saved, reduced.
    maker: is closed in the end. mode: its name in the summary.
    """
    summary = Summary(mode)
    fast = {name: opened for name, opened in engines.items() if not RUNNERS[name].slow} or dict(engines)
    try:
        for number, found, made in _made(maker, wanted):
            seed = f"{wanted.seed}/{number}"
            _one(
                summary,
                seed,
                made,
                dict(engines) if number % slow_every == 0 else fast,
                _Reducer(maker, found, keep),
            )
            if progress is not None:
                progress(summary)
    finally:
        maker.close()
    return summary


def _made(maker: Maker, wanted: Range) -> Iterator[tuple[int, Recipe, bytes | None]]:
    """Modules in order; two more are being made all the time."""
    waiting: list[tuple[int, Recipe, Future[bytes | None]]] = []
    with ThreadPoolExecutor(2) as pool:
        for number in wanted.numbers():
            drawn = maker.recipe(seeded(f"{wanted.seed}/{number}"))
            waiting.append((number, drawn, pool.submit(maker.make, drawn)))
            if len(waiting) > _AHEAD:
                first, found, made = waiting.pop(0)
                yield first, found, made.result()
        for first, found, made in waiting:
            yield first, found, made.result()


def _decorated(made: bytes, seed: str) -> Case:
    return case_of(decorate(made, seeded(f"{seed} decoration")), seed)


class _Reducer:
    """Makes a finding small and saves it."""

    def __init__(self, maker: Maker, found: Recipe, keep: Path | None) -> None:
        self._maker = maker
        self._recipe = found
        self._keep = keep

    def finding(self, case: Case, verdict: Verdict, engines: Mapping[str, Open]) -> Finding:
        """What is reported of a verdict with differences."""
        what = tuple(map(str, verdict.differences))
        if self._keep is None:
            return Finding(case.seed, what)
        small = self._small(case, {each.engine for each in verdict.differences}, engines)
        what = tuple(map(str, check(small, engines).differences)) or what
        return Finding(case.seed, what, str(save_case(self._keep, small, what)))

    def _small(self, case: Case, differ: set[str], engines: Mapping[str, Open]) -> Case:
        best = [case]

        def stays(content: bytes) -> bool:
            made = self._maker.make(self._recipe._replace(content=content))
            try:
                tried = _decorated(made, case.seed) if made else None
            except ModuleError:
                return False
            found = check(tried, engines) if tried else Verdict()
            if tried is None or not differ & {each.engine for each in found.differences}:
                return False
            best[0] = tried
            return True

        reduced(self._recipe.content, stays)
        return best[0]


def _one(summary: Summary, seed: str, made: bytes | None, engines: Mapping[str, Open], reducer: _Reducer) -> None:
    summary.modules += 1
    if made is None:
        summary.unmade += 1
        return
    try:
        case = _decorated(made, seed)
    except ModuleError as error:
        _refused(summary, str(error))
        return
    verdict = check(case, engines)
    if verdict.refused:
        _refused(summary, verdict.refused)
        return
    summary.calls += verdict.calls
    count(summary.faults, verdict.faults)
    count(summary.engines, verdict.ran)
    if verdict.differences:
        summary.findings.append(reducer.finding(case, verdict, engines))


_REASONS: Final = (
    "externref",
    "anyref",
    "eqref",
    "i31ref",
    "structref",
    "global of funcref",
    "(ref ",
    "exact reference",
)


def _refused(summary: Summary, text: str) -> None:
    summary.refused += 1
    known = [reason for reason in _REASONS if reason in text]
    count(summary.refusals, [known[0] if known else "other: " + text[-120:]])

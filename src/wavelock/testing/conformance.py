"""The conformance suite: every workload under every combination of plugins, compared wave by wave.

Rules:
- A run is compared with the same workload under the same scheduler and the default members of all other families.
- The reference itself is run twice and compared with itself: no case compares a run with nothing.
- Every combination also runs one small workload again, cut in two, and under another seed, which must show; and one
  combination of each engine runs all of them cut in two.
- A case that ends with an error is an error of that case, never a difference; the suite goes on.
- What an engine refuses is unavailable where a workload says that it may be, and an error elsewhere.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final

from wavelock.core.errors import ModuleError, UserError, WavelockError
from wavelock.core.reading import nearest
from wavelock.plugins.manager import Registry
from wavelock.testing.combinations import Combination, Selection, combine, missing, reference_of, usable
from wavelock.testing.differences import Place, first_difference, state_difference
from wavelock.testing.report import Case, Check, Difference, Outcome, Report, Status, versions
from wavelock.testing.trace import Setup, Trace
from wavelock.testing.workloads import WORKLOADS, Workload

SEEDS: Final = (20_261_123, 7)
"""Of all runs, and of those that must come to something else."""


class Conformance:
    """A suite that is set up: its cases, to be run in any order. A context manager: it has a folder of its own."""

    def __init__(
        self,
        registry: Registry | None = None,
        selection: Selection | None = None,
        workloads: Iterable[str | Workload] | None = None,
    ) -> None:
        """workloads: names, or workloads of one's own; None: all, or the quick ones.

        Raises UserError for plugins and workloads that are unknown or cannot be used.
        """
        selection = selection or Selection()
        self.registry = registry or Registry()
        self.workloads = _workloads(workloads, selection.quick)
        self.combinations = tuple(combine(self.registry, selection))
        self.unavailable = tuple(missing(self.registry))
        self._backends = usable(self.registry, "model_backend", selection.backends)
        self.cases = tuple(self._cases())
        if not any(case.combination.backend or not case.workload.models for case in self.cases):
            raise UserError(f"nothing to run: {self._no_backend()}")
        self._folder = tempfile.TemporaryDirectory(prefix="wavelock-conformance-")
        self._profiles: dict[str, Path] = {}
        self._references: dict[tuple[str, Combination, int], Trace | Exception] = {}

    def _cases(self) -> Iterable[Case]:
        small = min(self.workloads, key=lambda workload: workload.models)
        for workload in self.workloads:
            for combination in self._with_backends(workload):
                again = combination == self._reference_of(combination)
                yield Case(workload, combination, Check.AGAIN if again else Check.SAME)
                if workload is small and not again:
                    yield Case(workload, combination, Check.AGAIN)
                if workload is small or self._is_first_of_engine(combination):
                    yield Case(workload, combination, Check.MOVED)
                if workload is small:
                    yield Case(workload, combination, Check.SEED)

    def _is_first_of_engine(self, combination: Combination) -> bool:
        plain = replace(combination, backend="")
        return plain == next(each for each in self.combinations if each.engine == plain.engine)

    def _with_backends(self, workload: Workload) -> Sequence[Combination]:
        if not workload.models or not self._backends:
            return self.combinations
        return [replace(each, backend=backend) for each in self.combinations for backend in self._backends]

    def _no_backend(self) -> str:
        missing = (item for item in self.unavailable if item.family == "model_backend")
        reasons = "; ".join(f"{item.name}: {item.reason}; {item.remedy}" for item in missing)
        return f"no inference backend can be used here{f' ({reasons})' if reasons else ''}"

    # ---- one case ----

    def run(self, case: Case) -> Outcome:
        """Run a case. Raises nothing that a run, a plugin or the machine does: that is the case's error."""
        began = time.perf_counter()
        if case.workload.models and not case.combination.backend:
            return Outcome(case, Status.UNAVAILABLE, self._no_backend())
        try:
            difference, trace = self._compare(case)
        except Exception as error:
            refused = case.workload.optional and isinstance(error, ModuleError)
            status = Status.UNAVAILABLE if refused else Status.ERROR
            return Outcome(case, status, _told(error), elapsed_s=time.perf_counter() - began)
        status = Status.EQUAL if difference is None else Status.DIFFERS
        told = "" if difference is None else str(difference)
        return Outcome(case, status, told, difference, trace.digest.hex(), time.perf_counter() - began)

    def _compare(self, case: Case) -> tuple[Difference | None, Trace]:
        reference, expected = self.reference(case.workload, case.combination)
        if case.check is Check.SEED:
            return self._compare_seeds(case, reference, expected)
        if case.check is Check.MOVED:
            return self._compare_moved(case, reference, expected)
        against = expected
        if case.check is Check.AGAIN and case.combination != reference:
            reference, against = case.combination, self._trace(case.workload, case.combination)
        trace = self._trace(case.workload, case.combination)
        return self._difference(case, reference, trace, against), trace

    def _compare_seeds(self, case: Case, reference: Combination, before: Trace) -> tuple[Difference | None, Trace]:
        """Under another seed: equal to the reference under that seed, and unlike what it came to under the first."""
        _, expected = self.reference(case.workload, case.combination, SEEDS[1])
        trace = self._trace(case.workload, case.combination, SEEDS[1])
        difference = self._difference(case, reference, trace, expected)
        if difference is None and trace.outboxes == before.outboxes:
            place = Place(None, "", "seed", "the same outboxes in all waves", f"others than under seed {SEEDS[0]}")
            difference = Difference(case, reference, *place)
        return difference, trace

    def _compare_moved(self, case: Case, reference: Combination, whole: Trace) -> tuple[Difference | None, Trace]:
        """Half of the waves here and half of them there: captured alike, and gone on with from the other's capture."""
        cut = len(whole.records) // 2
        state = self._setup(case.workload, reference).capture(cut)
        setup = self._setup(case.workload, case.combination)
        place = state_difference(setup.capture(cut), state, whole)
        if place is not None:
            return Difference(case, reference, *place), whole
        rest = setup.resume(state)
        trace = Trace(rest.header, [*whole.records[:cut], *rest.records], rest.ended)
        return self._difference(case, reference, trace, whole), trace

    def _difference(self, case: Case, reference: Combination, trace: Trace, expected: Trace) -> Difference | None:
        place = first_difference(trace, expected)
        if place is None and trace.faults != case.workload.faults:
            kinds = (", ".join(sorted(faults)) or "none" for faults in (trace.faults, case.workload.faults))
            place = Place(None, "", "kinds of fault", *kinds)
        return None if place is None else Difference(case, reference, *place)

    def _trace(self, workload: Workload, combination: Combination, seed: int = SEEDS[0]) -> Trace:
        return self._setup(workload, combination, seed).run()

    def _setup(self, workload: Workload, combination: Combination, seed: int = SEEDS[0]) -> Setup:
        if workload.name not in self._profiles:
            self._profiles[workload.name] = workload.write(Path(self._folder.name) / workload.name)
        return Setup(workload, self._profiles[workload.name], combination, self.registry, seed)

    # ---- references ----

    def _reference_of(self, combination: Combination) -> Combination:
        """What a combination is compared with. Where that itself is not selected, it is run for this alone."""
        return reference_of(combination, self.registry)

    def reference(
        self, workload: Workload, combination: Combination, seed: int = SEEDS[0]
    ) -> tuple[Combination, Trace]:
        """The run that a combination is compared with. Raises what it raised."""
        chosen = self._reference_of(combination)
        key = workload.name, chosen, seed
        if key not in self._references:
            try:
                self._references[key] = self._trace(workload, chosen, seed)
            except Exception as error:
                self._references[key] = error
        found = self._references[key]
        if isinstance(found, Exception):
            raise UserError(f"the reference ({chosen}) cannot be run: {_told(found)}") from found
        return chosen, found

    # ---- the whole ----

    def report(self, outcomes: Iterable[Outcome]) -> Report:
        """What came of the cases that were run."""
        traces = {
            (name, combination.scheduler): found
            for (name, combination, seed), found in self._references.items()
            if isinstance(found, Trace) and seed == SEEDS[0]
        }
        compared = [*self.combinations, *map(self._reference_of, self.combinations)]
        found = versions(self.registry, {combination.engine for combination in compared})
        return Report(self.combinations, self.workloads, tuple(outcomes), self.unavailable, traces, found)

    def close(self) -> None:
        """Remove the folder. Safe to call twice."""
        self._folder.cleanup()

    def __enter__(self) -> Conformance:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def run_conformance(
    registry: Registry | None = None,
    *,
    engines: Sequence[str] | None = None,
    schedulers: Sequence[str] | None = None,
    transports: Sequence[str] | None = None,
    workers: Sequence[tuple[str, int | None]] | None = None,
    backends: Sequence[str] | None = None,
    workloads: Iterable[str | Workload] | None = None,
    quick: bool = False,
    on_case: Callable[[Outcome, int, int], None] | None = None,
) -> Report:
    """Run the whole suite.

    registry: the plugins; None discovers them. What is None takes part as far as it can be used here. workers: kinds
    and counts, a count of None standing for 1, 2 and 3. quick: fewer workloads and counts. on_case: told of each
    outcome, how many cases are done and how many there are. Raises UserError for what is unknown or cannot be used.
    """
    selection = Selection(schedulers, engines, transports, workers, backends, quick)
    with Conformance(registry, selection, workloads) as suite:
        outcomes: list[Outcome] = []
        for case in suite.cases:
            outcomes.append(suite.run(case))
            if on_case is not None:
                on_case(outcomes[-1], len(outcomes), len(suite.cases))
        return suite.report(outcomes)


def _workloads(asked: Iterable[str | Workload] | None, quick: bool) -> tuple[Workload, ...]:
    if asked is None:
        return tuple(workload for workload in WORKLOADS if workload.quick or not quick)
    known = {workload.name: workload for workload in WORKLOADS}
    found: dict[str, Workload] = {}
    for item in asked:
        if isinstance(item, str) and item not in known:
            raise UserError(f'no workload is named "{item}"{nearest(item, known)}')
        workload = known[item] if isinstance(item, str) else item
        found[workload.name] = workload
    if not found:
        raise UserError("no workload was asked for")
    return tuple(found.values())


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, WavelockError) else f"{type(error).__name__}: {error}"

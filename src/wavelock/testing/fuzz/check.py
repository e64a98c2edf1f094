"""One module on every engine: the same calls, and every answer compared.

Four scripts, each on a fresh instance. The first measures: every call gets a large budget. The second gives each call
exactly what it used, up to one that gets a unit less and must end as a FUEL fault, and random budgets from there on.
The third gives every call about half. The fourth is the first again, but somewhere in it the state is captured and
restored into another instance, which goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final, NamedTuple

from wavelock.core.abi import Fault
from wavelock.core.errors import ModuleError
from wavelock.core.form import FormOptions, rewrite_module
from wavelock.core.form.module import Kind
from wavelock.testing.fuzz.decorate import LOOPS, PREFIX
from wavelock.testing.fuzz.subjects import Open, Outcome, Prepared, State, Subject, Tables, prepare
from wavelock.testing.fuzz.values import draw, seeded

LEAST_STACK_BYTES: Final = 200
SMALL_STACK_BYTES: Final = 2_500
STACK_BYTES: Final = (8_192, 128 << 10)
"""Limits of depth: half of them are any between the first two, where a frame's weight more or less shows."""
MEMORY_PAGES: Final = (4, 5, 8, 64)
BUDGETS: Final = (300, 1_000, 3_000, 3_000, 20_000)
CALLS: Final = 24
_ENOUGH: Final = 1_000_000
_I64: Final = 0x7E


class Case(NamedTuple):
    """A module and what decides how it is called: the same case gives the same calls."""

    module: bytes
    seed: str
    memory_pages: int
    stack_bytes: int

    @property
    def options(self) -> FormOptions:
        """The limits that are written into the module."""
        return FormOptions(memory_pages=self.memory_pages, stack_bytes=self.stack_bytes)


def case_of(module: bytes, seed: str) -> Case:
    """A case whose limits follow from its seed."""
    random = seeded(f"{seed} limits")
    stack_bytes = random.choice(STACK_BYTES)
    if random.random() < 0.5:
        stack_bytes = random.randrange(LEAST_STACK_BYTES, SMALL_STACK_BYTES)
    return Case(module, seed, random.choice(MEMORY_PAGES), stack_bytes)


class Call(NamedTuple):
    """name: an export, or empty for the start."""

    name: str
    arguments: tuple[int, ...]
    fuel: int


class Script(NamedTuple):
    """Calls in order; before the one at `move` the state is moved to a fresh instance."""

    calls: tuple[Call, ...]
    move: int = -1


class Step(NamedTuple):
    """A call that was made: how it ended, and the state behind it."""

    outcome: Outcome
    state: State


class Run(NamedTuple):
    """A script that was run."""

    steps: tuple[Step, ...]
    tables: Tables


class Difference(NamedTuple):
    """Where two runs of one script part. what: of the step, what differs, each as `one / other`."""

    engine: str
    script: int
    call: Call | None
    what: str

    def __str__(self) -> str:
        where = f"call {self.call.name or 'start'}{self.call.arguments} fuel {self.call.fuel}: " if self.call else ""
        return f"{self.engine}, script {self.script}, {where}{self.what}"


@dataclass
class Verdict:
    """What came of a case. refused: by the form; faults: of the first engine's calls, by label."""

    refused: str = ""
    calls: int = 0
    ran: list[str] = field(default_factory=list)
    """Engines that ran it."""
    faults: dict[str, int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)


def check(case: Case, engines: Mapping[str, Open]) -> Verdict:
    """Runs a case on every engine, the first being what the others are compared with."""
    try:
        form = rewrite_module(case.module, "fuzz", case.options, abi=False)
        prepared = prepare(case.module, form, case.options)
    except ModuleError as error:
        return Verdict(refused=str(error))
    except Exception as error:
        return Verdict(differences=[Difference("the pass", 0, None, f"{type(error).__name__}: {error}")])
    verdict = Verdict()
    scripts: list[Script] = []
    known: list[Run] = []
    for name, opened in engines.items():
        try:
            make = opened(prepared)
            if make is None:
                continue
            verdict.ran.append(name)
            if not scripts:
                scripts, known = _first_engine(case, prepared, make)
                _count(verdict, known)
                verdict.differences += _laws(name, scripts, known)
            else:
                verdict.differences += _compare(name, scripts, known, make)
        except Exception as error:  # whatever an engine raises is a finding of its own
            verdict.differences.append(Difference(name, 0, None, f"{type(error).__name__}: {error}"))
            if not known:
                break
    return verdict


# ---- scripts ----


def _first_engine(case: Case, prepared: Prepared, make: Callable[[], Subject]) -> tuple[list[Script], list[Run]]:
    random = seeded(f"{case.seed} calls")
    first = _measuring(prepared, random)
    measured = run_script(make, Script(first))
    used = [step.outcome.fuel for step in measured.steps]
    scripts = [
        Script(first),
        Script(_exact(first, used, random)),
        Script(_halves(first, used, random)),
        Script(first, 1 + random.randrange(max(1, len(first) - 1))),
    ]
    return scripts, [measured, *(run_script(make, script) for script in scripts[1:])]


def _measuring(prepared: Prepared, random: Random) -> tuple[Call, ...]:
    budget = random.choice(BUDGETS)
    names = {name: export for name, export in prepared.module.exports.items() if _callable(prepared, name)}
    chosen = random.sample([name for name in names if name != LOOPS], min(len(names) - (LOOPS in names), CALLS))
    script = [Call("", (), budget)]
    if LOOPS in names and random.random() < 0.5:
        script.append(Call(LOOPS, (), _ENOUGH))
    for name in chosen:
        kind = prepared.module.function_type(names[name].index)
        script.append(Call(name, tuple(_argument(random) for _ in kind.params), budget))
    return tuple(script)


def _callable(prepared: Prepared, name: str) -> bool:
    """Whether an export is a wrapper; in a damaged module it may have become something else."""
    export = prepared.module.exports[name]
    if not name.startswith(PREFIX) or export.kind is not Kind.FUNCTION:
        return False
    kind = prepared.module.function_type(export.index)
    return set(kind.params + kind.results) <= {_I64}


def _argument(random: Random) -> int:
    """An argument: often a small number, since it may be an address, an index or a count."""
    if random.random() < 0.4:
        return random.choice((0, 1, 2, 3, 8, random.randrange(40), 65_528 + random.randrange(16)))
    return draw(random, random.choice("iIfF"))


def _exact(first: Sequence[Call], used: Sequence[int], random: Random) -> tuple[Call, ...]:
    short = random.randrange(len(first))
    script = []
    for at, (call, fuel) in enumerate(zip(first, used, strict=True)):
        given = fuel if at < short else fuel - 1 if at == short else random.randrange(call.fuel)
        script.append(call._replace(fuel=max(0, given)))
    return tuple(script)


def _halves(first: Sequence[Call], used: Sequence[int], random: Random) -> tuple[Call, ...]:
    return tuple(call._replace(fuel=fuel // 2 + random.randrange(3)) for call, fuel in zip(first, used, strict=True))


def run_script(make: Callable[[], Subject], script: Script) -> Run:
    """Runs a script on a fresh instance."""
    subject = make()
    try:
        steps = []
        for at, call in enumerate(script.calls):
            if at == script.move:
                subject = subject.moved(make)
            outcome = subject.call(call.name, call.arguments, call.fuel) if call.name else subject.start(call.fuel)
            steps.append(Step(outcome, subject.state()))
        return Run(tuple(steps), subject.tables())
    finally:
        subject.close()


# ---- comparing ----


def _laws(name: str, scripts: Sequence[Script], runs: Sequence[Run]) -> Iterator[Difference]:
    """A capture and a restore change nothing. With exactly the fuel that a call used it ends as before; with a unit
    less it ends as a FUEL fault."""
    yield from _parted(name, 3, scripts[3], runs[0], runs[3])
    for call, exact, before, after in zip(
        scripts[0].calls, scripts[1].calls, runs[0].steps, runs[1].steps, strict=True
    ):
        used = before.outcome.fuel
        if exact.fuel != used or before.outcome.fault is not Fault.NONE:
            short = exact.fuel == used - 1 and before.outcome.fault is Fault.NONE
            if short and after.outcome.fault is not Fault.FUEL:
                yield Difference(name, 1, exact, f"with a unit less than it used: {after.outcome}")
            return
        if after != before and used != call.fuel:
            yield Difference(name, 1, exact, f"with its exact fuel: {_parts(before, after)}")
            return


def _compare(
    name: str, scripts: Sequence[Script], known: Sequence[Run], make: Callable[[], Subject]
) -> Iterator[Difference]:
    for at, (script, expected) in enumerate(zip(scripts, known, strict=True)):
        yield from _parted(name, at, script, expected, run_script(make, script))


def _parted(name: str, at: int, script: Script, expected: Run, found: Run) -> Iterator[Difference]:
    """Where two runs of a script part first."""
    if found == expected:
        return
    for call, one, other in zip(script.calls, expected.steps, found.steps, strict=True):
        if one != other:
            yield Difference(name, at, call, _parts(one, other))
            return
    yield Difference(name, at, None, f"tables: {expected.tables} / {found.tables}")


def _parts(one: Step, other: Step) -> str:
    """What differs between two steps."""
    pairs = (
        ("fault", one.outcome.fault.label, other.outcome.fault.label),
        ("fuel", one.outcome.fuel, other.outcome.fuel),
        ("results", _hexadecimal(one.outcome.results), _hexadecimal(other.outcome.results)),
        ("memory", one.state.memory, other.state.memory),
        ("dropped segments", one.state.dropped, other.state.dropped),
        ("globals", _hexadecimal(one.state.words), _hexadecimal(other.state.words)),
    )
    return ", ".join(f"{what} {first} / {second}" for what, first, second in pairs if first != second)


def _hexadecimal(words: Sequence[int]) -> str:
    return f"[{' '.join(f'{word:x}' for word in words)}]"


def _count(verdict: Verdict, runs: Sequence[Run]) -> None:
    for run in runs:
        for step in run.steps:
            label = step.outcome.fault.label
            verdict.calls += 1
            verdict.faults[label] = verdict.faults.get(label, 0) + 1

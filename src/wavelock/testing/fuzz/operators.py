"""Every operator by itself on every engine: NaNs of several payloads, infinities, zeros, subnormals, random bits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from blake3 import blake3

from wavelock.core.abi import Fault
from wavelock.core.form import FormOptions, rewrite_module
from wavelock.core.form.operators import Operator
from wavelock.testing.fuzz.singles import Single, covered, single
from wavelock.testing.fuzz.subjects import Open, Prepared, Subject, prepare
from wavelock.testing.fuzz.summary import Finding, Summary, count

INPUTS: Final = 192
"""For each operator: as many as there are special values of the type that has most."""
PINNED_SEED: Final = 1
_OPTIONS: Final = FormOptions(memory_pages=64)
_FUEL: Final = 1_000_000
_SHOWN: Final = 4


class Result(NamedTuple):
    """What an operator did with an input."""

    fault: Fault
    content: bytes

    def __str__(self) -> str:
        return f"{self.content.hex()} ({self.fault.label})"


Results = tuple[tuple[Result, ...], ...]
"""By variant and input."""


def fuzz_operators(
    seed: int, inputs: int, engines: Mapping[str, Open], operators: Iterable[Operator] | None = None
) -> Summary:
    """Runs operators (all, if none are given) on every engine; the digests are of the first one's results."""
    summary, groups = Summary("operators"), Groups()
    for operator in covered() if operators is None else operators:
        tried = single(operator, seed, inputs)
        prepared = _prepared(tried)
        known: Results | None = None
        for name, opened in engines.items():
            found = _run(tried, prepared, opened)
            if found is None:
                continue
            count(summary.engines, [name])
            if known is None:
                known = found
                groups.add(operator, found)
                _count(summary, found)
            elif found != known:
                what = tuple(_differences(name, tried, known, found))
                summary.findings.append(Finding(f"{seed} {operator.name}", what))
        summary.modules += 1
    summary.digests = groups.digests()
    return summary


def run_single(tried: Single, opened: Open) -> Results | None:
    """Runs an operator's variants on all inputs, going on behind each trap; None where the engine refuses it."""
    return _run(tried, _prepared(tried), opened)


def _prepared(tried: Single) -> Prepared:
    form = rewrite_module(tried.module, tried.operator.name, _OPTIONS, abi=False)
    return prepare(tried.module, form, _OPTIONS)


def _run(tried: Single, prepared: Prepared, opened: Open) -> Results | None:
    make = opened(prepared)
    return None if make is None else _results(tried, make)


def _results(tried: Single, make: Callable[[], Subject]) -> Results:
    subject = make()
    try:
        faults = [_faults(subject, tried, variant) for variant in range(len(tried.variants))]
        memory = subject.memory()
        return tuple(
            tuple(
                Result(each.get(number, Fault.NONE), tried.result(memory, variant, number))
                for number in range(len(tried.inputs))
            )
            for variant, each in enumerate(faults)
        )
    finally:
        subject.close()


def _faults(subject: Subject, tried: Single, variant: int) -> dict[int, Fault]:
    """Faults by the input's number."""
    found: dict[int, Fault] = {}
    first = 0
    while first < len(tried.inputs):
        ended = subject.call(f"run {variant}", (first,), _FUEL)
        if ended.fault is Fault.NONE:
            break
        (at,) = subject.call("at", (), _FUEL).results
        assert at >= first, "a run that trapped got as far as its first input"
        found[at] = ended.fault
        first = at + 1
    return found


class Groups:
    """One hash over all results for each feature, and one over all features."""

    def __init__(self) -> None:
        self._groups: dict[str, blake3] = {}

    def add(self, operator: Operator, results: Results) -> None:
        """Adds an operator's results; operators come in the order of their codes."""
        content = b"".join(bytes((each.fault,)) + each.content for variant in results for each in variant)
        for group in (operator.feature, "all"):
            self._groups.setdefault(group, blake3()).update(operator.name.encode() + b"\0" + content)

    def digests(self) -> dict[str, str]:
        """Hexadecimal, by group."""
        return {group: each.hexdigest() for group, each in sorted(self._groups.items())}


def _count(summary: Summary, results: Results) -> None:
    for variant in results:
        summary.calls += len(variant)
        count(summary.faults, [each.fault.label for each in variant])


def _differences(engine: str, tried: Single, one: Results, other: Results) -> list[str]:
    found = [
        f"{engine}: {tried.operator.name} {tried.variants[variant].hex()} "
        f"({' '.join(f'{bits:x}' for bits in tried.inputs[number])}): {first} / {second}"
        for variant, pairs in enumerate(zip(one, other, strict=True))
        for number, (first, second) in enumerate(zip(*pairs, strict=True))
        if first != second
    ]
    return found[:_SHOWN] + ([f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else [])

"""What a run of the fuzzing comes to: counts, and every difference that was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """A difference, a crash, or anything else that must not be. module: where the module was saved, if it was."""

    seed: str
    what: tuple[str, ...]
    module: str = ""


class Summary(msgspec.Struct):
    """Counts of a run, and its findings. All but findings add up over parts of it."""

    mode: str
    modules: int = 0
    """Tried in all."""
    refused: int = 0
    """By the deterministic form."""
    unmade: int = 0
    """binaryen itself failed at them."""
    calls: int = 0
    """Of the first engine; the others make the same."""
    faults: dict[str, int] = msgspec.field(default_factory=dict)
    """How the first engine's calls ended, by label."""
    engines: dict[str, int] = msgspec.field(default_factory=dict)
    """Modules that each engine ran."""
    refusals: dict[str, int] = msgspec.field(default_factory=dict)
    """Why modules were refused, in short."""
    digests: dict[str, str] = msgspec.field(default_factory=dict)
    """Of operators: one hash for each group of them."""
    findings: list[Finding] = msgspec.field(default_factory=list)

    def add(self, other: Summary) -> None:
        """Adds the counts and findings of a part."""
        self.modules += other.modules
        self.refused += other.refused
        self.unmade += other.unmade
        self.calls += other.calls
        for mine, others in (
            (self.faults, other.faults),
            (self.engines, other.engines),
            (self.refusals, other.refusals),
        ):
            count(mine, others)
        self.digests.update(other.digests)
        self.findings += other.findings

    def lines(self) -> list[str]:
        """The summary as text."""
        ran = ", ".join(f"{name} {number:,}" for name, number in self.engines.items())
        lines = [f"{self.modules:,} modules: {self.refused:,} refused, {self.unmade:,} not made"]
        if ran:
            lines.append(f"ran: {ran}")
        if self.calls:
            ends = ", ".join(f"{label} {number:,}" for label, number in _sorted(self.faults))
            lines.append(f"{self.calls:,} calls: {ends}")
        lines += [f"refused: {number:,} {why}" for why, number in _sorted(self.refusals)]
        lines += [f"digest: {group} {digest}" for group, digest in self.digests.items()]
        for finding in self.findings:
            lines.append(f"DIFFERENCE {finding.seed} {finding.module}")
            lines += [f"  {what}" for what in finding.what]
        lines.append(f"{len(self.findings)} differences")
        return lines


def count(counts: dict[str, int], more: dict[str, int] | Iterable[str]) -> None:
    """Adds to counts."""
    for key, number in Counter(more).items():
        counts[key] = counts.get(key, 0) + number


def _sorted(counts: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))

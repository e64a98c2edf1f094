"""Which NaNs must be made canonical, and where.

An operator that makes a NaN may leave any bits in it as long as nothing can see them. So nothing is done where an
operand's only consumer hides the bits: arithmetic, whose own NaN is made canonical in turn, comparisons, conversions
to integers. A local may hold such raw values too, if nothing else is ever put into it: a NaN that came from memory has
bits of its own, which must stay. What a local gets and who reads it is known at the end of the function; until then
places are kept, behind the operators that make NaNs and behind the reads of locals.

Every name of lanes is one of f32, f64, f32x4, f64x2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from wavelock.core.form.edits import BEHIND, Edits
from wavelock.core.form.emit import assemble, unsigned
from wavelock.core.form.types import V128

LANES_OF: Final = {0x7D: "f32", 0x7C: "f64", V128: None}
"""Value types that can hold a NaN, and the lanes of a scalar."""
TYPE_OF: Final = {"f32": 0x7D, "f64": 0x7C, "f32x4": V128, "f64x2": V128}
_NAN: Final = {
    "f32": bytes.fromhex("0000c07f"),
    "f64": bytes.fromhex("000000000000f87f"),
    "f32x4": bytes.fromhex("0000c07f" * 4),
    "f64x2": bytes.fromhex("000000000000f87f" * 2),
}
_IS_NUMBER: Final = "local.set X block void local.get X local.get X {lanes}.ge"
_ELSE: Final = "br_if 0 {lanes}.const NAN local.set X end local.get X"
_VECTOR: Final = "local.tee X v128.const NAN local.get X local.get X {lanes}.eq v128.bitselect"


def canonical(lanes: str, local: int) -> tuple[bytes, ...]:
    """Code that makes the NaNs of the operand on top canonical, by way of a local of its type.

    Of a scalar in two halves: the second begins with a branch that every number takes.
    """
    texts = (_VECTOR,) if "x" in lanes else (_IS_NUMBER, _ELSE)
    symbols = {"X": unsigned(local), "NAN": _NAN[lanes]}
    return tuple(assemble(text.format(lanes=lanes), symbols) for text in texts)


class _Value(NamedTuple):
    """An operand that may hold raw NaNs. lanes: what made it; local: what it was read from, -1 for none."""

    height: int
    place: int
    lanes: str | None
    local: int


class _Local:
    """What is known of a local that may come to hold raw NaNs."""

    __slots__ = ("foreign", "made", "read", "sources")

    def __init__(self, foreign: bool) -> None:
        self.foreign = foreign
        """Something else than a number or the NaN of an operator was put into it."""
        self.made: list[tuple[int, str]] = []
        """Places behind the operators whose results it got, and their lanes."""
        self.sources: list[tuple[int, int]] = []
        """Places behind reads of other locals that were put into it, and those locals."""
        self.read: list[tuple[int, str | None]] = []
        """Places behind its reads, and the lanes that the consumer hides."""


class Nans:
    """The NaNs of one function. The walk tells what happens to its operands; `finish` makes the edits."""

    def __init__(self, edits: Edits, parameters: int, scratch: Callable[[int], int]) -> None:
        """parameters: how many locals are the caller's. scratch: a local of the pass's own, by value type."""
        self.open: list[_Value] = []
        """Operands that may hold raw NaNs, lowest first."""
        self._edits = edits
        self._parameters = parameters
        self._scratch = scratch
        self._locals: dict[int, _Local] = {}
        self._fixed: dict[int, str] = {}

    def _local(self, index: int) -> _Local:
        if index not in self._locals:
            self._locals[index] = _Local(foreign=index < self._parameters)
        return self._locals[index]

    # ---- told by the walk ----

    def made(self, height: int, place: int, lanes: str) -> None:
        """An operator made the operand at `height`; its code ends at `place`."""
        self.open.append(_Value(height, place, lanes, -1))

    def read(self, height: int, place: int, local: int) -> None:
        """A local was read into the operand at `height`."""
        if local >= self._parameters:
            self.open.append(_Value(height, place, None, local))

    def consume(self, lowest: int, hides: str | None) -> None:
        """The operands from `lowest` on go into an operator that hides the NaNs of these lanes, or none."""
        while self.open and self.open[-1].height >= lowest:
            self._use(self.open.pop(), hides)

    def _use(self, value: _Value, hides: str | None) -> None:
        if value.local >= 0:
            self._local(value.local).read.append((value.place, hides))
        elif value.lanes is not None and value.lanes != hides:
            self._fixed[value.place] = value.lanes

    def forget(self, lowest: int) -> None:
        """The operands from `lowest` on go nowhere."""
        while self.open and self.open[-1].height >= lowest:
            self.open.pop()

    def written(self, height: int, local: int, number: bool) -> None:
        """The operand at `height` was put into a local. number: it is known to be no NaN."""
        target = self._local(local)
        if self.open and self.open[-1].height >= height:
            value = self.open.pop()
            if value.local >= 0:
                self._local(value.local)
                target.sources.append((value.place, value.local))
            elif value.lanes is not None:
                target.made.append((value.place, value.lanes))
        elif not number:
            target.foreign = True

    # ---- the end ----

    def finish(self) -> None:
        """Decide which locals hold raw NaNs, and write the code at the places where it is needed."""
        raw = self._raw_locals()
        fixed = dict(self._fixed)
        for index, local in self._locals.items():
            if index in raw:
                lanes = raw[index]
                fixed.update((place, lanes) for place, hides in local.read if hides != lanes)
            else:
                fixed.update(local.made)
                fixed.update((place, raw[source]) for place, source in local.sources if source in raw)
        for place, lanes in fixed.items():
            check, *rest = canonical(lanes, self._scratch(TYPE_OF[lanes]))
            edit = self._edits.insert(place, b"".join((check, *rest)), BEHIND)
            edit.taken = len(check) if rest else None

    def _raw_locals(self) -> dict[int, str]:
        """Locals into which only numbers and NaNs of one kind of lanes go, by way of other such locals too."""
        targets: dict[int, list[int]] = {}
        for index, local in self._locals.items():
            for _, source in local.sources:
                targets.setdefault(source, []).append(index)
        lanes = self._spread(targets)
        bad = {index for index, local in self._locals.items() if local.foreign or len(lanes[index]) > 1}
        _close(bad, targets)
        return {index: next(iter(kinds)) for index, kinds in lanes.items() if kinds and index not in bad}

    def _spread(self, targets: Mapping[int, list[int]]) -> dict[int, set[str]]:
        """The lanes of the NaNs that each local can get; copies bring them along."""
        lanes = {index: {kind for _, kind in local.made} for index, local in self._locals.items()}
        waiting = [index for index, kinds in lanes.items() if kinds]
        while waiting:
            index = waiting.pop()
            for target in targets.get(index, ()):
                if not lanes[index] <= lanes[target]:
                    lanes[target] |= lanes[index]
                    waiting.append(target)
        return lanes


def _close(found: set[int], targets: Mapping[int, list[int]]) -> None:
    """Adds to `found` whatever its members are copied into, by way of others too."""
    waiting = list(found)
    while waiting:
        for target in targets.get(waiting.pop(), ()):
            if target not in found:
                found.add(target)
                waiting.append(target)

"""Where two runs part: the report of a replay or a diff, and the comparison of one wave's turns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from wavelock.core.abi import Fault
from wavelock.core.errors import DamagedRunError
from wavelock.core.runreader import DamagedRowError

Details = np.typing.NDArray[np.void]


@dataclass(frozen=True)
class Divergence:
    """The first place where two runs differ. agent: empty where no single one can be named. what: found, expected."""

    wave: int | None
    agent: str
    what: str

    def __str__(self) -> str:
        where = [f"wave {self.wave}"] if self.wave is not None else []
        where += [f"agent {self.agent}"] if self.agent else []
        return f"{', '.join(where)}: {self.what}" if where else self.what


@dataclass(frozen=True)
class ReplayReport:
    """The outcome of a replay or a diff. waves, turns: what was compared. digest: of the last wave that agreed, hex."""

    identical: bool
    digest: str
    waves: int
    turns: int
    ended: str
    first_divergence: Divergence | None


class Diverged(Exception):  # noqa: N818 - an outcome, not an error
    """A run file and its replay differ."""

    def __init__(self, wave: int | None, agent: str, what: str) -> None:
        super().__init__(wave, agent, what)
        self.divergence = Divergence(wave, agent, what)


def damage(error: DamagedRunError) -> Divergence:
    """What a damaged run file is reported as."""
    if isinstance(error, DamagedRowError):
        return Divergence(error.wave, error.agent, error.what)
    return Divergence(None, "", str(error))


def compare_turns(
    wave: int,
    one: Details | None,
    other: Details | None,
    name: Callable[[int], str],
    called: tuple[str, str],
) -> Divergence:
    """The first turn that differs between two waves of one number, in words. called: what the two sides are."""
    one_called, other_called = called
    if one is None or other is None:
        return Divergence(wave, "", "the digests differ; record.turns was off, so no agent can be named")
    for mine, theirs in zip(one, other, strict=False):
        if mine["agent"] != theirs["agent"]:
            what = f"{one_called} the turn of {name(int(mine['agent']))}, {other_called} {name(int(theirs['agent']))}"
            return Divergence(wave, name(int(mine["agent"])), what)
        if mine != theirs:
            return Divergence(wave, name(int(mine["agent"])), _turn_difference(mine, theirs, *called))
    if len(one) != len(other):
        longer = one if len(one) > len(other) else other
        agent = name(int(longer[min(len(one), len(other))]["agent"]))
        return Divergence(wave, agent, f"{one_called} {len(one)} turns, {other_called} {len(other)}")
    return Divergence(wave, "", "all turns agree; the outside inputs or the digest's own row differ")


def _turn_difference(one: Any, other: Any, one_called: str, other_called: str) -> str:
    for field, label in (("fault", "fault"), ("fuel", "fuel"), ("outbox_bytes", "outbox bytes")):
        if one[field] != other[field]:
            values = [int(one[field]), int(other[field])]
            if field == "fault":
                return f"{label} {one_called} {_fault(values[0])}, {other_called} {_fault(values[1])}"
            return f"{label} {one_called} {values[0]}, {other_called} {values[1]}"
    return f"outboxes of the same length differ (hashes {int(one['outbox_hash']):08x}, {int(other['outbox_hash']):08x})"


def _fault(code: int) -> str:
    return Fault(code).label if code in Fault._value2member_map_ else str(code)

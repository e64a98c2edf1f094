"""Where two runs of one workload part: the first wave, the first agent in plan order, and what differs there."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any, Final, NamedTuple

import msgspec

from wavelock.core.abi import Fault
from wavelock.core.capture import decode
from wavelock.core.wave import Answered, Input, WaveRecord
from wavelock.testing.trace import Trace

_WORD: Final = 8
"""Bytes of an outbox that are shown: frames are aligned to as many."""
_SHOWN: Final = 60
"""Characters of another value."""
_NOTHING: Final = "nothing"


class Place(NamedTuple):
    """The first place where two runs differ. wave: None where it is none's. agent: empty where it is nobody's.

    what: `header`, `inputs`, `answers`, `plan`, `fault`, `detail`, `fuel`, `outbox`, `waves`, `ended`, `digest`, or
    `state`: what was captured between two waves.
    """

    wave: int | None
    agent: str
    what: str
    found: str
    expected: str


def first_difference(found: Trace, expected: Trace) -> Place | None:
    """Where a run parts from the one that it is compared with; None where it does not."""
    if found.header != expected.header:
        return Place(None, "", "header", found.header.hex(), expected.header.hex())
    for mine, theirs in zip_longest(found.records, expected.records):
        if mine is None or theirs is None:
            wave = (mine or theirs).wave
            return Place(wave, "", "waves", f"{len(found.records)} waves", f"{len(expected.records)} waves")
        if mine.digest != theirs.digest or mine.wave != theirs.wave:
            return _in_wave(mine, theirs, expected)
    if found.ended != expected.ended:
        return Place(None, "", "ended", found.ended, expected.ended)
    return None


def state_difference(found: bytes, expected: bytes, names: Trace) -> Place | None:
    """Where two captured runs differ: the first agent, and what of it. None where they do not."""
    if found == expected:
        return None
    mine, theirs = decode(found, names.header), decode(expected, names.header)
    for number, (one, other) in enumerate(zip_longest(mine.agents, theirs.agents)):
        if one != other:
            return Place(theirs.wave, names.name(number), "state", *_parts(one, other))
    return Place(theirs.wave, "", "state", *_parts(mine, theirs))


def _parts(one: msgspec.Struct | None, other: msgspec.Struct | None) -> tuple[str, str]:
    """The first field in which two structs differ, with its values."""
    if one is None or other is None:
        return tuple(_NOTHING if each is None else "an agent" for each in (one, other))  # type: ignore[return-value]
    mine, theirs = msgspec.structs.asdict(one), msgspec.structs.asdict(other)
    field = next((name for name in mine if mine[name] != theirs[name]), "")
    values = mine.get(field), theirs.get(field)
    if isinstance(values[0], bytes) and isinstance(values[1], bytes):
        shown = _boxes(values[0], values[1])
    else:
        shown = repr(values[0])[:_SHOWN], repr(values[1])[:_SHOWN]
    return f"{field}: {shown[0]}", f"{field}: {shown[1]}"


def _in_wave(mine: WaveRecord, theirs: WaveRecord, names: Trace) -> Place:
    if mine.wave != theirs.wave:
        return Place(min(mine.wave, theirs.wave), "", "waves", f"wave {mine.wave}", f"wave {theirs.wave}")
    for what, one, other in (("inputs", mine.inputs, theirs.inputs), ("answers", mine.answers, theirs.answers)):
        place = _in_rows(mine.wave, what, one, other, names)
        if place is not None:
            return place
    place = _in_turns(mine, theirs, names)
    return place or Place(mine.wave, "", "digest", mine.digest.hex(), theirs.digest.hex())


def _in_rows(wave: int, what: str, mine: Any, theirs: Any, names: Trace) -> Place | None:
    """The first outside input or inference answer that differs."""
    for one, other in zip_longest(mine, theirs):
        if one != other:
            return Place(wave, names.name((one or other).agent), what, _row(one), _row(other))
    return None


def _row(row: Input | Answered | None) -> str:
    if row is None:
        return _NOTHING
    return f"for #{row.agent}, tag {row.tag}: {row.payload[: 2 * _WORD].hex(' ', 4)} ({len(row.payload)} bytes)"


def _in_turns(mine: WaveRecord, theirs: WaveRecord, names: Trace) -> Place | None:
    """The first turn that differs, in plan order, and what of it: where a turn faulted, the fuel follows from that."""
    ends = [0, 0]
    for at, (agent, other) in enumerate(zip_longest(mine.plan.tolist(), theirs.plan.tolist())):
        if agent != other:
            shown = [_NOTHING if number is None else names.name(number) for number in (agent, other)]
            return Place(mine.wave, names.name(agent if other is None else other), "plan", *shown)
        for what, one, two in (
            ("fault", _fault(mine.fault_codes[at]), _fault(theirs.fault_codes[at])),
            ("detail", mine.fault_details[at], theirs.fault_details[at]),
            ("fuel", mine.fuel[at], theirs.fuel[at]),
        ):
            if one != two:
                return Place(mine.wave, names.name(agent), what, str(one), str(two))
        boxes = []
        for side, record in enumerate((mine, theirs)):
            begin, ends[side] = ends[side], ends[side] + int(record.outbox_bytes[at])
            boxes.append(record.outbox_data[begin : ends[side]])
        if boxes[0] != boxes[1]:
            return Place(mine.wave, names.name(agent), "outbox", *_boxes(*boxes))
    return None


def _fault(code: int) -> str:
    return Fault(code).label if code in Fault._value2member_map_ else str(code)


def _boxes(one: bytes, other: bytes) -> tuple[str, str]:
    """Two outboxes in words, around the first byte that differs."""
    pairs = enumerate(zip(one, other, strict=False))
    at = next((at for at, (mine, theirs) in pairs if mine != theirs), min(len(one), len(other)))
    return _word(one, at // _WORD * _WORD), _word(other, at // _WORD * _WORD)


def _word(box: bytes, at: int) -> str:
    return f"offset {at}: {box[at : at + _WORD].hex(' ', 4) or 'the end'} ({len(box)} bytes)"

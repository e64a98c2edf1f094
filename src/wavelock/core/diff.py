"""Diff: two run files compared wave by wave, from their rows alone; nothing is run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from wavelock.core.divergence import Details, Divergence, ReplayReport, compare_turns, damage
from wavelock.core.errors import DamagedRunError, RunFileError
from wavelock.core.runreader import DamagedRowError, RunFileReader, WaveRow
from wavelock.core.turnrows import read_turns

_UNNOTICED: Final = ("engine", "transport", "workers", "record", "inputs", "run.name", "run.waves")
"""Keys of a profile that never part two runs: no agent can notice them."""
_LISTED: Final = 5


def diff(path: str | Path, other_path: str | Path) -> ReplayReport:
    """Compare two run files wave by wave. Raises RunFileError for a file that cannot be read."""
    with RunFileReader(path) as one, RunFileReader(other_path) as other:
        for side in (one, other):
            if not side.rows("SELECT count(*) FROM waves")[0][0]:
                raise RunFileError(f"{side.path}: holds no committed wave; there is nothing to compare")
        try:
            one.check_head()
            other.check_head()
            if one.head["header"] != other.head["header"]:
                return _differs(Divergence(None, "", _header_difference(one, other)), one)
            return _diff_waves(one, other)
        except DamagedRunError as error:
            return _differs(damage(error), one)


def _differs(divergence: Divergence, one: RunFileReader, waves: int = 0, turns: int = 0) -> ReplayReport:
    return ReplayReport(False, "", waves, turns, str(one.head.get("ended", "")), divergence)


def _header_difference(one: RunFileReader, other: RunFileReader) -> str:
    mine, theirs = dict(_leaves(one.profile())), dict(_leaves(other.profile()))
    keys = [key for key in dict.fromkeys([*mine, *theirs]) if mine.get(key) != theirs.get(key) and _noticed(key)]
    if keys:
        shown = [f"{key} ({mine.get(key, 'absent')!s}, {theirs.get(key, 'absent')!s})" for key in keys[:_LISTED]]
        more = f" and {len(keys) - _LISTED} more" if len(keys) > _LISTED else ""
        return f"the runs began differently: their profiles differ in {', '.join(shown)}{more}"
    if one.group_modules() != other.group_modules():
        return "the runs began differently: their modules differ"
    return f"the runs began differently: written by {one.head['wavelock']} and {other.head['wavelock']}"


def _leaves(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested tables and arrays by their key paths: `agents[0].limits.inbox`."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list) and value:
        for at, item in enumerate(value):
            yield from _leaves(item, f"{where}[{at}]")
    else:
        yield where, value


def _noticed(key: str) -> bool:
    return not (key.startswith(_UNNOTICED) or key.endswith(".module"))


def _diff_waves(one: RunFileReader, other: RunFileReader) -> ReplayReport:
    digest, done, turns = "", 0, 0
    theirs = other.waves()
    for row in one.waves():
        match = next(theirs, None)
        if match is None:
            what = f"only {one.path} has this wave; {other.path} ends before it"
            return _differs(Divergence(row.wave, "", what), one, done, turns)
        if (row.wave, row.digest) != (match.wave, match.digest):
            return _differs(_diff_wave(row, match, one, other), one, done, turns)
        digest, done, turns = row.digest.hex(), done + 1, turns + row.turns
    extra = next(theirs, None)
    if extra is not None:
        what = f"only {other.path} has this wave; {one.path} ends before it"
        return _differs(Divergence(extra.wave, "", what), one, done, turns)
    return ReplayReport(True, digest, done, turns, str(one.head.get("ended", "")), None)


def _diff_wave(row: WaveRow, match: WaveRow, one: RunFileReader, other: RunFileReader) -> Divergence:
    if row.wave != match.wave:
        return Divergence(min(row.wave, match.wave), "", f"wave {row.wave} against wave {match.wave}")
    for find, what in ((_input_difference, "outside inputs"), (_answer_difference, "inference answers")):
        agent = find(row.wave, one, other)
        if agent is not None:
            return Divergence(row.wave, one.agent_name(agent), f"different {what} entered before this wave")
    return compare_turns(row.wave, _details(row), _details(match), one.agent_name, ("first", "second"))


def _details(row: WaveRow) -> Details | None:
    try:
        return read_turns(row.detail) if row.detail is not None else None
    except ValueError as error:
        raise DamagedRowError("waves", row.wave, "", f"its turn details: {error}") from None


def _input_difference(wave: int, one: RunFileReader, other: RunFileReader) -> int | None:
    mine, theirs = one.inputs(wave), other.inputs(wave)
    return _first_difference([(row.agent, row) for row in mine], [(row.agent, row) for row in theirs])


def _answer_difference(wave: int, one: RunFileReader, other: RunFileReader) -> int | None:
    query = "SELECT agent, checksum FROM inference WHERE wave = ? ORDER BY request_wave, position"
    return _first_difference(one.rows(query, wave), other.rows(query, wave))


def _first_difference(one: list[Any], other: list[Any]) -> int | None:
    """The agent of the first row that differs; rows begin with their agent. None where none does."""
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            return int(mine[0])
    longer = one if len(one) > len(other) else other
    return int(longer[min(len(one), len(other))][0]) if len(one) != len(other) else None

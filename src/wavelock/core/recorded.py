"""The rows of a run file that a replay computes anew, compared in step with its waves.

The digest covers what agents did; these tables tell people of it. Nothing feeds from them, so damage in them would
otherwise go unnoticed. Each table is read once, in order; what is only known at the end (agents, state) is kept
until then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, Final

import numpy as np

from wavelock.core.divergence import Diverged, compare_turns
from wavelock.core.errors import DamagedRunError
from wavelock.core.runfile import Row, told_rows, wave_row
from wavelock.core.runreader import DamagedRowError, RunFileReader, WaveRow
from wavelock.core.turnrows import read_turns, turn_rows
from wavelock.core.wave import WaveRecord

_TOLD: Final[Mapping[str, tuple[str, ...]]] = {
    "outputs": ("wave", "position", "agent", "tag", "payload"),
    "faults": ("wave", "position", "agent", "fault", "detail"),
    "logs": ("wave", "position", "agent", "level", "kernel", "text"),
}
"""Tables with rows by wave and position, in that order."""
_AGENTS: Final = ("id", "name", "grp", "parent", "born", "ended", "reason", "code")
_STATE: Final = ("key", "value", "agent", "wave")
_SHOWN: Final = 60
"""Characters of a value that an error shows."""


class RecordedTables:
    """Compares one run file's tables with a replay of it."""

    def __init__(
        self, reader: RunFileReader, name: Callable[[int], str], turns: bool, modules: Mapping[str, str]
    ) -> None:
        """name: agents' names by id. turns: whether the run kept turn details. modules: names by digest."""
        self._reader = reader
        self._name = name
        self._turns = turns
        self._modules = modules
        self._told = {table: _Rows(reader, table, columns) for table, columns in _TOLD.items()}
        self._agents: dict[int, list[Any]] = {}
        self._state: dict[bytes, Row] = {}
        self._outside = {"inputs": 0, "inference": 0}

    def compare(self, row: WaveRow, record: WaveRecord) -> None:
        """Compare the rows of one wave. Raises Diverged, DamagedRunError."""
        for column, found, expected in zip(WaveRow._fields[:-1], row, wave_row(record, None), strict=False):
            if found != expected:
                raise Diverged(row.wave, "", _differ("waves", column, found, expected))
        self._compare_detail(row, record)
        for table, rows in told_rows(record).items():
            self._compare_told(self._told[table], row.wave, rows)
        self._outside["inputs"] += len(record.inputs)
        self._outside["inference"] += len(record.answers)
        self._keep(record)

    def _compare_detail(self, row: WaveRow, record: WaveRecord) -> None:
        if (row.detail is not None) != self._turns:
            raise DamagedRowError("waves", row.wave, "", f"record.turns was {self._turns}, its turn details say else")
        if row.detail is None:
            return
        try:
            recorded = read_turns(row.detail)
        except ValueError as error:
            raise DamagedRowError("waves", row.wave, "", f"its turn details: {error}") from None
        replayed = turn_rows(record)
        if not np.array_equal(recorded, replayed):
            found = compare_turns(row.wave, recorded, replayed, self._name, ("recorded", "replayed"))
            raise Diverged(row.wave, found.agent, f"the turn details: {found.what}")

    def _compare_told(self, rows: _Rows, wave: int, expected: Sequence[Row]) -> None:
        for row in expected:
            self._compare_row(rows, row)
        if rows.next is not None and rows.next[0] <= wave:
            raise self._unknown(rows)

    def _compare_row(self, rows: _Rows, expected: Row) -> None:
        found, where = rows.next, f"position {expected[1]}"
        if found is None or found[:2] > expected[:2]:
            raise Diverged(expected[0], self._name(expected[2]), f"the table {rows.table}, {where}: the row is missing")
        if found[:2] < expected[:2]:
            raise self._unknown(rows)
        for column, one, other in zip(rows.columns, found, expected, strict=True):
            if one != other:
                what = f"{where}: {_differ(rows.table, column, one, other)}"
                raise Diverged(expected[0], self._name(expected[2]), what)
        rows.advance()

    def _unknown(self, rows: _Rows) -> Diverged:
        wave, position, agent = (rows.next or (None, None, None))[:3]
        return Diverged(
            wave, self._name(agent), f"the table {rows.table}, position {position}: the replay has no such row"
        )

    def _keep(self, record: WaveRecord) -> None:
        for birth in record.births:
            parent = birth.parent if birth.parent >= 0 else None
            for number, name in enumerate(birth.names(), birth.agent):
                self._agents[number] = [number, name, birth.group, parent, record.wave, None, None, None]
        for ending in record.endings:
            self._agents[ending.agent][5:] = [record.wave, int(ending.reason), ending.code]
        for put in record.puts:
            self._state[put.key] = (put.key, put.value, put.agent, record.wave)

    def end(self, wave: int) -> None:
        """Compare what is known after the last wave alone. Raises Diverged, DamagedRunError."""
        for rows in self._told.values():
            if rows.next is not None:
                raise self._unknown(rows)
        for table, count in self._outside.items():
            (found,) = self._reader.rows(f"SELECT count(*) FROM {table}")[0]  # noqa: S608 - our own names
            if found != count:
                raise Diverged(wave, "", f"the table {table} holds {found} rows, of which the replay took in {count}")
        self._compare_final("agents", _AGENTS, map(tuple, self._agents.values()), wave)
        self._compare_final("state", _STATE, (self._state[key] for key in sorted(self._state)), wave)
        self._compare_final("modules", ("digest", "name"), sorted(self._modules.items()), wave)

    def _compare_final(self, table: str, columns: tuple[str, ...], expected: Iterable[Row], wave: int) -> None:
        query = f"SELECT {', '.join(columns)} FROM {table} ORDER BY {columns[0]}"  # noqa: S608 - our own names
        for found, row in zip_longest(self._reader.stream(query), expected):
            if found == row:
                continue
            where = f"{columns[0]} {_short((row or found)[0])}"
            if found is None or row is None or found[0] != row[0]:
                raise Diverged(wave, "", f"the table {table}, {where}: a row is missing, or one too many")
            column, one, other = next(each for each in zip(columns, found, row, strict=True) if each[1] != each[2])
            raise Diverged(wave, "", f"{where}: {_differ(table, column, one, other)}")


class _Rows:
    """The rows of a table by wave and position. next: the first one not yet compared."""

    def __init__(self, reader: RunFileReader, table: str, columns: tuple[str, ...]) -> None:
        self.table = table
        self.columns = columns
        query = f"SELECT {', '.join(columns)} FROM {table} ORDER BY wave, position"  # noqa: S608 - our own names
        self._rows: Iterator[tuple[Any, ...]] = reader.stream(query)
        self.advance()

    def advance(self) -> None:
        """Go on to the row after. Raises DamagedRunError."""
        self.next = next(self._rows, None)
        if self.next is not None and not all(isinstance(number, int) for number in self.next[:3]):
            raise DamagedRunError(
                f"a row of the table {self.table} is damaged: {_short(self.next[:3])} are not numbers"
            )


def _differ(table: str, column: str, recorded: object, replayed: object) -> str:
    return f"the table {table}: {column} recorded {_short(recorded)}, replayed {_short(replayed)}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."

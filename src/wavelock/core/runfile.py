"""The run file: one SQLite file that holds everything a replay needs.

Rules:
- A wave's rows and all waves before it are committed together: after a crash the file opens at a committed wave.
- The file is made anew and never written over; it is in WAL mode while a run writes it and one plain file afterwards.
- Rows that a replay reads and cannot compute carry a checksum, so that damage is named and not only noticed.
- `docs/run-file.md` describes every table; FORMAT grows with any change that an older reader would misread.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from blake3 import blake3

from wavelock.core.errors import EnvironmentFailure, RunFileError
from wavelock.core.turnrows import pack_record
from wavelock.core.wave import WaveRecord

FORMAT: Final = 2
APPLICATION_ID: Final = 0x57564C4B
"""SQLite's application id: "WVLK"."""
SUFFIX: Final = ".wavelock"
SCHEMA: Final = """
CREATE TABLE run (key TEXT PRIMARY KEY, value BLOB NOT NULL, checksum BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE modules (digest TEXT PRIMARY KEY, name TEXT NOT NULL, bytes BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE agents (id INTEGER PRIMARY KEY, name TEXT NOT NULL, grp TEXT NOT NULL, parent INTEGER,
  born INTEGER NOT NULL, ended INTEGER, reason INTEGER, code INTEGER);
CREATE TABLE waves (wave INTEGER PRIMARY KEY, digest BLOB NOT NULL, turns INTEGER NOT NULL, messages INTEGER NOT NULL,
  fuel INTEGER NOT NULL, faults INTEGER NOT NULL, lost INTEGER NOT NULL, detail BLOB, checksum BLOB NOT NULL);
CREATE TABLE inputs (wave INTEGER NOT NULL, position INTEGER NOT NULL, agent INTEGER NOT NULL, tag INTEGER NOT NULL,
  stream TEXT NOT NULL, payload BLOB NOT NULL, checksum BLOB NOT NULL, PRIMARY KEY (wave, position)) WITHOUT ROWID;
CREATE TABLE inference (request_wave INTEGER NOT NULL, position INTEGER NOT NULL, wave INTEGER NOT NULL,
  model INTEGER NOT NULL, agent INTEGER NOT NULL, tag INTEGER NOT NULL, reason INTEGER NOT NULL, payload BLOB NOT NULL,
  checksum BLOB NOT NULL, PRIMARY KEY (request_wave, position)) WITHOUT ROWID;
CREATE TABLE outputs (wave INTEGER NOT NULL, position INTEGER NOT NULL, agent INTEGER NOT NULL, tag INTEGER NOT NULL,
  payload BLOB NOT NULL, PRIMARY KEY (wave, position)) WITHOUT ROWID;
CREATE TABLE state (key BLOB PRIMARY KEY, value BLOB NOT NULL, agent INTEGER NOT NULL, wave INTEGER NOT NULL)
  WITHOUT ROWID;
CREATE TABLE logs (wave INTEGER NOT NULL, position INTEGER NOT NULL, agent INTEGER NOT NULL, level INTEGER NOT NULL,
  kernel INTEGER NOT NULL, text TEXT NOT NULL, PRIMARY KEY (wave, position)) WITHOUT ROWID;
CREATE TABLE faults (wave INTEGER NOT NULL, position INTEGER NOT NULL, agent INTEGER NOT NULL, fault INTEGER NOT NULL,
  detail TEXT NOT NULL, PRIMARY KEY (wave, position)) WITHOUT ROWID;
"""
_LACKING: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""What the machine lacks rather than what the user got wrong."""


class RunFileExistsError(RunFileError):
    """A run file that exists already."""


def row_checksum(*values: object) -> bytes:
    """The checksum of a row: 16 bytes of BLAKE3 over its values, each with its type and behind its length."""
    hasher = blake3()
    for value in values:
        data = value if isinstance(value, bytes) else str(value).encode()
        hasher.update(f"{type(value).__name__}:{len(data)}:".encode() + data)
    return hasher.digest(16)


def head_row(key: str, value: str | bytes) -> tuple[object, ...]:
    """A row of the table `run`."""
    return key, value, row_checksum(key, value)


def create_run_file(path: Path) -> None:
    """Make an empty run file.

    Raises RunFileExistsError, RunFileError where it cannot be made there, EnvironmentFailure where the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise _cannot_make(path, error) from None
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
    except FileExistsError:
        raise RunFileExistsError(
            f"{path}: exists already, and a run file is never written over; choose another --record or remove it"
        ) from None
    except (OSError, ValueError) as error:
        raise _cannot_make(path, error) from None
    try:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            # One commit, not one a table, and none that waits for the disk: the journal's own bring it there.
            connection.executescript(
                f"PRAGMA synchronous = NORMAL; BEGIN; PRAGMA application_id = {APPLICATION_ID}; "
                f"PRAGMA user_version = {FORMAT};{SCHEMA} COMMIT"
            )
    except sqlite3.Error as error:
        remove_run_file(path)
        raise EnvironmentFailure(f"{path}: the run file cannot be made: {error}") from None


def _cannot_make(path: Path, error: OSError | ValueError) -> RunFileError | EnvironmentFailure:
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    kind = EnvironmentFailure if isinstance(error, OSError) and error.errno in _LACKING else RunFileError
    return kind(f"{path}: the run file cannot be made: {reason}; choose another --record, or record.folder")


def remove_run_file(path: Path) -> None:
    """Take away a run file that never came to hold anything."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        with contextlib.suppress(OSError):
            path.with_name(path.name + suffix).unlink()


def next_run_file(folder: Path, name: str) -> Path:
    """Make the next numbered run file of a folder, `name-0001.wavelock`, and answer its path. Raises as above."""
    number = _last_number(folder, name)
    while True:
        number += 1
        path = folder / f"{name}-{number:04d}{SUFFIX}"
        # Another run may take the number between the look and the try.
        with contextlib.suppress(RunFileExistsError):
            create_run_file(path)
            return path


def _last_number(folder: Path, name: str) -> int:
    pattern = re.compile(re.escape(name) + r"-(\d+)" + re.escape(SUFFIX))
    try:
        names = [entry.name for entry in folder.iterdir()]
    except OSError:
        return 0  # not there, or not to be read: making the file says which
    return max((int(match[1]) for each in names if (match := pattern.fullmatch(each))), default=0)


Row = tuple[Any, ...]


def wave_row(record: WaveRecord, detail: bytes | None) -> Row:
    """A row of the table `waves`, but for its checksum."""
    return (
        record.wave, record.digest, len(record.plan), record.messages, _signed(record.total_fuel),
        len(record.faults), record.lost, detail,
    )  # fmt: skip


def _signed(value: int) -> int:
    """SQLite's integers are signed 64-bit; a sum past that is kept at the end of the range."""
    return min(value, 2**63 - 1)


def told_rows(record: WaveRecord) -> dict[str, list[Row]]:
    """The rows of the tables that tell people what happened in a wave, by table: what a replay computes again."""
    wave = record.wave
    return {
        "outputs": [(wave, at, row.agent, row.tag, row.payload) for at, row in enumerate(record.outputs)],
        "faults": [(wave, at, row.agent, int(row.fault), row.detail) for at, row in enumerate(record.faults)],
        "logs": [(wave, at, row.agent, row.level, int(row.kernel), row.text) for at, row in enumerate(record.logs)],
    }


MAX_VALUES: Final = 900
"""Values bound in one statement: SQLite's oldest bound is 999."""
_OVER: Final = " ON CONFLICT (key) DO UPDATE SET value = excluded.value, agent = excluded.agent, wave = excluded.wave"


class RunFileRows:
    """Turns the records of a batch into rows, and writes them. Used on the writing thread alone.

    Many rows go into one statement: SQLite gives the interpreter's lock up and takes it again for each, and a run that
    is busy in Python gives it back only every few milliseconds.
    """

    def __init__(self, connection: sqlite3.Connection, turns: bool) -> None:
        self._connection = connection
        self._turns = turns
        self._rows: dict[str, list[Row]] = {}
        self._endings: list[Row] = []
        self._state: dict[bytes, Row] = {}

    def put(self, record: WaveRecord) -> None:
        """Add a wave to the batch."""
        wave = record.wave
        row = wave_row(record, pack_record(record) if self._turns else None)
        self._add("waves", [(*row, row_checksum(*row))])
        self._put_outside(record)
        self._add(
            "agents (id, name, grp, parent, born)",
            [
                (birth.agent + at, name, birth.group, birth.parent if birth.parent >= 0 else None, wave)
                for birth in record.births
                for at, name in enumerate(birth.names())
            ],
        )
        self._endings += [(wave, row.reason, row.code, row.agent) for row in record.endings]
        for table, rows in told_rows(record).items():
            self._add(table, rows)
        for put in record.puts:
            self._state[put.key] = (put.key, put.value, put.agent, wave)

    def _put_outside(self, record: WaveRecord) -> None:
        wave = record.wave
        inputs = [(wave, at, row.agent, row.tag, row.stream, row.payload) for at, row in enumerate(record.inputs)]
        answers = [
            (row.request_wave, row.position, wave, row.model, row.agent, row.tag, row.reason, row.payload)
            for row in record.answers
        ]
        self._add("inputs", _checked(inputs))
        self._add("inference", _checked(answers))

    def _add(self, table: str, rows: Sequence[Row]) -> None:
        if rows:
            self._rows.setdefault(table, []).extend(rows)

    def write(self) -> None:
        """Write the batch into the transaction in progress."""
        for table, rows in self._rows.items():
            self._insert(table, rows)
        if self._endings:
            self._connection.executemany(
                "UPDATE agents SET ended = ?, reason = ?, code = ? WHERE id = ?", self._endings
            )
        if self._state:
            self._insert("state", list(self._state.values()), _OVER)

    def _insert(self, table: str, rows: list[Row], suffix: str = "") -> None:
        columns = len(rows[0])
        step = max(1, MAX_VALUES // columns)
        one = f"({', '.join('?' * columns)})"
        for at in range(0, len(rows), step):
            some = rows[at : at + step]
            # The table's name and the marks are ours; every value is bound.
            statement = f"INSERT INTO {table} VALUES {', '.join([one] * len(some))}{suffix}"  # noqa: S608
            self._connection.execute(statement, [value for row in some for value in row])


def _checked(rows: Sequence[Row]) -> list[Row]:
    return [(*row, row_checksum(*row)) for row in rows]

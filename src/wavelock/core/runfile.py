"""The run file: one SQLite file that holds everything a replay needs.

Rules:
- A wave's rows and all waves before it are committed together: after a crash the file opens at a committed wave.
- The file is made anew and never written over; it is in WAL mode while a run writes it and one plain file afterwards.
- Rows that come from outside carry a checksum, so that damage is named and not only noticed.
- `docs/run-file.md` describes every table; FORMAT grows with any change that an older reader would misread.
"""

from __future__ import annotations

import os
import re
import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from blake3 import blake3

from wavelock.core.errors import RunFileError
from wavelock.core.wave import WaveRecord

FORMAT: Final = 1
APPLICATION_ID: Final = 0x57564C4B
"""SQLite's application id: "WVLK"."""
SUFFIX: Final = ".wavelock"
SCHEMA: Final = """
CREATE TABLE run (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE modules (digest TEXT PRIMARY KEY, name TEXT NOT NULL, bytes BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE agents (id INTEGER PRIMARY KEY, name TEXT NOT NULL, grp TEXT NOT NULL, parent INTEGER,
  born INTEGER NOT NULL, ended INTEGER, reason INTEGER, code INTEGER);
CREATE TABLE waves (wave INTEGER PRIMARY KEY, digest BLOB NOT NULL, turns INTEGER NOT NULL, messages INTEGER NOT NULL,
  fuel INTEGER NOT NULL, faults INTEGER NOT NULL, lost INTEGER NOT NULL, detail BLOB);
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
TURN: Final = np.dtype(
    [("agent", "<u4"), ("fault", "<i4"), ("fuel", "<u8"), ("outbox_bytes", "<u4"), ("outbox_crc", "<u4")]
)
"""One turn in a wave's `detail` (zlib): who, how it ended, what it used, and a CRC-32 of its outbox."""


def checksum(*parts: bytes) -> bytes:
    """The checksum of a row: 16 bytes of BLAKE3 over its parts, each behind its length."""
    hasher = blake3()
    for part in parts:
        hasher.update(len(part).to_bytes(8, "little") + part)
    return hasher.digest(16)


def row_checksum(payload: bytes, *numbers: int) -> bytes:
    """The checksum of a row of numbers and a payload."""
    return checksum(repr(numbers).encode(), payload)


def turn_details(record: WaveRecord) -> np.typing.NDArray[np.void]:
    """A wave's turns, in plan order, as rows of dtype TURN."""
    rows = np.zeros(len(record.plan), TURN)
    rows["agent"], rows["fault"] = record.plan, record.fault_codes
    rows["fuel"], rows["outbox_bytes"] = record.fuel, record.outbox_bytes
    view, at, sums = memoryview(record.outboxes), 0, []
    for length in record.outbox_bytes.tolist():
        sums.append(zlib.crc32(view[at : at + length]))
        at += length
    rows["outbox_crc"] = sums
    return rows


def read_turn_details(blob: bytes) -> np.typing.NDArray[np.void]:
    """The rows that `turn_details` made. Raises ValueError for a damaged blob."""
    try:
        return np.frombuffer(zlib.decompress(blob), TURN)
    except zlib.error as error:
        raise ValueError(str(error)) from None


def create_run_file(path: Path) -> None:
    """Make an empty run file. Raises RunFileError where it exists already or cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        connection = sqlite3.connect(path)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(
                f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT};{SCHEMA}"
            )
        finally:
            connection.close()
    except FileExistsError:
        raise RunFileError(
            f"{path}: exists already, and a run file is never written over; choose another --record or remove it"
        ) from None
    except OSError as error:
        raise RunFileError(f"{path}: the run file cannot be made: {error.strerror or error}") from None
    except sqlite3.Error as error:
        raise RunFileError(f"{path}: the run file cannot be made: {error}") from None


def next_run_file(folder: Path, name: str) -> Path:
    """Make the next numbered run file of a folder, `name-0001.wavelock`, and answer its path."""
    taken = [0]
    if folder.is_dir():
        pattern = re.compile(re.escape(name) + r"-(\d+)" + re.escape(SUFFIX))
        taken += [int(match[1]) for entry in folder.iterdir() if (match := pattern.fullmatch(entry.name))]
    number = max(taken)
    while True:
        number += 1
        path = folder / f"{name}-{number:04d}{SUFFIX}"
        try:
            create_run_file(path)
        except RunFileError:
            if not path.exists():
                raise
            continue  # another run took this number between the look and the try
        return path


class RunFileRows:
    """Turns records into rows. Used on the writing thread alone."""

    def __init__(self, connection: sqlite3.Connection, turns: bool) -> None:
        self._connection = connection
        self._turns = turns

    def put(self, record: WaveRecord) -> None:
        """Add a wave's rows to the transaction in progress."""
        wave = record.wave
        detail = zlib.compress(turn_details(record).tobytes(), 1) if self._turns else None
        self._many(
            "INSERT INTO waves VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    wave, record.digest, len(record.plan), record.messages, _signed(record.total_fuel),
                    len(record.faults), record.lost, detail,
                )
            ],
        )  # fmt: skip
        self._put_outside(record)
        self._many(
            "INSERT INTO agents (id, name, grp, parent, born) VALUES (?, ?, ?, ?, ?)",
            [(row.agent, row.name, row.group, row.parent if row.parent >= 0 else None, wave) for row in record.births],
        )
        self._many(
            "UPDATE agents SET ended = ?, reason = ?, code = ? WHERE id = ?",
            [(wave, row.reason, row.code, row.agent) for row in record.endings],
        )
        self._many("INSERT INTO outputs VALUES (?, ?, ?, ?, ?)", _numbered(wave, record.outputs))
        self._many("INSERT INTO faults VALUES (?, ?, ?, ?, ?)", _numbered(wave, record.faults))
        self._many(
            "INSERT INTO logs VALUES (?, ?, ?, ?, ?, ?)",
            [(wave, at, row.agent, row.level, row.kernel, row.text) for at, row in enumerate(record.logs)],
        )
        self._many(
            "INSERT INTO state VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value, "
            "agent = excluded.agent, wave = excluded.wave",
            [(row.key, row.value, row.agent, wave) for row in record.puts],
        )

    def _put_outside(self, record: WaveRecord) -> None:
        wave = record.wave
        self._many(
            "INSERT INTO inputs VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (wave, at, row.agent, row.tag, row.stream, row.payload, row_checksum(row.payload, row.agent, row.tag))
                for at, row in enumerate(record.inputs)
            ],
        )
        self._many(
            "INSERT INTO inference VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    row.request_wave, row.position, wave, row.model, row.agent, row.tag, row.reason, row.payload,
                    row_checksum(row.payload, row.model, row.agent, row.tag, row.reason),
                )
                for row in record.answers
            ],
        )  # fmt: skip

    def _many(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        if rows:
            self._connection.executemany(statement, rows)


def _numbered(wave: int, rows: Iterable[tuple[object, ...]]) -> list[tuple[object, ...]]:
    return [(wave, at, *row) for at, row in enumerate(rows)]


def _signed(value: int) -> int:
    """SQLite's integers are signed 64-bit; a sum past that is kept at the end of the range."""
    return min(value, 2**63 - 1)

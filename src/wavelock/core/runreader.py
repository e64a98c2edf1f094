"""Reading a run file: what `replay`, `diff` and `inspect` stand on. Never writes.

A file that is not a run file, is damaged or cut, or was written by a newer format is refused with what was found.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import msgspec

from wavelock.core.errors import DamagedRunError, RunFileError
from wavelock.core.ports import InferenceAnswer
from wavelock.core.runfile import APPLICATION_ID, FORMAT, row_checksum
from wavelock.core.wave import Input


class WaveRow(NamedTuple):
    """A row of the table `waves`."""

    wave: int
    digest: bytes
    turns: int
    messages: int
    fuel: int
    faults: int
    lost: int
    detail: bytes | None


class RunFileReader:
    """An open run file."""

    def __init__(self, path: str | Path) -> None:
        """Open and check a run file. Raises RunFileError."""
        self.path = Path(path)
        if not self.path.is_file():
            raise RunFileError(f"{self.path}: no such run file")
        self._connection = self._connect()
        try:
            self._check_kind()
            self.head = self._read_head()
        except sqlite3.Error as error:
            self._connection.close()
            raise self._unreadable(error) from None
        except RunFileError:
            self._connection.close()
            raise

    def _connect(self) -> sqlite3.Connection:
        # A file left by a killed run has its log beside it, and reading that takes the right to write.
        beside = self.path.with_name(self.path.name + "-wal")
        mode = "rw" if beside.exists() else "ro"
        try:
            return sqlite3.connect(f"{self.path.resolve().as_uri()}?mode={mode}", uri=True)
        except sqlite3.Error as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: Exception) -> RunFileError:
        return RunFileError(f"{self.path}: not a readable run file (damaged, cut short, or something else): {error}")

    def _check_kind(self) -> None:
        kind = self._connection.execute("PRAGMA application_id").fetchone()[0]
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if kind != APPLICATION_ID:
            raise RunFileError(f"{self.path}: a SQLite database, but not a Wavelock run file")
        if version > FORMAT:
            raise RunFileError(
                f"{self.path}: has run file format {version}; this Wavelock reads up to {FORMAT}: upgrade Wavelock"
            )
        found = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise RunFileError(f"{self.path}: the run file is damaged: {found}")

    def _read_head(self) -> dict[str, Any]:
        head = dict(self._connection.execute("SELECT key, value FROM run").fetchall())
        missing = [key for key in ("profile", "header", "wavelock") if key not in head]
        if missing:
            raise RunFileError(f"{self.path}: the run never began: no {', '.join(missing)} was written")
        return head

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows of a query. Raises RunFileError where the file turns out damaged."""
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise self._unreadable(error) from None

    def profile(self) -> dict[str, Any]:
        """The profile's raw tables. Raises DamagedRunError."""
        try:
            raw = json.loads(self.head["profile"])
        except ValueError as error:
            raise DamagedRunError(f"{self.path}: the row run.profile is damaged: {error}") from None
        if not isinstance(raw, dict):
            raise DamagedRunError(f"{self.path}: the row run.profile is damaged: not a table")
        return raw

    def group_modules(self) -> list[str]:
        """The module digest of each group, in profile order."""
        try:
            return msgspec.json.decode(self.head["group_modules"], type=list[str])
        except (KeyError, TypeError, msgspec.DecodeError) as error:
            raise DamagedRunError(f"{self.path}: the row run.group_modules is damaged: {error}") from None

    def module(self, digest: str) -> bytes:
        """A module's bytes, checked against its digest. Raises DamagedRunError."""
        from wavelock.core.digest import hash_bytes

        rows = self.rows("SELECT bytes FROM modules WHERE digest = ?", digest)
        if not rows or hash_bytes(bytes(rows[0][0])) != digest:
            raise DamagedRunError(f"{self.path}: the row of module {digest[:16]} is missing or damaged")
        return bytes(rows[0][0])

    def waves(self) -> Iterator[WaveRow]:
        """The committed waves, in order."""
        try:
            for row in self._connection.execute("SELECT * FROM waves ORDER BY wave"):
                yield WaveRow(*row)
        except sqlite3.Error as error:
            raise self._unreadable(error) from None

    def agent_name(self, number: int) -> str:
        """An agent's name; its number where the file has none."""
        rows = self.rows("SELECT name FROM agents WHERE id = ?", number)
        return str(rows[0][0]) if rows else f"agent {number}"

    def inputs(self, wave: int) -> list[Input]:
        """The outside inputs that entered before a wave. Raises DamagedRowError."""
        query = "SELECT agent, tag, payload, stream, checksum FROM inputs WHERE wave = ? ORDER BY position"
        taken = []
        for at, (agent, tag, payload, stream, stored) in enumerate(self.rows(query, wave)):
            if row_checksum(payload, agent, tag) != stored:
                raise DamagedRowError("inputs", wave, self.agent_name(agent), f"position {at}")
            taken.append(Input(agent, tag, payload, stream))
        return taken

    def answers(self, request_wave: int, model: int) -> list[InferenceAnswer]:
        """The answers to one batch, in order. Raises DamagedRowError."""
        query = (
            "SELECT position, wave, agent, tag, reason, payload, checksum FROM inference "
            "WHERE request_wave = ? AND model = ? ORDER BY position"
        )
        taken = []
        for position, wave, agent, tag, reason, payload, stored in self.rows(query, request_wave, model):
            if row_checksum(payload, model, agent, tag, reason) != stored:
                what = f"requested in wave {request_wave}, position {position}"
                raise DamagedRowError("inference", wave, self.agent_name(agent), what)
            taken.append(InferenceAnswer(reason, payload))
        return taken

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        self._connection.close()

    def __enter__(self) -> RunFileReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class DamagedRowError(DamagedRunError):
    """A row of outside input that does not match its checksum."""

    def __init__(self, table: str, wave: int, agent: str, what: str) -> None:
        super().__init__(table, wave, agent, what)
        self.table = table
        self.wave = wave
        self.agent = agent
        self.what = what

    def __str__(self) -> str:
        return f"wave {self.wave}, agent {self.agent}: a row of the table {self.table} is damaged ({self.what})"

"""Reading a run file: what `replay`, `diff` and `inspect` stand on. Never writes.

A file that is not a run file, is damaged or cut, or was written by a newer format is refused with what was found.
"""

from __future__ import annotations

import json
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple

import msgspec

from wavelock.core.errors import DamagedRunError, RunFileError
from wavelock.core.ports import InferenceAnswer
from wavelock.core.runfile import APPLICATION_ID, FORMAT, row_checksum
from wavelock.core.wave import Input

SQLITE_ERRORS: Final = (sqlite3.Error, UnicodeDecodeError)
"""What reading a damaged file raises; the second where SQLite's own message quotes bytes that are no text."""


_WAL_MARK: Final = slice(18, 20)
"""Where SQLite's header says how the file is written: 2, 2 with a write-ahead log."""


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
    """An open run file. What is read of the rows that carry a checksum is checked against it."""

    def __init__(self, path: str | Path) -> None:
        """Open and check a run file. Raises RunFileError."""
        self.path = Path(path)
        self._check_path()
        self._connection = self._connect()
        try:
            self._check_kind()
            self.head, self._damaged = self._read_head()
        except SQLITE_ERRORS as error:
            self._connection.close()
            raise self._unreadable(error) from None
        except RunFileError:
            self._connection.close()
            raise

    def _check_path(self) -> None:
        try:
            info = self.path.stat()
        except (OSError, ValueError) as error:
            reason = "no such run file" if isinstance(error, FileNotFoundError) else f"cannot be read: {error}"
            raise RunFileError(f"{self.path}: {reason}") from None
        if not stat.S_ISREG(info.st_mode):
            raise RunFileError(f"{self.path}: is not a file; expected a run file")
        if not info.st_size:
            raise RunFileError(f"{self.path}: an empty file: no run wrote anything to it")

    def _modes(self) -> tuple[str, ...]:
        """How to open the file, best first.

        Read-only where it is one plain file. One with a log, or left in that mode by a killed run, takes the right to
        write: SQLite folds the log into it and tidies up. On a read-only medium neither works, and SQLite has to be
        told that nobody changes the file.
        """
        try:
            with self.path.open("rb") as file:
                head = file.read(_WAL_MARK.stop)
        except OSError as error:
            raise RunFileError(f"{self.path}: cannot be read: {error.strerror}") from None
        beside = any(self.path.with_name(self.path.name + suffix).exists() for suffix in ("-wal", "-journal"))
        if beside:
            return ("mode=rw", "mode=ro")
        return ("mode=rw" if head[_WAL_MARK] == b"\2\2" else "mode=ro", "mode=ro&immutable=1")

    def _connect(self) -> sqlite3.Connection:
        failure: Exception | None = None
        for mode in self._modes():
            try:
                connection = sqlite3.connect(f"{self.path.resolve().as_uri()}?{mode}", uri=True)
            except SQLITE_ERRORS as error:
                failure = failure or error
                continue
            try:
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            except SQLITE_ERRORS as error:
                failure = failure or error
                connection.close()
            else:
                connection.execute("PRAGMA query_only = ON")
                return connection
        raise self._unreadable(failure)

    def _unreadable(self, error: Exception | None) -> RunFileError:
        return RunFileError(f"{self.path}: not a readable run file (damaged, cut short, or something else): {error}")

    def _check_kind(self) -> None:
        kind = self._connection.execute("PRAGMA application_id").fetchone()[0]
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if kind != APPLICATION_ID:
            raise RunFileError(f"{self.path}: a SQLite database, but not a Wavelock run file")
        if version != FORMAT:
            way_out = "upgrade Wavelock" if version > FORMAT else "replay it with the Wavelock that wrote it"
            raise RunFileError(f"{self.path}: has run file format {version}; this Wavelock reads {FORMAT}: {way_out}")
        found = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise RunFileError(f"{self.path}: the run file is damaged: {found}")

    def _read_head(self) -> tuple[dict[str, Any], list[str]]:
        """The rows of `run`, and the keys of those that do not match their checksums."""
        rows = self._connection.execute("SELECT key, value, checksum FROM run").fetchall()
        head = {key: value for key, value, _ in rows}
        missing = [key for key in ("profile", "header", "wavelock") if key not in head]
        if missing:
            raise RunFileError(f"{self.path}: the run never began: no {', '.join(missing)} was written")
        return head, [str(key) for key, value, stored in rows if row_checksum(key, value) != stored]

    def check_head(self) -> None:
        """Raises DamagedRunError where a row of the table `run` does not match its checksum."""
        if self._damaged:
            raise DamagedRunError(f"{self.path}: the row run.{self._damaged[0]} is damaged")

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows of a query. Raises RunFileError where the file turns out damaged."""
        try:
            return self._connection.execute(query, values).fetchall()
        except SQLITE_ERRORS as error:
            raise self._unreadable(error) from None

    def profile(self) -> dict[str, Any]:
        """The profile's raw tables. Raises DamagedRunError."""
        try:
            raw = json.loads(self.head["profile"])
        except (TypeError, ValueError) as error:
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

    def group_forms(self) -> list[str]:
        """The digest of each group's module in its deterministic form, in profile order."""
        try:
            return msgspec.json.decode(self.head["group_forms"], type=list[str])
        except (KeyError, TypeError, msgspec.DecodeError) as error:
            raise DamagedRunError(f"{self.path}: the row run.group_forms is damaged: {error}") from None

    def module(self, digest: str) -> bytes:
        """A module's bytes, checked against its digest. Raises DamagedRunError."""
        from wavelock.core.digest import hash_bytes

        rows = self.rows("SELECT bytes FROM modules WHERE digest = ?", digest)
        data = rows[0][0] if rows else None
        if not isinstance(data, bytes) or hash_bytes(data) != digest:
            raise DamagedRunError(f"{self.path}: the row of module {digest[:16]} is missing or damaged")
        return data

    def waves(self) -> Iterator[WaveRow]:
        """The committed waves, in order. Raises DamagedRowError."""
        query = "SELECT wave, digest, turns, messages, fuel, faults, lost, detail, checksum FROM waves ORDER BY wave"
        for *row, stored in self.stream(query):
            if row_checksum(*row) != stored:
                raise DamagedRowError("waves", row[0], "", "its checksum does not match")
            yield WaveRow(*row)

    def stream(self, query: str) -> Iterator[tuple[Any, ...]]:
        """The rows of a query, one at a time. Raises RunFileError where the file turns out damaged."""
        try:
            # Not `yield from`: that would close the cursor of a reader that may be closed by then.
            for row in self._connection.execute(query):  # noqa: UP028
                yield row
        except SQLITE_ERRORS as error:
            raise self._unreadable(error) from None

    def agent_name(self, number: int) -> str:
        """An agent's name; its number where the file has none."""
        rows = self.rows("SELECT name FROM agents WHERE id = ?", number)
        return str(rows[0][0]) if rows else f"#{number}"

    def inputs(self, wave: int) -> list[Input]:
        """The outside inputs that entered before a wave. Raises DamagedRowError."""
        query = (
            "SELECT wave, position, agent, tag, stream, payload, checksum FROM inputs WHERE wave = ? ORDER BY position"
        )
        taken = []
        for at, (*row, stored) in enumerate(self.rows(query, wave)):
            _, position, agent, tag, stream, payload = row
            if position != at or row_checksum(*row) != stored:
                raise DamagedRowError("inputs", wave, self.agent_name(agent), f"position {position}")
            taken.append(Input(agent, tag, payload, stream))
        return taken

    def answers(self, request_wave: int, model: int) -> list[InferenceAnswer]:
        """The answers to one batch, in order. Raises DamagedRowError."""
        query = (
            "SELECT request_wave, position, wave, model, agent, tag, reason, payload, checksum FROM inference "
            "WHERE request_wave = ? AND model = ? ORDER BY position"
        )
        taken = []
        for *row, stored in self.rows(query, request_wave, model):
            _, position, wave, _, agent, _, reason, payload = row
            if row_checksum(*row) != stored:
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
    """A row that does not match its checksum. agent: empty where the row is no agent's."""

    def __init__(self, table: str, wave: int, agent: str, what: str) -> None:
        super().__init__(table, wave, agent, what)
        self.wave = wave
        self.agent = agent
        self.what = f"a row of the table {table} is damaged ({what})"

    def __str__(self) -> str:
        return f"wave {self.wave}, {f'agent {self.agent}: ' if self.agent else ''}{self.what}"

"""The journal of a live run: records go to the run file on a thread of its own, in batches, with a bounded backlog."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from wavelock.core.errors import EnvironmentFailure
from wavelock.core.runfile import RunFileRows, head_row, remove_run_file
from wavelock.core.units import format_bytes
from wavelock.core.wave import WaveRecord

BACKLOG_BYTES: Final = 64 << 20
"""A run that is faster than its disk waits once this much is unwritten."""
BATCH_WAVES: Final = 4096


class RunFileJournal:
    """A `ports.JournalPort` into a run file that `create_run_file` made."""

    def __init__(
        self, path: Path, head: Mapping[str, str | bytes], modules: Mapping[str, tuple[str, bytes]],
        *, turns: bool, max_bytes: int,
    ) -> None:  # fmt: skip
        """head: rows of the table `run`. modules: by digest, name and bytes. max_bytes: bound on the file."""
        self._path = path
        self._turns = turns
        self._max_bytes = max_bytes
        self._head = dict(head)
        self._modules = dict(modules)
        self._backlog: deque[tuple[int, WaveRecord]] = deque()
        self._backlog_bytes = 0
        self._changed = threading.Condition()
        self._closing: str | None = None
        self._failure: str | None = None
        self._opened = False
        self._last: WaveRecord | None = None
        self._thread = threading.Thread(target=self._work, name="wavelock-journal", daemon=True)
        self._thread.start()
        self._wait_until_opened()

    def _wait_until_opened(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._opened or self._failure is not None)
            self._raise_failure()

    def write(self, record: WaveRecord) -> None:
        """See `ports.JournalPort`."""
        record.detach(outboxes=self._turns and record.outbox_hashes is None)
        size = record.size_bytes
        with self._changed:
            self._changed.wait_for(lambda: self._backlog_bytes < BACKLOG_BYTES or self._failure is not None)
            self._raise_failure()
            self._backlog.append((size, record))
            self._backlog_bytes += size
            self._changed.notify_all()

    def close(self, ended: str) -> None:
        """See `ports.JournalPort`."""
        with self._changed:
            if self._closing is None:
                self._closing = ended
            self._changed.notify_all()
        self._thread.join()
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise EnvironmentFailure(f"{self._path}: the run file cannot be written: {self._failure}; {self._left()}")

    def _left(self) -> str:
        """What there is in the file after a failure."""
        if self._last is not None:
            return f"it holds every wave up to wave {self._last.wave}, and replays to there"
        return "it holds no wave" if self._opened else "nothing was left there"

    # ---- on the writing thread ----

    def _work(self) -> None:
        try:
            with contextlib.closing(sqlite3.connect(self._path, isolation_level=None)) as connection:
                self._open(connection)
                while self._write_batch(connection):
                    pass
                self._finish(connection)
        except Exception as error:
            # Whatever it was: a run that waits for this thread must hear of it.
            if not self._opened:
                remove_run_file(self._path)
            with self._changed:
                self._failure = self._describe(error)
                self._backlog.clear()
                self._changed.notify_all()

    def _describe(self, error: Exception) -> str:
        if not isinstance(error, (sqlite3.Error, OSError)):
            return f"{type(error).__name__}: {error}"
        if "full" in str(error):
            return f"{error} (limits.journal is {format_bytes(self._max_bytes)})"
        return str(error)

    def _open(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA synchronous = NORMAL")
        page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {max(64, self._max_bytes // page_bytes)}")
        with _transaction(connection):
            head = [head_row(key, value) for key, value in self._head.items()]
            connection.executemany("INSERT INTO run VALUES (?, ?, ?)", head)
            rows = [(digest, name, data) for digest, (name, data) in self._modules.items()]
            connection.executemany("INSERT INTO modules VALUES (?, ?, ?)", rows)
        with self._changed:
            self._opened = True
            self._changed.notify_all()

    def _take(self) -> list[tuple[int, WaveRecord]]:
        """What is to be written next, each with its size; empty when the journal closes."""
        with self._changed:
            self._changed.wait_for(lambda: self._backlog or self._closing is not None)
            return [self._backlog.popleft() for _ in range(min(len(self._backlog), BATCH_WAVES))]

    def _write_batch(self, connection: sqlite3.Connection) -> bool:
        batch = self._take()
        if not batch:
            return False
        try:
            self._put(connection, [record for _, record in batch])
        except sqlite3.Error:
            # What does not fit whole may fit in part: the run then ends with all waves that the disk took.
            for _, record in batch:
                self._put(connection, [record])
        with self._changed:
            self._backlog_bytes -= sum(size for size, _ in batch)
            self._changed.notify_all()
        return True

    def _put(self, connection: sqlite3.Connection, records: Sequence[WaveRecord]) -> None:
        rows = RunFileRows(connection, self._turns)
        with _transaction(connection):
            for record in records:
                rows.put(record)
            rows.write()
        self._last = records[-1]

    def _finish(self, connection: sqlite3.Connection) -> None:
        """Say how the run ended and with which digest, and fold the write-ahead log into the one plain file."""
        digest = self._head["header"] if self._last is None else self._last.digest
        with _transaction(connection):
            rows = [head_row("ended", self._closing or ""), head_row("digest", digest)]
            connection.executemany("INSERT INTO run VALUES (?, ?, ?)", rows)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        # A reader that holds the file open (a user interface) keeps the log beside it; nothing is lost by that.
        with contextlib.suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA journal_mode = DELETE")


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")

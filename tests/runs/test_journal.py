"""The journal: a bounded backlog, failures that reach the run, a close that may come twice."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from wavelock.core import journal
from wavelock.core.errors import EnvironmentFailure
from wavelock.core.journal import RunFileJournal
from wavelock.core.runfile import RunFileRows, create_run_file
from wavelock.core.wave import WaveRecord

if TYPE_CHECKING:
    from runs.conftest import Kit

HEAD: dict[str, str | bytes] = {"wavelock": "0", "profile": "{}", "header": bytes(32)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An empty run file."""
    made = tmp_path / "run.wavelock"
    create_run_file(made)
    return made


@pytest.fixture
def open_journal(path: Path) -> Iterator[Callable[..., RunFileJournal]]:
    """Open a journal on it; closed at the end whatever came of it."""
    made: list[RunFileJournal] = []

    def make(max_bytes: int = 1 << 30) -> RunFileJournal:
        made.append(RunFileJournal(path, HEAD, {"d": ("a", b"x")}, turns=True, max_bytes=max_bytes))
        return made[-1]

    yield make
    for each in made:
        each._thread.join(timeout=10)
        assert not each._thread.is_alive()


def record(wave: int, size: int = 0) -> WaveRecord:
    """A wave with nothing but an outbox of that size."""
    return WaveRecord(wave, digest=bytes([wave % 256] * 32), outboxes=[bytes(size)])


def wait_for_failure(opened: RunFileJournal) -> None:
    """Wait until the writing thread has given up."""
    with opened._changed:
        assert opened._changed.wait_for(lambda: opened._failure is not None, timeout=10)


def test_what_is_written_is_there_in_order(open_journal: Callable[..., RunFileJournal], path: Path, kit: Kit) -> None:
    opened = open_journal()
    for wave in range(500):
        opened.write(record(wave))
    opened.close("quiet")
    assert [row[0] for row in kit.query(path, "SELECT wave FROM waves")] == list(range(500))
    assert kit.query(path, "SELECT value FROM run WHERE key = 'ended'") == [("quiet",)]


def test_a_run_waits_for_a_disk_that_is_slower(
    open_journal: Callable[..., RunFileJournal], path: Path, kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "BACKLOG_BYTES", 10_000)
    entered, go_on = threading.Event(), threading.Event()
    real = RunFileRows.put

    def slow(rows: RunFileRows, written: WaveRecord) -> None:
        entered.set()
        assert go_on.wait(timeout=30)
        real(rows, written)

    monkeypatch.setattr(RunFileRows, "put", slow)
    opened = open_journal()
    opened.write(record(0, 9_000))
    assert entered.wait(timeout=10)
    opened.write(record(1, 9_000))  # the first is being written, and still counts

    def write() -> None:
        for wave in range(2, 40):
            opened.write(record(wave))

    writer = threading.Thread(target=write)
    writer.start()
    writer.join(timeout=0.2)
    assert writer.is_alive()
    assert opened._backlog_bytes <= 10_000 + record(1, 9_000).size_bytes
    assert len(opened._backlog) == 1
    go_on.set()
    writer.join(timeout=10)
    assert not writer.is_alive()
    opened.close("quiet")
    assert opened._backlog_bytes == 0
    assert kit.query(path, "SELECT count(*), max(wave) FROM waves") == [(40, 39)]


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (sqlite3.OperationalError("disk I/O error"), "disk I/O error"),
        (OSError(28, "No space left on device"), "No space left"),
        (OverflowError("too large"), "OverflowError: too large"),
    ],
)
def test_a_failure_in_the_middle_reaches_the_run(
    open_journal: Callable[..., RunFileJournal], path: Path, kit: Kit, monkeypatch: pytest.MonkeyPatch,
    error: Exception, shown: str,
) -> None:  # fmt: skip
    real, written = RunFileRows.put, threading.Event()

    def put(rows: RunFileRows, wave: WaveRecord) -> None:
        if wave.wave == 3:
            raise error
        real(rows, wave)
        written.set()

    monkeypatch.setattr(RunFileRows, "put", put)
    opened = open_journal()
    for wave in range(3):
        opened.write(record(wave))
    with opened._changed:
        assert opened._changed.wait_for(lambda: not opened._backlog_bytes, timeout=10)
    opened.write(record(3))
    wait_for_failure(opened)
    for again in (None, "quiet", "quiet"):
        with pytest.raises(EnvironmentFailure, match=shown) as raised:
            opened.write(record(4)) if again is None else opened.close(again)
        assert str(path) in str(raised.value)
        assert "up to wave 2" in str(raised.value)
    assert kit.query(path, "SELECT count(*) FROM waves") == [(3,)]
    assert kit.query(path, "SELECT * FROM run WHERE key = 'ended'") == []


def test_a_failure_wakes_a_run_that_waits(
    open_journal: Callable[..., RunFileJournal], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "BACKLOG_BYTES", 1)
    entered, go_on = threading.Event(), threading.Event()

    def put(_rows: RunFileRows, _record: WaveRecord) -> None:
        entered.set()
        assert go_on.wait(timeout=30)
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(RunFileRows, "put", put)
    opened = open_journal()
    opened.write(record(0))
    assert entered.wait(timeout=10)
    caught: list[Any] = []

    def write() -> None:
        try:
            opened.write(record(1))
        except EnvironmentFailure as error:
            caught.append(str(error))

    writer = threading.Thread(target=write)
    writer.start()
    go_on.set()
    writer.join(timeout=10)
    assert not writer.is_alive()
    assert "it holds no wave" in caught[0]
    assert "limits.journal is 1 GiB" in caught[0]
    with pytest.raises(EnvironmentFailure):
        opened.close("failed")


def test_closing_twice_keeps_the_first_ending(
    open_journal: Callable[..., RunFileJournal], path: Path, kit: Kit
) -> None:
    opened = open_journal()
    opened.write(record(0))
    opened.close("quiet")
    opened.close("failed")
    assert kit.query(path, "SELECT value FROM run WHERE key = 'ended'") == [("quiet",)]


def test_a_run_without_a_wave_ends_with_its_header(
    open_journal: Callable[..., RunFileJournal], path: Path, kit: Kit
) -> None:
    open_journal().close("stopped")
    assert kit.query(path, "SELECT value FROM run WHERE key = 'digest'") == [(bytes(32),)]


def test_a_journal_that_cannot_begin_leaves_no_file(path: Path) -> None:
    modules = {"d": ("a", bytes(1 << 20))}
    with pytest.raises(EnvironmentFailure, match=r"limits\.journal is 64 KiB\); nothing was left there"):
        RunFileJournal(path, HEAD, modules, turns=True, max_bytes=64 << 10)
    assert list(path.parent.iterdir()) == []

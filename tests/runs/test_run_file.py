"""The run file: what a run leaves in it, how it is made, and who may have it open."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from wavelock import EnvironmentFailure, UserError, replay
from wavelock.core.abi import Fault
from wavelock.core.errors import RunFileError
from wavelock.core.runfile import (
    APPLICATION_ID,
    FORMAT,
    SCHEMA,
    RunFileExistsError,
    create_run_file,
    next_run_file,
    row_checksum,
)
from wavelock.core.runreader import RunFileReader
from wavelock.core.turnrows import outbox_hashes, pack_record, pack_turns, read_turns, turn_rows
from wavelock.core.wave import WaveRecord

if TYPE_CHECKING:
    from runs.conftest import Kit

DOCS = Path(__file__).parents[2] / "docs" / "run-file.md"


def test_every_table_holds_what_the_run_did(kit: Kit, rich: Path) -> None:
    found = {table: kit.query(rich, f"SELECT count(*) FROM {table}")[0][0] for table in kit.COUNTS}
    assert found == kit.COUNTS
    agents = kit.query(rich, "SELECT name, grp, parent, born, ended, reason, code FROM agents WHERE id IN (0, 2, 5, 7)")
    assert agents == [
        ("talker/0", "talker", None, 0, 6, 1, 7),
        ("echo/0", "echo", None, 0, None, None, None),
        ("coder/0", "coder", None, 0, 1, 2, 0),
        ("child/1", "child", 1, 1, None, None, None),
    ]
    assert kit.query(rich, "SELECT key, value, agent, wave FROM state") == [
        (b"k/a", b"two", 1, 1),
        (b"k/b", bytes(40), 1, 1),
    ]
    assert kit.query(rich, "SELECT * FROM faults LIMIT 2") == [
        (1, 0, 5, Fault.AGENT_CODE, "code -42"),
        (2, 0, 4, Fault.UNREACHABLE, ""),
    ]
    assert kit.query(rich, "SELECT * FROM logs WHERE agent = 0") == [
        (0, 0, 0, 2, 0, "hello"),
        (1, 0, 0, 1, 1, "denied: put of key b'other'"),
    ]
    assert kit.query(rich, "SELECT agent, tag, payload FROM outputs WHERE wave = 2 AND position = 0") == [
        (0, 11, b"third turn")
    ]
    assert kit.query(rich, "SELECT wave, position, agent, stream, payload FROM inputs WHERE wave = 1") == [
        (1, 0, 2, "lines", b"line 2"),
        (1, 1, 2, "lines", b"line 3"),
    ]
    assert kit.query(rich, "SELECT request_wave, position, wave, model, agent, tag, reason FROM inference") == [
        (0, 0, 2, 0, 3, 0, 0),
        (1, 0, 3, 0, 3, 8, 0),
        (1, 1, 3, 0, 3, 2, 16),
    ]


def test_the_row_of_a_wave_sums_up_its_turns(kit: Kit, rich: Path) -> None:
    turns, fuel, faults, detail = kit.query(rich, "SELECT turns, fuel, faults, detail FROM waves WHERE wave = 1")[0]
    rows = read_turns(detail)
    assert len(rows) == turns == 6
    assert int(rows["fuel"].sum()) == fuel
    assert faults == np.count_nonzero(rows["fault"]) == 1
    assert rows["agent"].tolist() == [0, 1, 2, 3, 4, 5]


def test_the_head_says_what_ran(kit: Kit, rich: Path) -> None:
    head = dict(kit.query(rich, "SELECT key, value FROM run"))
    profile = json.loads(head["profile"])
    assert profile["run"] == {"name": "rich", "seed": 7}
    assert head["seed"] == "7"
    assert head["workers"] == "inline:1"
    assert head["ended"] == "quiet"
    assert json.loads(head["models"])[0]["fingerprint"] == "fake 1"
    assert head["digest"] == kit.query(rich, "SELECT digest FROM waves ORDER BY wave DESC LIMIT 1")[0][0]
    assert len(json.loads(head["group_modules"])) == 6


def test_the_file_says_what_it_is(kit: Kit, rich: Path) -> None:
    assert kit.query(rich, "PRAGMA application_id") == [(APPLICATION_ID,)]
    assert kit.query(rich, "PRAGMA user_version") == [(FORMAT,)]
    assert rich.read_bytes()[68:72] == b"WVLK"


def test_without_turn_details_a_run_replays_all_the_same(kit: Kit) -> None:
    kit.write_rich()
    path = kit.run("run.wavelock", "record.turns=false")
    assert kit.query(path, "SELECT count(*) FROM waves WHERE detail IS NOT NULL") == [(0,)]
    assert replay(path).identical


def test_turn_details_round_trip() -> None:
    record = WaveRecord(0)
    record.plan = np.array([3, 1], np.uint32)
    record.fuel = np.array([2**64 - 1, 5], np.uint64)
    record.fault_codes, record.outbox_bytes = np.array([0, 16], np.int32), np.array([8, 0], np.uint32)
    record.outboxes = [b"1234", b"5678"]
    rows = turn_rows(record)
    assert rows["agent"].tolist() == [3, 1]
    assert rows["fuel"].tolist() == [2**64 - 1, 5]
    assert rows["outbox_hash"].tolist() == [slow_hash(b"12345678"), 0]
    assert np.array_equal(read_turns(pack_turns(rows)), rows)
    assert pack_record(record) == pack_turns(rows)


def slow_hash(outbox: bytes) -> int:
    """The formula of `core.turnrows` in plain integers."""

    def mix(value: int) -> int:
        value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        value = (value ^ value >> 27) * 0x94D049BB133111EB % 2**64
        return value ^ value >> 31

    words = [int.from_bytes(outbox[at : at + 8], "little") for at in range(0, len(outbox), 8)]
    keys = [mix((at + 1) * 0x9E3779B97F4A7C15 % 2**64) for at in range(len(words))]
    return sum(word * key for word, key in zip(words, keys, strict=True)) % 2**64 >> 32


@given(st.lists(st.binary(max_size=40), max_size=12))
def test_outboxes_have_the_documented_hash(outboxes: list[bytes]) -> None:
    found = outbox_hashes(b"".join(outboxes), np.array([len(outbox) for outbox in outboxes], np.uint32))
    assert found.tolist() == [slow_hash(outbox) for outbox in outboxes]


def columns(size: int) -> bytes:
    return bytes(zstandard.ZstdCompressor().compress(bytes(size)))


BOMB = bytes.fromhex("28b52ffde0") + (1 << 40).to_bytes(8, "little")  # a frame that says it holds a tebibyte


@pytest.mark.parametrize("blob", [b"", b"not zstd", columns(23), columns(240)[:-3], BOMB])
def test_damaged_turn_details_are_a_value_error(blob: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_turns(blob)


def test_a_checksum_tells_types_and_places_apart() -> None:
    rows: list[tuple[object, ...]] = [(1, 12), (11, 2), ("1", 12), (b"1", 12), (1, None), (1, ""), (1, b""), (1.0, 12)]
    assert len({row_checksum(*row) for row in rows}) == len(rows)


# ---- making the file ----


def test_numbered_files_count_on(kit: Kit) -> None:
    kit.write_one(kit.agent([kit.say("x")]))
    (kit.folder / "kept").mkdir()
    for name in ("run-0007.wavelock", "other-0099.wavelock", "run-x.wavelock"):
        (kit.folder / "kept" / name).touch()
    with kit.open(None, 'record.folder="kept"') as runtime:
        runtime.run()
    made = [kit.finish("run", "profile.toml", "--set", "record.folder=kept", "--json")[1] for _ in range(2)]
    assert [Path(json.loads(text)["run_file"]).name for text in made] == ["run-0008.wavelock", "run-0009.wavelock"]


def test_numbers_are_given_once(tmp_path: Path) -> None:
    made: list[Path] = []
    start = threading.Barrier(6)

    def make() -> None:
        start.wait()
        made.append(next_run_file(tmp_path / "runs", "r"))

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.name for path in made) == [f"r-{number:04d}.wavelock" for number in range(1, 7)]


def test_an_existing_file_is_never_written_over(kit: Kit) -> None:
    kit.write_one(kit.agent([kit.say("x")]))
    (kit.folder / "mine.txt").write_text("precious")
    code, output, errors = kit.finish("run", "profile.toml", "--record", "mine.txt")
    assert code == 2
    assert output == ""
    assert "mine.txt: exists already" in errors
    assert "choose another --record" in errors
    assert (kit.folder / "mine.txt").read_text() == "precious"


@pytest.mark.parametrize("where", ["file/run.wavelock", "file/deeper/run.wavelock"])
def test_a_folder_that_cannot_be_made_is_named(kit: Kit, where: str) -> None:
    kit.write_one(kit.agent([kit.say("x")]))
    (kit.folder / "file").touch()
    with pytest.raises(RunFileError, match=r"run\.wavelock: the run file cannot be made: .*(exists|directory)"):
        kit.open(where)
    with pytest.raises(UserError, match=r"run-0001\.wavelock: the run file cannot be made"):
        next_run_file(kit.folder / "file", "run")


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="folder permissions are POSIX")
def test_a_folder_that_cannot_be_written_is_named() -> None:
    script = (
        "import os, sys, pathlib\n"
        "from wavelock.core.runfile import create_run_file, RunFileError\n"
        "if not os.geteuid(): os.setgid(65534); os.setuid(65534)\n"
        "try: create_run_file(pathlib.Path(sys.argv[1], 'run.wavelock'))\n"
        "except RunFileError as error: print(error)"
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        done = subprocess.run([sys.executable, "-c", script, folder], capture_output=True, text=True, check=False)
        assert done.stderr == ""
        assert f"{folder}/run.wavelock: the run file cannot be made: Permission denied" in done.stdout
        assert list(Path(folder).iterdir()) == []


def test_a_name_that_no_file_can_have_is_the_users_mistake(tmp_path: Path) -> None:
    for path in (tmp_path / "a\0b", tmp_path / ("x" * 300)):
        with pytest.raises(RunFileError, match=r"the run file cannot be made"):
            create_run_file(path)


def test_a_file_that_could_not_be_filled_is_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wavelock.core.runfile.SCHEMA", SCHEMA + "CREATE TABLE run (key TEXT);")
    with pytest.raises(EnvironmentFailure, match=r"run-0001\.wavelock: the run file cannot be made: table run"):
        next_run_file(tmp_path, "run")
    assert list(tmp_path.iterdir()) == []


def test_a_log_left_beside_a_removed_file_does_no_harm(kit: Kit, rich: Path) -> None:
    kit.write_rich()
    path = kit.run("first.wavelock")
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("UPDATE waves SET turns = 99")
        connection.commit()
        log = path.with_name(path.name + "-wal").read_bytes()
    connection.close()
    (kit.folder / "second.wavelock-wal").write_bytes(log)
    assert replay(kit.run("second.wavelock")).identical


# ---- two at once ----


def test_a_second_run_on_the_file_is_refused_and_the_first_goes_on(kit: Kit) -> None:
    kit.write_rich()
    with kit.open() as first:
        first.run(waves=3)
        with pytest.raises(RunFileExistsError):
            kit.open()
        result = first.run()
    report = replay(kit.folder / "run.wavelock")
    assert (report.identical, report.digest, report.waves) == (True, result.digest, result.waves)


def test_of_two_processes_started_together_one_gets_the_file(kit: Kit) -> None:
    kit.write_one(kit.agent([kit.say("x") + kit.YIELD] * 50))
    both = [kit.command("run", "profile.toml", "--record", "same.wavelock") for _ in range(2)]
    errors = [process.communicate(timeout=60)[1] for process in both]
    codes = [process.returncode for process in both]
    assert sorted(codes) == [0, 2]
    assert "exists already" in errors[codes.index(2)]
    assert replay(kit.folder / "same.wavelock").waves == 51


def settled(runtime: object) -> None:
    """Wait until the journal has committed what it was given."""
    journal = runtime._parts.journal  # type: ignore[attr-defined]
    with journal._changed:
        assert journal._changed.wait_for(lambda: not journal._backlog_bytes, timeout=30)


def test_a_reader_sees_committed_waves_while_the_run_goes_on(kit: Kit) -> None:
    kit.write_rich()
    path = kit.folder / "run.wavelock"
    with kit.open() as runtime:
        for done in (1, 2, 5):
            while runtime.result.waves < done:
                runtime.step()
            settled(runtime)
            with RunFileReader(path) as reader:
                assert [row.wave for row in reader.waves()] == list(range(done))
                assert "ended" not in reader.head
        assert kit.query(path, "PRAGMA journal_mode") == [("wal",)]
        partial = replay(path)
        assert (partial.identical, partial.waves) == (True, 5)
        runtime.run()
    assert replay(path).waves == 12


def test_a_closed_file_is_one_plain_file(kit: Kit, wavelock: Callable[..., tuple[int, str, str]]) -> None:
    kit.write_rich()
    path = kit.run()
    assert sorted(each.name for each in kit.folder.glob("run.wavelock*")) == ["run.wavelock"]
    assert path.read_bytes()[18:20] == b"\x01\x01"  # SQLite's own mark of a file without a write-ahead log
    assert wavelock("inspect", path)[0] == wavelock("replay", path)[0] == 0
    assert sorted(each.name for each in kit.folder.glob("run.wavelock*")) == ["run.wavelock"]


def test_a_reader_that_stays_keeps_the_log_and_loses_nothing(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    kit.write_rich()
    real = sqlite3.connect
    monkeypatch.setattr("wavelock.core.journal.sqlite3.connect", lambda path, **how: real(path, timeout=0, **how))
    with kit.open() as runtime:
        runtime.run(waves=1)
        settled(runtime)
        reader = RunFileReader(kit.folder / "run.wavelock")
        assert reader.rows("SELECT count(*) FROM waves") == [(1,)]
        runtime.run()
    assert reader.rows("SELECT count(*) FROM waves") == [(12,)]
    reader.close()
    assert replay(kit.folder / "run.wavelock").waves == 12


def test_a_reader_cannot_write(rich: Path) -> None:
    with RunFileReader(rich) as reader, pytest.raises(RunFileError, match=r"readonly"):
        reader.rows("DELETE FROM waves")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root, to become somebody else")
@pytest.mark.parametrize("wal", [False, True])
def test_a_file_on_a_read_only_medium_opens(kit: Kit, rich: Path, wal: bool) -> None:
    if wal:
        kit.query(rich, "PRAGMA journal_mode = WAL")
    script = (
        "import os, sys\n"
        "from wavelock.core.runreader import RunFileReader\n"
        "os.fspath(__import__('pathlib').Path('/').as_uri())  # imports what it needs while it may\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "print(RunFileReader(sys.argv[1]).rows('SELECT count(*) FROM waves'))"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = shutil.copy(rich, folder)
        Path(folder).chmod(0o555)
        done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[(12,)]\n", "")


# ---- its page ----


def test_the_page_names_every_table_and_column() -> None:
    connection = sqlite3.connect(":memory:")
    connection.executescript(SCHEMA)
    text = DOCS.read_text()
    for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        section = re.search(rf"^### `{table}`\n.*?(^\| column .*?)\n\n", text, re.M | re.S)
        assert section, table
        documented = re.findall(r"^\| `(\w+)` \|", section[1], re.M)
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        assert documented == columns, table
    connection.close()


def test_the_pages_queries_work(rich: Path, kit: Kit) -> None:
    queries = re.findall(r"^```sql\n(.*?)^```", DOCS.read_text(), re.M | re.S)
    assert len(queries) >= 3
    for query in queries:
        assert kit.query(rich, query), query

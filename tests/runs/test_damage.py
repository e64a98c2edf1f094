"""Damaged run files: never identical, never a traceback, and what is damaged is named."""

from __future__ import annotations

import json
import random
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wavelock import UserError, diff, replay
from wavelock.core.errors import RunFileError
from wavelock.core.runfile import create_run_file
from wavelock.core.runreader import RunFileReader

if TYPE_CHECKING:
    from runs.conftest import Kit

Command = Callable[..., tuple[int, str, str]]
FLIPS, CUTS = 150, 40


def flipped(value: int | str | bytes, at: int) -> object:
    """The value with one bit of one byte changed, or a number one higher."""
    if isinstance(value, int):
        return value + 1
    data = bytearray(value.encode() if isinstance(value, str) else value)
    data[at % len(data)] ^= 1
    return data.decode() if isinstance(value, str) else bytes(data)


def damage(kit: Kit, path: Path, table: str, column: str, where: str, at: int = 0) -> None:
    """Change one byte, or a number, of one row."""
    value = kit.query(path, f"SELECT {column} FROM {table} WHERE {where}")[0][0]
    assert kit.change(path, f"UPDATE {table} SET {column} = ? WHERE {where}", flipped(value, at)) == 1


SOURCES = [
    ("run", "value", "key = 'profile'", "the row run.profile is damaged"),
    ("run", "value", "key = 'header'", "the row run.header is damaged"),
    ("run", "value", "key = 'group_modules'", "the row run.group_modules is damaged"),
    ("run", "value", "key = 'digest'", "the row run.digest is damaged"),
    ("run", "value", "key = 'ended'", "the row run.ended is damaged"),
    ("run", "checksum", "key = 'seed'", "the row run.seed is damaged"),
    ("modules", "bytes", "name = 'echo'", r"the row of module \w{16} is missing or damaged"),
    ("modules", "digest", "name = 'echo'", r"the row of module \w{16} is missing or damaged"),
    ("modules", "name", "name = 'echo'", "the table modules: name recorded"),
    *[
        ("waves", column, "wave = 3", "wave 3: a row of the table waves is damaged")
        for column in ("digest", "turns", "messages", "fuel", "faults", "lost", "detail", "checksum")
    ],
    *[
        ("inputs", column, "wave = 2 AND position = 1", r"wave 2, agent \S+: a row of the table inputs is damaged")
        for column in ("position", "agent", "tag", "stream", "payload", "checksum")
    ],
    *[
        ("inference", column, "request_wave = 0", r"wave \d, agent \S+.*: a row of the table inference is damaged")
        for column in ("wave", "agent", "tag", "reason", "payload", "checksum")
    ],
]


@pytest.mark.parametrize(("table", "column", "where", "shown"), SOURCES)
def test_a_changed_byte_of_what_a_replay_reads_is_named(
    kit: Kit, rich: Path, wavelock: Command, table: str, column: str, where: str, shown: str
) -> None:
    for at in (0, 7, -1):
        path = kit.copy(rich)
        damage(kit, path, table, column, where, at)
        code, output, errors = wavelock("replay", path)
        assert code == 3, (at, output, errors)
        assert "not identical: " in output
        assert re.search(shown, output), (at, output)


@pytest.mark.parametrize("column", ["request_wave", "position", "model"])
def test_an_answer_that_went_elsewhere_is_missed(kit: Kit, rich: Path, column: str) -> None:
    damage(kit, rich, "inference", column, "request_wave = 1 AND position = 1")
    report = replay(rich)
    assert not report.identical
    assert "the table inference" in str(report.first_divergence)


TOLD = [
    ("outputs", "payload", "wave = 2 AND position = 4", "wave 2, agent echo/0: position 4: the table outputs: payload"),
    ("outputs", "tag", "wave = 2 AND position = 0", "wave 2, agent talker/0: position 0: the table outputs: tag"),
    ("outputs", "agent", "wave = 5 AND position = 3", "wave 5, agent talker/1: position 3: the table outputs: agent"),
    (
        "outputs",
        "position",
        "wave = 6 AND position = 1",
        "wave 6, agent talker/1: the table outputs, position 1: the row",
    ),
    ("logs", "text", "wave = 0 AND position = 1", "wave 0, agent talker/1: position 1: the table logs: text"),
    ("logs", "kernel", "wave = 1 AND position = 0", "wave 1, agent talker/0: position 0: the table logs: kernel"),
    ("logs", "level", "wave = 10", "wave 10, agent crasher/0: position 0: the table logs: level"),
    ("faults", "fault", "wave = 1", "wave 1, agent coder/0: position 0: the table faults: fault"),
    ("faults", "detail", "wave = 1", "wave 1, agent coder/0: position 0: the table faults: detail"),
    ("state", "value", "key = x'6b2f62'", r"wave 11: key b'k/b': the table state: value"),
    ("state", "wave", "key = x'6b2f61'", r"wave 11: key b'k/a': the table state: wave"),
    ("state", "key", "key = x'6b2f61'", "wave 11: the table state, key b'k/a': a row is missing, or one too many"),
    *[
        ("agents", column, "id = 7", f"wave 11: id 7: the table agents: {column} recorded")
        for column in ("name", "grp", "parent", "born")
    ],
    ("agents", "ended", "id = 5", "wave 11: id 5: the table agents: ended recorded 2, replayed 1"),
    ("agents", "reason", "id = 5", "wave 11: id 5: the table agents: reason recorded 3, replayed 2"),
    ("agents", "code", "id = 0", "wave 11: id 0: the table agents: code recorded 8, replayed 7"),
]


@pytest.mark.parametrize(("table", "column", "where", "shown"), TOLD)
def test_a_changed_byte_of_what_people_read_is_named(
    kit: Kit, rich: Path, wavelock: Command, table: str, column: str, where: str, shown: str
) -> None:
    damage(kit, rich, table, column, where)
    code, output, _ = wavelock("replay", rich, "--json")
    found = json.loads(output)
    assert (code, found["identical"]) == (3, False)
    first = found["first_divergence"]
    agent = f", agent {first['agent']}" if first["agent"] else ""
    assert shown in f"wave {first['wave']}{agent}: {first['what']}"


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        ("DELETE FROM waves WHERE wave = 0", "wave 0: missing: the file goes on with wave 1"),
        ("DELETE FROM waves WHERE wave = 5", "wave 5: missing: the file goes on with wave 6"),
        ("DELETE FROM waves WHERE wave = 11", "wave 10: the file's last wave is not the one that the run ended with"),
        ("DELETE FROM run WHERE key = 'digest'", "wave 11: the file's last wave is not the one"),
        ("DELETE FROM inputs WHERE wave = 2", "wave 2, agent echo/0: recorded the turn of echo/0, replayed asker/0"),
        ("DELETE FROM inputs WHERE wave = 2 AND position = 0", "wave 2, agent echo/0: a row of the table inputs"),
        (
            "DELETE FROM inference WHERE request_wave = 1",
            "the table inference holds 0 answers to the requests of wave 1",
        ),
        ("DELETE FROM modules WHERE name = 'child'", "is missing or damaged"),
        ("DELETE FROM run WHERE key = 'group_modules'", "run.group_modules"),
        (
            "DELETE FROM outputs WHERE wave = 3 AND position = 5",
            "agent asker/0: the table outputs, position 5: the row is",
        ),
        (
            "DELETE FROM logs WHERE wave = 10",
            "wave 10, agent crasher/0: the table logs, position 0: the row is missing",
        ),
        ("DELETE FROM faults", "wave 1, agent coder/0: the table faults, position 0: the row is missing"),
        ("DELETE FROM state WHERE key = x'6b2f62'", "the table state, key b'k/b': a row is missing, or one too many"),
        ("DELETE FROM agents WHERE id = 3", "the table agents, id 3: a row is missing, or one too many"),
        (
            "INSERT INTO waves SELECT wave + 20, digest, turns, messages, fuel, faults, lost, detail, checksum "
            "FROM waves WHERE wave = 11",
            "wave 31: a row of the table waves is damaged",
        ),
        (
            "INSERT INTO outputs VALUES (3, 99, 0, 0, x'00')",
            "wave 3, agent talker/0: the table outputs, position 99: the",
        ),
        ("INSERT INTO logs VALUES (99, 0, 0, 0, 0, '')", "wave 99, agent talker/0: the table logs, position 0: the"),
        ("INSERT INTO faults VALUES (0, 0, 88, 1, '')", "wave 0, agent #88: the table faults, position 0: the"),
        (
            "INSERT INTO inputs VALUES (99, 0, 0, 0, '', x'', x'')",
            "the table inputs holds 10 rows, of which the replay",
        ),
        (
            "INSERT INTO inference VALUES (99, 0, 0, 0, 0, 0, 0, x'', x'')",
            "the table inference holds 4 rows, of which the replay took in 3",
        ),
        ("INSERT INTO state VALUES (x'7a', x'', 0, 0)", "the table state, key b'z': a row is missing, or one too many"),
        (
            "INSERT INTO agents VALUES (99, 'a', 'a', 0, 0, 0, 0, 0)",
            "the table agents, id 99: a row is missing, or one",
        ),
        ("UPDATE outputs SET agent = 'x' WHERE wave = 4", "a row of the table outputs is damaged"),
        ("UPDATE inputs SET payload = 'text' WHERE wave = 4", "wave 4, agent echo/0: a row of the table inputs"),
        ("UPDATE waves SET digest = 7 WHERE wave = 4", "wave 4: a row of the table waves is damaged"),
        ("UPDATE modules SET bytes = 1099511627776", "is missing or damaged"),
    ],
)
def test_rows_that_went_or_came_are_named(kit: Kit, rich: Path, wavelock: Command, statement: str, shown: str) -> None:
    assert kit.change(rich, statement) > 0
    code, output, errors = wavelock("replay", rich)
    assert code == 3, (output, errors)
    assert shown in output


def deceive(kit: Kit, path: Path, table: str, key: tuple[str, ...], statement: str) -> str:
    """Change rows, make their checksums right, and replay."""
    assert kit.change(path, statement) > 0
    kit.rechecksum(path, table, key)
    report = replay(path)
    assert not report.identical
    return str(report.first_divergence)


def test_changed_rows_with_right_checksums_differ_in_the_wave(kit: Kit, rich: Path) -> None:
    for table, key, statement, shown in (
        ("inputs", ("wave", "position"), "UPDATE inputs SET payload = x'00' WHERE wave = 2", "wave 2, agent echo/0: "),
        ("inputs", ("wave", "position"), "UPDATE inputs SET agent = 77 WHERE wave = 2", "wave 2, agent #77: "),
        ("inference", ("request_wave", "position"), "UPDATE inference SET reason = 17", "wave 2, agent asker/0: "),
        ("waves", ("wave",), "UPDATE waves SET digest = zeroblob(32) WHERE wave = 3", "wave 3: all turns agree; "),
        ("waves", ("wave",), "UPDATE waves SET messages = 9 WHERE wave = 3", "wave 3: the table waves: messages"),
        ("waves", ("wave",), "UPDATE waves SET wave = 9223372036854775807 WHERE wave = 11", "wave 11: missing: "),
        ("waves", ("wave",), "UPDATE waves SET wave = -1 WHERE wave = 0", "wave 0: missing: the file goes on"),
        ("waves", ("wave",), "UPDATE waves SET detail = NULL WHERE wave = 3", "wave 3: a row of the table waves is"),
        ("waves", ("wave",), "UPDATE waves SET detail = x'00' WHERE wave = 3", "wave 3: a row of the table waves is"),
        (
            "waves", ("wave",),
            "UPDATE waves SET detail = (SELECT detail FROM waves WHERE wave = 4) WHERE wave = 3",
            "wave 3, agent echo/0: the turn details: ",
        ),
        ("run", ("key",), "UPDATE run SET value = '[]' WHERE key = 'profile'", "run.profile is damaged: not a table"),
        ("run", ("key",), "UPDATE run SET value = 'x' WHERE key = 'profile'", "run.profile is damaged: "),
        ("run", ("key",), "UPDATE run SET value = '[1]' WHERE key = 'group_modules'", "run.group_modules is damaged: "),
        ("run", ("key",), "UPDATE run SET value = '[]' WHERE key = 'group_modules'", "0 modules for 6 groups"),
        ("run", ("key",), "UPDATE run SET value = zeroblob(32) WHERE key = 'header'", "the header's digest is not"),
        ("run", ("key",), "UPDATE run SET value = zeroblob(32) WHERE key = 'digest'", "wave 11: the file's last wave"),
    ):  # fmt: skip
        assert shown in deceive(kit, kit.copy(rich), table, key, statement), statement


def test_a_prefix_of_a_killed_run_is_as_good(kit: Kit, rich: Path) -> None:
    kit.change(rich, "DELETE FROM run WHERE key IN ('ended', 'digest')")
    for table in ("waves", "outputs", "logs", "faults", "inputs", "inference"):
        kit.change(rich, f"DELETE FROM {table} WHERE wave > 7")
    kit.change(rich, "UPDATE agents SET ended = NULL, reason = NULL, code = NULL WHERE ended > 7")
    report = replay(rich)
    assert (report.identical, report.waves, report.ended) == (True, 8, "")


def test_damage_that_diff_meets_is_named(kit: Kit, rich: Path, wavelock: Command) -> None:
    for table, column, where, shown in (
        ("waves", "digest", "wave = 3", "wave 3: a row of the table waves is damaged"),
        ("run", "value", "key = 'profile'", "the row run.profile is damaged"),
    ):
        path = kit.copy(rich)
        damage(kit, path, table, column, where)
        for pair in ((path, rich), (rich, path)):
            code, output, _ = wavelock("diff", *pair)
            assert code == 3
            assert shown in output
    path = kit.copy(rich)
    kit.change(path, "UPDATE waves SET detail = x'00', digest = zeroblob(32) WHERE wave = 3")
    kit.rechecksum(path, "waves", ("wave",))
    assert "wave 3: a row of the table waves is damaged (its turn details: " in str(diff(path, rich).first_divergence)


# ---- files that are no run file at all ----


def test_what_is_no_run_file_is_the_users_mistake(kit: Kit, wavelock: Command) -> None:
    def write(name: str, data: bytes) -> Path:
        path = kit.folder / name
        path.write_bytes(data)
        return path

    other = kit.folder / "other.db"
    kit.change(other, "CREATE TABLE run (key, value)")
    begun = kit.folder / "begun.wavelock"
    create_run_file(begun)
    (kit.folder / "folder").mkdir()
    cases = {
        kit.folder / "missing.wavelock": "no such run file",
        kit.folder / "missing" / "run.wavelock": "no such run file",
        kit.folder / ("x" * 300): "cannot be read",
        kit.folder / "folder": "is not a file; expected a run file",
        write("empty", b""): "an empty file: no run wrote anything to it",
        write("text", b"# not a database\n" * 100): "not a readable run file",
        write("short", b"SQLite format 3\0"): "not a readable run file",
        write("profile.toml", b"[run]\n"): "not a readable run file",
        other: "a SQLite database, but not a Wavelock run file",
        begun: "the run never began: no profile, header, wavelock was written",
    }
    for path, shown in cases.items():
        for arguments in (("replay", path), ("inspect", path), ("inspect", path, "waves"), ("diff", path, path)):
            code, output, errors = wavelock(*arguments)
            assert (code, output) == (2, ""), (arguments, output, errors)
            assert shown in errors
            assert str(path) in errors


@pytest.mark.parametrize(
    ("version", "shown"),
    [(3, "format 3; this Wavelock reads 2: upgrade"), (1, "format 1; this Wavelock reads 2: replay it with")],
)
def test_another_format_is_refused(kit: Kit, rich: Path, wavelock: Command, version: int, shown: str) -> None:
    with closing(sqlite3.connect(rich)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    for command in ("replay", "inspect"):
        code, _, errors = wavelock(command, rich)
        assert code == 2
        assert shown in errors


def test_a_missing_table_is_an_error_of_the_file(kit: Kit, rich: Path, wavelock: Command) -> None:
    for table in ("waves", "modules", "inputs", "inference", "outputs", "state", "agents", "logs", "faults", "run"):
        path = kit.copy(rich)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"DROP TABLE {table}")
        for command in ("replay", "inspect"):
            code, _, errors = wavelock(command, path)
            assert code == 2, (table, command)
            assert f"no such table: {table}" in errors


def test_a_schema_that_is_no_text_is_an_error_of_the_file(kit: Kit, rich: Path, wavelock: Command) -> None:
    data = rich.read_bytes()
    assert b"CREATE TABLE agents" in data
    for broken in (b"CREATE TABLE \xda\xffents", b"CREATE T\xff\xffLE agents"):
        rich.write_bytes(data.replace(b"CREATE TABLE agents", broken))
        for command in ("replay", "inspect"):
            code, _, errors = wavelock(command, rich)
            assert code == 2
            assert "not a readable run file" in errors


# ---- bytes at random ----


def outcome(wavelock: Command, path: Path) -> int:
    """Replay and inspect; both end as they may. Answers the replay's exit code."""
    for arguments in (("inspect", path), ("inspect", path, "waves", "--limit", "0"), ("inspect", path, "logs")):
        code, _, errors = wavelock(*arguments)
        assert code in (0, 2), (arguments, errors)
        assert "Traceback" not in errors
    code, output, errors = wavelock("replay", path)
    assert code in (0, 2, 3), errors
    assert "Traceback" not in errors
    assert (": identical: " in output) == (code == 0)
    assert ("not identical: " in output) == (code == 3)
    return code


def contents(kit: Kit, path: Path) -> dict[str, list[tuple[object, ...]]]:
    """All rows of the tables that people and replays read."""
    tables = (*kit.COUNTS, "waves", "run")
    return {table: kit.query(path, f"SELECT * FROM {table}") for table in tables}


def test_no_flipped_bit_goes_unnoticed_or_breaks_anything(kit: Kit, rich: Path, wavelock: Command) -> None:
    chance = random.Random(2)
    whole, right = rich.read_bytes(), contents(kit, rich)
    codes = []
    for number in range(FLIPS):
        at = chance.randrange(len(whole))
        data = bytearray(whole)
        data[at] ^= 1 << chance.randrange(8)
        path = kit.folder / f"flip-{number}.wavelock"
        path.write_bytes(data)
        codes.append(outcome(wavelock, path))
        if codes[-1] == 0:
            assert contents(kit, path) == right, at
        path.unlink()
    assert set(codes) >= {0, 3}


def test_flips_where_the_rows_are(kit: Kit, rich: Path, wavelock: Command) -> None:
    chance = random.Random(3)
    whole = rich.read_bytes()
    used = [at for at in range(4096, len(whole)) if any(whole[max(0, at - 8) : at + 8])]
    right = contents(kit, rich)
    codes = []
    path = kit.folder / "flip.wavelock"
    for _ in range(FLIPS // 2):
        data = bytearray(whole)
        at = chance.choice(used)
        data[at] = chance.randrange(256)
        path.write_bytes(data)
        codes.append(outcome(wavelock, path))
        if codes[-1] == 0:
            assert contents(kit, path) == right, at
    assert codes.count(0) < FLIPS // 4


def test_a_file_cut_anywhere_is_refused(kit: Kit, rich: Path, wavelock: Command) -> None:
    chance = random.Random(4)
    whole = rich.read_bytes()
    lengths = {0, 1, 16, 99, 100, 4095, 4096, len(whole) - 4096, len(whole) - 1}
    while len(lengths) < CUTS:
        lengths.add(chance.randrange(len(whole)))
    path = kit.folder / "cut.wavelock"
    for length in sorted(lengths):
        path.write_bytes(whole[:length])
        assert outcome(wavelock, path) in (2, 3), length


def test_a_log_cut_anywhere_is_a_run_cut_there(kit: Kit, wavelock: Command) -> None:
    kit.write_rich()
    path = kit.folder / "run.wavelock"
    with kit.open() as runtime:
        digests = []
        while (wave := runtime.step()) is not None:
            digests.append(wave.digest)
        journal = runtime._parts.journal
        with journal._changed:  # type: ignore[union-attr]
            journal._changed.wait_for(lambda: not journal._backlog_bytes, timeout=30)  # type: ignore[union-attr]
        body, log = path.read_bytes(), path.with_name("run.wavelock-wal").read_bytes()
    assert len(log) > 50_000
    chance = random.Random(5)
    lengths = sorted({0, 31, 32, len(log), *(chance.randrange(len(log)) for _ in range(12))})
    waves = []
    for number, length in enumerate(lengths):
        copy = kit.folder / f"cut-{number}.wavelock"
        copy.write_bytes(body)
        copy.with_name(copy.name + "-wal").write_bytes(log[:length])
        try:
            report = replay(copy)
        except UserError as error:
            assert re.search("never began|no committed wave|not a Wavelock run file|empty", str(error)), error
            continue
        assert report.identical, (length, report)
        assert report.digest == digests[report.waves - 1]
        waves.append(report.waves)
    assert waves == sorted(waves)
    assert waves[-1] == len(digests)


def test_a_reader_is_closed_whatever_it_found(rich: Path) -> None:
    with RunFileReader(rich) as reader:
        stream = reader.waves()
        next(stream)
    reader.close()
    with pytest.raises(RunFileError, match=r"closed"):
        reader.rows("SELECT 1")

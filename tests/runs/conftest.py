"""What the tests of run files share: agents as WebAssembly text, a run with a row in every table, a command line."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from wavelock import Registry, Runtime, load_profile
from wavelock.core.abi import WORLD, Outbound, frame
from wavelock.core.ports import InferenceAnswer, InferencePort, ModelReport
from wavelock.core.profile import Profile
from wavelock.core.runfile import row_checksum

TRAP, LOOP = 0x7FFFFFFF, 0x7FFFFFFE
INBOX, OUTBOX, CAPACITY, SCRIPTS = 65536, 131072, 65536, 8192
BODY = """
(module
  (memory (export "memory") 4)
  (global $turn (mut i32) (i32.const 0))
  (func (export "wavelock_abi") (result i32) (i32.const 8))
  (func (export "wavelock_turn") (param $end i32) (result i32)
    (local $row i32) (local $out i32) (local $at i32) (local $size i32)
    (local.set $row (i32.const {last}))
    (if (i32.lt_u (global.get $turn) (i32.const {count}))
      (then (local.set $row (i32.add (i32.const 64) (i32.shl (global.get $turn) (i32.const 3))))
            (global.set $turn (i32.add (global.get $turn) (i32.const 1)))))
    (local.set $out (i32.load offset=4 (local.get $row)))
    (if (i32.lt_s (local.get $out) (i32.const 0)) (then (return (local.get $out))))
    (if (i32.eq (local.get $out) (i32.const {trap})) (then (unreachable)))
    (if (i32.eq (local.get $out) (i32.const {loop})) (then (loop $for_ever (br $for_ever))))
    (memory.copy (i32.const {outbox}) (i32.load (local.get $row)) (local.get $out))
    (if (i32.const {entropy}) (then
      (local.set $at (i32.add (i32.const {outbox}) (local.get $out)))
      (i64.store (local.get $at) (i64.const 0x100000008))
      (i64.store offset=8 (local.get $at) (i64.const 0xffffffff))
      (i64.store offset=16 (local.get $at) (i64.load (i32.const {entropy_at})))
      (local.set $out (i32.add (local.get $out) (i32.const 24)))))
    (if (i32.const {echo}) (then
      (local.set $at (i32.const 32))
      (block $done (loop $next
        (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
        (local.set $size (i32.add (i32.const 16) (i32.and (i32.const -8)
          (i32.add (i32.const 7) (i32.load (i32.add (i32.const {inbox}) (local.get $at)))))))
        (memory.copy (i32.add (i32.const {outbox}) (local.get $out)) (i32.add (i32.const {inbox}) (local.get $at))
          (local.get $size))
        (i32.store (i32.add (i32.const {outbox_kind}) (local.get $out)) (i32.const 1))
        (i32.store (i32.add (i32.const {outbox_peer}) (local.get $out)) (i32.const -1))
        (local.set $out (i32.add (local.get $out) (local.get $size)))
        (local.set $at (i32.add (local.get $at) (local.get $size)))
        (br $next)))))
    (local.get $out))
"""


def agent(
    turns: Sequence[bytes | int] = (), last: bytes | int = b"", *, echo: bool = False, entropy: bool = False
) -> str:
    """An agent that writes a prepared outbox each turn (a number: its fault), then `last` for ever.

    echo: it also sends every frame it gets to the world outside. entropy: and its turn's entropy.
    """
    rows, scripts = [], b""
    for outbox in (*turns, last):
        data = b"" if isinstance(outbox, int) else outbox
        rows.append(struct.pack("<Ii", SCRIPTS + len(scripts), outbox if isinstance(outbox, int) else len(data)))
        scripts += data
    assert len(rows) < 1000
    assert len(scripts) < INBOX - SCRIPTS
    text = BODY.format(
        last=64 + 8 * len(turns), count=len(turns), trap=TRAP, loop=LOOP, outbox=OUTBOX, inbox=INBOX,
        entropy=int(entropy), echo=int(echo), entropy_at=INBOX + 16, outbox_kind=OUTBOX + 4, outbox_peer=OUTBOX + 8,
    )  # fmt: skip
    pieces = {8: struct.pack("<5I", 1, INBOX, CAPACITY, OUTBOX, CAPACITY), 64: b"".join(rows), SCRIPTS: scripts}
    for at, data in pieces.items():
        text += f'  (data (i32.const {at}) "{"".join(f"{chr(92)}{byte:02x}" for byte in data)}")\n'
    return text + ")\n"


def say(text: str | bytes, tag: int = 0) -> bytes:
    """A send to the world outside."""
    return send(WORLD, text, tag)


def send(to: int, payload: str | bytes, tag: int = 0) -> bytes:
    """A send."""
    return frame(Outbound.SEND, to, tag, payload.encode() if isinstance(payload, str) else payload)


def put(key: str, value: bytes) -> bytes:
    """A put."""
    return frame(Outbound.PUT, 0, 0, struct.pack("<H", len(key)) + key.encode() + value)


def log(level: int, text: str) -> bytes:
    """A log line."""
    return frame(Outbound.LOG, level, 0, text.encode())


def tensor(*values: float) -> bytes:
    """A f32 tensor of one row."""
    return struct.pack("<BBHIII", 1, 2, 0, 0, 1, len(values)) + struct.pack(f"<{len(values)}f", *values)


def ask(*values: float, tag: int = 0) -> bytes:
    """A request to model 0."""
    return frame(Outbound.INFER, 0, tag, tensor(*values))


YIELD = frame(Outbound.YIELD, 0, 0, b"")


def exit_with(code: int) -> bytes:
    """An exit."""
    return frame(Outbound.EXIT, 0, 0, struct.pack("<i", code))


class FakeModels:
    """An inference port that answers every request with its own payload, but the refused."""

    def __init__(self) -> None:
        self._batches: dict[tuple[int, int], list[bytes]] = {}

    def submit(self, wave: int, model: int, payloads: Sequence[bytes]) -> None:
        self._batches[wave, model] = list(payloads)

    def collect(self, wave: int, model: int) -> list[InferenceAnswer]:
        payloads = self._batches.pop((wave, model))
        return [InferenceAnswer(16, b"") if len(payload) < 24 else InferenceAnswer(0, payload) for payload in payloads]

    def reports(self) -> list[ModelReport]:
        return [ModelReport("m", "1", "fake", ("cpu",), "cpu", "asked for", "fake 1")]

    def close(self) -> None:
        self._batches.clear()


class FakeRegistry(Registry):
    """The plugins of this environment, and models that need no backend."""

    def open_models(self, profile: Profile) -> InferencePort:
        return FakeModels()


RICH = """
[run]
name = "rich"
seed = 7

[workers]
use = "inline"

[[models]]
name = "m"
repository = "models"
latency = 2

[[topics]]
name = "news"
subscribers = ["echo"]

[[inputs]]
name = "lines"
files = ["lines.txt"]
to = ["echo"]
per_wave = 2

[[agents]]
name = "talker"
module = "talker.wat"
count = 2
grants = { state = ["k/"], spawn = ["child"], topics = ["news"] }

[[agents]]
name = "echo"
module = "echo.wat"

[[agents]]
name = "asker"
module = "asker.wat"
grants = { models = ["m"] }

[[agents]]
name = "crasher"
module = "crasher.wat"
restart = "fresh"

[[agents]]
name = "coder"
module = "coder.wat"

[[agents]]
name = "child"
module = "child.wat"
count = 0
"""
ECHO_ID, ASKER_ID = 2, 3
TALKER_TURNS = (
    log(2, "hello") + put("k/a", b"one") + send(ECHO_ID, "hi", 5) + YIELD,
    put("k/a", b"two") + put("k/b", bytes(40)) + put("other", b"x") + frame(Outbound.SPAWN, 5, 9, b"born") + YIELD,
    say("third turn", 11) + frame(Outbound.PUBLISH, 0, 3, b"extra") + frame(Outbound.TIMER, 0, 4, struct.pack("<Q", 3)),
    say("fourth turn") + YIELD,
    exit_with(7),
)
RICH_AGENTS = {
    "talker": agent(TALKER_TURNS, entropy=True),
    "echo": agent(echo=True),
    "asker": agent([ask(1, 2) + YIELD, ask(3, 4, tag=8) + frame(Outbound.INFER, 0, 2, b"bad"), YIELD], echo=True),
    "crasher": agent([YIELD, log(1, "going") + YIELD, TRAP]),
    "coder": agent([YIELD, -42]),
    "child": agent([say("a child"), exit_with(0)], echo=True),
}
COUNTS = {
    "outputs": 40, "logs": 8, "faults": 5, "state": 2, "inputs": 9, "inference": 3, "agents": 8, "modules": 6,
}  # fmt: skip


class Kit:
    """A folder with a profile and its agents, and ways to run it, look at its run file and change that."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.agent, self.say, self.send, self.put, self.log, self.ask = agent, say, send, put, log, ask
        self.exit_with, self.YIELD, self.TRAP, self.LOOP = exit_with, YIELD, TRAP, LOOP
        self.COUNTS = COUNTS

    def write(self, profile: str, **agents: str) -> Path:
        """Write profile.toml and one file an agent; answers the profile's path."""
        for name, text in agents.items():
            (self.folder / f"{name}.wat").write_text(text)
        path = self.folder / "profile.toml"
        path.write_text(profile)
        return path

    def write_one(self, text: str, extra: str = "", count: int = 1) -> Path:
        """A profile with one group, `a`."""
        head = f'{extra}\n[[agents]]\nname = "a"\nmodule = "a.wat"\ncount = {count}\n'
        return self.write(head, a=text)

    def write_rich(self) -> Path:
        """The profile that fills every table."""
        (self.folder / "models").mkdir(exist_ok=True)
        (self.folder / "lines.txt").write_text("".join(f"line {number}\n" for number in range(9)))
        return self.write(RICH, **RICH_AGENTS)

    def open(self, run_file: str | None = "run.wavelock", *settings: str) -> Runtime:
        """Assemble the profile. run_file: None writes none."""
        record = [f'record.file="{run_file}"'] if run_file else []
        registry = FakeRegistry()
        profile = load_profile(self.folder / "profile.toml", [*settings, *record], registry)
        return Runtime(profile, registry=registry, record=run_file is not None)

    def run(self, run_file: str = "run.wavelock", *settings: str) -> Path:
        """Run the profile to its end; answers the run file."""
        with self.open(run_file, *settings) as runtime:
            runtime.run()
        return self.folder / run_file

    def write_model(self) -> None:
        """A real model `m` in the folder `models`: twice its input, rows of two floats. Skips where ONNX is not."""
        onnx = pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")
        helper, floats = onnx.helper, onnx.TensorProto.FLOAT
        node = helper.make_node("Add", ["x", "x"], ["y"])
        ends = [helper.make_tensor_value_info(name, floats, ["n", 2]) for name in "xy"]
        graph = helper.make_graph([node], "twice", ends[:1], ends[1:])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        (self.folder / "models" / "m" / "1").mkdir(parents=True)
        (self.folder / "models" / "m" / "1" / "model.onnx").write_bytes(model.SerializeToString())

    def copy(self, run_file: Path, name: str = "copy.wavelock") -> Path:
        """A copy to be damaged."""
        return Path(shutil.copyfile(run_file, self.folder / name))

    @staticmethod
    def query(run_file: Path, text: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of a run file."""
        with closing(sqlite3.connect(run_file)) as connection:
            return connection.execute(text, values).fetchall()

    @staticmethod
    def change(run_file: Path, text: str, *values: object) -> int:
        """Change a run file with SQL; answers how many rows."""
        with closing(sqlite3.connect(run_file)) as connection, connection:
            return connection.execute(text, values).rowcount

    def rechecksum(self, run_file: Path, table: str, key: Sequence[str]) -> None:
        """Make the checksums of a table right again, as one would who means to deceive."""
        for row in self.query(run_file, f"SELECT * FROM {table}"):
            names = [column[1] for column in self.query(run_file, f"PRAGMA table_info({table})")]
            where = " AND ".join(f"{name} = ?" for name in key)
            keys = [row[names.index(name)] for name in key]
            self.change(run_file, f"UPDATE {table} SET checksum = ? WHERE {where}", row_checksum(*row[:-1]), *keys)

    def command(self, *arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
        """Start the command line in a process of its own."""
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", **options.pop("env", {})}
        return subprocess.Popen(
            [sys.executable, "-m", "wavelock", *map(str, arguments)],
            cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
        )  # fmt: skip

    def finish(self, *arguments: str | Path, **options: Any) -> tuple[int, str, str]:
        """Run the command line in a process of its own: exit code, standard output, standard error."""
        with self.command(*arguments, **options) as process:
            output, errors = process.communicate(timeout=60)
        assert "Traceback" not in errors, errors
        return process.returncode, output, errors


@pytest.fixture(scope="session")
def make_kit() -> type[Kit]:
    """Make one over a folder that lives longer than a test."""
    return Kit


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    """An empty folder."""
    return Kit(tmp_path)


@pytest.fixture(scope="session")
def rich_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the profile that fills every table and its run file, `run.wavelock`. Not to be changed."""
    made = Kit(tmp_path_factory.mktemp("rich"))
    made.write_rich()
    made.run()
    return made.folder


@pytest.fixture
def rich(rich_folder: Path, kit: Kit) -> Path:
    """A copy of the run file with a row in every table."""
    return kit.copy(rich_folder / "run.wavelock", "rich.wavelock")


@pytest.fixture
def wavelock(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """The command line in this process: exit code, standard output, standard error."""
    from wavelock.cli.app import run_command

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        code = run_command([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    yield call
    logging.disable(logging.NOTSET)

"""`wavelock module inspect` and `wavelock module rewrite`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wasmtime

import helpers
from wavelock.core.digest import hash_bytes
from wavelock.core.form import FORM_VERSION, FormOptions, limits, rewrite_module
from wavelock.core.form.reserved import BUDGET, START, TURN

Cli = Callable[..., Any]
PLAIN = """(module (memory (export "memory") 1 3) (global (export "g") (mut i32) (i32.const 0))
  (table (export "t") 1 funcref) (func $start) (start $start)
  (func (export "f") (param i32 i64) (result f32) (f32.const 1)) (func (export "h\\0a\\1b[31m")))"""
"""A module that is no agent, with one of everything that is told."""
TAIL_CALL = '(module (func $f (export "f") (param i32) (result i32) (return_call $f (local.get 0))))'
TWO_REFUSALS = """(module (memory (export "memory") 1)
  (func $good) (func $first (drop (call $lost (i32.const 1)))) (func $lost (param i32) (result i32) (i32.const 1))
  (func $second (drop (i32.const 1)))
  (func (export "wavelock_abi") (result i32) (i32.const 0))
  (func (export "wavelock_turn") (param i32) (result i32) (i32.const 0)))"""


def binary(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    """An agent as a module."""
    path = tmp_path / "agent.wasm"
    path.write_bytes(binary(helpers.HELLO))
    return path


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A module without an agent's exports, as text."""
    path = tmp_path / "plain.wat"
    path.write_text(PLAIN)
    return path


def invalid(text: str, *changes: tuple[bytes, bytes]) -> bytes:
    """A module with bytes changed, each of which must be there once."""
    data = binary(text)
    for before, after in changes:
        assert data.count(before) == 1
        data = data.replace(before, after)
    return data


# ---- inspect ----


def test_inspect_an_agent(cli: Cli, agent: Path) -> None:
    done = cli("module", "inspect", agent)
    assert (done.code, done.err) == (0, "")
    first, *lines = done.out.splitlines()
    assert first == f"{agent}: {agent.stat().st_size} B, BLAKE3 {hash_bytes(agent.read_bytes())}"
    assert lines == [
        "functions: 2",
        "memory: 1 pages",
        "features: none beyond the first version",
        "imports: none",
        "export: memory (memory)",
        "export: wavelock_abi (function () -> i32)",
        "export: wavelock_turn (function (i32) -> i32)",
        "can be an agent",
    ]


def test_inspect_an_agent_as_json(cli: Cli, agent: Path) -> None:
    done = cli("module", "inspect", agent, "--json")
    assert (done.code, done.err) == (0, "")
    assert done.json == {
        "module": {
            "path": str(agent),
            "digest": hash_bytes(agent.read_bytes()),
            "size_bytes": agent.stat().st_size,
            "imports": [],
            "exports": [
                {"name": "memory", "type": "memory"},
                {"name": "wavelock_abi", "type": "function () -> i32"},
                {"name": "wavelock_turn", "type": "function (i32) -> i32"},
            ],
            "features": [],
            "functions": 2,
            "memory_minimum_pages": 1,
            "memory_maximum_pages": None,
            "has_start": False,
        },
        "refused": [],
    }


def test_inspect_what_is_no_agent_but_sound(cli: Cli, plain: Path) -> None:
    done = cli("module", "inspect", plain)
    assert (done.code, done.err) == (2, "")
    lines = done.out.splitlines()
    assert lines[1:5] == [
        "functions: 3, one of them the start function", "memory: 1 pages, at most 3",
        "features: mutable-global", "imports: none",
    ]  # fmt: skip
    assert lines[5:10] == [
        "export: memory (memory)",
        "export: g (global mut i32)",
        "export: t (table funcref)",
        "export: f (function (i32, i64) -> f32)",
        "export: h\\n\\x1b[31m (function () -> ())",
    ]
    (refused,) = lines[10:]
    assert refused.startswith(f"refused: {plain}: ")
    assert "wavelock_abi" in refused


def test_inspect_as_json_what_is_no_agent(cli: Cli, plain: Path) -> None:
    done = cli("module", "inspect", plain, "--json")
    assert (done.code, done.err) == (2, "")
    found = done.json["module"]
    assert (found["has_start"], found["memory_maximum_pages"], found["functions"]) == (True, 3, 3)
    assert found["exports"][-1]["name"] == "h\n\x1b[31m"
    assert len(done.json["refused"]) == 1


def test_inspect_tells_of_features(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "v.wat").write_text(helpers.agent("(drop (v128.const i32x4 0 0 0 0)) (i32.extend8_s (i32.const 0))"))
    assert cli("module", "inspect", "v.wat", "--json").json["module"]["features"] == ["sign-extension", "simd"]
    assert "\nfeatures: sign-extension, simd\n" in cli("module", "inspect", "v.wat").out


def test_text_and_module_come_to_the_same(cli: Cli, agent: Path, tmp_path: Path) -> None:
    (tmp_path / "agent.wat").write_text(f";; text may begin with a comment\n{helpers.HELLO}")
    found, other = (cli("module", "inspect", path, "--json").json["module"] for path in (agent, "agent.wat"))
    assert found.pop("path") != other.pop("path")
    assert found == other


def test_refusals_come_one_for_each_function(cli: Cli, tmp_path: Path) -> None:
    changes = (b"\x41\x01\x10\x02\x1a", b"\x42\x01\x10\x02\x1a"), (b"\x41\x01\x1a\x0b", b"\x41\x01\x6a\x0b")
    (tmp_path / "two.wasm").write_bytes(invalid(TWO_REFUSALS, *changes))
    done = cli("module", "inspect", "two.wasm")
    assert (done.code, done.err) == (2, "")
    first, *refused = done.out.splitlines()
    assert first.startswith("two.wasm: ")
    assert len(refused) == 2
    assert refused[0].startswith("refused: two.wasm: function 1 (first), offset ")
    assert "found i64, expected i32" in refused[0]
    assert refused[1].startswith("refused: two.wasm: function 3 (second), offset ")
    again = cli("module", "inspect", "two.wasm", "--json")
    assert [f"refused: {text}" for text in again.json["refused"]] == refused
    assert sorted(again.json["module"]) == ["digest", "path", "size_bytes"]


def test_a_function_and_the_whole_are_both_told(cli: Cli, tmp_path: Path) -> None:
    """The limit on the memory lies outside of all functions, the missing exports too."""
    text = '(module (memory (export "memory") 40) (func $bad (drop (i32.const 1))))'
    (tmp_path / "m.wasm").write_bytes(invalid(text, (b"\x41\x01\x1a", b"\x42\x01\x6a")))
    refused = cli("module", "inspect", "m.wasm", "--memory", "2 MiB", "--json").json["refused"]
    assert len(refused) == 3
    assert "found a memory of 40 pages (64 KiB each), expected at most the 32 that limits.memory" in refused[0]
    assert "function 0 (bad)" in refused[1]
    assert "wavelock_" in refused[2]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "the file ends after 0 bytes"),
        (b"\0asm\x0d\0\x01\0", "component"),
        (b"\x7fELF\x02\x01\x01", "ELF"),
        (b"\0asm\x01\0\0\0\x01", "the module ends here"),
        (b"hello", ""),
    ],
    ids=["empty", "component", "elf", "cut", "else"],
)
def test_what_is_no_module_is_refused(cli: Cli, tmp_path: Path, data: bytes, what: str) -> None:
    (tmp_path / "m.wasm").write_bytes(data)
    done = cli("module", "inspect", "m.wasm", "--json")
    (refused,) = done.json["refused"]
    assert (done.code, done.err) == (2, "")
    assert refused.startswith("m.wasm: ")
    assert what in refused
    told = cli("module", "rewrite", "m.wasm", "-o", "out.wasm")
    assert (told.code, told.out, told.err) == (2, "", f"error: {refused}\n")


def test_an_import_is_refused(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "m.wat").write_text('(module (import "env" "clock" (func)))')
    done = cli("module", "inspect", "m.wat")
    assert done.code == 2
    assert "env.clock" in done.out


# ---- what cannot be read, and options that cannot be ----

COMMANDS = [("inspect",), ("rewrite", "-o", "out.wasm")]


def error(done: Any) -> str:
    """The error of a command that did nothing else."""
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    return str(done.err).removeprefix("error: ").rstrip("\n")


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_file_that_cannot_be_read(cli: Cli, tmp_path: Path, command: tuple[str, ...]) -> None:
    assert error(cli("module", *command, "none.wasm")) == "none.wasm: cannot be read: No such file or directory"
    assert "cannot be read: " in error(cli("module", *command, tmp_path))
    done = cli("module", *command, "none.wasm", "--json")
    assert (done.code, done.json["error"]) == (2, "none.wasm: cannot be read: No such file or directory")


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_text_that_is_none(cli: Cli, tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "m.wat").write_text("(module\n  (func (nonsense)))")
    done = cli("module", *command, "m.wat")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: m.wat: not WebAssembly text: ")
    assert "nonsense" in done.err


@pytest.mark.parametrize("command", COMMANDS, ids=str)
@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--feature", "threads", "--feature threads: no such feature, expected one of tail-call"),
        ("--feature", "", "--feature : no such feature, expected one of tail-call"),
        ("--memory", "much", "--memory much: "),
        ("--memory", "-1 MiB", "--memory -1 MiB: "),
        ("--stack", "1.5", "--stack 1.5: "),
        ("--stack", "9 waves", "--stack 9 waves: "),
        ("--stack", "", "--stack : "),
    ],
)
def test_options_that_cannot_be(
    cli: Cli, agent: Path, command: tuple[str, ...], option: str, value: str, said: str
) -> None:
    assert error(cli("module", *command, agent, option, value)).startswith(said)
    assert not Path("out.wasm").exists()


@pytest.mark.parametrize("command", COMMANDS, ids=str)
@pytest.mark.parametrize("size", ["0", "99 EiB", "1 B"])
def test_sizes_at_the_ends(cli: Cli, plain: Path, command: tuple[str, ...], size: str) -> None:
    """No size may make a module that is not valid, and none is an internal error."""
    for option in ("--memory", "--stack"):
        done = cli("module", *command, plain, option, size, *(["--any"] if command[0] == "rewrite" else []))
        assert done.code in (0, 2)
        assert "internal error" not in done.err
        if command[0] == "rewrite" and done.code == 0:
            wasmtime.Module(wasmtime.Engine(), Path("out.wasm").read_bytes())


def test_arguments_that_are_missing(cli: Cli, agent: Path) -> None:
    for arguments in (["module"], ["module", "inspect"], ["module", "rewrite", agent], ["module", "other"]):
        assert cli(*arguments).code == 2


# ---- rewrite ----


def test_rewrite(cli: Cli, agent: Path, tmp_path: Path) -> None:
    done = cli("module", "rewrite", agent, "-o", "form.wasm")
    data = (tmp_path / "form.wasm").read_bytes()
    form = rewrite_module(agent.read_bytes(), "a")
    assert (done.code, done.err) == (0, "")
    assert done.out == (
        f"form.wasm: {len(data)} bytes from {agent.stat().st_size}, form {FORM_VERSION}\n"
        f"2 functions, {form.segments} metered blocks\n"
    )
    module = wasmtime.Module(wasmtime.Engine(), data)
    assert {export.name for export in module.exports} >= {BUDGET, START, TURN, "wavelock_turn", "memory"}


def test_rewrite_as_json_and_twice(cli: Cli, agent: Path, tmp_path: Path) -> None:
    done = cli("module", "rewrite", agent, "-o", "form.wasm", "--json")
    data = (tmp_path / "form.wasm").read_bytes()
    assert (done.code, done.err) == (0, "")
    assert done.json == {
        "form": FORM_VERSION,
        "original": {
            "path": str(agent),
            "digest": hash_bytes(agent.read_bytes()),
            "size_bytes": agent.stat().st_size,
        },
        "rewritten": {"path": "form.wasm", "digest": hash_bytes(data), "size_bytes": len(data)},
        "functions": 2,
        "blocks_metered": done.json["blocks_metered"],
    }
    again = cli("module", "rewrite", agent, "--output", "again.wasm", "--json").json["rewritten"]
    assert again == {**done.json["rewritten"], "path": "again.wasm"}
    assert (tmp_path / "again.wasm").read_bytes() == data


def test_sizes_are_written_into_the_form(cli: Cli, agent: Path, tmp_path: Path) -> None:
    assert cli("module", "rewrite", agent, "-o", "small.wasm", "--memory", "2 MiB", "--stack", "64 KiB").code == 0
    options = FormOptions(memory_pages=32, stack_bytes=65536)
    assert (tmp_path / "small.wasm").read_bytes() == rewrite_module(agent.read_bytes(), "a", options).module
    larger = FormOptions(memory_pages=33, stack_bytes=65536)
    assert (tmp_path / "small.wasm").read_bytes() != rewrite_module(agent.read_bytes(), "a", larger).module


def test_any_module_can_have_its_form(cli: Cli, plain: Path, tmp_path: Path) -> None:
    refused = cli("module", "rewrite", plain, "-o", "form.wasm")
    assert refused.code == 2
    assert "wavelock_abi" in refused.err
    assert not (tmp_path / "form.wasm").exists()
    assert cli("module", "rewrite", plain, "-o", "form.wasm", "--any").code == 0
    names = {item.name for item in wasmtime.Module(wasmtime.Engine(), (tmp_path / "form.wasm").read_bytes()).exports}
    assert names >= {"f", "g", "t", BUDGET, START}
    assert TURN not in names


def test_a_feature_has_to_be_asked_for(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "m.wat").write_text(TAIL_CALL)
    done = cli("module", "rewrite", "m.wat", "-o", "form.wasm", "--any")
    assert done.code == 2
    assert "return_call" in done.err
    assert "tail-call" in done.err
    assert cli("module", "rewrite", "m.wat", "-o", "form.wasm", "--any", "--feature", "tail-call").code == 0
    config = wasmtime.Config()
    config.wasm_tail_call = True
    wasmtime.Module(wasmtime.Engine(config), (tmp_path / "form.wasm").read_bytes())
    module = cli("module", "inspect", "m.wat", "--feature", "tail-call", "--json").json["module"]
    assert module["features"] == ["tail-call"]


def test_an_output_that_cannot_be_written(cli: Cli, agent: Path, tmp_path: Path) -> None:
    path = tmp_path / "no" / "form.wasm"
    assert error(cli("module", "rewrite", agent, "-o", path)) == f"{path}: cannot be written: No such file or directory"
    assert error(cli("module", "rewrite", agent, "-o", tmp_path)) == f"{tmp_path}: cannot be written: Is a directory"


def test_the_form_of_a_form_is_refused(cli: Cli, agent: Path) -> None:
    assert cli("module", "rewrite", agent, "-o", "form.wasm").code == 0
    done = cli("module", "inspect", "form.wasm")
    assert done.code == 2
    assert "names in wavelock: are Wavelock's own" in done.out


@pytest.mark.parametrize("size", ["15 KiB", "2 MiB"])
def test_a_stack_that_no_profile_could_have_is_refused(cli: Cli, agent: Path, size: str) -> None:
    done = cli("module", "rewrite", agent, "-o", "form.wasm", "--stack", size)
    assert (done.code, done.err) == (2, f"error: --stack {size}: expected 16 KiB to 1 MiB\n")


def test_inspect_refuses_all_that_a_run_would(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What shows only of whole functions, such as how many labels they have together, is looked at as well."""
    (tmp_path / "a.wat").write_text(helpers.agent("(block (br_table 0 0 (i32.const 0))) (i32.const 0)"))
    assert cli("module", "inspect", tmp_path / "a.wat").code == 0
    monkeypatch.setattr(limits, "BRANCH_TARGETS", 1)
    done = cli("module", "inspect", tmp_path / "a.wat")
    assert done.code == 2
    assert "found 2 labels of br_table up to here, expected at most 1" in done.out

"""`wavelock run`: what it prints, which option reaches what, and the code it exits with."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import helpers
from wavelock.core.abi import WORLD, Inbound, Outbound, frame
from wavelock.core.phases import PHASES
from wavelock.core.runreader import RunFileReader

Cli = Callable[..., Any]
FIELDS = {
    "digest", "waves", "turns", "messages", "fuel", "faults", "ended", "elapsed_s", "turns_per_s", "engine",
    "scheduler", "transport", "workers", "run_file",
}  # fmt: skip
TWO_THREADS = '[run]\nwaves = 3\n[workers]\nuse = "threads"\ncount = 2\n'


@pytest.fixture
def ticks(tmp_path: Path) -> Path:
    """An agent that says `tick` for ever, bounded to three waves."""
    return helpers.write_profile(tmp_path, '[run]\nname = "ticks"\nwaves = 3\n', ticks=helpers.TICKS)


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    """An agent that says `hello` once."""
    return helpers.write_profile(tmp_path, hello=helpers.HELLO)


def test_json_is_one_object_with_the_promised_fields(cli: Cli, ticks: Path) -> None:
    done = cli("run", ticks, "--json")
    assert (done.code, done.err) == (0, "")
    found = done.json
    assert set(found) >= FIELDS
    assert (found["name"], found["waves"], found["turns"], found["faults"], found["ended"]) == (
        "ticks",
        3,
        3,
        0,
        "waves",
    )
    assert (found["engine"], found["scheduler"], found["transport"]) == ("wasmtime", "round-robin", "shared-memory")
    assert (found["workers"], found["worker_count"], found["seed"], found["models"]) == ("inline", 1, 0, [])
    assert len(found["digest"]) == 64
    assert found["fuel"] == 0  # a turn of these agents is a few constants, less than one unit
    assert found["elapsed_s"] > 0
    assert found["turns_per_s"] == pytest.approx(3 / found["elapsed_s"], rel=0.01)


def test_phases_share_the_time_of_a_run(cli: Cli, ticks: Path) -> None:
    found = cli("run", ticks, "--json").json
    assert list(found["phases_ns"]) == list(PHASES)
    assert 0 < sum(found["phases_ns"].values()) < found["elapsed_s"] * 1e9
    assert found["phases_ns"]["turns"] > 0


def test_what_agents_take_and_how_they_lie_is_told(cli: Cli, hello: Path) -> None:
    many = cli("run", hello, "--json", "--set", "agents[0].count=5000", "--set", "limits.agents=5000").json
    assert (many["agents_made"], many["memory_layout"]) == (5000, "dense")
    assert 0 < many["agent_bytes"] < 65536  # not all of its memory
    few = cli("run", hello, "--json").json
    assert (few["agents_made"], few["agent_bytes"], few["memory_layout"]) == (1, None, "guarded")
    slow = cli("run", hello, "--json", "--engine", "reference").json
    assert slow["memory_layout"] is None
    said = cli("run", hello, "--profile-phases", "--set", "agents[0].count=1000").err
    assert re.search(r"; wasmtime \(guarded memories\), round-robin", said)
    assert re.search(r"^1,000 agents made, [\d.,]+ us each, [\d.]+ KiB of memory each$", said, re.MULTILINE)


def test_phases_are_a_table_on_standard_error(cli: Cli, ticks: Path) -> None:
    done = cli("run", ticks, "--profile-phases")
    assert done.out == "tick\ntick\ntick\n"
    *lines, made = done.err.splitlines()
    assert re.fullmatch(r"1 agents made, [\d.,]+ us each", made)
    rows = [line.split() for line in lines[-len(PHASES) :]]
    assert [row[0] for row in rows] == list(PHASES)
    assert sum(float(row[2].rstrip("%")) for row in rows) == pytest.approx(100, abs=1)


def test_outputs_are_lines_and_the_rest_is_on_standard_error(cli: Cli, ticks: Path) -> None:
    done = cli("run", ticks)
    assert done.code == 0
    assert done.out == "tick\ntick\ntick\n"
    lines = done.err.splitlines()
    assert lines[0] == "ticks: 1 agents, seed 0; wasmtime (guarded memories), round-robin, shared-memory, inline:1"
    assert lines[1].startswith("waves after 3 waves: 3 turns, 0 messages, 0 faults, fuel ")
    assert lines[2].startswith("digest ")
    assert lines[3] == f"run file {Path('runs') / 'ticks-0001.wavelock'} (wavelock replay, inspect, diff)"


def test_an_output_that_is_not_text(cli: Cli, tmp_path: Path) -> None:
    raw = frame(Outbound.SEND, WORLD, 0, b"\x00\xff\x01")
    done = cli("run", helpers.write_profile(tmp_path, raw=helpers.same_each_turn(raw)))
    assert done.out == "raw/0: 3 bytes, not text\n"


def test_the_run_file_lies_in_the_working_folder(cli: Cli, ticks: Path, tmp_path: Path) -> None:
    files = [cli("run", ticks, "--json").json["run_file"] for _ in range(2)]
    assert [Path(file).name for file in files] == ["ticks-0001.wavelock", "ticks-0002.wavelock"]
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["ticks-0001.wavelock", "ticks-0002.wavelock"]


def test_the_same_run_has_the_same_digest_and_another_seed_another(cli: Cli, ticks: Path) -> None:
    digest = cli("run", ticks, "--json").json["digest"]
    same = [("--workers", "inline"), ("--workers", "threads"), ("--workers", "threads:3"), ("--engine", "wasmtime"),
            ("--no-record",), ("--set", "run.seed=0")]  # fmt: skip
    assert {cli("run", ticks, "--json", *options).json["digest"] for options in same} == {digest}
    other = cli("run", ticks, "--json", "--seed", "1").json
    assert (other["seed"], other["digest"] == digest) == (1, False)


# ---- options ----


def test_choosing_plugins(cli: Cli, ticks: Path) -> None:
    found = cli("run", ticks, "--json", "--no-record", "--scheduler", "priority", "--engine", "wasmtime", "--transport",
                "shared-memory", "--workers", "threads:3").json  # fmt: skip
    assert (found["scheduler"], found["workers"], found["worker_count"]) == ("priority", "threads", 3)


@pytest.mark.parametrize(
    ("option", "kind", "count"),
    [("inline", "inline", 1), ("threads", "threads", 2), ("threads:3", "threads", 3), ("inline:1", "inline", 1)],
)
def test_workers_over_a_profile_with_two_threads(cli: Cli, tmp_path: Path, option: str, kind: str, count: int) -> None:
    path = helpers.write_profile(tmp_path, TWO_THREADS, ticks=helpers.TICKS)
    found = cli("run", path, "--json", "--no-record", "--workers", option).json
    assert (found["workers"], found["worker_count"]) == (kind, count)


def test_another_scheduler_leaves_the_settings_of_the_old_one(cli: Cli, tmp_path: Path) -> None:
    text = '[run]\nwaves = 1\n[scheduler]\nuse = "priority"\naging = 2\n'
    path = helpers.write_profile(tmp_path, text, ticks=helpers.TICKS)
    assert cli("run", path, "--json", "--no-record", "--scheduler", "dag").json["scheduler"] == "dag"
    assert cli("run", path, "--json", "--no-record", "--scheduler", "priority").code == 0


def test_waves(cli: Cli, ticks: Path) -> None:
    assert cli("run", ticks, "--json", "--no-record", "--waves", "5").json["waves"] == 5


def test_set(cli: Cli, ticks: Path) -> None:
    done = cli("run", ticks, "--json", "--no-record", "--set", "agents.ticks.count=4", "--set", "run.name=other")
    assert (done.json["turns"], done.json["name"]) == (12, "other")


def test_options_go_before_settings(cli: Cli, ticks: Path) -> None:
    assert cli("run", ticks, "--json", "--no-record", "--set", "run.waves=1", "--waves", "2").json["waves"] == 2


@pytest.mark.parametrize("name", ["x.wavelock", "with space", "😀é.wavelock", 'quo"te\\'])
def test_record(cli: Cli, ticks: Path, tmp_path: Path, name: str) -> None:
    done = cli("run", ticks, "--json", "--record", name, "--set", "record.enabled=false")
    assert Path(done.json["run_file"]) == tmp_path / name
    with RunFileReader(tmp_path / name) as reader:
        assert [row.wave for row in reader.waves()] == [0, 1, 2]


def test_a_file_that_exists_is_refused_and_left_alone(cli: Cli, ticks: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    done = cli("run", ticks, "--record", "mine")
    assert done.code == 2
    assert str(tmp_path / "mine") in done.err
    assert (tmp_path / "mine").read_text() == "precious"


def test_a_folder_that_is_not_there_is_made(cli: Cli, ticks: Path, tmp_path: Path) -> None:
    assert cli("run", ticks, "--record", "new/deep/x.wavelock").code == 0
    assert (tmp_path / "new" / "deep" / "x.wavelock").is_file()


def test_a_place_where_no_file_can_be(cli: Cli, ticks: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = cli("run", ticks, "--record", "file/x.wavelock", "--json")
    assert (done.code, done.json["kind"]) == (2, "RunFileError")
    assert str(tmp_path / "file") in done.json["error"]


def test_no_record(cli: Cli, ticks: Path, tmp_path: Path) -> None:
    assert cli("run", ticks, "--json", "--no-record").json["run_file"] is None
    assert not (tmp_path / "runs").exists()


def test_record_and_no_record(cli: Cli, ticks: Path) -> None:
    done = cli("run", ticks, "--record", "x", "--no-record")
    assert (done.code, done.err) == (2, "error: --record and --no-record exclude each other\n")


def test_what_was_recorded_is_what_ran(cli: Cli, ticks: Path) -> None:
    found = cli("run", ticks, "--json", "--record", "x.wavelock", "--seed", "7").json
    with sqlite3.connect("x.wavelock") as file:
        rows = dict(file.execute("SELECT key, value FROM run").fetchall())
        (digest,) = file.execute("SELECT lower(hex(digest)) FROM waves ORDER BY wave DESC LIMIT 1").fetchone()
    file.close()
    assert rows["seed"] in ("7", b"7")
    assert digest == found["digest"]


# ---- faults ----


def test_faults_are_told(cli: Cli, tmp_path: Path) -> None:
    path = helpers.write_profile(tmp_path, falls=helpers.TRAPS, hello=helpers.HELLO)
    done = cli("run", path, "--no-record")
    assert done.code == 0
    assert done.out == "hello\n"
    assert "wave 0: falls/0 faulted: unreachable\n" in done.err
    found = cli("run", path, "--no-record", "--json").json
    assert found["faults"] == 1
    assert found["fault_list"] == [{"wave": 0, "agent": "falls/0", "kind": "unreachable", "detail": ""}]


def test_fail_on_fault(cli: Cli, tmp_path: Path, hello: Path) -> None:
    assert cli("run", hello, "--no-record", "--fail-on-fault").code == 0
    (tmp_path / "two").mkdir()
    path = helpers.write_profile(tmp_path / "two", falls=helpers.TRAPS)
    done = cli("run", path, "--no-record", "--fail-on-fault", "--json")
    assert (done.code, done.json["faults"]) == (5, 1)


# ---- the user's mistakes ----

MISTAKES = [
    (("run",), "Missing argument 'PROFILE'."),
    (("run", "p", "q"), "Got unexpected extra argument"),
    (("run", "p", "--nope"), "No such option"),
    (("run", "p", "--seed", "x"), "Invalid value for '--seed'"),
    (("run", "p", "--seed", "-1"), "Invalid value for '--seed'"),
    (("run", "p", "--waves", "0"), "Invalid value for '--waves'"),
    (("run", "none.toml"), "none.toml: no such file"),
    (("run", "."), ".: is a folder; expected a profile file such as profile.toml in it"),
    (("rnu", "p"), "No such command 'rnu'"),
    (("check",), "Missing argument 'PROFILE'."),
    (("inspect", "x", "agnets"), "Invalid value for"),
    (("schema", "extra"), "Got unexpected extra argument"),
]


@pytest.mark.parametrize(("arguments", "text"), MISTAKES)
def test_a_mistake_on_the_command_line(cli: Cli, arguments: tuple[str, ...], text: str) -> None:
    done = cli(*arguments)
    assert (done.code, done.out) == (2, "")
    assert text in done.err
    as_json = cli(*arguments, "--json")
    assert as_json.code == 2
    assert text in as_json.json["error"]
    assert set(as_json.json) == {"error", "kind", "problems", "exit_code"}
    assert as_json.json["exit_code"] == 2


@pytest.mark.parametrize("option", ["--engine", "--scheduler", "--transport", "--workers"])
def test_a_plugin_that_is_not_there(cli: Cli, ticks: Path, option: str) -> None:
    done = cli("run", ticks, "--json", option, "nope")
    assert (done.code, done.json["kind"]) == (2, "ProfileError")
    family = option.removeprefix("--")
    (problem,) = done.json["problems"]
    assert problem["where"] == f"{family}.use"
    assert problem["what"].startswith(f'no {family} plugin is named "nope"; allowed: ')


@pytest.mark.parametrize("option", ["threads:x", "threads:", "threads:-1", "threads:1:2"])
def test_workers_that_cannot_be_read(cli: Cli, ticks: Path, option: str) -> None:
    done = cli("run", ticks, "--workers", option)
    assert (done.code, done.err) == (
        2,
        f'error: --workers {option}: expected NAME or NAME:COUNT, such as "threads:4"\n',
    )


@pytest.mark.parametrize("option", ["threads:0", "threads:5000", ":2"])
def test_workers_out_of_range(cli: Cli, ticks: Path, option: str) -> None:
    assert cli("run", ticks, "--workers", option).code == 2


def test_two_inline_workers(cli: Cli, ticks: Path) -> None:
    done = cli("run", ticks, "--workers", "inline:2")
    assert done.code == 2
    assert 'workers.count: "inline" is one worker, found 2; use = "threads" takes more' in done.err


def test_all_problems_are_printed(cli: Cli, tmp_path: Path) -> None:
    path = helpers.write_profile(tmp_path, "[run]\nseed = -1\nwaves = 0\n[rnu]\n", ticks=helpers.TICKS)
    done = cli("run", path)
    assert done.code == 2
    assert done.err.splitlines() == [
        f"error: {path}: 3 problems",
        '  rnu: unknown section; did you mean "run"?',
        "  run.seed: expected a whole number >= 0, found -1",
        "  run.waves: expected a whole number >= 1, found 0",
    ]
    found = cli("run", path, "--json").json
    assert [problem["where"] for problem in found["problems"]] == ["rnu", "run.seed", "run.waves"]
    assert (found["kind"], found["exit_code"]) == ("ProfileError", 2)


def test_options_over_a_section_that_is_no_table(cli: Cli, tmp_path: Path) -> None:
    path = helpers.write_profile(tmp_path, "run = 5\nrecord = 6\nworkers = 7\n", ticks=helpers.TICKS)
    done = cli("run", path, "--seed", "1", "--record", "x", "--workers", "inline", "--json")
    assert [problem["where"] for problem in done.json["problems"]] == ["run", "record"]


BAD_MODULES = {
    "text": b"hello there",
    "empty": b"",
    "cut": b"\0asm\1\0\0\0\1",
    "header": b"\0asm",
    "bad text": b"(module (func",
    "no exports": b"(module)",
    "imports": b'(module (import "env" "x" (func)) (memory (export "memory") 1))',
    "wrong type": helpers.QUIET.replace("(param $len i32)", "(param $len i64)").encode(),
    "no memory": helpers.QUIET.replace('(export "memory")', "").encode(),
    "not UTF-8": b"(module \xff)",
}


@pytest.mark.parametrize("data", BAD_MODULES.values(), ids=list(BAD_MODULES))
def test_a_module_that_is_none(cli: Cli, tmp_path: Path, data: bytes) -> None:
    path = helpers.write_profile(tmp_path, bad="")
    (tmp_path / "bad.wat").write_bytes(data)
    done = cli("run", path, "--json")
    assert (done.code, done.json["kind"]) == (2, "ProfileError")
    (problem,) = done.json["problems"]
    assert problem["where"] == "agents[0].module"
    assert problem["what"].startswith(str(tmp_path / "bad.wat"))
    assert len(problem["what"]) > len(str(tmp_path / "bad.wat")) + 10


def test_all_modules_are_checked(cli: Cli, tmp_path: Path) -> None:
    path = helpers.write_profile(tmp_path, bad="x", good=helpers.QUIET, worse="(module)")
    found = cli("check", path, "--json").json
    assert [problem["where"] for problem in found["problems"]] == ["agents[0].module", "agents[2].module"]


def test_an_input_that_is_too_large(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(b"short\n" + b"x" * 100_000)
    text = '[[inputs]]\nname = "in"\nfiles = ["in.txt"]\nto = ["echo"]\n'
    done = cli("run", helpers.write_profile(tmp_path, text, echo=helpers.echoes()), "--json")
    assert (done.code, done.json["kind"]) == (2, "InputError")
    assert f"inputs.in: {tmp_path / 'in.txt'}: record 2: " in done.json["error"]


def test_inputs_come_in_and_go_out(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("one\ntwo\nthree\n")
    text = '[[inputs]]\nname = "in"\nfiles = ["in.txt"]\nto = ["echo"]\nper_wave = 2\n'
    done = cli("run", helpers.write_profile(tmp_path, text, echo=helpers.echoes()))
    assert done.out == "one\ntwo\nthree\n"


@pytest.mark.parametrize(
    ("config", "given"),
    [('"as it stands"', "as it stands"), ('{ b = [1, 2.5], a = "é" }', '{"a":"é","b":[1,2.5]}')],
)
def test_an_agent_is_given_its_configuration(cli: Cli, tmp_path: Path, config: str, given: str) -> None:
    path = helpers.write_profile(tmp_path, echo=helpers.echoes(Inbound.START))
    path.write_text(f"{path.read_text()}config = {config}\n")
    assert cli("run", path, "--no-record").out == f"{given}\n"

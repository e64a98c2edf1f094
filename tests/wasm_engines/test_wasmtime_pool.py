"""The pool of the dense layout: as many agents as fit in memory, each in its own memory and nowhere else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import wavelock
from helpers import HELLO, INBOX, QUIET, agent, write_profile
from wavelock.core.errors import EnvironmentFailure
from wavelock.wasm_engines import wasmtime_pool
from wavelock.wasm_engines.wasmtime_pool import MADE_MANY

ROOM = '[engine]\nmemory_layout = "dense"\n[limits]\nmemory = "%s"\n'
"""Agents have a page of 64 KiB each, and room for more."""
GROWING = agent("(drop (memory.grow (i32.const 0))) (i32.const 0)")


def ran(path: Path) -> tuple[str, list[tuple[str, str]], int]:
    """The digest of a run, its faults, and how much was said."""
    with wavelock.Runtime(wavelock.load_profile(path), record=False) as runtime:
        result = runtime.run()
        faults = [(fault.agent, fault.kind) for fault in runtime.faults()]
        return result.digest, faults, len(runtime.outputs())


def mappings() -> int:
    return len(Path("/proc/self/maps").read_text("ascii").splitlines())


@pytest.mark.skipif(sys.platform != "linux", reason="the mappings of a process are limited on Linux alone")
@pytest.mark.parametrize("modules", [{"fixed": QUIET}, {"growing": GROWING}, {"fixed": QUIET, "growing": GROWING}])
def test_agents_are_no_mappings_of_their_own(modules: dict[str, str], tmp_path: Path) -> None:
    path = write_profile(tmp_path, ROOM % "128 KiB", **modules)
    profile = wavelock.load_profile(path, [f"agents[{group}].count=2000" for group in range(len(modules))])
    before = mappings()
    with wavelock.Runtime(profile, record=False) as runtime:
        assert runtime.run().turns == 2000 * len(modules)
        assert mappings() < before + 500


@pytest.mark.skipif(sys.platform != "linux", reason="the mappings of a process are limited on Linux alone")
@pytest.mark.parametrize("workers", ["inline:1", "threads:4"])
def test_nor_are_those_that_take_the_place_of_one_that_grew(workers: str, tmp_path: Path) -> None:
    in_first_wave = f"(i64.eqz (i64.load (i32.const {INBOX})))"
    grew = agent(f"(if {in_first_wave} (then (drop (memory.grow (i32.const 1))) unreachable)) (i32.const 0)")
    path = write_profile(tmp_path, ROOM % "128 KiB", grew=grew)
    kind, _, count = workers.partition(":")
    sets = ["agents[0].count=4000", 'agents[0].restart="fresh"', f"workers.use={kind}", f"workers.count={count}"]
    profile = wavelock.load_profile(path, sets)
    before = mappings()
    with wavelock.Runtime(profile, record=False) as runtime:
        result = runtime.run()
        assert (result.turns, result.faults) == (8000, 4000)
        assert mappings() < before + 2 * MADE_MANY + 500


@pytest.mark.parametrize("most", ["192 KiB", "4095 MiB", "4 GiB"])
@pytest.mark.parametrize("grows", ["", "(drop (memory.grow (i32.const 0)))"])
def test_memories_beside_each_other_are_out_of_reach(grows: str, most: str, tmp_path: Path) -> None:
    """What lies behind a memory is a trap, be it the room that it may grow into or another agent's memory."""
    modules = {
        f"at_{address}": agent(f"{grows} (i32.store8 (i32.const {address}) (i32.const 1)) (i32.const 0)")
        for address in (65536, 65536 * 2, 65536 * 3, 65536 * 4)
    }
    path = write_profile(tmp_path, ROOM % most, before=HELLO, **modules, after=HELLO)
    digest, faults, said = ran(path)
    assert faults == [(f"{name}/0", "memory bounds") for name in modules]
    assert said == 2
    path.write_text(path.read_text().replace("dense", "guarded"))
    assert ran(path)[0] == digest


def test_a_host_that_says_nothing_of_mappings_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wasmtime_pool, "Path", lambda _path: Path("/nowhere/at/all"))
    assert wasmtime_pool._reserved_from(4096) == 0


def test_a_memory_of_all_there_can_be_is_bounded_beside_others(tmp_path: Path) -> None:
    """Where a place has 4 GiB, code relies on what is not accessible."""
    large = agent("(i32.const 0)").replace('(export "memory") 1)', '(export "memory") 65536)')
    small = agent("(i32.store8 (i32.const 1000000) (i32.const 1)) (i32.const 0)")
    path = write_profile(tmp_path, ROOM % "4 GiB", large=large, small=small)
    digest, faults, _ = ran(path)
    assert faults == [("small/0", "memory bounds")]
    path.write_text(path.read_text().replace("dense", "guarded"))
    assert ran(path)[0] == digest


def test_what_was_grown_is_kept_and_limited(tmp_path: Path) -> None:
    end = 65536 * 2 - 4
    grows = agent(
        f"""(drop (memory.grow (i32.const 1)))
        (i32.store (i32.const {end}) (i32.const 7))
        (if (i32.ne (i32.load (i32.const {end})) (i32.const 7)) (then unreachable))
        (i32.load (i32.const {end + 1}))"""
    )
    more = agent("(memory.grow (i32.const 2))")
    path = write_profile(tmp_path, ROOM % "128 KiB", grows=grows, more=more)
    digest, faults, _ = ran(path)
    assert faults == [("grows/0", "memory bounds"), ("more/0", "agent code")]
    path.write_text(path.read_text().replace("dense", "guarded"))
    assert ran(path)[0] == digest


@pytest.mark.parametrize("refusal", ["_may_have_all", "_reserved_from", "_host"])
def test_a_host_that_makes_nothing_accessible_ahead_changes_nothing(
    refusal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_profile(tmp_path, ROOM % "128 KiB", hello=HELLO, bad=agent("(unreachable)"))
    expected = ran(path)
    monkeypatch.setattr(wasmtime_pool, refusal, lambda *_: 0)
    assert ran(path) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="this limit of a process bounds mappings on Linux alone")
def test_a_process_that_may_not_have_the_tables_of_a_pool_is_told_so(tmp_path: Path) -> None:
    """wasmtime would end it."""
    path = write_profile(tmp_path, ROOM % "64 KiB", quiet=QUIET)
    limited = "import resource; resource.setrlimit(resource.RLIMIT_DATA, (8 << 30, 8 << 30))"
    code = f"{limited}; from wavelock.cli import main; main()"
    command = [sys.executable, "-c", code, "run", str(path), "--no-record", "--set", "agents[0].count=5000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 4, done.stderr
    assert "address space for the agents' memories and 19." in done.stderr


def test_a_pool_that_does_not_fit_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wasmtime_pool, "POOL_FACTOR", 1 << 40)
    path = write_profile(tmp_path, ROOM % "1 MiB", quiet=QUIET)
    with pytest.raises(
        EnvironmentFailure, match=r"of address space for the agents' memories and .* tables; lower limits.memory"
    ):
        ran(path)

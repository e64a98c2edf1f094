"""Every way in which a module can fail, as the fault it becomes; nobody else notices."""

from __future__ import annotations

from pathlib import Path

import pytest

import wavelock
from helpers import HELLO, INBOX, INBOX_BYTES, OUTBOX, OUTBOX_BYTES, agent, escaped, write_profile
from wavelock.core.errors import ProfileError


def record(*numbers: int) -> str:
    return escaped(b"".join((number & 0xFFFFFFFF).to_bytes(4, "little") for number in numbers))


def with_record(*numbers: int, at: str = "1024") -> str:
    """An agent with an ABI record of these numbers, answered to be at `at`."""
    return f"""(module (memory (export "memory") 1) (data (i32.const 1024) "{record(*numbers)}")
      (func (export "wavelock_abi") (result i32) (i32.const {at}))
      (func (export "wavelock_turn") (param i32) (result i32) (i32.const 0)))"""


def deep(frame_locals: int) -> str:
    locals_ = "(local i64)" * frame_locals
    kept = " ".join(f"(local.set {number + 1} (i64.const {number}))" for number in range(frame_locals))
    calls = f"(func $deep (param i32) (result i32) {locals_} {kept} (i32.add (call $deep (local.get 0)) (i32.const 1)))"
    return agent("(call $deep (local.get $len))").replace("(data", calls + "(data", 1)


EATS_MEMORY = agent("(loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) (unreachable)")
FAULTS = {
    "unreachable": agent("(unreachable)"),
    "memory bounds": agent("(i32.load (i32.const -4))"),
    "table bounds": agent("(table.get 0 (i32.const 7)) (drop) (i32.const 0)").replace(
        "(data", "(table 1 funcref) (data", 1
    ),
    "integer overflow": agent("(i32.div_s (i32.const 0x80000000) (i32.const -1))"),
    "division by zero": agent("(i32.div_u (i32.const 1) (i32.const 0))"),
    "bad conversion": agent("(i32.trunc_f64_s (f64.const nan))"),
    "indirect call": agent("(call_indirect (result i32) (i32.const 0))").replace("(data", "(table 1 funcref) (data", 1),
    "fuel": agent("(loop $for_ever (br $for_ever)) (i32.const 0)"),
    "depth": deep(0),
    "memory": EATS_MEMORY,
    "agent code": agent("(i32.const -7)"),
    "malformed outbox": agent(f"(i32.const {OUTBOX_BYTES + 8})"),
}


def run(path: Path, **options: str) -> tuple[wavelock.RunEnded, list[wavelock.AgentFault], list[str]]:
    profile = wavelock.load_profile(path, [f"{key}={value}" for key, value in options.items()])
    with wavelock.Runtime(profile, record=False) as runtime:
        result = runtime.run()
        return result, runtime.faults(), [output.payload.decode() for output in runtime.outputs()]


@pytest.mark.parametrize("kind", FAULTS)
def test_a_failing_turn_is_its_own_fault_and_nobody_elses(tmp_path: Path, kind: str) -> None:
    path = write_profile(tmp_path, before=HELLO, bad=FAULTS[kind], after=HELLO)
    result, faults, said = run(path)
    assert [(fault.agent, fault.kind, fault.wave) for fault in faults] == [("bad/0", kind, 0)]
    assert said == ["hello", "hello"]
    assert result.ended == "quiet"
    assert run(path)[0].digest == result.digest


def test_the_largest_frames_reach_the_depth_limit_as_the_smallest_do(tmp_path: Path) -> None:
    path = write_profile(tmp_path, bad=deep(1000))
    options = {"limits.fuel_per_turn": "10000000000"}
    assert [fault.kind for fault in run(path, **options)[1]] == ["depth"]
    options |= {"workers.use": "threads", "limits.stack": "1 MiB"}
    assert [fault.kind for fault in run(path, **options)[1]] == ["depth"]


def test_details_name_the_agents_code_and_the_outboxs_length(tmp_path: Path) -> None:
    path = write_profile(tmp_path, code=FAULTS["agent code"], past=FAULTS["malformed outbox"])
    assert [fault.detail for fault in run(path)[1]] == ["code -7", "an outbox of 16392 bytes, past its buffer or limit"]


def test_limits_outbox_bounds_an_outbox_below_its_buffer(tmp_path: Path) -> None:
    path = write_profile(tmp_path, said=HELLO)
    assert run(path, **{"limits.outbox": "16"})[1][0].kind == "malformed outbox"


GOOD_RECORD = (1, INBOX, INBOX_BYTES, OUTBOX, OUTBOX_BYTES)


@pytest.mark.parametrize(
    "module",
    [
        with_record(2, *GOOD_RECORD[1:]),
        with_record(1, 65536 - 8, 4096, OUTBOX, 4096),
        with_record(1, INBOX, 4096, 65536, 4096),
        with_record(1, INBOX, -1, OUTBOX, 4096),
        with_record(1, INBOX, OUTBOX_BYTES, INBOX + 8, 4096),
        with_record(1, INBOX, 8, OUTBOX, 4096),
        with_record(1, INBOX + 4, 4096, OUTBOX, 4096),
        with_record(*GOOD_RECORD, at="65530"),
        with_record(*GOOD_RECORD, at="-1"),
    ],
    ids=[
        "version",
        "inbox outside",
        "outbox outside",
        "huge",
        "overlap",
        "small",
        "unaligned",
        "cut record",
        "no record",
    ],
)
def test_buffers_that_cannot_be_are_a_fault_of_the_first_turn(tmp_path: Path, module: str) -> None:
    result, faults, _ = run(write_profile(tmp_path, bad=module))
    assert [(fault.kind, fault.wave) for fault in faults] == [("bad abi", 0)]
    assert result.turns == 1


def test_a_start_that_traps_or_never_ends_is_a_fault_too(tmp_path: Path) -> None:
    traps = agent("(i32.const 0)").replace("(data", "(func $start (unreachable)) (start $start) (data", 1)
    loops = agent("(i32.const 0)").replace(
        "(data", '(func (export "_initialize") (loop $for_ever (br $for_ever))) (data', 1
    )
    path = write_profile(tmp_path, traps=traps, loops=loops)
    assert [fault.kind for fault in run(path)[1]] == ["unreachable", "fuel"]


def test_the_start_and_the_first_turn_share_one_budget(tmp_path: Path) -> None:
    spend = "(loop $again (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))"
    initialize = f'(func (export "_initialize") (local $n i32) (local.set $n (i32.const 1000)) {spend}) (data'
    both = agent(f"(local $n i32) (local.set $n (i32.const 1000)) {spend} (i32.const 0)").replace(
        "(data", initialize, 1
    )
    path = write_profile(tmp_path, both=both)
    fuel = run(path)[0].fuel
    assert run(path, **{"limits.fuel_per_turn": str(fuel)})[1] == []
    assert run(path, **{"limits.fuel_per_turn": str(fuel - 100)})[1][0].kind == "fuel"
    assert run(path, **{"limits.fuel_per_turn": str(fuel // 3)})[1][0].kind == "fuel"


def test_a_memory_larger_than_the_limit_is_refused_before_the_run(tmp_path: Path) -> None:
    path = write_profile(tmp_path, big=HELLO.replace('(memory (export "memory") 1)', '(memory (export "memory") 40)'))
    with pytest.raises(ProfileError, match=r"agents\[0\]\.module.*40 pages .* at most the 32 that limits\.memory"):
        run(path, **{"limits.memory": "2 MiB"})


def test_growth_past_the_limit_is_not_a_fault_by_itself(tmp_path: Path) -> None:
    grows = agent("(if (i32.ne (memory.grow (i32.const 1000)) (i32.const -1)) (then (unreachable))) (i32.const 0)")
    assert run(write_profile(tmp_path, grows=grows))[1] == []


def test_growth_is_charged_by_what_was_asked_for(tmp_path: Path) -> None:
    grows = agent("(drop (memory.grow (i32.const 100000))) (i32.const 0)")
    assert [fault.kind for fault in run(write_profile(tmp_path, grows=grows))[1]] == ["fuel"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("(module", "not WebAssembly text"),
        ('(module (import "env" "clock" (func)))', "env.clock"),
        ('(module (memory (export "memory") 1))', "wavelock_turn"),
        (HELLO.replace("(param $len i32) (result i32)", "(param $len i64) (result i32)"), "wavelock_turn"),
        (HELLO.replace("(memory (export", "(memory 1) (memory (export"), "memor"),
    ],
    ids=["text", "import", "exports", "type", "memories"],
)
def test_modules_that_cannot_be_agents_are_refused_before_the_run(tmp_path: Path, text: str, said: str) -> None:
    path = write_profile(tmp_path, good=HELLO, bad=text)
    with pytest.raises(ProfileError) as caught:
        wavelock.Runtime(wavelock.load_profile(path), record=False)
    assert said in str(caught.value)
    assert "agents[1].module" in str(caught.value)
    assert "bad.wat" in str(caught.value)


def test_a_module_that_is_not_valid_is_the_profiles_problem(tmp_path: Path) -> None:
    import wasmtime

    wasm = bytes(wasmtime.wat2wasm(agent("(i32.const 0)")))
    broken = wasm.replace(b"\x41\x00\x0b", b"\x42\x00\x0b")  # i64.const where i32 is the result
    assert broken != wasm
    path = write_profile(tmp_path, good=HELLO)
    (tmp_path / "good.wat").write_bytes(broken)
    with pytest.raises(ProfileError, match=r"agents\[0\]\.module.*wavelock_turn.*found i64, expected i32"):
        wavelock.Runtime(wavelock.load_profile(path), record=False)


def test_a_table_grows_to_a_bound_and_no_further(tmp_path: Path) -> None:
    grow = "(drop (table.grow 0 (ref.null func) (i32.const {})))".format
    turn = f"{grow(1 << 19)} {grow(1 << 30)} {grow(-2)} (i32.sub (i32.const 0) (table.size 0))"
    path = write_profile(tmp_path, grows=agent(turn).replace("(data", "(table 1 funcref) (data", 1))
    faults = run(path, **{"limits.fuel_per_turn": "10000000000"})[1]
    assert [fault.detail for fault in faults] == [f"code {-1 - (1 << 19)}"]


def test_a_module_with_many_exports_starts(tmp_path: Path) -> None:
    names = " ".join(f'(export "e{number}" (memory 0))' for number in range(20_000))
    path = write_profile(tmp_path, many=HELLO.replace("(data", f"{names} (data", 1))
    assert run(path)[2] == ["hello"]


def test_the_labels_of_a_module_are_bounded(tmp_path: Path) -> None:
    table = f"(br_table {'0 ' * 40_000} (i32.const 0))"
    two = HELLO.replace("(data", f"(func {table}) (func {table}) (data", 1)
    with pytest.raises(ProfileError, match="80000 labels of br_table up to here, expected at most 65536"):
        wavelock.Runtime(wavelock.load_profile(write_profile(tmp_path, two=two)), record=False)


@pytest.mark.parametrize("layout", ["guarded", "dense"])
def test_the_memory_layout_changes_no_digest(tmp_path: Path, layout: str) -> None:
    path = write_profile(tmp_path, **{f"bad{number}": module for number, module in enumerate(FAULTS.values())})
    auto = run(path)[0].digest
    assert run(path, **{"engine.memory_layout": layout})[0].digest == auto

"""Turns inside WebAssembly: what one agent does costs no other anything, and a run is the same as turn by turn."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
import pytest
import wasmtime

import wavelock
from helpers import OUTBOX, agent, escaped, yields
from wavelock.core import kernel
from wavelock.core.abi import FRAME_HEADER, Outbound, frame
from wavelock.core.errors import EnvironmentFailure
from wavelock.core.homes import Homes
from wavelock.core.shard import U32Array
from wavelock.core.turns import SharedTurns, WaveHeader
from wavelock.plugins.manager import Registry
from wavelock.testing import WORKLOADS, Combination, Workload
from wavelock.testing.trace import Setup
from wavelock.wasm_engines.hub import commit, errands
from wavelock.wasm_engines.hub.commit import Committer
from wavelock.wasm_engines.hub.courier import courier_text
from wavelock.wasm_engines.hub.errands import Errands
from wavelock.wasm_engines.hub.instance import configure_for_hub
from wavelock.wasm_engines.hub.layout import MOST_AGENTS, SPILLED
from wavelock.wasm_engines.hub.mailboxes import HubMailboxes
from wavelock.wasm_engines.hub.shard import SPARED, HubShard
from wavelock.wasm_engines.loop import LoopShard
from wavelock.workers.inline import InlineWorkers
from wavelock.workers.threads import ThreadWorkers

YIELD: Final = escaped(yields())


def counting(body: str) -> str:
    """An agent that yields, and has the number of its turns in $turns while `body` runs."""
    turn = f"(global.set $turns (i32.add (global.get $turns) (i32.const 1))) {body} (i32.const {len(yields())})"
    return agent(turn, f'(global $turns (mut i32) (i32.const 0)) (data (i32.const {OUTBOX}) "{YIELD}")')


def outcome(folder: Path, profile: str) -> tuple[str, int, int]:
    """The digest of a run, its turns and its faults."""
    with wavelock.Runtime(wavelock.parse_profile(profile, base=folder), record=False) as runtime:
        result = runtime.run()
        return result.digest, result.turns, result.faults


def send_inboxes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers be in another process, for all that anybody knows: shards then take their turns one by one."""
    monkeypatch.setattr(InlineWorkers, "in_process", False)
    monkeypatch.setattr(ThreadWorkers, "in_process", False)


def same_turn_by_turn(folder: Path, profile: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, int, int]:
    """What came of a run, inside WebAssembly and turn by turn."""
    inside = outcome(folder, profile)
    with monkeypatch.context() as patch:
        send_inboxes(patch)
        assert outcome(folder, profile) == inside
    return inside


@pytest.mark.parametrize("workers", ["inline", "threads"])
@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_every_workload_is_the_same_turn_by_turn(
    workload: Workload, workers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if workload.models:
        pytest.importorskip("onnxruntime")
    combination = Combination(
        "round-robin", "wasmtime", "shared-memory", workers, 1 if workers == "inline" else 3, "onnx" * workload.models
    )
    monkeypatch.setattr(commit, "MANY_TURNS", 1)  # so that threads commit, too
    monkeypatch.setattr(kernel, "BESIDE_BYTES", 1)
    setup = Setup(workload, workload.write(tmp_path), combination, Registry(), 7)
    kinds: list[type] = []

    def note(kind: type[HubShard] | type[LoopShard]) -> None:
        create = kind.create

        def created(self: Any, ids: U32Array, groups: U32Array) -> U32Array:
            kinds.append(type(self))
            return create(self, ids, groups)

        monkeypatch.setattr(kind, "create", created)

    note(HubShard)
    note(LoopShard)
    inside = setup.run()
    assert set(kinds) == {HubShard}
    send_inboxes(monkeypatch)
    outside = setup.run()
    assert set(kinds) == {HubShard, LoopShard}
    assert [record.digest for record in inside.records] == [record.digest for record in outside.records]


RESTARTING: Final = """
[run]
waves = 41
[workers]
use = "%s"
count = %d
[[agents]]
name = "crash"
module = "crash.wat"
count = 50
restart = "fresh"
limits = { restarts = 1000 }
[[agents]]
name = "steady"
module = "steady.wat"
count = 9
"""


@pytest.mark.parametrize(("workers", "count"), [("inline", 1), ("threads", 2)])
def test_stores_full_of_what_is_over_are_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: str, count: int
) -> None:
    (tmp_path / "crash.wat").write_text(counting("(if (i32.eq (global.get $turns) (i32.const 2)) (then unreachable))"))
    (tmp_path / "steady.wat").write_text(
        counting(f"(i32.store (i32.const {OUTBOX + 12}) (global.get $turns))")  # the tag
    )
    stores: list[object] = []
    most, tidy = 0, HubShard._tidy

    def noting(self: HubShard) -> None:
        nonlocal most
        most = max(most, self._over + len(self._held))
        tidy(self)
        if not any(store is self._store for store in stores):
            stores.append(self._store)

    monkeypatch.setattr(HubShard, "_tidy", noting)
    _, turns, faults = same_turn_by_turn(tmp_path, RESTARTING % (workers, count), monkeypatch)
    assert (turns, faults) == (41 * 59, 50 * 20)
    assert len(stores) > 5 * count
    assert most <= 3 * 59 + SPARED


CHATTER: Final = f"""(module
  (memory (export "memory") 1)
  (data (i32.const 0) "{escaped(b"".join(n.to_bytes(4, "little") for n in (1, 64, 3968, 4096, 16384)))}")
  (global $at (mut i32) (i32.const 0))
  (func (export "wavelock_abi") (result i32) (i32.const 0))
  ;; a frame of up to 24 bytes of payload
  (func $frame (param $kind i32) (param $peer i32) (param $size i32) (param $word i64)
    (i32.store (global.get $at) (local.get $size))
    (i32.store offset=4 (global.get $at) (local.get $kind))
    (i32.store offset=8 (global.get $at) (local.get $peer))
    (i32.store offset=12 (global.get $at) (i32.const 77))
    (i64.store offset=16 (global.get $at) (local.get $word))
    (i64.store offset=24 (global.get $at) (i64.const 0))
    (i64.store offset=32 (global.get $at) (i64.const 0))
    (global.set $at (i32.add (global.get $at) (i32.add (i32.const 16)
      (i32.and (i32.add (local.get $size) (i32.const 7)) (i32.const -8))))))
  (func (export "wavelock_turn") (param $length i32) (result i32)
    (local $chance i64) (local $left i32)
    (global.set $at (i32.const 4096))
    (loop $heard
      (local.set $length (i32.sub (local.get $length) (i32.const 8)))
      (local.set $chance (i64.add (i64.load offset=64 (local.get $length))
        (i64.mul (i64.rotl (local.get $chance) (i64.const 29)) (i64.const 0x5851F42D4C957F2D))))
      (br_if $heard (local.get $length)))
    (local.set $left (i32.and (i32.wrap_i64 (local.get $chance)) (i32.const 3)))
    (block $done (loop $more
      (br_if $done (i32.eqz (local.get $left)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (local.set $chance (i64.mul (local.get $chance) (i64.const 0x5851F42D4C957F2D)))
      (call $frame (i32.const 1)
        (i32.rem_u (i32.wrap_i64 (i64.shr_u (local.get $chance) (i64.const 33))) (i32.const 60))
        (i32.shl (local.get $left) (i32.const 3)) (local.get $chance))
      (br $more)))
    (if (i64.eqz (i64.and (i64.shr_u (local.get $chance) (i64.const 20)) (i64.const 15)))
      (then (call $frame (i32.const 2) (i32.const 0) (i32.const 16) (local.get $chance))))
    (if (i64.eqz (i64.and (i64.shr_u (local.get $chance) (i64.const 30)) (i64.const 7)))
      (then (call $frame (i32.const 8) (i32.const 0) (i32.const 8)
        (i64.and (i64.shr_u (local.get $chance) (i64.const 40)) (i64.const 3)))))
    (if (i64.ne (i64.and (i64.shr_u (local.get $chance) (i64.const 50)) (i64.const 3)) (i64.const 0))
      (then (call $frame (i32.const 10) (i32.const 0) (i32.const 0) (i64.const 0))))
    (i32.sub (global.get $at) (i32.const 4096))))"""
"""Agents that send, publish, set timers and yield, as every word of their inbox has it."""
CROWD: Final = """
[run]
waves = 150
seed = %d
[scheduler]
use = "%s"
width = 40
[workers]
use = "%s"
count = %d
[limits]
timers = 4
mailbox_frames = %d
[[topics]]
name = "news"
subscribers = ["b", "a"]
[[agents]]
name = "a"
module = "chatter.wat"
count = 37
grants = { topics = ["*"] }
[[agents]]
name = "b"
module = "chatter.wat"
count = 23
grants = { topics = ["*"] }
"""


@pytest.mark.parametrize("scheduler", ["round-robin", "priority"])
@pytest.mark.parametrize(("frames", "refuses"), [(1000, False), (9, True)])
@pytest.mark.parametrize("seed", range(4))
def test_workers_that_commit_do_what_one_would(
    seed: int, frames: int, refuses: bool, scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a mailbox refuses something in the middle: all of it is taken back and done by one."""
    (tmp_path / "chatter.wat").write_text(CHATTER)
    alone = outcome(tmp_path, CROWD % (seed, scheduler, "inline", 1, frames))
    whole: list[bool] = []
    spilled: list[bool] = []
    delivered, begin_aside = Committer.delivered, Committer._begin_aside
    monkeypatch.setattr(commit, "MANY_TURNS", 2)
    monkeypatch.setattr(commit, "_ALONE_WAVES", 1)

    def noting(self: Committer) -> bool:
        whole.append(delivered(self))
        return whole[-1]

    def marking(self: Committer, marks: int) -> bool:
        spilled.append(bool(marks & SPILLED))
        return begin_aside(self, marks)

    monkeypatch.setattr(Committer, "delivered", noting)
    monkeypatch.setattr(Committer, "_begin_aside", marking)
    for workers in (2, 3):
        assert outcome(tmp_path, CROWD % (seed, scheduler, "threads", workers, frames)) == alone
    assert whole.count(not refuses) > 20
    assert refuses or False not in whole
    assert sum(spilled) < 10  # where there was no room for all errands, there is the next time
    assert alone[1] > 5000
    with monkeypatch.context() as patch:
        spilled.clear()
        make, rooms = Errands._make, []

        def small_at_first(self: Errands, room: int) -> list[Any]:
            rooms.append(room)
            return make(self, room if len(rooms) > 1 else 1)

        patch.setattr(Errands, "_make", small_at_first)
        assert outcome(tmp_path, CROWD % (seed, scheduler, "threads", 2, frames)) == alone
        assert 0 < sum(spilled) < 10
    with monkeypatch.context() as patch:
        spilled.clear()
        patch.setattr(errands, "MOST_ERRAND_BYTES", 768)  # room for 12 errands from each worker for each
        assert outcome(tmp_path, CROWD % (seed, scheduler, "threads", 2, frames)) == alone
        assert any(spilled)
        patch.setattr(errands, "MOST_ERRAND_BYTES", 0)
        whole.clear()
        assert outcome(tmp_path, CROWD % (seed, scheduler, "threads", 2, frames)) == alone
        assert not whole

    with monkeypatch.context() as patch:
        asked: list[int] = []

        def full_once(self: Errands, room: int) -> list[Any]:
            asked.append(room)
            if len(asked) == 2:
                self._room = room
                raise EnvironmentFailure("full")
            return make(self, room if len(asked) > 1 else 1)

        patch.setattr(Errands, "_make", full_once)
        assert outcome(tmp_path, CROWD % (seed, scheduler, "threads", 2, frames)) == alone
        assert asked[2] <= 60, "what did not fit is not asked for again"
        assert len(whole) > 20
        whole.clear()

    def no_room(self: Errands, room: int) -> list[Any]:
        raise EnvironmentFailure("full")

    monkeypatch.setattr(Errands, "_make", no_room)
    assert outcome(tmp_path, CROWD % (seed, scheduler, "threads", 2, frames)) == alone
    assert not whole


UNEVEN: Final = """
[run]
waves = 70
[scheduler]
use = "round-robin"
width = 50
[workers]
use = "%s"
count = %d
[limits]
fuel_per_turn = 100_000_000
mailbox_frames = 100_000
[[agents]]
name = "works"
module = "works.wat"
count = 6
[[agents]]
name = "chatter"
module = "chatter.wat"
count = 54
"""


def test_workers_share_agents_anew_by_what_they_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All the work lies on the first worker, until agents move, with their memory and the mail that waits for them."""
    (tmp_path / "chatter.wat").write_text(CHATTER)
    busy = "(loop (br_if 0 (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 60000))))"
    turn = f"(local $n i32) {busy} (i32.const {len(yields())})"
    (tmp_path / "works.wat").write_text(agent(turn, f'(data (i32.const {OUTBOX}) "{YIELD}")'))
    alone = outcome(tmp_path, UNEVEN % ("inline", 1))
    shared: list[tuple[list[int], int]] = []
    rehome = HubMailboxes.rehome

    def noting(self: HubMailboxes, agents: U32Array) -> None:
        shared.append((agents.tolist(), sum(self.held(agent)[0] for agent in agents.tolist())))
        rehome(self, agents)

    monkeypatch.setattr(HubMailboxes, "rehome", noting)
    assert outcome(tmp_path, UNEVEN % ("threads", 2)) == alone
    assert [agents for agents, _ in shared] == [list(range(3, 30))]
    assert shared[0][1] > 0
    assert outcome(tmp_path, UNEVEN % ("threads", 3)) == alone


def test_an_outbox_larger_than_all_room_so_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 700_000
    (tmp_path / "large.wat").write_text(f"""(module
      (memory (export "memory") 40)
      (data (i32.const 0) "{escaped(b"".join(n.to_bytes(4, "little") for n in (1, 1024, 1024, 4096, 1 << 20)))}")
      (data (i32.const 4096) "{escaped(FRAME_HEADER.pack(size, Outbound.SEND, 0, 0xFFFFFFFF, 3))}")
      (func (export "wavelock_abi") (result i32) (i32.const 0))
      (func (export "wavelock_turn") (param i32) (result i32)
        (memory.fill (i32.const 4112) (i32.const 7) (i32.const {size}))
        (i32.const {16 + size})))""")
    profile = """
    [limits]
    outbox = "2MiB"
    message = "1MiB"
    memory = "8MiB"
    [[agents]]
    name = "large"
    module = "large.wat"
    count = 5
    """
    _, turns, faults = same_turn_by_turn(tmp_path, profile, monkeypatch)
    assert (turns, faults) == (5, 0)
    with wavelock.Runtime(wavelock.parse_profile(profile, base=tmp_path), record=False) as runtime:
        runtime.run()
        assert [output.payload for output in runtime.outputs()] == [bytes([7]) * size] * 5


def test_an_inbox_longer_than_a_bulk_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages of every size around the border between loop and bulk copy come whole."""
    sizes = [0, 1, 8, 231, 232, 240, 241, 248, 256, 257, 264, 2000]
    script = b"".join(frame(Outbound.SEND, 1, size, bytes([size % 251]) * size) for size in sizes)
    talker = agent(f"(i32.const {len(script)})", f'(data (i32.const {OUTBOX}) "{escaped(script)}")')
    (tmp_path / "talker.wat").write_text(talker)
    (tmp_path / "echo.wat").write_text(echo())
    profile = """
    [run]
    waves = 2
    [[agents]]
    name = "talker"
    module = "talker.wat"
    [[agents]]
    name = "echo"
    module = "echo.wat"
    """
    same_turn_by_turn(tmp_path, profile, monkeypatch)
    with wavelock.Runtime(wavelock.parse_profile(profile, base=tmp_path), record=False) as runtime:
        runtime.run()
        heard = {output.tag: output.payload for output in runtime.outputs()}
    assert {tag: heard[tag] for tag in sizes} == {size: bytes([size % 251]) * size for size in sizes}


def echo() -> str:
    """An agent that sends every frame of its inbox on to the world."""
    return agent(f"""
      (local $end i32) (local $out i32)
      (local.set $end (i32.sub (local.get $len) (i32.const 32)))
      (memory.copy (i32.const {OUTBOX}) (i32.const {8192 + 32}) (local.get $end))
      (loop $frames
        (if (i32.lt_u (local.get $out) (local.get $end))
          (then
            (i32.store offset={OUTBOX + 4} (local.get $out) (i32.const 1))
            (i32.store offset={OUTBOX + 8} (local.get $out) (i32.const -1))
            (local.set $out (i32.add (local.get $out)
              (i32.add (i32.const 16)
                (i32.and (i32.add (i32.load offset={OUTBOX} (local.get $out)) (i32.const 7)) (i32.const -8)))))
            (br $frames))))
      (local.get $end)""")


STARTS: Final = {
    "trap": '(func $begin unreachable) (start $begin) (func (export "wavelock_abi") (result i32) (i32.const 0))',
    "out of fuel": '(func (export "wavelock_abi") (result i32) (loop (br 0)) (i32.const 0))',
    "no record": '(func (export "wavelock_abi") (result i32) (i32.const 65530))',
    "outside": '(func (export "wavelock_abi") (result i32) (i32.const -4))',
    "another version": '(func (export "wavelock_abi") (result i32) (i32.const 64))',
}


@pytest.mark.parametrize("what", STARTS)
def test_starts_that_fail(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More agents than one courier has, each of which fails in its first turn, beside others that do not."""
    (tmp_path / "bad.wat").write_text(
        f"""(module (memory (export "memory") 1) {STARTS[what]}
        (func (export "wavelock_turn") (param i32) (result i32) (i32.const 0)))"""
    )
    (tmp_path / "good.wat").write_text(counting(""))
    profile = """
    [run]
    waves = 3
    [[agents]]
    name = "good"
    module = "good.wat"
    count = 37
    [[agents]]
    name = "bad"
    module = "bad.wat"
    count = 21
    """
    _, turns, faults = same_turn_by_turn(tmp_path, profile, monkeypatch)
    assert (turns, faults) == (3 * 37 + 21, 21)


def test_outboxes_of_turns_before_a_trap_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cut.wat").write_text(agent("(i32.const 8)"))
    (tmp_path / "trap.wat").write_text(agent("unreachable"))
    (tmp_path / "good.wat").write_text(counting(""))
    group = '[[agents]]\nname = "%s"\nmodule = "%s.wat"\ncount = 2\n'
    names = ("good", "cut", "trap", "good", "trap", "cut", "good")
    profile = "[run]\nwaves = 2\n" + "".join(group % (f"{name}{at}", name) for at, name in enumerate(names))
    _, turns, faults = same_turn_by_turn(tmp_path, profile, monkeypatch)
    assert (turns, faults) == (2 * len(names) + 2 * 3, 2 * 4)


def test_a_courier_is_written_for_any_number_of_agents() -> None:
    source = resources.files("wavelock.wasm_engines.hub").joinpath("courier.wat").read_text(encoding="utf-8")
    for agents in (1, 2, MOST_AGENTS):
        text = courier_text(source, agents)
        assert "i32.const SEAT" not in text
        assert ";; }" not in text
        module = wasmtime.Module(engine_for_hub(), text)
        given, turns = ["memory", "table", "worker"], ["memory", "turn"]
        assert [kind.name for kind in module.imports] == given + turns * agents + ["start"] * agents


def engine_for_hub() -> wasmtime.Engine:
    config = wasmtime.Config()
    configure_for_hub(config)
    return wasmtime.Engine(config)


def test_an_inbox_that_ends_with_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The start and the directory fill it to the last byte below 2^32."""
    size = 32 + 16 + 32
    inbox = 2**32 - size
    record = escaped(b"".join(number.to_bytes(4, "little") for number in (1, inbox, size, 4096, 4096)))
    header = escaped(FRAME_HEADER.pack(size + 8, Outbound.SEND, 0, 0xFFFFFFFF, 3))
    (tmp_path / "end.wat").write_text(f"""(module
      (memory (export "memory") 65536) (data (i32.const 0) "{record}") (data (i32.const 4096) "{header}")
      (func (export "wavelock_abi") (result i32) (i32.const 0))
      (func (export "wavelock_turn") (param i32) (result i32)
        (i64.store (i32.const 4112) (i64.extend_i32_u (local.get 0)))
        (memory.copy (i32.const 4120) (i32.const {inbox - 2**32}) (i32.const {size}))
        (i32.const {16 + 8 + size})))""")
    profile = '[limits]\nmemory = "4 GiB"\n[[agents]]\nname = "e"\nmodule = "end.wat"\n'
    same_turn_by_turn(tmp_path, profile, monkeypatch)
    with wavelock.Runtime(wavelock.parse_profile(profile, base=tmp_path), record=False) as runtime:
        runtime.run()
        (output,) = runtime.outputs()
    assert int.from_bytes(output.payload[:8], "little") == size
    assert output.payload[-4:] == b"e\0\0\0"


def test_frames_that_bounce_stay_in_the_order_of_the_mailbox() -> None:
    """Whatever their bytes say; agents are in plan order, whichever worker had them."""
    rows = [(2, 9, b"b"), (2, 9, b"a"), (0, 4, b"d"), (0, 4, b"c"), (3, 1, b"")]
    shards: Any = SimpleNamespace(take_turns=lambda _workers: None)
    shared: Any = SimpleNamespace(share=lambda *_: None, collect=lambda: None, take_bounced=lambda: rows)
    turns = SharedTurns(shared, shards, Homes(), attended=False)
    outcome = turns.take(np.zeros(0, np.uint32), WaveHeader(0, 0, 0))
    assert outcome.bounced == [(4, b"d"), (4, b"c"), (9, b"b"), (9, b"a"), (1, b"")]


@pytest.mark.parametrize("layout", ["guarded", "dense"])
def test_layouts_do_the_same(layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "crash.wat").write_text(counting("(if (i32.eq (global.get $turns) (i32.const 2)) (then unreachable))"))
    (tmp_path / "steady.wat").write_text(counting("(drop (memory.grow (i32.const 1)))"))
    text = RESTARTING % ("inline", 1)
    expected = outcome(tmp_path, text)
    chosen = f'[engine]\nmemory_layout = "{layout}"\n' + text
    assert outcome(tmp_path, chosen) == expected

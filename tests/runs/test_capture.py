"""Capture and restore: a run cut between two waves goes on elsewhere to the same bits, whatever was in flight."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pytest

import helpers
from wavelock import Registry, RunEnded, Runtime, UserError, WaveCommitted, WavelockError, hookimpl, load_profile
from wavelock.core.abi import Fault, Outbound, frame
from wavelock.core.assembly import Sources, assemble
from wavelock.core.capture import RunState, decode, encode
from wavelock.core.errors import EnvironmentFailure
from wavelock.core.replay import JournalFeed, JournalInference, LastRecord, recorded_modules, recorded_profile
from wavelock.core.runreader import RunFileReader
from wavelock.core.runtime import RunLoop
from wavelock.wasm_engines import wasmer_plugin
from wavelock.wasm_engines.loop import AgentState

if TYPE_CHECKING:
    from runs.conftest import Kit

ENGINES = ["wasmtime", "reference"] + ([] if wasmer_plugin.unavailable() else ["wasmer"])
PLACES = [(f'engine.use="{engine}"',) for engine in ENGINES] + [('workers.use="threads"', "workers.count=2")]
"""Where a run can go on: on each engine, and with other workers."""
PLACE_IDS = [*ENGINES, "threads:2"]
HOME = PLACES[0]
Posts = dict[int, list[tuple[str, bytes]]]
"""What is posted before which step."""


class Story(NamedTuple):
    """A run wave by wave. captures: before each step, the last of which runs nothing, and at the end."""

    captures: list[bytes]
    waves: list[WaveCommitted]
    result: RunEnded
    state: dict[bytes, bytes]


def tell(runtime: Runtime, posts: Posts, cut: int | None = None) -> Story:
    """Run to the end. cut: of a restored run, the steps that were done before; what is posted at the cut was, too.

    A run from the beginning is captured at every boundary, a restored one at the first and the last.
    """
    captures: list[bytes] = []
    waves: list[WaveCommitted] = []
    while True:
        step = (cut or 0) + len(waves)
        for agent, payload in posts.get(step, []) if waves or cut is None else []:
            runtime.post(agent, payload)
        if cut is None or not waves:
            captures.append(runtime.capture())
        committed = runtime.step()
        if committed is None:
            return Story([*captures, runtime.capture()], waves, runtime.result, runtime.state())
        waves.append(committed)


class World:
    """A profile in a folder, and its runs."""

    def __init__(self, kit: Kit, posts: Posts | None = None) -> None:
        self.kit, self.posts = kit, posts or {}
        self.told = lru_cache(maxsize=None)(self._told)
        self.header = lru_cache(maxsize=None)(self._header)

    def _header(self, *settings: str) -> bytes:
        with self.open(*settings) as runtime:
            return runtime._kernel.header

    def read(self, data: bytes, *settings: str) -> RunState:
        """What a capture of a run of this profile holds."""
        return decode(data, self.header(*settings))

    def agents(self, data: bytes, *settings: str) -> list[AgentState | None]:
        """The agents' own states in a capture; None for one that is not made."""
        rows = self.read(data, *settings).agents
        return [msgspec.msgpack.decode(row.instance, type=AgentState) if row.instance else None for row in rows]

    def open(self, *settings: str) -> Runtime:
        return self.kit.open(None, *settings)

    def _told(self, *settings: str) -> Story:
        """The whole run without a cut."""
        with self.open(*settings) as runtime:
            return tell(runtime, self.posts)

    def check_cut(self, cut: int, place: Sequence[str], *settings: str) -> None:
        """Whether the run that goes on at another place from this cut is the whole one."""
        whole = self.told(*HOME, *settings)
        with self.open(*place, *settings) as runtime:
            runtime.restore(whole.captures[cut])
            rest = tell(runtime, self.posts, cut)
        assert rest.waves == whole.waves[cut:]
        assert (rest.result, rest.state) == (whole.result, whole.state)
        assert rest.captures == [whole.captures[cut], whole.captures[-1]]

    def check_move(self, step: int, place: Sequence[str], *settings: str) -> None:
        """Whether one wave done at another place leads to the same bytes as at home."""
        whole = self.told(*HOME, *settings)
        before, after = whole.captures[step : step + 2]
        with self.open(*place, *settings) as runtime:
            runtime.restore(before)
            assert runtime.capture() == before
            assert runtime.step() == whole.waves[step]
            for agent, payload in self.posts.get(step + 1, []):
                runtime.post(agent, payload)
            assert runtime.capture() == after


# ---- a run with all in flight that a kernel knows ----

CROWD = """
[run]
name = "crowd"
seed = 11

[[models]]
name = "m"
repository = "models"
latency = 3

[[topics]]
name = "news"
subscribers = ["sink", "watcher"]

[[inputs]]
name = "dealt"
files = ["dealt.txt"]
to = ["sink"]

[[inputs]]
name = "told"
files = ["told.txt"]
to = ["sink", "watcher"]
deal = "all"

[[agents]]
name = "sink"
module = "echo.wat"
count = 2
limits = { inbox = "544 B", mailbox_frames = 4 }

[[agents]]
name = "flood"
module = "flood.wat"
priority = 5
grants = { topics = ["news"] }

[[agents]]
name = "watcher"
module = "watcher.wat"
after = ["flood"]
grants = { state = ["k/"] }

[[agents]]
name = "clock"
module = "clock.wat"
after = ["watcher"]

[[agents]]
name = "faller"
module = "faller.wat"
restart = "fresh"
grants = { state = ["k/"], spawn = ["child"], models = ["m"] }
limits = { restarts = 2 }

[[agents]]
name = "parent"
module = "parent.wat"
priority = 2
after = ["faller", "clock"]
grants = { state = ["k/"], spawn = ["child"] }

[[agents]]
name = "asker"
module = "asker.wat"
grants = { models = ["m"] }

[[agents]]
name = "gone"
module = "gone.wat"

[[agents]]
name = "child"
module = "child.wat"
count = 0
limits = { timers = 2 }
"""
DENSE, SPARSE = 6, 6
"""Cuts: before each of so many first waves, when most happens, and before every so many-th of the others."""
SINK, FLOOD, WATCHER, CLOCK, FALLER, PARENT, ASKER, GONE, CHILD = 0, 2, 3, 4, 5, 6, 7, 8, 9
CHILD_GROUP = 8
POSTS: Posts = {0: [("clock", b"first")], 3: [("sink/0", bytes([n] * 8)) for n in range(70)], 4: [("gone", b"late")]}
SCHEDULERS = {
    "all": ('scheduler.use="round-robin"',),
    "round-robin": ('scheduler.use="round-robin"', "scheduler.width=1"),
    "priority": ('scheduler.use="priority"', "scheduler.width=3", "scheduler.aging=2"),
    "dag": ('scheduler.use="dag"',),
}


def timer(waves: int, tag: int) -> bytes:
    return frame(Outbound.TIMER, 0, tag, struct.pack("<Q", waves))


def watch(prefix: bytes, tag: int) -> bytes:
    return frame(Outbound.WATCH, 0, tag, prefix)


def spawn(tag: int, config: bytes = b"") -> bytes:
    return frame(Outbound.SPAWN, CHILD_GROUP, tag, config)


def crowd_agents(kit: Kit) -> dict[str, str]:
    """The crowd: each keeps something in flight over many waves."""
    flood = b"".join(kit.send(SINK + number % 2, bytes(20), number) for number in range(16))
    return {
        "echo": helpers.echoes(),
        "flood": kit.agent([flood + kit.YIELD, frame(Outbound.PUBLISH, 0, 3, b"extra") + kit.YIELD, flood]),
        "watcher": kit.agent(
            [watch(b"k/b", 1) + watch(b"k/", 2) + kit.YIELD, watch(b"k/b", 3), kit.put("k/b", b"mine")], echo=True
        ),
        "clock": kit.agent([timer(2, 1) + timer(30, 2) + timer(2, 3), timer(5, 4)], echo=True),
        "faller": kit.agent(
            [
                timer(1, 5) + timer(9, 6) + watch(b"k/", 7) + spawn(1) + kit.ask(1, 2, tag=9) + kit.YIELD,
                kit.put("k/f", b"fell") + kit.YIELD,
                kit.TRAP,
            ]
        ),
        "parent": kit.agent(
            [
                spawn(21, b"configured") + spawn(22) + kit.put("k/a", b"one") + kit.YIELD,
                kit.put("k/b", bytes(40)) + kit.YIELD,
                spawn(23) + kit.YIELD,
                b"".join(frame(Outbound.STOP, number, 0, b"") for number in range(CHILD, CHILD + 8)),
            ],
            echo=True,
        ),
        "asker": kit.agent(
            [kit.ask(1, 2, tag=1) + kit.YIELD, kit.ask(3, 4, tag=2) + frame(Outbound.INFER, 0, 3, b"bad") + kit.YIELD],
            kit.ask(5, 6, tag=4)[:0],
            echo=True,
        ),
        "gone": kit.agent([kit.put("other", b"denied") + kit.exit_with(3)]),
        "child": kit.agent([timer(3, 8) + timer(20, 9), kit.YIELD, kit.exit_with(4)], echo=True),
    }


@pytest.fixture(scope="module")
def crowd(make_kit: Callable[[Path], Kit], tmp_path_factory: pytest.TempPathFactory) -> World:
    kit = make_kit(tmp_path_factory.mktemp("crowd"))
    kit.write(CROWD, **crowd_agents(kit))
    (kit.folder / "models").mkdir()
    (kit.folder / "dealt.txt").write_text("".join(f"dealt {number}\n" for number in range(9)))
    (kit.folder / "told.txt").write_text("".join(f"told {number}\n" for number in range(5)))
    return World(kit, POSTS)


def in_flight(state: RunState) -> set[str]:
    """What a capture holds, in words."""
    agents = state.agents
    unborn = {number for first, count in state.births for number in range(first, first + count)}
    found = {
        "nothing has begun": state.wave < 0,
        "mail waits": any(row.mail and at not in unborn for at, row in enumerate(agents)),
        "timers": bool(state.timers),
        "watches": bool(state.watches),
        "state": bool(state.values),
        "children": any(row.children for row in agents),
        "spawn tags": any(row.spawn_tag for row in agents),
        "not yet made": bool(state.wave >= 0 and state.births),
        "not yet freed": bool(state.drops),
        "ended": any(row.ended for row in agents),
        "a second life": any(row.life and not row.ended for row in agents),
        "inputs half read": state.streams[0][1] in range(1, 9) and state.streams[1][1] in range(1, 5),
        "posts wait": bool(state.wave >= 3 and state.posts),
        "requests": bool(state.batches),
        "requests of a former life": any(
            request.life != agents[request.agent].life for batch in state.batches for request in batch[3]
        ),
    }
    return {name for name, holds in found.items() if holds}


def test_the_crowd_has_everything_in_flight(crowd: World) -> None:
    """What the tests below cut through; nothing is left out by accident."""
    seen: set[str] = set()
    for settings in SCHEDULERS.values():
        for data in crowd.told(*HOME, *settings).captures:
            seen |= in_flight(crowd.read(data, *settings))
    assert seen >= {
        "nothing has begun", "mail waits", "timers", "watches",
        "state", "children", "spawn tags", "not yet made", "not yet freed", "ended", "a second life",
        "inputs half read", "posts wait", "requests", "requests of a former life",
    }  # fmt: skip


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_run_can_move_before_any_wave(crowd: World, scheduler: str) -> None:
    """At each cut to the next place; what a later wave depends on is in the bytes after each."""
    waves = len(crowd.told(*HOME, *SCHEDULERS[scheduler]).waves)
    for step in (step for step in range(waves) if step < DENSE or step % SPARSE == 0):
        crowd.check_move(step, PLACES[step % len(PLACES)], *SCHEDULERS[scheduler])


@pytest.mark.parametrize("place", PLACES, ids=PLACE_IDS)
@pytest.mark.parametrize("cut", [0, 1, 9])
def test_a_run_goes_on_to_the_same_end(crowd: World, cut: int, place: Sequence[str]) -> None:
    crowd.check_cut(cut, place, *SCHEDULERS["priority"])


@pytest.mark.parametrize("place", PLACES[1:], ids=PLACE_IDS[1:])
def test_a_capture_has_the_same_bytes_everywhere(crowd: World, place: Sequence[str]) -> None:
    settings = SCHEDULERS["all"]
    assert crowd.told(*place, *settings).captures == crowd.told(*HOME, *settings).captures


# ---- what an agent's instance hides ----

I32, I64 = "(i32.const 0x80000001)", "(i64.const 0x8000000000000001)"
SIGNALLING = 0x7FA12345, 0xFFF4000000012345
"""Bits of NaNs that arithmetic would change: signalling, one of them negative."""
PAGE = 1 << 16
GUIDE = helpers.escaped(struct.pack("<5I", 1, 8192, 4096, 16384, 4096))
HOARDER = f"""(module (memory (export "memory") 2 6)
  (type $one (func (param i32) (result i32)))
  (type $none (func (result i32)))
  (type $wide (func (param i64 f64 f32 {{v128}}) (result f32 i64 {{v128}})))
  (table $t 4 12 funcref) (table $u 1 8 funcref)
  (elem (table $t) (i32.const 0) func $increment $seven)
  (elem $kept func $increment $wide $seven $decrement)
  (elem $gone func $seven $decrement)
  (data (i32.const 1024) "{GUIDE}")
  (data $kept "kept") (data $gone "gone") (data (i32.const 70000) "second page")
  (global $turn (mut i32) (i32.const 0)) (global $constant i32 (i32.const 9))
  (global $a (mut i32) (i32.const 5)) (global $b (mut i64) (i64.const 6))
  (global $c (mut f32) (f32.const 1.5)) (global $d (mut f64) (f64.const nan:0x4000000000001))
  {{global}}
  (func $increment (type $one) (i32.add (local.get 0) (i32.const 1)))
  (func $decrement (type $one) (i32.sub (local.get 0) (i32.const 1)))
  (func $seven (type $none) (i32.const 7))
  (func $wide (type $wide) (f32.const 2) (local.get 0) {{give}})
  (func (export "wavelock_abi") (result i32) (i32.const 1024))
  (func $at (param i32) (result i32) (call_indirect $t (type $one) (i32.const 40) (local.get 0)))
  (func $do (param $turn i32)
    (block $5 (block $4 (block $3 (block $2 (block $1 (block $0 (br_table $0 $1 $2 $3 $4 $5 (local.get $turn)))
    (global.set $a {I32}) (global.set $b {I64})
    (global.set $c (f32.reinterpret_i32 (i32.const {SIGNALLING[0]})))
    (global.set $d (f64.reinterpret_i64 (i64.const {SIGNALLING[1]})))
    (drop (memory.grow (i32.const 2)))
    (i32.store (i32.const {3 * PAGE + 8}) (i32.const 77)) (i32.store8 (i32.const {3 * PAGE - 1}) (i32.const 1))
    {{set}} (return))
    (table.set $t (i32.const 2) (ref.func $decrement)) (table.set $t (i32.const 0) (ref.null func))
    (drop (table.grow $u (ref.func $wide) (i32.const 3))) (drop (table.grow $t (ref.null func) (i32.const 2)))
    (i32.store (i32.const {3 * PAGE + 8}) (i32.const 0)) (return))
    (table.init $u $kept (i32.const 0) (i32.const 1) (i32.const 3))
    (table.copy $t $u (i32.const 3) (i32.const 0) (i32.const 3))
    (memory.init $gone (i32.const 70000) (i32.const 0) (i32.const 4)) (data.drop $gone) (elem.drop $gone)
    (memory.fill (i32.const {PAGE}) (i32.const 0) (i32.const {PAGE})) (return))
    (table.fill $t (i32.const 1) (ref.func $increment) (i32.const 2)) (drop (memory.grow (i32.const 1)))
    (memory.init $kept (i32.const {4 * PAGE}) (i32.const 0) (i32.const 4)) (global.set $d (f64.const -0)) (return))
    (drop (memory.grow (i32.const 9))) (i32.store (i32.const 20000) (call $at (i32.const 1)))
    (i32.store (i32.const 20004) (call $at (i32.const 2)))
    (i32.store (i32.const 20008) (call_indirect $t (type $none) (i32.const 4)))
    (i32.store (i32.const 20012) (call $at (i32.const 5))) (i32.store (i32.const 20016) (table.size $t)) (return))
    {{last}})
  (func (export "wavelock_turn") (param $length i32) (result i32)
    (call $do (global.get $turn)) (global.set $turn (i32.add (global.get $turn) (i32.const 1)))
    (i32.store (i32.const 16384) (i32.const 64)) (i32.store (i32.const 16388) (i32.const 1))
    (i32.store (i32.const 16392) (i32.const -1)) (i32.store (i32.const 16400) (global.get $a))
    (i64.store (i32.const 16404) (global.get $b)) (f32.store (i32.const 16412) (global.get $c))
    (f64.store (i32.const 16416) (global.get $d)) (i32.store (i32.const 16424) (memory.size))
    (i32.store (i32.const 16428) (table.size $t)) (i32.store (i32.const 16432) (table.size $u))
    (memory.copy (i32.const 16436) (i32.const 20000) (i32.const 12)) {{tell}}
    (i32.store (i32.const 16464) (i32.const 0)) (i32.store (i32.const 16468) (i32.const 10))
    (i32.const 96)))
"""
VECTOR = "i32x4 0x7fa12345 1 0x80000000 0xfff40000"
LANES = struct.pack("<4I", 0x7FA12345, 1, 0x80000000, 0xFFF40000)
PORTABLE = {"v128": "", "global": "", "give": "", "set": "", "tell": ""}
VECTORS = {
    "v128": "v128",
    "global": "(global $v (mut v128) (v128.const i64x2 -1 2))",
    "give": "(local.get 3)",
    "set": f"(global.set $v (v128.const {VECTOR}))",
    "tell": "(v128.store (i32.const 16448) (global.get $v))",
}
LAST = {
    "memory.init": ("(memory.init $gone (i32.const 0) (i32.const 0) (i32.const 1))", "memory bounds"),
    "table.init": ("(table.init $t $gone (i32.const 0) (i32.const 0) (i32.const 1))", "table bounds"),
    "null": ("(drop (call $at (i32.const 0)))", "indirect call"),
    "other type": ("(drop (call $at (i32.const 4)))", "indirect call"),
    "past": ("(drop (call $at (i32.const 6)))", "table bounds"),
}
"""What a hoarder does in the end, and the fault that it is."""


@pytest.fixture(scope="module")
def hoard(
    make_kit: Callable[[Path], Kit], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[dict[str, str]], World]:
    """Worlds of hoarders, one for each end, with or without vectors."""
    worlds: dict[str, World] = {}

    def make(variant: dict[str, str]) -> World:
        if variant["v128"] not in worlds:
            kit = make_kit(tmp_path_factory.mktemp("hoard"))
            texts = {f"h{at}": HOARDER.format(**variant, last=last) for at, (last, _) in enumerate(LAST.values())}
            helpers.write_profile(kit.folder, **texts)
            worlds[variant["v128"]] = World(kit)
        return worlds[variant["v128"]]

    return make


VARIANTS = [pytest.param(engine, PORTABLE, id=f"{engine}") for engine in ENGINES] + [
    pytest.param(engine, VECTORS, id=f"{engine} with vectors") for engine in ENGINES if engine != "wasmer"
]


@pytest.mark.parametrize(("engine", "variant"), VARIANTS)
def test_what_hoarders_do(hoard: Callable[..., World], engine: str, variant: dict[str, str]) -> None:
    """The run without a cut: what the tests below compare with does what it is meant to."""
    story = hoard(variant).told(f'engine.use="{engine}"')
    assert [len(wave.faults) for wave in story.waves] == [0, 0, 0, 0, 0, len(LAST)]
    assert [fault.kind for fault in story.waves[-1].faults] == [kind for _, kind in LAST.values()]
    told = [wave.outputs[0].payload for wave in story.waves[:-1]]
    fields = [struct.unpack_from("<IQIQ3I", payload) for payload in told]
    globals_ = (0x80000001, 0x8000000000000001, *SIGNALLING)
    minus = (*globals_[:3], 1 << 63)
    assert fields == [
        (*globals_, 4, 4, 1), (*globals_, 4, 6, 4), (*globals_, 4, 6, 4), (*minus, 5, 6, 4), (*minus, 5, 6, 4),
    ]  # fmt: skip
    assert struct.unpack_from("<3I", told[-1], 36) == (41, 41, 7)
    assert told[-1][48:64] == (LANES if variant["v128"] else bytes(16))


def test_what_a_capture_of_a_hoarder_holds(hoard: Callable[..., World]) -> None:
    world = hoard(VECTORS)
    held = [world.agents(data)[0] for data in world.told(*HOME).captures]
    assert held[0] is None
    found = [state.instance for state in held[1:] if state is not None]
    assert len(found) == 5
    assert held[6:] == [None, None]  # it ended
    pages = [(instance.pages, sorted(instance.page_data)) for instance in found if instance]
    assert pages == [(4, [0, 1, 2, 3]), (4, [0, 1, 2]), (4, [0, 2]), (5, [0, 2, 4]), (5, [0, 2, 4])]
    words = [tuple(word % (1 << 64) for word in instance.words) for instance in found if instance]
    lanes = struct.unpack("<2Q", LANES)
    assert words[0] == (1, 0x80000001, 0x8000000000000001, *SIGNALLING, *lanes, 0, 0)
    assert [each[-2:] for each in words] == [(0, 0), (0, 0), (1, 1), (1, 1), (1, 1)]
    tables = [instance.tables for instance in found if instance]
    increment, decrement, seven, wide, null = 0, 1, 2, 3, -1
    assert tables[:2] == [
        ((increment, seven, null, null), (null,)),
        ((null, seven, decrement, null, null, null), (null, wide, wide, wide)),
    ]
    assert tables[2] == ((null, seven, decrement, wide, seven, decrement), (wide, seven, decrement, wide))
    assert tables[3] == ((null, increment, increment, wide, seven, decrement), (wide, seven, decrement, wide))


@pytest.mark.parametrize(("engine", "variant"), VARIANTS[1:])
def test_hoarders_are_captured_alike(hoard: Callable[..., World], engine: str, variant: dict[str, str]) -> None:
    world = hoard(variant)
    assert world.told(f'engine.use="{engine}"').captures == world.told(*HOME).captures


@pytest.mark.parametrize(("engine", "variant"), VARIANTS)
def test_hoarders_move_before_any_wave(hoard: Callable[..., World], engine: str, variant: dict[str, str]) -> None:
    for step in range(6):
        hoard(variant).check_move(step, (f'engine.use="{engine}"',))


def test_hoarders_go_on_to_the_same_end(hoard: Callable[..., World]) -> None:
    places = [*PLACES, ('engine.memory_layout="dense"',)]
    for cut in range(7):
        hoard(PORTABLE).check_cut(cut, places[-1 - cut % len(places)])


# ---- agents that were made and had no turn yet ----

FUEL = 10_000
SPIN = "(loop $again (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))"


def starts(count: int, turn: int = 1) -> str:
    """An agent whose start goes round so many times, and its turn so many."""
    spins = f'(func (export "_initialize") (local $n i32) (local.set $n (i32.const {count})) {SPIN}) (data'
    text = helpers.agent(f"(local $n i32) (local.set $n (i32.const {turn})) {SPIN} (i32.const 0)")
    return text.replace("(data", spins, 1)


@pytest.fixture(scope="module")
def starters(make_kit: Callable[[Path], Kit], tmp_path_factory: pytest.TempPathFactory) -> World:
    """Agents that are all made before the first wave, of which each has its turn in a wave of its own."""
    kit = make_kit(tmp_path_factory.mktemp("starters"))
    traps = helpers.QUIET.replace("(data", "(func $start (unreachable)) (start $start) (data", 1)
    no_record = helpers.QUIET.replace("i32.const 1024))", "i32.const 65530))")
    short = starts(4000)
    assert no_record != helpers.QUIET
    text = f'[scheduler]\nuse = "round-robin"\nwidth = 1\n[limits]\nfuel_per_turn = {FUEL}\n'
    helpers.write_profile(
        kit.folder, text, first=helpers.QUIET, spent=starts(4000, 1100), fits=short, traps=traps, record=no_record,
        eats=starts(40_000),
    )  # fmt: skip
    return World(kit)


def test_what_starts_used_is_kept(starters: World) -> None:
    story = starters.told(*HOME)
    faults = [fault.kind for wave in story.waves for fault in wave.faults]
    assert faults == ["fuel", "unreachable", "bad abi", "fuel"]
    first, spent, fits, *failed = starters.agents(story.captures[1])
    assert first is not None
    assert first.spent == 0  # its turn came, and its budget is a new one
    assert spent is not None
    assert spent.instance is not None
    assert FUEL - 2000 <= spent.spent < FUEL
    assert fits is not None
    assert fits.spent == spent.spent
    assert [state and (state.instance, state.failure and state.failure.fault) for state in failed] == [
        (None, Fault.UNREACHABLE),
        (None, Fault.BAD_ABI),
        (None, Fault.FUEL),
    ]
    assert [wave.fuel for wave in story.waves[1:3]] == [FUEL, story.waves[2].fuel]
    assert spent.spent < story.waves[2].fuel < FUEL


@pytest.mark.parametrize("place", PLACES, ids=PLACE_IDS)
def test_the_budget_that_is_left_moves_with_an_agent(starters: World, place: Sequence[str]) -> None:
    assert starters.told(*place).captures == starters.told(*HOME).captures
    for cut in (1, 2, 3, 5):
        starters.check_move(cut, place)
    starters.check_cut(1, place)


def test_requests_are_asked_again_of_real_models(kit: Kit) -> None:
    kit.write_model()
    asks = kit.agent([kit.ask(1, 2, tag=1) + kit.YIELD, kit.ask(3, 4, tag=2) + kit.ask(5, 6, tag=3)], echo=True)
    models = '[[models]]\nname = "m"\nrepository = "models"\nlatency = 3\n'
    kit.write_one(asks, models)
    path = kit.folder / "profile.toml"
    path.write_text(path.read_text() + 'grants = { models = ["m"] }\n')
    profile = load_profile(path)
    with Runtime(profile, record=False) as runtime:
        whole = tell(runtime, {})
    answers = [output for wave in whole.waves for output in wave.outputs if output.wave >= 3]
    assert [output.payload[-8:] for output in answers] == [
        struct.pack("<2f", 2, 4), struct.pack("<2f", 6, 8), struct.pack("<2f", 10, 12)
    ]  # fmt: skip
    for cut, data in enumerate(whole.captures[:-2]):
        with Runtime(profile, record=False) as runtime:
            runtime.restore(data)
            rest = tell(runtime, {}, cut)
        assert (rest.waves, rest.result) == (whole.waves[cut:], whole.result)


# ---- what cannot be captured or restored ----


@pytest.fixture
def ticks(kit: Kit) -> World:
    """One agent that says `tick` in every wave, and hears of lines."""
    (kit.folder / "lines.txt").write_text("".join(f"{number}\n" for number in range(8)))
    lines = '[[inputs]]\nname = "lines"\nfiles = ["lines.txt"]\nto = ["ticks"]\n'
    helpers.write_profile(kit.folder, lines, ticks=helpers.TICKS)
    return World(kit)


def cut_after(world: World, waves: int, *settings: str) -> bytes:
    with world.open(*settings) as runtime:
        runtime.run(waves)
        return runtime.capture()


def test_capturing_changes_nothing(ticks: World) -> None:
    with ticks.open("run.waves=4") as runtime:
        once = runtime.capture(), runtime.capture()
        runtime.run(2)
        twice = runtime.capture(), runtime.capture()
        captured = runtime.run()
    with ticks.open("run.waves=4") as runtime:
        assert runtime.run() == captured
    assert once[0] == once[1] != twice[0] == twice[1]


def test_what_was_said_and_failed_before_the_cut_is_not_said_again(crowd: World) -> None:
    whole = crowd.told(*HOME, *SCHEDULERS["all"])
    with crowd.open(*SCHEDULERS["all"]) as runtime:
        runtime.restore(whole.captures[6])
        assert (runtime.outputs(), runtime.faults()) == ([], [])
        runtime.step()
        assert runtime.outputs() == list(whole.waves[6].outputs)


def test_a_run_that_is_over_is_over_elsewhere(crowd: World) -> None:
    whole = crowd.told(*HOME, *SCHEDULERS["all"])
    with crowd.open(*PLACES[1], *SCHEDULERS["all"]) as runtime:
        runtime.restore(whole.captures[-1])
        assert runtime.step() is None
        assert runtime.result == whole.result
        runtime.post("clock", b"once more")
        assert runtime.step() is not None


def test_a_bound_on_waves_counts_from_the_beginning(ticks: World) -> None:
    data = cut_after(ticks, 3)
    with ticks.open("run.waves=5") as runtime:
        runtime.restore(data)
        assert (runtime.result.waves, runtime.run().waves, runtime.result.ended) == (3, 5, "waves")


def refusal(world: World, data: bytes, *settings: str) -> str:
    """What restoring says; nothing is run after it."""
    with world.open(*settings) as runtime, pytest.raises(UserError) as caught:
        runtime.restore(data)
    return str(caught.value)


@pytest.mark.parametrize(
    "change", ["run.seed=8", "limits.fuel_per_turn=5000000", "scheduler.width=1", "agents.ticks.count=2"]
)
def test_another_profile_is_refused(ticks: World, change: str) -> None:
    found = refusal(ticks, cut_after(ticks, 2), change)
    assert found.startswith("the captured run is of another profile, other modules or another version of Wavelock: ")


def test_another_module_is_refused(ticks: World) -> None:
    data, header = cut_after(ticks, 2), ticks.header()
    (ticks.kit.folder / "ticks.wat").write_text(helpers.HELLO)
    found = refusal(ticks, data)
    digests = found.partition("digest is ")[2].split(", this run's ")
    assert digests[0] == header.hex()[:16] != digests[1]


def test_a_run_that_began_is_not_restored(ticks: World) -> None:
    data = cut_after(ticks, 2)
    with ticks.open() as runtime:
        runtime.step()
        digest = runtime.result.digest
        with pytest.raises(UserError, match="is restored before the first wave; this run is at wave 0"):
            runtime.restore(data)
        assert runtime.result.digest == digest
        assert runtime.step() is not None


def test_a_restored_run_is_not_restored_again(ticks: World) -> None:
    data = cut_after(ticks, 2)
    with ticks.open() as runtime:
        runtime.restore(data)
        with pytest.raises(UserError, match="this run is at wave 1"):
            runtime.restore(data)


def test_a_run_file_would_lack_its_beginning(ticks: World) -> None:
    data = cut_after(ticks, 2)
    with ticks.kit.open("run.wavelock") as runtime:
        with pytest.raises(UserError, match="cannot write a run file: use record=False"):
            runtime.restore(data)
        runtime.step()
        assert runtime.capture()  # to go on elsewhere from is all right


def test_another_format_is_refused(ticks: World) -> None:
    data = cut_after(ticks, 2)
    magic, rest = data[: data.index(b"\n") + 1], data[data.index(b"\n") + 1 :]
    found = refusal(ticks, magic.replace(b"3", b"1") + rest)
    assert found == "these bytes are no captured run that this Wavelock reads: b'wavelock-run-state-1\\n'"


def test_what_is_no_capture_is_refused(ticks: World) -> None:
    data = cut_after(ticks, 2)
    for other in (b"", b"\0", b"wavelock", data[1:]):
        assert refusal(ticks, other).startswith("these bytes are no captured run that this Wavelock reads: ")
    assert refusal(ticks, data + b"\0") == "the captured run is damaged: its checksum does not match"


@pytest.mark.parametrize("part", range(8))
def test_cut_bytes_are_refused(ticks: World, part: int) -> None:
    data = cut_after(ticks, 2)
    assert "captured run" in refusal(ticks, data[: len(data) * part // 8])


def fail_to_restore(world: World, data: bytes) -> WavelockError | None:
    """What restoring says, if anything."""
    with world.open() as runtime:
        try:
            runtime.restore(data)
        except WavelockError as error:
            return error
    return None


def test_a_changed_byte_is_never_a_run(ticks: World) -> None:
    """Whatever is damaged: agents' memories, too, in which every byte is a valid one."""
    data = cut_after(ticks, 2)
    for at in range(3, len(data), len(data) // 16):
        damaged = bytearray(data)
        damaged[at] ^= 1 << at % 8
        assert isinstance(fail_to_restore(world=ticks, data=bytes(damaged)), UserError), at


IMPOSSIBLE: dict[str, dict[str, Any]] = {
    "group": {"agent": {"group": 99}},
    "instance": {"agent": {"instance": b"?"}},
    "ready": {"agent": {"ready": -1}},
    "watches": {"watches": [(b"", [(1, 2)])], "totals": [1]},
    "totals": {"totals": []},
    "scheduler": {"scheduler": b"?"},
    "model": {"batches": [(9, 1, 7, [])]},
}
"""Well-formed states with a checksum that point nowhere: only a hand can make them."""


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_half_a_state_never_goes_on(ticks: World, what: str) -> None:
    state = ticks.read(cut_after(ticks, 2))
    values = dict(IMPOSSIBLE[what])
    if "agent" in values:
        values["agents"] = [msgspec.structs.replace(state.agents[0], **values.pop("agent"))]
    with ticks.open() as runtime:
        with pytest.raises((WavelockError, LookupError, ValueError, RuntimeError)):
            runtime.restore(encode(msgspec.structs.replace(state, **values)))
        for act in (runtime.step, runtime.capture):
            with pytest.raises(UserError, match="this run has failed; open a new Runtime"):
                act()


def test_inputs_that_have_become_shorter_are_told(ticks: World) -> None:
    data = cut_after(ticks, 5)
    (ticks.kit.folder / "lines.txt").write_text("0\n1\n2\n")
    assert refusal(ticks, data) == "inputs.lines: found 3 records, expected at least 5"


def test_inputs_as_long_as_they_were_read_are_enough(ticks: World) -> None:
    data = cut_after(ticks, 5)
    (ticks.kit.folder / "lines.txt").write_text("0\n1\n2\n3\n4\n")
    with ticks.open() as runtime:
        runtime.restore(data)
        assert runtime.step() is not None


@pytest.mark.parametrize(("streams", "found"), [([], "none"), (["lines", "more"], "lines, more"), (["more"], "more")])
def test_other_streams_are_refused(ticks: World, streams: list[str], found: str) -> None:
    """`[[inputs]]` are outside of what agents notice, and so of the header."""
    data, path = cut_after(ticks, 2), ticks.kit.folder / "profile.toml"
    section, agents = path.read_text().split("[[agents]]")
    sections = [section.replace('"lines"', f'"{name}"', 1) for name in streams]
    path.write_text("".join(sections) + "[[agents]]" + agents)
    assert refusal(ticks, data) == f"inputs: found {found}, expected those of the captured run: lines"


def test_a_run_that_could_not_be_restored_goes_nowhere(ticks: World) -> None:
    """Neither half restored nor from the beginning without a word."""
    data = cut_after(ticks, 5)
    (ticks.kit.folder / "lines.txt").write_text("0\n1\n2\n")
    with ticks.open() as runtime:
        with pytest.raises(UserError):
            runtime.restore(data)
        with pytest.raises(UserError, match="this run has failed; open a new Runtime"):
            runtime.step()


def test_what_was_posted_before_the_cut_comes_first(ticks: World) -> None:
    with ticks.open() as runtime:
        runtime.run(2)
        runtime.post("ticks", b"early")
        data = runtime.capture()
    with ticks.open() as runtime:
        runtime.post("ticks", b"late")
        runtime.restore(data)
        posts = ticks.read(runtime.capture()).posts
    assert [post.payload for post in posts] == [b"early", b"late"]


def test_a_closed_run_is_neither_captured_nor_restored(ticks: World) -> None:
    data = cut_after(ticks, 2)
    with ticks.open() as runtime:
        pass
    for act in (runtime.capture, lambda: runtime.restore(data)):
        with pytest.raises(UserError, match="this run is closed; open a new Runtime"):
            act()


def test_a_run_that_failed_is_not_captured(ticks: World) -> None:
    (ticks.kit.folder / "lines.txt").write_text("0\n1\n" + "2" * 100_000)
    with ticks.open() as runtime:
        with pytest.raises(UserError, match="record 3"):
            runtime.run()
        with pytest.raises(UserError, match="this run has failed; open a new Runtime"):
            runtime.capture()


def test_an_observer_cannot_capture_in_the_middle_of_a_wave(ticks: World) -> None:
    said: list[str] = []

    class Meddler:
        @hookimpl
        def wavelock_wave_committed(self, wave: WaveCommitted) -> None:
            for act in (runtime.capture, lambda: runtime.restore(b"")):
                with pytest.raises(UserError) as caught:
                    act()
                said.append(str(caught.value))

    profile = load_profile(ticks.kit.folder / "profile.toml")
    with Runtime(profile, record=False, observers=[Meddler()]) as runtime:
        runtime.step()
        assert len(runtime.capture()) > 100
    assert said == ["a wave of this run is in progress already: one thread steps, and no observer does"] * 2


@pytest.fixture
def replayed(ticks: World) -> Iterator[RunLoop]:
    """A loop that takes what lies outside it from a run file."""
    path = ticks.kit.run("run.wavelock", "run.waves=3")
    registry = Registry()
    with RunFileReader(path) as reader:
        profile = recorded_profile(reader, registry, ())
        modules = recorded_modules(reader, profile)
        journal = LastRecord(), path
        sources = Sources(modules, JournalInference(reader), JournalFeed(reader).attach, lambda *_: journal)
        with RunLoop(assemble(profile, registry, sources)) as loop:
            yield loop


def test_a_replay_is_neither_captured_nor_restored(replayed: RunLoop) -> None:
    with pytest.raises(UserError, match="a replay cannot be captured: it takes its outside inputs from the run file"):
        replayed.capture()
    with pytest.raises(UserError, match="a replay cannot be restored: "):
        replayed.restore(b"")


@pytest.mark.parametrize("spent", [None, -1, 10_000_001])
def test_a_state_that_no_agent_of_the_group_can_have(ticks: World, spent: int | None) -> None:
    """A header that fits with an instance that does not: made by hand, or by another build of the pass."""
    state = ticks.read(cut_after(ticks, 2))
    (row,) = state.agents
    assert row.instance is not None
    agent = msgspec.msgpack.decode(row.instance, type=AgentState)
    assert agent.instance is not None
    if spent is None:
        agent = msgspec.structs.replace(agent, instance=msgspec.structs.replace(agent.instance, module="00"))
        shown = "ticks: the state is of module 00, expected "
    else:
        agent = msgspec.structs.replace(agent, spent=spent)
        shown = f"ticks: the state has {spent} fuel units spent, expected 0 to 10000000"
    row = msgspec.structs.replace(row, instance=msgspec.msgpack.encode(agent))
    error = fail_to_restore(ticks, encode(msgspec.structs.replace(state, agents=[row])))
    assert isinstance(error, EnvironmentFailure)
    assert shown in str(error)

"""A shard over plain instances, and the instances of each engine through nothing but their interface."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
import wasmtime

from helpers import HELLO, INBOX, QUIET, TRAPS, agent, echoes, escaped
from wavelock.core.abi import Fault, Inbound, frame
from wavelock.core.digest import hash_bytes
from wavelock.core.errors import EnvironmentFailure
from wavelock.core.form import FormOptions, MemorySize, reserved, rewrite_module
from wavelock.core.form.costs import PAGE_UNITS
from wavelock.core.form.limits import NATIVE_RATIO, NATIVE_RESERVE_BYTES
from wavelock.core.shard import GroupPlan, Shard, Turns
from wavelock.wasm_engines import wasmer_plugin
from wavelock.wasm_engines.interface import Engine, Instance, Trap
from wavelock.wasm_engines.loop import AgentState, LoopShard, check_record
from wavelock.wasm_engines.reference.engine import ReferenceEngine, ReferenceInstance
from wavelock.wasm_engines.reference.program import Program
from wavelock.wasm_engines.wasmtime_engine import WasmtimeEngine, assemble_text
from wavelock.wasm_engines.wasmtime_instance import WasmtimeInstance, alone

if TYPE_CHECKING:
    from types import TracebackType

PAGE = 1 << 16
FUEL = 80_000
STACK = 16 << 10
PAGES = 16


def form(text: str, *, abi: bool = False, stack: int = STACK) -> bytes:
    options = FormOptions(memory_pages=PAGES, stack_bytes=stack)
    return rewrite_module(assemble_text(text, "test"), "test", options, abi=abi).module


def plan(text: str, *, fuel: int = FUEL, stack: int = STACK) -> GroupPlan:
    made = rewrite_module(assemble_text(text, "test"), "test", FormOptions(PAGES, stack))
    return GroupPlan("ants", made.module, hash_bytes(made.module), fuel, PAGES * PAGE, 4096, 4096, *made.state)


# ---- instances ----


def on_wasmtime(module: bytes) -> WasmtimeInstance:
    engine = wasmtime.Engine()
    return alone(engine, wasmtime.Module(engine, module), plan(QUIET))


def on_reference(module: bytes) -> Instance:
    return ReferenceInstance(Program(module))


def on_wasmer(module: bytes) -> Instance:
    import wasmer

    from wavelock.wasm_engines.wasmer_instance import WasmerInstance

    return WasmerInstance(wasmer.Module(wasmer.Store(), module), "ants")


Make = Callable[[str], Instance]
MAKERS: dict[str, Callable[[bytes], Instance]] = {"wasmtime": on_wasmtime, "reference": on_reference}
if wasmer_plugin.unavailable() is None:
    MAKERS["wasmer"] = on_wasmer


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest) -> Make:
    """Makes an instance of a module's form on each engine, with fuel."""

    def run(text: str) -> Instance:
        made = MAKERS[request.param](form(text))
        made.function(reserved.BUDGET)(FUEL)
        return made

    return run


def module(body: str, more: str = "") -> str:
    return f'(module (memory (export "memory") 1 8) {more} {body})'


def mirror(types: Sequence[str]) -> str:
    """A function that answers its arguments in the other order."""
    results = "".join(f"(local.get {at})" for at in reversed(range(len(types))))
    return module(f'(func (export "f") (param {" ".join(types)}) (result {" ".join(reversed(types))}) {results})')


ENDS = {"i32": [0, 1, -1, (1 << 31) - 1, -(1 << 31)], "i64": [0, 1, -1, (1 << 63) - 1, -(1 << 63), 1 << 32, -(1 << 32)]}


@pytest.mark.parametrize("kind", ENDS)
def test_numbers_cross_signed(make: Make, kind: str) -> None:
    call = make(mirror([kind])).function("f")
    assert [list(call(number)) for number in ENDS[kind]] == [[number] for number in ENDS[kind]]


@pytest.mark.parametrize(
    "types",
    [
        ["i32", "i64"], ["i64", "i32"], ["i32", "i32"], ["i64", "i64"], ["i32", "i64", "i32"], ["i64"] * 3,
        ["i32", "i64"] * 8, ["i64", "i32", "i32"] * 20,
    ],
    ids=len,
)  # fmt: skip
def test_any_number_of_numbers_crosses(make: Make, types: list[str]) -> None:
    call = make(mirror(types)).function("f")
    for turn in range(3):
        numbers = [ENDS[kind][(at + turn) % 5] for at, kind in enumerate(types)]
        assert list(call(*numbers)) == numbers[::-1]


@pytest.mark.parametrize("given", range(4))
@pytest.mark.parametrize("answered", range(4))
def test_parameters_and_results_need_not_be_as_many(make: Make, given: int, answered: int) -> None:
    values = "".join(f"(i64.const {-at - 1})" for at in range(answered))
    types = f"(param {'i32 ' * given}) (result {'i64 ' * answered})"
    call = make(module(f'(func (export "f") {types} {values})')).function("f")
    for _ in range(2):
        found = call(*range(given))
        assert isinstance(found, (list, tuple))
        assert list(found) == [-at - 1 for at in range(answered)]


def test_calls_of_one_instance_do_not_meet(make: Make) -> None:
    made = make(module('(func (export "f") (param i32) (result i32) (local.get 0))(func (export "g"))'))
    one, other = made.function("f"), made.function("f")
    first = one(1)
    assert (list(other(2)), list(first), list(made.function("g")()), list(one(3))) == ([2], [1], [], [3])


NAMES = module('(func (export "f")) (func (export "")) (func (export "\\c3\\bc")) (func (export "a\\00b"))')


@pytest.mark.parametrize("name", ["absent", "F", "f ", "a", "\u00fc\u00fc", "__class__", "close"])
def test_there_is_no_such_function(make: Make, name: str) -> None:
    made = make(NAMES)
    with pytest.raises(KeyError, match=name):
        made.function(name)
    made.function("f")()


@pytest.mark.parametrize("name", ["", "\u00fc", "a\0b"])
def test_any_name_is_found(make: Make, name: str) -> None:
    assert list(make(NAMES).function(name)()) == []


def test_there_is_no_such_global(make: Make) -> None:
    with pytest.raises(KeyError, match="absent"):
        make(NAMES).global_value("absent")


@pytest.mark.parametrize("name", ["memory", reserved.FAULT])
def test_other_exports_are_not_taken_for_functions(make: Make, name: str) -> None:
    with pytest.raises(KeyError, match=name):
        make(NAMES).function(name)


def test_globals_are_read_as_they_are_now(make: Make) -> None:
    numbers = [(kind, number) for kind, ends in ENDS.items() for number in ends]
    text = "".join(
        f'(global (export "g{at}") (mut {kind}) ({kind}.const {number}))' for at, (kind, number) in enumerate(numbers)
    )
    made = make(module('(func (export "f") (global.set 0 (i32.const -9)))', text))
    assert [made.global_value(f"g{at}") for at in range(len(numbers))] == [number for _, number in numbers]
    made.function("f")()
    assert made.global_value("g0") == -9


SEGMENTS = """(table 4 8 funcref) (type $none (func)) (func $none (type $none)) (func $other (result i32) (i32.const 1))
(elem (i32.const 0) $none) (elem (i32.const 2) $other) (elem $some func $none) (data $data "abc")"""
NATIVE_TRAPS = [
    ("(unreachable)", Fault.UNREACHABLE),
    ("(drop (i32.load (i32.const 65533)))", Fault.MEMORY_BOUNDS),
    ("(drop (i32.load8_u offset=0xffffffff (i32.const -1)))", Fault.MEMORY_BOUNDS),
    ("(memory.fill (i32.const 65530) (i32.const 0) (i32.const 7))", Fault.MEMORY_BOUNDS),
    ("(memory.init $data (i32.const 0) (i32.const 1) (i32.const 3))", Fault.MEMORY_BOUNDS),
    ("(data.drop $data) (memory.init $data (i32.const 0) (i32.const 0) (i32.const 1))", Fault.MEMORY_BOUNDS),
    ("(call_indirect (type $none) (i32.const 4))", Fault.TABLE_BOUNDS),
    ("(drop (table.get 0 (i32.const -1)))", Fault.TABLE_BOUNDS),
    ("(elem.drop $some) (table.init $some (i32.const 0) (i32.const 0) (i32.const 1))", Fault.TABLE_BOUNDS),
    ("(call_indirect (type $none) (i32.const 1))", Fault.INDIRECT_CALL),
    ("(call_indirect (type $none) (i32.const 2))", Fault.INDIRECT_CALL),
    ("(drop (i64.rem_s (i64.const 1) (i64.const 0)))", Fault.DIVISION_BY_ZERO),
    ("(drop (i64.div_s (i64.const 0x8000000000000000) (i64.const -1)))", Fault.INTEGER_OVERFLOW),
    ("(drop (i32.trunc_f32_u (f32.const 5e9)))", Fault.INTEGER_OVERFLOW),
    ("(drop (i64.trunc_f64_s (f64.const nan)))", Fault.BAD_CONVERSION),
]
FORM_TRAPS = [
    ("(loop (br 0))", Fault.FUEL),
    ("(call $deep)", Fault.DEPTH),
    ("(drop (memory.grow (i32.const 1000000)))", Fault.FUEL),
]
DEEP = "(func $deep (call $deep) (call $deep))"


@pytest.mark.parametrize(("body", "fault"), NATIVE_TRAPS)
def test_each_trap_is_told_as_its_fault(make: Make, body: str, fault: Fault) -> None:
    made = make(module(f'(func (export "f") {body}) (func (export "g"))', SEGMENTS))
    call = made.function("f")
    for _ in range(2):
        with pytest.raises(Trap) as caught:
            call()
        assert caught.value.fault == fault
        assert made.global_value(reserved.FAULT) == 0
    assert list(made.function("g")()) == []  # an instance can be asked after a trap


@pytest.mark.parametrize(("body", "fault"), FORM_TRAPS)
def test_the_forms_own_traps_are_unreachable_with_a_word(make: Make, body: str, fault: Fault) -> None:
    made = make(module(f'{DEEP} (func (export "f") {body})'))
    with pytest.raises(Trap) as caught:
        made.function("f")()
    assert (caught.value.fault, made.global_value(reserved.FAULT)) == (Fault.UNREACHABLE, fault)
    made.function(reserved.BUDGET)(7)
    assert (made.global_value(reserved.FAULT), list(made.function(reserved.LEFT)())) == (0, [7])


GROWS = module('(func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))')


def test_views_of_the_memory_stay_good(make: Make) -> None:
    made = make(GROWS)
    views = [made.memory()]
    views[0][0] = 7
    for pages in (1, 0, 2):
        assert list(made.function("grow")(pages)) == [len(views[-1]) // PAGE]
        views.append(made.memory())
        views[-1][-1] = pages
    assert [len(view) for view in views] == [PAGE, 2 * PAGE, 2 * PAGE, 4 * PAGE]
    views[3][1] = 8
    assert {bytes(view[:2]) for view in views} == {b"\x07\x08"}
    assert [views[3][2 * PAGE - 1], views[3][-1]] == [0, 2]
    assert {view.format for view in views} == {"B"}
    assert not any(view.readonly for view in views)


def test_a_memory_may_begin_with_nothing(make: Make) -> None:
    made = make(GROWS.replace('(memory (export "memory") 1 8)', '(memory (export "memory") 0 2)'))
    assert len(made.memory()) == 0
    assert list(made.function("grow")(1)) == [0]
    made.memory()[PAGE - 1] = 5
    assert bytes(made.memory()[PAGE - 2 :]) == b"\0\5"


def test_a_new_memory_is_zero(make: Make) -> None:
    for _ in range(3):
        made = make(GROWS)
        assert bytes(made.memory()) == bytes(PAGE)
        made.memory()[:] = b"\1" * PAGE
        made.close()


def test_closing_twice_does_no_harm(make: Make) -> None:
    made = make(GROWS)
    made.function("grow")(1)
    for _ in range(2):
        made.close()
    for act in (lambda: made.function("grow")(1), made.memory, lambda: made.global_value(reserved.FAULT)):
        with pytest.raises(RuntimeError, match="an instance was used after it was closed"):
            act()


# ---- shards ----


class Opened:
    """A shard of an engine, and its turns."""

    def __init__(self, engine: Engine, plans: Sequence[GroupPlan], stack: int = STACK) -> None:
        self.engine, self.plans = engine, plans
        needed = NATIVE_RATIO * stack + NATIVE_RESERVE_BYTES
        engine.configure(agents=16, stack_bytes=needed, memories=[MemorySize(1, PAGES)])
        self.shard = engine.open_shard(plans)
        self.ids = np.arange(10, 10 + len(plans), dtype=np.uint32)
        self.groups = np.arange(len(plans), dtype=np.uint32)

    def create(self) -> list[int]:
        return list(map(int, self.shard.create(self.ids, self.groups)))

    def run(self, inbox: bytes = bytes(32)) -> Turns:
        return self.shard.run(
            self.ids, np.full(len(self.ids), len(inbox), np.uint32), memoryview(inbox * len(self.ids))
        )

    def __enter__(self) -> Opened:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _ in range(2):
            self.shard.close()
            self.engine.close()


def wasmer_engine() -> Engine:
    from wavelock.wasm_engines.wasmer_plugin import WasmerSettings, wavelock_engine

    return wavelock_engine().create(WasmerSettings(cache=False))


ENGINES: dict[str, Callable[[], Engine]] = {
    "wasmtime": lambda: WasmtimeEngine(cache=False, memory_layout="auto"),
    "reference": ReferenceEngine,
    "wasmer": wasmer_engine,
}
Open = Callable[..., Opened]


@pytest.fixture(params=MAKERS)
def opened(request: pytest.FixtureRequest) -> Open:
    """Opens a shard on each engine: one group an agent's text."""

    def run(*texts: str, fuel: int = FUEL, stack: int = STACK) -> Opened:
        return Opened(ENGINES[request.param](), [plan(text, fuel=fuel, stack=stack) for text in texts], stack)

    return run


def outcome(turns: Turns) -> list[tuple[int, int, int]]:
    """(fault, detail, fuel) of each turn."""
    return list(zip(turns.faults.tolist(), turns.details.tolist(), turns.fuel.tolist(), strict=True))


def pieces(turns: Turns) -> list[bytes]:
    ends = np.cumsum(turns.outbox_bytes).tolist()
    data = turns.outbox_data
    return [data[end - length : end] for end, length in zip(ends, turns.outbox_bytes, strict=True)]


ADDS = "(drop (i32.add (i32.const 1) (i32.const 2)))" * 8
"""Costs 8 units for its additions and 16 eighths for its constants."""
COUNTED = 10


def test_outboxes_come_in_plan_order(opened: Open) -> None:
    with opened(echoes(), HELLO, TRAPS, QUIET) as shard:
        assert shard.create() == [4096] * 4
        inbox = bytes(32) + frame(Inbound.MESSAGE, 1, 2, b"hello")
        turns = shard.run(inbox)
        assert [len(piece) for piece in pieces(turns)] == [24, 24, 0, 0]
        assert pieces(turns)[0][16:21] == pieces(turns)[1][16:21] == b"hello"
        assert turns.faults.tolist() == [0, 0, Fault.UNREACHABLE, 0]
        assert turns.fuel.dtype == np.uint64
        shard.ids = shard.ids[::-1].copy()
        assert [len(piece) for piece in pieces(shard.run(inbox))] == [0, 0, 24, 24]


FAILING = {
    "unreachable": (f"{ADDS} (unreachable)", Fault.UNREACHABLE, 0, FUEL),
    "memory bounds": (f"{ADDS} (i32.load (i32.const -4))", Fault.MEMORY_BOUNDS, 0, FUEL),
    "fuel": ("(loop (br 0)) (i32.const 0)", Fault.FUEL, 0, FUEL),
    "code": (f"{ADDS} (i32.const -7)", Fault.AGENT_CODE, -7, COUNTED),
    "least code": (f"{ADDS} (i32.const 0x80000000)", Fault.AGENT_CODE, -(1 << 31), COUNTED),
    "past its limit": (f"{ADDS} (i32.const 4104)", Fault.MALFORMED_OUTBOX, 4104, COUNTED),
    "whole outbox": (f"{ADDS} (i32.const 4096)", Fault.NONE, 0, COUNTED),
}


@pytest.mark.parametrize("kind", FAILING)
def test_a_trap_uses_the_whole_budget_and_an_answer_what_it_cost(opened: Open, kind: str) -> None:
    turn, fault, detail, fuel = FAILING[kind]
    with opened(agent(turn)) as shard:
        shard.create()
        assert outcome(shard.run()) == [(fault, detail, fuel)]


def test_an_agent_that_faulted_is_not_used_again(opened: Open) -> None:
    with opened(TRAPS, agent("(i32.const -3)"), QUIET) as shard:
        shard.create()
        first = outcome(shard.run())
        assert [row[0] for row in first] == [Fault.UNREACHABLE, Fault.AGENT_CODE, Fault.NONE]
        assert outcome(shard.run())[:2] == [(Fault.UNREACHABLE, 0, 0), (Fault.AGENT_CODE, -3, 0)]
        shard.create()
        assert outcome(shard.run()) == first


def begins(code: str, turn: str = "(i32.const 0)", *, locals_: str = "") -> str:
    """An agent with an `_initialize`."""
    return agent(turn).replace("(data", f'(func (export "_initialize") {locals_} {code}) (data', 1)


def test_the_start_and_the_first_turn_share_a_budget(opened: Open) -> None:
    """The first turn tells of both; the second has a budget of its own."""
    with opened(begins(ADDS, f"{ADDS} (i32.const 0)"), fuel=25) as shard:
        shard.create()
        first, second = shard.run(), shard.run()
        assert outcome(second) == [(Fault.NONE, 0, COUNTED)]
        assert 2 * COUNTED <= int(first.fuel[0]) <= 25
        used = int(first.fuel[0])
    for fuel, fault in ((used, Fault.NONE), (used - 1, Fault.FUEL), (used - COUNTED - 1, Fault.FUEL), (1, Fault.FUEL)):
        with opened(begins(ADDS, f"{ADDS} (i32.const 0)"), fuel=fuel) as shard:
            shard.create()
            assert outcome(shard.run()) == [(fault, 0, fuel)]


def with_record(*numbers: int, code: str = "") -> str:
    data = escaped(b"".join((number & 0xFFFFFFFF).to_bytes(4, "little") for number in numbers))
    return f"""(module (memory (export "memory") 1) (data (i32.const 1024) "{data}")
      (func (export "wavelock_abi") (result i32) {code} (i32.const 1024))
      (func (export "wavelock_turn") (param i32) (result i32) (i32.const 0)))"""


def test_a_start_that_fails_is_the_first_turns_outcome(opened: Open) -> None:
    bad = with_record(2, INBOX, 4096, INBOX + 4096, 4096, code=ADDS)
    nowhere = bad.replace("(i32.const 1024))\n", "(i32.const -8))\n")
    assert nowhere != bad
    with opened(begins("(unreachable)"), begins("(loop (br 0))"), bad, nowhere) as shard:
        assert shard.create() == [4096] * 4
        assert outcome(shard.run()) == [
            (Fault.UNREACHABLE, 0, FUEL),
            (Fault.FUEL, 0, FUEL),
            (Fault.BAD_ABI, 0, COUNTED),
            (Fault.BAD_ABI, 0, COUNTED),
        ]
        assert [row[2] for row in outcome(shard.run())] == [0] * 4


def test_capacities_are_the_modules_own_within_the_limit(opened: Open) -> None:
    with opened(with_record(1, 8192, 128, 16384, 16), with_record(1, 8192, 8192, 16384, 16)) as shard:
        assert shard.create() == [128, 4096]


REFUSED = "(drop (memory.grow (i32.const 17)))"
ONCE = """(if (i32.load (i32.const 0)) (then (unreachable)))
  (i32.store (i32.const 0) (i32.const 1)) (drop (memory.grow (i32.const 17))) (i32.const 0)"""
AFTER_REFUSAL = {
    "unreachable": (f"{REFUSED} (unreachable)", Fault.MEMORY),
    "outside": (f"{REFUSED} (i32.load (i32.const -4))", Fault.MEMORY),
    "division": (f"{REFUSED} (i32.div_u (i32.const 1) (i32.const 0))", Fault.DIVISION_BY_ZERO),
    "fuel": (f"{REFUSED} (loop (br 0)) (i32.const 0)", Fault.FUEL),
    "code": (f"{REFUSED} (i32.const -1)", Fault.AGENT_CODE),
}


@pytest.mark.parametrize("kind", AFTER_REFUSAL)
def test_how_allocators_end_is_a_memory_fault(opened: Open, kind: str) -> None:
    turn, fault = AFTER_REFUSAL[kind]
    with opened(agent(turn)) as shard:
        shard.create()
        assert shard.run().faults.tolist() == [fault]


def test_a_growth_refused_in_an_earlier_turn_is_forgotten(opened: Open) -> None:
    with opened(agent(ONCE), begins(REFUSED, "(unreachable)"), begins(f"{REFUSED} (unreachable)")) as shard:
        shard.create()
        assert shard.run().faults.tolist() == [Fault.NONE, Fault.UNREACHABLE, Fault.MEMORY]
        assert shard.run().faults.tolist() == [Fault.UNREACHABLE, Fault.UNREACHABLE, Fault.MEMORY]


def test_an_id_that_exists_is_replaced_and_unknown_ones_are_passed_over(opened: Open) -> None:
    counts = agent(
        "(i32.store (i32.const 0) (i32.sub (i32.load (i32.const 0)) (i32.const 1))) (i32.load (i32.const 0))"
    )
    with opened(counts, QUIET) as shard:
        shard.create()
        assert outcome(shard.run())[0][:2] == (Fault.AGENT_CODE, -1)
        shard.create()
        assert outcome(shard.run())[0][:2] == (Fault.AGENT_CODE, -1)
        shard.shard.drop(np.array([10, 999], np.uint32))
        with pytest.raises(KeyError):
            shard.run()


def test_a_capture_of_a_failed_agent_is_its_failure(opened: Open) -> None:
    with opened(begins("(unreachable)"), agent("(i32.const -5)"), QUIET) as shard:
        shard.create()
        states = [msgspec.msgpack.decode(state, type=AgentState) for state in shard.shard.capture(shard.ids)]
        assert [state.instance is None for state in states] == [True, False, False]
        first = outcome(shard.run())
        kept = shard.shard.capture(shard.ids)
        shard.shard.restore(shard.ids[::-1].copy(), shard.groups[::-1].copy(), kept[::-1])
        assert shard.shard.capture(shard.ids) == kept
        assert outcome(shard.run()) == [(fault, detail, 0 if fault else used) for fault, detail, used in first]


# ---- how deep calls go ----

PARAMETERS = "(param {})".format("i64 " * 100)
RECURSIONS = {
    "smallest": "(func $f (call $f) (call $f))",
    "one number": "(func $f (param i32) (result i32) (i32.add (call $f (local.get 0)) (i32.const 1)))",
    "locals": "(func $f (param i32) (result i32) {}{} (i32.add (call $f (local.get 0)) (local.get 9)))".format(
        "(local i64)" * 1000,
        "".join(
            f"(local.set {at} (i64.extend_i32_u (i32.mul (local.get 0) (i32.const {at}))))" for at in range(1, 1000)
        ),
    ).replace("(local.get 9)", "(i32.wrap_i64 (local.get 9))"),
    "parameters": f"(func $f {PARAMETERS} (call $f {'(local.get 0)' * 100}) (call $f {'(local.get 1)' * 100}))",
    "results": f"(func $f (result {'i64 ' * 100}) (call $f) {'(drop)' * 100} (call $f))",
    "operands": "(func $f (param i32) (result i32) {} (call $f (local.get 0)) {})".format(
        "(local.get 0)" * 500, "(i32.add)" * 500
    ),
    "table": "(table 1 funcref) (elem (i32.const 0) $f) (func $f {0} {0})".format("(call_indirect (i32.const 0))"),
    "two": "(func $f (call $g) (call $g)) (func $g (call $f) (call $f))",
    "floats": "(func $f (param f64) (result f64) (f64.add (call $f (local.get 0)) (call $f (f64.const 1))))",
}
ARGUMENTS = {
    "one number": "(drop (call $f (i32.const 1)))", "locals": "(drop (call $f (i32.const 1)))",
    "parameters": f"(call $f {'(i64.const 1)' * 100})", "results": f"(call $f) {'(drop)' * 100}",
    "operands": "(drop (call $f (i32.const 1)))", "floats": "(drop (call $f (f64.const 1)))",
}  # fmt: skip


def recurses(kind: str) -> str:
    return agent(f"{ARGUMENTS.get(kind, '(call $f)')} (i32.const 0)").replace("(data", f"{RECURSIONS[kind]} (data", 1)


@pytest.mark.parametrize("kind", RECURSIONS)
def test_depth_ends_every_recursion(opened: Open, kind: str) -> None:
    """Never the native stack, whose end would be nobody's fault and the run's end."""
    with opened(recurses(kind), fuel=1 << 40) as shard:
        shard.create()
        assert outcome(shard.run()) == [(Fault.DEPTH, 0, 1 << 40)]


def test_vectors_weigh_what_they_take() -> None:
    sets = "".join(f"(local.set {at} (i32x4.splat (i32.add (local.get 0) (i32.const {at}))))" for at in range(1, 200))
    kept = f"{'(local v128)' * 200} {sets} (i32x4.add (call $f (local.get 0)) (local.get 7))"
    text = f"(func $f (param i32) (result v128) {kept})"
    deep = agent("(drop (call $f (i32.const 1))) (i32.const 0)").replace("(data", f"{text} (data", 1)
    for name in ("wasmtime", "reference"):
        with Opened(ENGINES[name](), [plan(deep, fuel=1 << 40)]) as shard:
            shard.create()
            assert outcome(shard.run()) == [(Fault.DEPTH, 0, 1 << 40)]


def test_depth_ends_recursion_with_the_native_stack_that_is_promised() -> None:
    """On a thread with a stack as workers give it."""
    stack = 64 << 10

    def run() -> list[list[tuple[int, int, int]]]:
        found = []
        for kind in RECURSIONS:
            with Opened(ENGINES["wasmtime"](), [plan(recurses(kind), fuel=1 << 40, stack=stack)], stack) as shard:
                shard.create()
                found.append(outcome(shard.run()))
        return found

    before = threading.stack_size(NATIVE_RATIO * stack + NATIVE_RESERVE_BYTES + (1 << 20))
    try:
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(run).result() == [[(Fault.DEPTH, 0, 1 << 40)]] * len(RECURSIONS)
    finally:
        threading.stack_size(before)


def test_the_end_of_wasmtimes_stack_is_no_agents_fault() -> None:
    """A module that is not in its form has no depth limit."""
    made = on_wasmtime(assemble_text(module('(func $f (export "f") (call $f) (call $f))'), "test"))
    with pytest.raises(EnvironmentFailure, match=r"^ants: wasmtime's stack ended before limits.stack did"):
        made.function("f")()
    made.close()


# ---- what the host lacks ----


@contextmanager
def poor(text: str, **limits: int) -> Iterator[Shard]:
    """A shard on a host that has less than the limits promise: wasmtime itself refuses what is past them."""
    group, engine = plan(text, fuel=1 << 40), wasmtime.Engine()
    compiled = wasmtime.Module(engine, group.module)

    def make_poor(_group: int) -> Instance:
        made = alone(engine, compiled, group)
        assert made._store is not None
        made._store.set_limits(**limits)
        return made

    with closing(LoopShard([group], make_poor)) as shard:
        yield shard


NO_MEMORY = r"^ants: the host has no memory for a growth within limits.memory; run fewer agents or lower it$"
ONE, ZERO = np.array([3], np.uint32), np.array([0], np.uint32)
TABLE_GROWS = agent("(drop (table.grow 0 (ref.null func) (i32.const 9))) (i32.const 0)").replace(
    "(data", "(table 1 funcref) (data", 1
)


def one_turn(shard: Shard) -> Turns:
    return shard.run(ONE, np.array([32], np.uint32), memoryview(bytes(32)))


def test_a_growth_that_the_host_refuses_ends_the_run() -> None:
    with poor(agent("(drop (memory.grow (i32.const 3))) (i32.const 0)"), memory_size=2 * PAGE) as shard:
        shard.create(ONE, ZERO)
        with pytest.raises(EnvironmentFailure, match=NO_MEMORY):
            one_turn(shard)


def test_so_does_one_in_the_start() -> None:
    with (
        poor(begins("(drop (memory.grow (i32.const 3)))"), memory_size=2 * PAGE) as shard,
        pytest.raises(EnvironmentFailure, match=NO_MEMORY),
    ):
        shard.create(ONE, ZERO)


def test_so_does_one_of_a_table() -> None:
    with poor(TABLE_GROWS, table_elements=4) as shard:
        shard.create(ONE, ZERO)
        with pytest.raises(EnvironmentFailure, match=r"^ants: the host has no memory for a growth"):
            one_turn(shard)


def test_a_growth_past_the_limits_is_the_agents_all_the_same() -> None:
    """Before the host is asked."""
    with poor(agent("(drop (memory.grow (i32.const 99))) (i32.const -2)"), memory_size=2 * PAGE) as shard:
        shard.create(ONE, ZERO)
        assert outcome(one_turn(shard))[0][:2] == (Fault.AGENT_CODE, -2)


def test_a_state_for_which_the_host_has_no_memory() -> None:
    grows = agent("(drop (memory.grow (i32.const 3))) (i32.const 0)")
    with Opened(ENGINES["wasmtime"](), [plan(grows, fuel=1 << 40)]) as shard:
        shard.create()
        assert outcome(shard.run())[0][2] >= 3 * PAGE_UNITS
        states = shard.shard.capture(shard.ids)
    with (
        poor(grows, memory_size=2 * PAGE) as small,
        pytest.raises(EnvironmentFailure, match=r"^ants: the host has no 4 pages for the agent's memory$"),
    ):
        small.restore(ONE, ZERO, states)
    with poor(grows, memory_size=4 * PAGE) as enough:
        enough.restore(ONE, ZERO, states)
        assert enough.capture(ONE) == states


def test_a_state_with_more_memory_than_the_limit(opened: Open) -> None:
    with opened(QUIET) as shard:
        shard.create()
        (state,) = shard.shard.capture(shard.ids)
        decoded = msgspec.msgpack.decode(state, type=AgentState)
        assert decoded.instance is not None
        larger = msgspec.structs.replace(decoded.instance, pages=PAGES + 1)
        forged = msgspec.msgpack.encode(msgspec.structs.replace(decoded, instance=larger))
        expected = f"^ants: the state has a memory of {PAGES + 1} pages, expected at most {PAGES}$"
        with pytest.raises(EnvironmentFailure, match=expected):
            shard.shard.restore(shard.ids, shard.groups, [forged])


# ---- the record ----

GOOD = (1, 8192, 4096, 16384, 4096)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, GOOD[1:]),
        ({0: 0}, None),
        ({2: 64, 4: 16}, (8192, 64, 16384, 16)),
        ({2: 63}, None),
        ({4: 15}, None),
        ({1: 8196}, None),
        ({3: 16388}, None),
        ({2: 8192}, (8192, 4096, 16384, 4096)),
        ({2: 8193}, None),
        ({3: 4096}, (8192, 4096, 4096, 4096)),
        ({3: 4104}, None),
        ({1: PAGE - 4096}, (PAGE - 4096, 4096, 16384, 4096)),
        ({1: PAGE - 4096 + 8}, None),
        ({3: 0xFFFFFFF8, 4: 16}, None),
        ({1: 0, 3: 4096}, (0, 4096, 4096, 4096)),
    ],
)
def test_buffers_are_within_bounds_or_none(change: dict[int, int], expected: tuple[int, ...] | None) -> None:
    numbers = tuple(change.get(at, number) for at, number in enumerate(GOOD))
    assert check_record(numbers, PAGE, plan(QUIET)) == expected


def test_a_module_without_a_memory_is_an_instance_all_the_same() -> None:
    data = bytes(wasmtime.wat2wasm('(module (func (export "f") (result i32) (i32.const 7)))'))
    plan = GroupPlan("none", rewrite_module(data, "none", abi=False).module, "", 1, 1 << 16, 1024, 1024)
    engine = wasmtime.Engine()
    instance = alone(engine, wasmtime.Module(engine, plan.module), plan)
    assert list(instance.function("f")()) == [7]
    assert len(instance.memory()) == 0
    instance.close()

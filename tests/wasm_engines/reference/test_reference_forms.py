"""The oracle on originals, rewritten modules on the interpreter and on wasmtime: one outcome for every budget."""

from __future__ import annotations

from typing import Final

import pytest
import wasmtime

from wasm_engines.reference.beside import module
from wasm_engines.reference.forms import ENGINE, Ended, OnWasmtime, Trio
from wasm_engines.reference.test_reference_control import CALLS, FUNCTIONS, SAME_FOR_ALL, SMALL
from wasm_engines.reference.test_reference_memory import ACCESSES, OFFSETS, access, length
from wasm_engines.reference.test_reference_operators import CASES, MAKES_NAN, RECORDS, TRAPS, Case, filling, function
from wavelock.core.abi import Fault
from wavelock.core.form import FormOptions, rewrite_module
from wavelock.core.form.reserved import BUDGET, FAULT, LEFT, START, TURN
from wavelock.wasm_engines.interface import Trap
from wavelock.wasm_engines.reference.engine import ReferenceInstance
from wavelock.wasm_engines.reference.memory import PAGE
from wavelock.wasm_engines.reference.oracle import Oracle, Outcome
from wavelock.wasm_engines.reference.program import Program

STATE: Final = '(memory (export "memory") 1 8) (global $g (export "g") (mut i64) (i64.const 5))'


@pytest.mark.parametrize("name", FUNCTIONS)
def test_control_flow_at_every_budget(name: str) -> None:
    trio = Trio(f'(module (func (export "f") {FUNCTIONS[name]}))')
    for number in SMALL[:1] if name in SAME_FOR_ALL else SMALL:
        trio.sweep("f", [number], most=30)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("swapped", [7, 1 << 63]),
        *((name, [12, entry]) for name in ("unary", "binary", "other") for entry in (0, 1, 2, 3, 6)),
        ("even", [9]),
        ("even", [12]),
        ("fib", [6]),
        ("deep", [5]),
    ],
)
def test_calls_at_every_budget(name: str, arguments: list[int]) -> None:
    Trio(CALLS).sweep(name, arguments, most=60)


PROGRAMS: Final = {
    "bulk": """(func (export "f") (param i32 i32 i32)
      (global.set $g (i64.const 1))
      (memory.fill (local.get 0) (i32.const 7) (local.get 2))
      (global.set $g (i64.const 2))
      (memory.copy (local.get 1) (local.get 0) (local.get 2))
      (global.set $g (i64.const 3))
      (memory.init $d (local.get 0) (i32.const 1) (i32.and (local.get 2) (i32.const 31)))
      (global.set $g (i64.const 4)))
      (data $d "0123456789abcdefghijklmnopqrstuv")""",
    "growth": """(func (export "f") (param i32 i32) (result i32 i32)
      (memory.grow (local.get 0)) (memory.grow (local.get 1))
      (global.set $g (i64.extend_i32_u (memory.size))))""",
    "growth and unreachable": """(func (export "f") (param i32)
      (if (i32.eq (memory.grow (local.get 0)) (i32.const -1)) (then (unreachable)))
      (i32.store (i32.const 65532) (i32.const -1)))""",
    "growth and bounds": """(func (export "f") (param i32)
      (i32.store (i32.add (i32.const 65536) (memory.grow (local.get 0))) (i32.const -1)))""",
    "floats": """(func (export "f") (param i64 i64) (result i64 i64 i32) (local $a f64) (local $b f64)
      (local.set $a (f64.reinterpret_i64 (local.get 0))) (local.set $b (f64.reinterpret_i64 (local.get 1)))
      (i64.reinterpret_f64 (f64.add (f64.mul (local.get $a) (local.get $b)) (f64.sqrt (local.get $a))))
      (i64.reinterpret_f64 (f64.neg (f64.div (local.get $a) (f64.sub (local.get $b) (local.get $b)))))
      (i32.reinterpret_f32 (f32.copysign (f32.demote_f64 (f64.min (local.get $a) (local.get $b))) (f32.const -1)))
      (f64.store (i32.const 8) (f64.max (local.get $b) (local.get $a)))
      (f64.store (i32.const 16) (f64.abs (f64.nearest (local.get $a)))))""",
    "float loops": """(func (export "f") (param i32) (result i64) (local $x f64) (local $y f64)
      (loop $again
        (local.set $y (f64.div (local.get $x) (local.get $y)))
        (local.set $x (f64.add (f64.mul (local.get $x) (f64.const 1e300)) (local.get $y)))
        (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
      (i64.reinterpret_f64 (f64.neg (local.get $x))))""",
    "vectors": """(func (export "f") (param i64 i64) (result i64 i64) (local $v v128)
      (local.set $v (i64x2.replace_lane 1 (i64x2.splat (local.get 0)) (local.get 1)))
      (v128.store (i32.const 16) (f32x4.add (local.get $v) (f32x4.neg (local.get $v))))
      (v128.store (i32.const 32) (f64x2.sqrt (local.get $v)))
      (v128.store (i32.const 48) (f64x2.neg (f64x2.promote_low_f32x4 (local.get $v))))
      (v128.store (i32.const 64) (f32x4.demote_f64x2_zero (f64x2.mul (local.get $v) (local.get $v))))
      (i64x2.extract_lane 0 (f32x4.max (local.get $v) (f32x4.sqrt (local.get $v))))
      (i64x2.extract_lane 1 (i8x16.swizzle (local.get $v) (f32x4.div (local.get $v) (local.get $v)))))""",
    "integer traps": """(func (export "f") (param i32 i32) (result i32)
      (global.set $g (i64.const 9)) (i32.rem_s (i32.const 100) (i32.div_s (local.get 0) (local.get 1))))""",
    "conversion traps": """(func (export "f") (param i64) (result i32)
      (global.set $g (i64.const 9)) (i32.trunc_f64_s (f64.reinterpret_i64 (local.get 0))))""",
    "a heavy leaf": """(func $leaf (param i32) (result i32) (local i64 i64 i64 i64 i64 i64 i64 i64)
        (i32.add (local.get 0) (i32.const 1)))
      (func (export "f") (param i32) (result i32) (call $leaf (call $leaf (local.get 0))))""",
    "many blocks of memory": """(func (export "f") (param i32 i32)
      (loop $again
        (i32.store8 (local.get 1) (local.get 0))
        (local.set 1 (i32.add (local.get 1) (i32.const 7)))
        (if (i32.and (local.get 0) (i32.const 1)) (then (i64.store (local.get 1) (global.get $g)))
          (else (global.set $g (i64.rotl (global.get $g) (i64.const 5)))))
        (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))""",
    "atomics": """(func (export "f") (param i32) (result i32 i64 i32 i32)
      (i64.atomic.store (i32.const 8) (i64.const 0x1122334455667788))
      (i32.atomic.rmw.add offset=8 (local.get 0) (i32.const 1))
      (i64.atomic.rmw8.xchg_u (i32.const 9) (i64.const 0x1ff))
      (atomic.fence)
      (memory.atomic.notify (i32.const 8) (i32.const 1))
      (i32.atomic.load16_u (i32.add (local.get 0) (i32.const 12))))""",
}
NAN: Final = 0x7FF8000000000000
FLOATS: Final = (0, 1 << 63, 0x3FF0000000000000, 0x7FF0000000000000, 0xFFF0000000000000, 0xFFF4000000000123, NAN + 77)
CALLED: Final[dict[str, list[list[int]]]] = {
    "bulk": [[0, 100, 64], [5, 0, 65531], [5, 0, 65532], [0, 65530, 7], [0, 0, 31], [0, 0, 95], [0, 0, 0]],
    "growth": [[0, 1], [7, 0], [3, 4], [3, 5], [8, 7], [-1, 1], [1, -1]],
    "growth and unreachable": [[0], [7], [8], [-1]],
    "growth and bounds": [[0], [1], [8]],
    "floats": [[a, b] for a in FLOATS for b in FLOATS],
    "float loops": [[1], [2], [5], [20]],
    "vectors": [[a, b] for a in FLOATS for b in (FLOATS[1], FLOATS[5], 0xFFC000017FA00001, 0x7F800000FF800000)],
    "integer traps": [[7, 3], [7, 0], [0, 7], [0x80000000, 0xFFFFFFFF], [0x80000000, 1]],
    "conversion traps": [[number] for number in FLOATS],
    "a heavy leaf": [[5]],
    "many blocks of memory": [[1, 0], [2, 0], [20, 0], [20, 65400]],
    "atomics": [[0], [1], [4], [0xFFF8], [0xFFFFFFF0], [0xFFFFFFF8]],
}


def trio(name: str, options: FormOptions | None = None) -> Trio:
    return Trio(f"(module {STATE} {PROGRAMS[name]})", options)


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_at_many_budgets(name: str) -> None:
    whole = trio(name)
    few = len(CALLED[name]) > 10
    for arguments in CALLED[name]:
        whole.sweep("f", arguments, most=4 if few else 25)


@pytest.mark.parametrize("name", ["float loops", "a heavy leaf", "many blocks of memory"])
def test_programs_at_every_budget(name: str) -> None:
    trio(name).sweep("f", CALLED[name][2 if len(CALLED[name]) > 2 else 0], most=1 << 30)


@pytest.mark.parametrize("pages", [1, 2, 7, 8, 9])
@pytest.mark.parametrize("name", ["growth", "growth and unreachable", "growth and bounds"])
def test_growth_ends_at_the_limit_or_at_the_maximum(name: str, pages: int) -> None:
    limited = trio(name, FormOptions(memory_pages=pages))
    for arguments in CALLED[name]:
        limited.run("f", arguments)


def test_a_refused_growth_makes_a_memory_fault_of_what_follows() -> None:
    assert trio("growth and unreachable").run("f", [8], 100_000) == Ended((), Fault.MEMORY, 100_000)
    assert trio("growth and bounds").run("f", [-1]).fault == Fault.MEMORY
    assert trio("growth and bounds").run("f", [7]).fault == Fault.NONE
    text = f"""(module {STATE} (func (export "f") (param i32)
      (drop (memory.grow (i32.const 9))) (drop (i32.div_u (i32.const 1) (local.get 0)))))"""
    assert Trio(text).run("f", [0]).fault == Fault.DIVISION_BY_ZERO


AGAIN: Final = "(call $r (i32.sub (local.get 0) (i32.const 1)))"
DEPTHS: Final = {
    "plain": f"(func $r (param i32) (local i64 i64) (if (local.get 0) (then {AGAIN})))",
    "vectors": f"(func $r (param i32) (drop (v128.const i64x2 1 2)) (if (local.get 0) (then {AGAIN})))",
    "vector results": f"""(func $v (result v128) (v128.const i64x2 1 2))
      (func $r (param i32) (drop (call $v)) (if (local.get 0) (then {AGAIN})))""",
    "a vector global": f"""(global $v v128 (v128.const i64x2 1 2))
      (func $r (param i32) (drop (global.get $v)) (if (local.get 0) (then {AGAIN})))""",
    "dead vectors": f"""(func $r (param i32)
      (if (local.get 0) (then {AGAIN} (return) (drop (v128.const i64x2 1 2)))))""",
    "a dead vector result": f"""(func $r (param i32)
      (if (local.get 0) (then {AGAIN} (return)))
      (block (drop (block (result v128) (br 1)))))""",
    "a block's vectors": f"""(func $r (param i32)
      (if (local.get 0) (then {AGAIN}))
      (block (br 0) (drop (block (result v128) (v128.const i64x2 1 2)))))""",
    "operands": f"""(func $r (param i32) (i32.const 1) (i32.const 2) (i32.const 3)
      (if (local.get 0) (then {AGAIN})) (drop) (drop) (drop))""",
    "results of dead blocks": f"""(func $r (param i32)
      (if (local.get 0) (then {AGAIN}))
      (block (block (result i32 i32 i32 i32) (br 1)) (drop) (drop) (drop) (drop)))""",
    "dead operands": f"""(func $r (param i32)
      (if (local.get 0) (then {AGAIN} (return)
        (i32.const 1) (i32.const 2) (i32.const 3) (i32.const 4) (i32.const 5) (drop) (drop) (drop) (drop) (drop))))""",
    "an else after dead operands": f"""(func $r (param i32)
      (if (local.get 0) (then {AGAIN} (br 0) (i32.const 1) (i32.const 2) (i32.const 3) (drop) (drop) (drop))
        (else (drop (i32.const 1)))))""",
    "a leaf below": f"""(func $leaf (param i32) (local i64) (drop (local.get 0)))
      (func $r (param i32) (call $leaf (local.get 0)) (if (local.get 0) (then {AGAIN})))""",
    "a heavy leaf below": f"""(func $leaf (param i32) (local {"i64 " * 600}) (drop (local.get 0)))
      (func $r (param i32) (call $leaf (local.get 0)) (if (local.get 0) (then {AGAIN})))""",
    "calls that are dead": f"""(func $dead (local {"i64 " * 9}) (return) (call $dead))
      (func $r (param i32) (call $dead) (if (local.get 0) (then {AGAIN})))""",
    "indirect": """(table 1 funcref) (elem (i32.const 0) func $r) (type $t (func (param i32)))
      (func $r (type $t)
        (if (local.get 0) (then (call_indirect (type $t) (i32.sub (local.get 0) (i32.const 1)) (i32.const 0)))))""",
    "many results": """(func $r (param i32) (result i32 i32 i32 i32 i32)
        (i32.const 1) (i32.const 2) (i32.const 3) (i32.const 4) (i32.const 5)
        (if (local.get 0) (then (call $r (i32.sub (local.get 0) (i32.const 1))) drop drop drop drop drop)))""",
    "a dead end with many results": """(func $dead (result i32 i32 i32 i32 i32 i32 i32)
        (if (i32.const 0) (then (call $dead) (unreachable))) (unreachable))
      (func $r (param i32)
        (if (local.get 0) (then (call $r (i32.sub (local.get 0) (i32.const 1))) (return))) (call $dead)
        drop drop drop drop drop drop drop)""",
    "a dead end with a vector": """(func $dead (result v128)
        (if (i32.const 0) (then (drop (call $dead)) (unreachable))) (unreachable))
      (func $r (param i32)
        (if (local.get 0) (then (call $r (i32.sub (local.get 0) (i32.const 1))) (return))) (drop (call $dead)))""",
}


@pytest.mark.parametrize("name", DEPTHS)
def test_depth_ends_at_the_same_call(name: str) -> None:
    """Where the limit is one byte less than what ten calls within calls weigh, and where it is enough."""
    drops = "drop " * 5 if name == "many results" else ""
    text = f'(module {DEPTHS[name]} (func (export "f") (param i32) (call $r (local.get 0)) {drops}))'
    deepest = Trio(text).deepest("f", [9])
    less, enough = (Trio(text, FormOptions(stack_bytes=limit)) for limit in (deepest - 1, deepest))
    assert less.run("f", [9]).fault == Fault.DEPTH
    assert enough.run("f", [9]).fault == (Fault.UNREACHABLE if "a dead end" in name else Fault.NONE)
    assert enough.run("f", [10]).fault == Fault.DEPTH


TABLES: Final = """(module
  (table $a 3 20 funcref) (table $b 2 funcref)
  (elem $e func $one $two) (elem (table $a) (i32.const 1) func $two)
  (func $one (result i32) (i32.const 1))
  (func $two (result i32) (i32.const 2))
  (func (export "call") (param i32) (result i32) (call_indirect $a (result i32) (local.get 0)))
  (func (export "grow") (param i32) (result i32 i32)
    (table.grow $a (ref.func $one) (local.get 0)) (call_indirect $a (result i32) (i32.const 3)))
  (func (export "grow_b") (param i32) (result i32) (table.grow $b (ref.null func) (local.get 0)))
  (func (export "fill") (param i32 i32) (result i32)
    (table.fill $a (local.get 0) (ref.func $two) (local.get 1)) (call_indirect $a (result i32) (i32.const 2)))
  (func (export "init") (param i32 i32) (result i32)
    (table.init $a $e (local.get 0) (i32.const 0) (local.get 1)) (elem.drop $e)
    (call_indirect $a (result i32) (i32.const 0)))
  (func (export "copy") (param i32 i32) (result i32)
    (table.copy $b $a (local.get 0) (i32.const 1) (local.get 1)) (call_indirect $b (result i32) (i32.const 0)))
  (func (export "set") (param i32) (result i32)
    (table.set $a (local.get 0) (ref.func $one)) (ref.is_null (table.get $a (i32.const 0)))))
"""


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *(("call", [0]), ("call", [1]), ("call", [3])),
        *(("grow", [1]), ("grow", [17]), ("grow", [18]), ("grow", [-1]), ("grow", [0])),
        *(("grow_b", [1]), ("grow_b", [(1 << 20) - 2]), ("grow_b", [(1 << 20) - 1]), ("grow_b", [-1])),
        *(("fill", [0, 3]), ("fill", [1, 3]), ("init", [0, 2]), ("init", [1, 2]), ("init", [0, 3])),
        *(("copy", [0, 2]), ("copy", [0, 3]), ("set", [0]), ("set", [2]), ("set", [3])),
    ],
)
def test_tables_at_many_budgets(name: str, arguments: list[int]) -> None:
    Trio(TABLES).sweep(name, arguments, most=20)


@pytest.mark.parametrize("name", [name for name in ACCESSES if ".atomic." in name])
def test_atomics_become_plain(name: str) -> None:
    operator = ACCESSES[name]
    functions = "".join(access(operator, offset, "") for offset in OFFSETS)
    data = "".join(f"\\{number % 251:02x}" for number in range(400))
    atomic = Trio(f'(module (memory (export "memory") 1 1 shared) (data (i32.const 0) "{data}") {functions})')
    ended = {
        atomic.run(str(offset), [address]).fault
        for offset in (0, 5, 0xFFFFFFFF)
        for address in (0, 1, 2, 4, 8, 128, 131, PAGE - 16, PAGE - 9, PAGE - 8, PAGE - 4, PAGE, 0xFFFFFFF8, 0xFFFFFFFF)
    }
    aligned = {Fault.MISALIGNED_ATOMIC} if length(operator) > 1 else set()
    assert ended == {Fault.NONE, Fault.MEMORY_BOUNDS} | aligned


@pytest.mark.parametrize("name", [name for name in ACCESSES if "cmpxchg" in name])
def test_a_compare_exchange_becomes_plain(name: str) -> None:
    kind = name[:3]
    exchange = Trio(f"""(module (memory (export "memory") 1) (data (i32.const 8) "\\11\\11\\11\\11\\11\\11\\11\\11")
      (func (export "f") (param {kind} {kind}) (result {kind})
        ({name} (i32.const 8) (local.get 0) (local.get 1))))""")
    for expected in (0x11, 0x1111, 0x11111111, 0x1111111111111111, 0x12, 0x1100000011, 0):
        exchange.run("f", [expected, 0xABABABABABABABAB])


@pytest.mark.parametrize("expected", [5, 6])
@pytest.mark.parametrize("bits", [32, 64])
def test_a_wait_becomes_an_answer(bits: int, expected: int) -> None:
    wait = Trio(f"""(module (memory (export "memory") 1 1 shared) (data (i32.const 8) "\\05")
      (func (export "f") (param i32 i64) (result i32)
        (memory.atomic.wait{bits} (local.get 0) (i{bits}.const {expected}) (local.get 1))))""")
    assert wait.sweep("f", [8, -1]) == Ended((2 if expected == 5 else 1,), Fault.NONE, 4)
    assert wait.sweep("f", [9, 0]).fault == Fault.MISALIGNED_ATOMIC
    assert wait.sweep("f", [PAGE, 0]).fault == Fault.MEMORY_BOUNDS


class Everything:
    """Every operator in one module: the original on the oracle, the form on wasmtime."""

    def __init__(self) -> None:
        functions = "\n".join(map(function, CASES.values()))
        original = module(f'(module (memory (export "memory") 1) {functions})')
        self.oracle = Oracle(original)
        form = rewrite_module(original, "test", abi=False).module
        self.engine = OnWasmtime(ENGINE, wasmtime.Module(ENGINE, form))

    def run(self, case: Case, records: int) -> None:
        operands = filling(case)
        self.oracle.memory[: len(operands)] = operands
        self.engine.write(operands)
        self.engine.call(BUDGET, 1 << 40)
        outcome = self.oracle.call(case.text, [0, records], fuel=1 << 40)
        self.engine.call(case.text, 0, records)
        assert outcome.fault == Fault.NONE
        assert self.engine.call(LEFT)[0] == (1 << 40) - outcome.fuel_used
        assert self.engine.memory() == self.oracle.memory


@pytest.fixture(scope="session")
def everything() -> Everything:
    return Everything()


@pytest.mark.parametrize("text", [text for text, case in CASES.items() if case.operator.name not in TRAPS])
def test_an_operator_in_its_form_gives_the_oracles_bits(everything: Everything, text: str) -> None:
    """NaNs included: they are stored, so that their bits show."""
    makes_nan = CASES[text].operator.name in MAKES_NAN
    everything.run(CASES[text], RECORDS if makes_nan else 32)


AGENT: Final = """(module (memory (export "memory") 2)
  (global $starts (export "starts") (mut i32) (i32.const 0))
  (data (i32.const 1024) "\\01\\00\\00\\00\\00\\20\\00\\00\\00\\01\\00\\00\\00\\40\\00\\00\\00\\01\\00\\00")
  (start $start)
  (func $start (global.set $starts (i32.add (global.get $starts) (i32.const 1))))
  (func (export "_initialize") (global.set $starts (i32.mul (global.get $starts) (i32.const 10))))
  (func (export "wavelock_abi") (result i32) (i32.const 1024))
  (func (export "wavelock_turn") (param $length i32) (result i32)
    (memory.copy (i32.const 16384) (i32.const 8192) (local.get $length))
    (i32.store8 (i32.const 16384) (global.get $starts))
    (local.get $length)))"""


@pytest.mark.parametrize("fuel", range(18))
def test_starts_and_turns_of_an_agent(fuel: int) -> None:
    original = module(AGENT)
    form = rewrite_module(original, "test").module
    instance = ReferenceInstance(Program(form))
    oracle = Oracle(original)
    started = oracle.start(fuel)
    assert started.fault == (Fault.NONE if fuel >= 9 else Fault.FUEL)
    if started.results is None:
        with pytest.raises(Trap):
            instance.function(START)(fuel)
        assert (instance.global_value(FAULT), started.fuel_used) == (Fault.FUEL, fuel)
        return
    assert list(instance.function(START)(fuel)) == [*started.results, fuel - started.fuel_used]
    inbox = b"abcdefgh" * 3
    instance.memory()[8192 : 8192 + len(inbox)] = inbox
    for budget in (0, 10, 20, 21, 22, 23, 100):
        turned = oracle.turn(inbox, budget)
        if turned.results is None:
            with pytest.raises(Trap):
                instance.function(TURN)(len(inbox), budget)
        else:
            assert list(instance.function(TURN)(len(inbox), budget)) == [24, budget - turned.fuel_used]
        assert instance.memory() == oracle.memory
    assert bytes(oracle.memory[16384:16387]) == b"\x0abc"


def test_a_start_without_the_agents_exports() -> None:
    text = (
        '(module (start $s) (global $g (export "g") (mut i32) (i32.const 0)) (func $s (global.set $g (i32.const 7))))'
    )
    oracle = Oracle(module(text))
    assert (oracle.start(10), oracle.globals) == (Outcome((0,), Fault.NONE, 2), [7])
    instance = ReferenceInstance(Program(rewrite_module(module(text), "test", abi=False).module))
    assert (list(instance.function(START)(10)), instance.global_value("g")) == ([0, 8], 7)
    assert oracle.start(1) == Outcome(None, Fault.FUEL, 1)

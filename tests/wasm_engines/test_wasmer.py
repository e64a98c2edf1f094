"""The wasmer engine: its description everywhere, the engine itself where wasmer has a wheel: up to Python 3.10."""

from __future__ import annotations

import ctypes
import math
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import HELLO, TRAPS, agent, echoes
from wavelock.core.abi import Fault, Inbound, frame
from wavelock.core.cache import ModuleCache
from wavelock.core.digest import hash_bytes
from wavelock.core.errors import EnvironmentFailure, ModuleError
from wavelock.core.form import FormOptions, MemorySize, reserved, rewrite_module
from wavelock.core.shard import GroupPlan, Turns
from wavelock.plugins.members import Unavailable
from wavelock.wasm_engines import wasmer_plugin
from wavelock.wasm_engines.interface import Engine, Trap
from wavelock.wasm_engines.wasmtime_engine import WasmtimeEngine, assemble_text

PAGE = 1 << 16
FUEL = 1_000_000
HERE = wasmer_plugin.unavailable()
needs_wasmer = pytest.mark.skipif(HERE is not None, reason=str(HERE))


# ---- the description ----


def package(folder: Path, name: str, extension: bool) -> ModuleSpec:
    """A package as pip leaves it: with an extension module, or as the empty one for systems without a wheel."""
    place = folder / name
    place.mkdir()
    (place / "__init__.py").write_text("raise ImportError('not available on this system')")
    if extension:
        (place / f"{name}{EXTENSION_SUFFIXES[0]}").touch()
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = [str(place)]
    return spec


def asked(folder: Path, python: tuple[int, int], *extensions: bool) -> Unavailable | None:
    """What the plugin says where the packages are there so: with or without an extension, or not at all."""
    pairs = zip(wasmer_plugin.PACKAGES, extensions, strict=False)
    found = {name: package(folder, name, extension) for name, extension in pairs}
    return wasmer_plugin.unavailable(found.get, python)


def test_with_both_extensions_it_is_available(tmp_path: Path) -> None:
    assert asked(tmp_path, (3, 10), True, True) is None


@pytest.mark.parametrize("extensions", [(), (False, False)])
def test_on_a_newer_python_it_says_which_python_and_which_engine(tmp_path: Path, extensions: tuple[bool, ...]) -> None:
    text = str(asked(tmp_path, (3, 11), *extensions))
    assert "CPython 3.7 to 3.10, this is Python 3.11" in text
    assert "use Python 3.10 (pip install 'wavelock[wasmer]')" in text
    assert 'engine.use = "wasmtime"' in text


def test_what_is_not_installed_can_be(tmp_path: Path) -> None:
    assert asked(tmp_path, (3, 10), True) == Unavailable(
        "the package wasmer_compiler_cranelift is not installed", "pip install 'wavelock[wasmer]'"
    )


def test_the_empty_package_of_systems_without_a_wheel_is_not_taken_for_wasmer(tmp_path: Path) -> None:
    assert "no wheel for this system" in str(asked(tmp_path, (3, 10), False, False))


def test_what_it_says_of_this_interpreter_is_so() -> None:
    def imports() -> bool:
        command = [sys.executable, "-c", "import wasmer, wasmer_compiler_cranelift"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    assert (HERE is None) == imports()


def test_describing_it_imports_nothing_of_it() -> None:
    code = (
        "import sys; from wavelock.wasm_engines.wasmer_plugin import wavelock_engine; "
        "wavelock_engine().unavailable(); print([name for name in sys.modules if name.startswith('wasmer')])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


# ---- instances ----


def form(text: str, *, abi: bool = False, pages: int = 16) -> bytes:
    return rewrite_module(assemble_text(text, "test"), "test", FormOptions(memory_pages=pages), abi=abi).module


def instance(module: bytes) -> Any:
    """An instance with fuel, of a module that is in its deterministic form or does without."""
    import wasmer
    import wasmer_compiler_cranelift

    from wavelock.wasm_engines.wasmer_instance import WasmerInstance

    store = wasmer.Store(wasmer.engine.Universal(wasmer_compiler_cranelift.Compiler))
    made = WasmerInstance(wasmer.Module(store, module), "ants")
    if reserved.BUDGET.encode() in module:
        made.function(reserved.BUDGET)(FUEL)
    return made


def call(text: str, *arguments: int, name: str = "f") -> list[int]:
    return list(instance(form(text)).function(name)(*arguments))


def module(body: str, results: str = "", more: str = "") -> str:
    result = f"(result {results})" if results else ""
    return f'(module (memory (export "memory") 1 8) {more} (func (export "f") {result} {body}))'


TABLE = """(table 4 8 funcref) (type $none (func)) (func $none (type $none)) (func $other (result i32) (i32.const 1))
(elem (i32.const 0) $none) (elem (i32.const 2) $other) (elem $some func $none)"""
TRAPS_AND_FAULTS = [
    ("unreachable", Fault.UNREACHABLE),
    ("(drop (i32.load (i32.const 65536)))", Fault.MEMORY_BOUNDS),
    ("(drop (i32.load offset=0xffffffff (i32.const -1)))", Fault.MEMORY_BOUNDS),
    ("(i64.store (i32.const 65529) (i64.const 1))", Fault.MEMORY_BOUNDS),
    ("(memory.fill (i32.const 65530) (i32.const 0) (i32.const 7))", Fault.MEMORY_BOUNDS),
    ("(memory.copy (i32.const 0) (i32.const 65530) (i32.const 7))", Fault.MEMORY_BOUNDS),
    ("(memory.init $data (i32.const 0) (i32.const 0) (i32.const 4))", Fault.MEMORY_BOUNDS),
    ("(data.drop $data) (memory.init $data (i32.const 0) (i32.const 0) (i32.const 1))", Fault.MEMORY_BOUNDS),
    ("(call_indirect (type $none) (i32.const 100))", Fault.TABLE_BOUNDS),
    ("(drop (table.get 0 (i32.const 4)))", Fault.TABLE_BOUNDS),
    ("(table.set 0 (i32.const 4) (ref.null func))", Fault.TABLE_BOUNDS),
    ("(table.fill 0 (i32.const 4) (ref.null func) (i32.const 1))", Fault.TABLE_BOUNDS),
    ("(table.copy (i32.const 4) (i32.const 0) (i32.const 1))", Fault.TABLE_BOUNDS),
    ("(table.init $some (i32.const 0) (i32.const 1) (i32.const 1))", Fault.TABLE_BOUNDS),
    ("(elem.drop $some) (table.init $some (i32.const 0) (i32.const 0) (i32.const 1))", Fault.TABLE_BOUNDS),
    ("(call_indirect (type $none) (i32.const 1))", Fault.INDIRECT_CALL),
    ("(call_indirect (type $none) (i32.const 2))", Fault.INDIRECT_CALL),
    ("(drop (i32.div_s (i32.const 1) (i32.const 0)))", Fault.DIVISION_BY_ZERO),
    ("(drop (i64.rem_u (i64.const 1) (i64.const 0)))", Fault.DIVISION_BY_ZERO),
    ("(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))", Fault.INTEGER_OVERFLOW),
    ("(drop (i64.div_s (i64.const 0x8000000000000000) (i64.const -1)))", Fault.INTEGER_OVERFLOW),
    ("(drop (i32.trunc_f64_s (f64.const 1e20)))", Fault.INTEGER_OVERFLOW),
    ("(drop (i64.trunc_f32_u (f32.const -1)))", Fault.INTEGER_OVERFLOW),
    ("(drop (i64.trunc_f64_s (f64.const inf)))", Fault.INTEGER_OVERFLOW),
    ("(drop (i32.trunc_f32_u (f32.const nan)))", Fault.BAD_CONVERSION),
]


@needs_wasmer
@pytest.mark.parametrize(("body", "fault"), TRAPS_AND_FAULTS)
def test_each_trap_is_told_as_its_fault(body: str, fault: Fault) -> None:
    made = instance(form(module(body, more=f'{TABLE} (data $data "abc")')))
    with pytest.raises(Trap) as caught:
        made.function("f")()
    assert caught.value.fault == fault
    assert made.global_value(reserved.FAULT) == 0


@needs_wasmer
def test_a_trap_of_the_form_is_unreachable_with_its_own_word() -> None:
    made = instance(form(module("(loop (br 0))")))
    with pytest.raises(Trap) as caught:
        made.function("f")()
    assert caught.value.fault == Fault.UNREACHABLE
    assert made.global_value(reserved.FAULT) == Fault.FUEL


@needs_wasmer
def test_a_function_cannot_pass_its_name_off_as_a_trap() -> None:
    text = '(module (func $"call stack exhausted\\0aRuntimeError: integer overflow" (export "f") unreachable))'
    with pytest.raises(Trap) as caught:
        call(text)
    assert caught.value.fault == Fault.UNREACHABLE


@needs_wasmer
def test_integers_are_signed_both_ways_and_results_always_a_sequence() -> None:
    text = """(module
      (func (export "none") (param i32))
      (func (export "one") (param i32) (result i32) (local.get 0))
      (func (export "two") (param i32 i64) (result i32 i64) (local.get 0) (local.get 1))
      (func (export "least") (result i32 i64) (i32.const 0x80000000) (i64.const 0x8000000000000000)))"""
    made = instance(form(text))
    assert list(made.function("none")(5)) == []
    assert list(made.function("one")(-7)) == [-7]
    assert list(made.function("two")(-(1 << 31), (1 << 63) - 1)) == [-(1 << 31), (1 << 63) - 1]
    assert list(made.function("least")()) == [-(1 << 31), -(1 << 63)]


@needs_wasmer
def test_there_is_no_function_under_another_name_nor_under_a_memorys() -> None:
    made = instance(form(module("")))
    for name in ("nothing", "memory", "__class__"):
        with pytest.raises(KeyError):
            made.function(name)


@needs_wasmer
def test_an_export_may_have_any_name() -> None:
    names = ["__class__", "é", "a b", "0"]
    made = instance(form("".join(["(module", *(f'(func (export "{name}"))' for name in names), ")"])))
    for name in names:
        assert list(made.function(name)()) == []


GROWS = """(module (memory (export "memory") 1 16)
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "peek") (param i32) (result i32) (i32.load8_u (local.get 0)))
  (func (export "poke") (param i32 i32) (i32.store8 (local.get 0) (local.get 1))))"""


def address(view: memoryview) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(view))


@needs_wasmer
def test_a_memory_never_moves_and_older_views_stay_good() -> None:
    made = instance(form(GROWS))
    first = made.memory()
    assert (len(first), first.format, first.readonly) == (PAGE, "B", False)
    grow, peek, poke = (made.function(name) for name in ("grow", "peek", "poke"))
    for pages in range(1, 16):
        assert grow(1) == (pages,)
        view = made.memory()
        assert len(view) == (pages + 1) * PAGE
        assert address(view) == address(first)
        poke(pages, 100 + pages)
        assert first[pages] == 100 + pages
        first[pages] = pages
        assert peek(pages) == (pages,)
        assert made.memory()[-1] == 0
    assert grow(1) == (-1,)


@needs_wasmer
def test_a_memory_of_no_pages_has_a_view_and_may_grow() -> None:
    made = instance(form(GROWS.replace("1 16", "0 16")))
    assert len(made.memory()) == 0
    made.function("grow")(2)
    made.memory()[2 * PAGE - 1] = 9
    assert made.function("peek")(2 * PAGE - 1) == (9,)


@needs_wasmer
def test_a_closed_instance_is_not_used_but_views_of_it_may_be() -> None:
    made = instance(form(GROWS))
    view = made.memory()
    made.close()
    made.close()
    with pytest.raises(RuntimeError, match="after it was closed"):
        made.function("grow")
    view[5] = 1
    assert view[5] == 1


@needs_wasmer
def test_views_may_end_on_another_thread() -> None:
    box = [instance(form(GROWS)).memory()]
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: len(box.pop())).result() == PAGE


@needs_wasmer
def test_instances_give_their_memory_back() -> None:
    import wasmer

    from wavelock.wasm_engines.wasmer_instance import WasmerInstance

    compiled = wasmer.Module(wasmer.Store(), form(GROWS))

    def touch_a_page_each(count: int) -> int:
        for _ in range(count):
            made = WasmerInstance(compiled, "ants")
            made.memory()[:] = b"\1" * PAGE
            made.close()
        return resident_bytes()

    before = touch_a_page_each(200)
    assert touch_a_page_each(1000) - before < 16 << 20  # 64 MiB if all stayed


def resident_bytes() -> int:
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("only Linux tells it so")
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


GROW_MEMORY = "(drop (memory.grow (i32.const 0)))"
GROW_TABLE = "(drop (table.grow 0 (ref.null func) (i32.const 0)))"


@needs_wasmer
@pytest.mark.parametrize("operation", ["", GROW_MEMORY, GROW_TABLE])
def test_the_end_of_the_native_stack_is_no_agents_fault(operation: str) -> None:
    """Also where it comes in wasmer's own code. The module is not in its form, which would stop the recursion."""
    wasm = assemble_text(f'(module (memory 1 1) (table 1 1 funcref) (func $f (export "f") {operation} (call $f)))', "")

    def recurse() -> None:
        instance(wasm).function("f")()

    before = threading.stack_size(512 << 10)
    try:
        with ThreadPoolExecutor(1) as pool:
            outcome = pool.submit(recurse)
        with pytest.raises(EnvironmentFailure, match=r"^ants: the engine wasmer came to the end .* give the thread"):
            outcome.result()
    finally:
        threading.stack_size(before)


@needs_wasmer
def test_what_no_agent_causes_is_an_environment_failure() -> None:
    with pytest.raises(EnvironmentFailure, match=r'^ants: wasmer stopped with "Parameters of type'):
        instance(form(GROWS)).function("grow")()


@needs_wasmer
def test_the_depth_limit_comes_before_the_end_of_the_stack() -> None:
    made = instance(form('(module (func $f (export "f") (call $f)))'))
    with pytest.raises(Trap):
        made.function("f")()
    assert made.global_value(reserved.FAULT) == Fault.DEPTH


@needs_wasmer
@pytest.mark.parametrize(
    ("body", "results", "expected"),
    [
        ("(i32.extend8_s (i32.const 0x80))", "i32", [-128]),
        ("(i64.trunc_sat_f64_s (f64.const 1e30))", "i64", [(1 << 63) - 1]),
        ("(i32.trunc_sat_f32_u (f32.const nan))", "i32", [0]),
        ("(i32.const 1) (i64.const 2) (block (param i32 i64) (result i64) (drop) (drop) (i64.const 3)) (i32.const 4)",
         "i64 i32", [3, 4]),
        ("(memory.fill (i32.const 8) (i32.const 7) (i32.const 4)) "
         "(memory.copy (i32.const 16) (i32.const 8) (i32.const 4)) (i32.load (i32.const 16))", "i32", [0x07070707]),
        ("(table.set 0 (i32.const 1) (ref.func $none)) (table.get 0 (i32.const 1)) (ref.is_null)", "i32", [0]),
        ("(table.grow 0 (ref.null func) (i32.const 2)) (table.size 0)", "i32 i32", [4, 6]),
    ],
)  # fmt: skip
def test_what_the_form_calls_portable_runs(body: str, results: str, expected: list[int]) -> None:
    assert call(module(body, results, TABLE)) == expected


@needs_wasmer
def test_subnormals_are_kept_on_every_thread() -> None:
    text = module("(i64.reinterpret_f64 (f64.mul (f64.load (i32.const 0)) (f64.const 0.5)))", "i64")

    def halved() -> tuple[list[int], float]:
        made = instance(form(text))
        made.memory()[:8] = np.array([sys.float_info.min]).tobytes()
        return list(made.function("f")()), sys.float_info.min / 2

    with ThreadPoolExecutor(1) as pool:
        for bits, here in (halved(), pool.submit(halved).result()):
            assert bits == [1 << 51]
            assert here == math.ldexp(1.0, -1023)


# ---- the engine ----


def plan(text: str, name: str = "ants") -> GroupPlan:
    made = rewrite_module(assemble_text(text, "test"), "test", FormOptions(memory_pages=16))
    return GroupPlan(name, made.module, hash_bytes(made.module), FUEL, 16 * PAGE, 4096, 4096, *made.state)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WAVELOCK_CACHE", str(tmp_path))
    return tmp_path / "wasmer"


def wasmer_engine(*, cache: bool = True) -> Engine:
    from wavelock.wasm_engines.wasmer_plugin import WasmerSettings, wavelock_engine

    return wavelock_engine().create(WasmerSettings(cache=cache))


INBOX = bytes(32) + frame(Inbound.MESSAGE, 1, 2, b"hello") + frame(Inbound.MESSAGE, 1, 3, b"there")


def turns(engine: Engine, plans: Sequence[GroupPlan], count: int = 3) -> list[Turns]:
    """So many turns of two agents of each group."""
    engine.configure(agents=8, stack_bytes=1 << 20, memories=[MemorySize(1, 16)])
    shard = engine.open_shard(plans)
    groups = np.repeat(np.arange(len(plans), dtype=np.uint32), 2)
    ids = np.arange(10, 10 + len(groups), dtype=np.uint32)
    try:
        shard.create(ids, groups)
        lengths = np.full(len(ids), len(INBOX), np.uint32)
        return [shard.run(ids, lengths, memoryview(INBOX * len(ids))) for _ in range(count)]
    finally:
        shard.close()


def comparable(outcome: list[Turns]) -> list[object]:
    return [[np.asarray(part).tolist() for part in each[:4]] + [each.outbox_data] for each in outcome]


COUNTS = agent("""(i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
  (if (i32.gt_u (i32.load (i32.const 0)) (i32.const 2)) (then (drop (i32.div_u (i32.const 1) (i32.const 0)))))
  (i32.const 0)""")
SPINS = agent("(loop (br 0)) (i32.const 0)")
GREEDY = agent("(drop (memory.grow (i32.const 64))) (unreachable)")


@needs_wasmer
def test_turns_are_those_of_wasmtime() -> None:
    plans = [plan(text) for text in (echoes(), HELLO, TRAPS, COUNTS, SPINS, GREEDY)]
    ours = comparable(turns(wasmer_engine(), plans))
    assert ours == comparable(turns(WasmtimeEngine(cache=False, memory_layout="auto"), plans))
    faults = {fault for each in ours for fault in each[1]}  # type: ignore[index]
    assert faults == {Fault.NONE, Fault.UNREACHABLE, Fault.DIVISION_BY_ZERO, Fault.FUEL, Fault.MEMORY}


@needs_wasmer
def test_signals_find_their_engine_where_both_are_in_a_process() -> None:
    outside = agent("(i32.load (i32.const -8))")
    engines = [WasmtimeEngine(cache=False, memory_layout="guarded"), wasmer_engine(cache=False)]
    for engine in (*engines, *engines):
        (outcome,) = turns(engine, [plan(outside)], 1)
        assert outcome.faults.tolist() == [Fault.MEMORY_BOUNDS] * 2


@needs_wasmer
def test_shards_of_several_threads_share_an_engine() -> None:
    engine = wasmer_engine()
    plans = [plan(echoes()), plan(HELLO)]
    with ThreadPoolExecutor(3) as pool:
        outcomes = list(pool.map(lambda _: comparable(turns(engine, plans)), range(6)))
    assert outcomes == [outcomes[0]] * 6
    engine.close()
    engine.close()


@needs_wasmer
def test_compiled_modules_are_kept_on_disk_and_used(cache: Path) -> None:
    first = comparable(turns(wasmer_engine(), [plan(echoes())]))
    (file,) = cache.iterdir()
    os.utime(file, (1, 1))
    assert comparable(turns(wasmer_engine(), [plan(echoes())])) == first
    assert file.stat().st_mtime > 1  # a hit is noted as one


@needs_wasmer
def test_a_changed_file_is_compiled_anew(cache: Path) -> None:
    first = comparable(turns(wasmer_engine(), [plan(echoes())]))
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert comparable(turns(wasmer_engine(), [plan(echoes())])) == first
    assert file.read_bytes() == whole


@needs_wasmer
def test_what_is_no_compiled_module_is_compiled_anew(cache: Path) -> None:
    from wavelock.wasm_engines.wasmer_engine import WasmerEngine

    ours = plan(echoes())
    ModuleCache("wasmer").store(WasmerEngine(cache=True)._key(ours), b"something else altogether")
    first = comparable(turns(wasmer_engine(), [ours]))
    assert first == comparable(turns(wasmer_engine(cache=False), [ours]))
    assert b"wasmer-universal" in next(cache.iterdir()).read_bytes()


@needs_wasmer
def test_without_the_cache_nothing_is_written(cache: Path) -> None:
    turns(wasmer_engine(cache=False), [plan(echoes())])
    assert not cache.exists()


SIMD_LOCAL = "(local $v v128) (i32.const 0)"
SIMD_OPERATOR = "(i32x4.extract_lane 0 (v128.const i32x4 0 1 2 3))"


@needs_wasmer
@pytest.mark.parametrize(("turn", "found"), [(SIMD_LOCAL, "a v128 among its types"), (SIMD_OPERATOR, r"v128\.const")])
def test_simd_is_refused(turn: str, found: str) -> None:
    with pytest.raises(ModuleError, match=rf"^ants: wasmer cannot run the module: found {found}.*another engine"):
        wasmer_engine().open_shard([plan(agent(turn))])


@needs_wasmer
def test_simd_is_refused_with_reason() -> None:
    """wasmer's compiler gets this wrong. Where this test fails, a new wasmer may be trusted with more."""
    text = """(module (memory (export "memory") 1 1) (func (export "f") (param i32)
      (v128.store (i32.const 16) (select (v128.const i64x2 0 0) (v128.load (i32.const 0)) (local.get 0)))))"""
    made = instance(assemble_text(text, "test"))
    made.memory()[:16] = bytes(range(16))
    made.function("f")(1)
    assert bytes(made.memory()[16:32]) != bytes(16)


@needs_wasmer
def test_a_module_that_does_not_compile_is_the_users(cache: Path) -> None:
    wrong = assemble_text('(module (func (export "f") (result i32) (i32.const 1)))', "test").replace(
        b"\x41\x01", b"\x6a\x01"
    )
    broken = GroupPlan("ants", wrong, "none", FUEL, PAGE, 4096, 4096)
    with pytest.raises(ModuleError, match=r"^ants: wasmer cannot compile the module: "):
        wasmer_engine().open_shard([broken])
    assert not cache.exists()


@needs_wasmer
def test_its_version_is_that_of_the_package() -> None:
    assert wasmer_engine().version == "1.1.0"
    assert list(wasmer_engine().features) == []

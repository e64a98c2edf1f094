"""Loads, stores, atomics and bulk operations against wasmtime: values, bounds, alignment, and what is left behind."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

import pytest

from wasm_engines.reference.accesses import ACCESSES, ADDRESSES, OFFSETS, RESULT, access, accesses, lanes, length
from wasm_engines.reference.beside import Pair
from wavelock.core.abi import Fault
from wavelock.core.form.limits import PAGE_BYTES
from wavelock.core.form.operators import Operator
from wavelock.wasm_engines.reference.memory import Memory


def pair_for(operator: Operator) -> Pair:
    functions = "".join(access(operator, offset, lane) for lane in lanes(operator) for offset in OFFSETS)
    return Pair(f'(module (memory (export "memory") 1) {functions})')


def filled(pair: Pair, name: str) -> None:
    pair.write(0, random.Random(name).randbytes(PAGE_BYTES))


@pytest.mark.parametrize("name", [name for name in ACCESSES if "atomic" not in name])
def test_an_access_is_as_wasmtime_has_it(name: str) -> None:
    pair = pair_for(ACCESSES[name])
    filled(pair, name)
    ended = {pair.call(export, address) for export in accesses(ACCESSES[name]) for address in ADDRESSES}
    assert ended == {(), Fault.MEMORY_BOUNDS}
    pair.check_state()


@pytest.mark.parametrize("name", [name for name in ACCESSES if ".atomic." in name and "memory" not in name])
def test_an_atomic_access_is_as_wasmtime_has_it(name: str) -> None:
    """Also in what it checks first: the alignment, then the bounds."""
    operator = ACCESSES[name]
    pair = pair_for(operator)
    filled(pair, name)
    ended = {pair.call(export, address) for export in accesses(operator) for address in ADDRESSES}
    aligned = {Fault.MISALIGNED_ATOMIC} if length(operator) > 1 else set()
    assert ended == {(), Fault.MEMORY_BOUNDS} | aligned
    pair.check_state()


@pytest.mark.parametrize("name", ["memory.atomic.notify", "memory.atomic.wait32", "memory.atomic.wait64"])
def test_notify_and_wait_check_alignment_then_bounds(name: str) -> None:
    """Not against wasmtime, whose memories without sharing cannot be waited on."""
    operator = ACCESSES[name]
    size = length(operator)
    pair = pair_for(operator)
    for address in ADDRESSES:
        for offset in OFFSETS:
            at = address + offset
            expected = Fault.MISALIGNED_ATOMIC if at % size else Fault.MEMORY_BOUNDS if at + size > PAGE_BYTES else ()
            assert pair.ours(str(offset), address) == expected


@pytest.mark.parametrize(("name", "size"), [("memory.atomic.wait32", 4), ("memory.atomic.wait64", 8)])
def test_a_wait_times_out_unless_the_value_is_another(name: str, size: int) -> None:
    pair = pair_for(ACCESSES[name])
    pair.write(16, (7).to_bytes(size, "little"))  # what it expects
    answers = []
    for found in (7, 8):
        pair.write(128, found.to_bytes(size, "little"))
        assert pair.ours("0", 128) == ()
        answers.append(pair.our_memory[RESULT])
    assert answers == [2, 1]


def test_a_notify_wakes_nobody() -> None:
    pair = pair_for(ACCESSES["memory.atomic.notify"])
    pair.write(RESULT, b"\xff" * 4)
    assert pair.call("0", 128) == ()
    assert pair.our_memory[RESULT : RESULT + 4] == pair.their_memory[RESULT : RESULT + 4] == bytes(4)


@pytest.mark.parametrize("name", [name for name in ACCESSES if "cmpxchg" in name])
def test_a_compare_exchange_compares_what_it_accesses(name: str) -> None:
    kind = name[:3]
    pair = Pair(f"""(module (memory (export "memory") 1)
      (func (export "f") (param {kind} {kind}) (result {kind})
        ({name} (i32.const 8) (local.get 0) (local.get 1))))""")
    bytes_after = set()
    for expected in (0x11, 0x1111, 0x11111111, 0x1111111111111111, 0x12, 0x1100000011, 0):
        pair.write(8, b"\x11" * 8)
        pair.call("f", expected, 0xABABABABABABABAB)
        pair.check_state()
        bytes_after.add(pair.our_memory[8:16])
    assert len(bytes_after) == 2


BULK: Final = """
(module
  (memory (export "memory") 1 3)
  (data $active (i32.const 16) "active")
  (data $passive "0123456789")
  (func (export "fill") (param i32 i32 i32) (memory.fill (local.get 0) (local.get 1) (local.get 2)))
  (func (export "copy") (param i32 i32 i32) (memory.copy (local.get 0) (local.get 1) (local.get 2)))
  (func (export "init") (param i32 i32 i32) (memory.init $passive (local.get 0) (local.get 1) (local.get 2)))
  (func (export "init_active") (param i32 i32 i32) (memory.init $active (local.get 0) (local.get 1) (local.get 2)))
  (func (export "drop") (data.drop $passive))
  (func (export "drop_active") (data.drop $active))
  (func (export "size") (result i32) (memory.size))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))
"""


@pytest.fixture
def bulk() -> Iterator[Pair]:
    pair = Pair(BULK)
    yield pair
    pair.check_state()


@pytest.mark.parametrize("name", ["fill", "copy", "init"])
def test_bulk_operations_check_all_before_they_do_any(bulk: Pair, name: str) -> None:
    chance = random.Random(name)
    edge = (PAGE_BYTES - 10, PAGE_BYTES - 1, PAGE_BYTES, PAGE_BYTES + 1)
    places = (0, 1, 5, 10, 11, 16, 100, *edge, 0x80000000, 0xFFFFFFFF)
    ended = set()
    for _ in range(400):
        ended.add(bulk.call(name, *(chance.choice(places) for _ in range(3))))
    assert ended == {(), Fault.MEMORY_BOUNDS}


def test_a_copy_may_overlap_itself(bulk: Pair) -> None:
    bulk.write(100, bytes(range(50)))
    for target, source in ((105, 100), (100, 107), (100, 100)):
        assert bulk.call("copy", target, source, 40) == ()
        bulk.check_state()


def test_a_dropped_segment_has_no_bytes(bulk: Pair) -> None:
    assert bulk.call("init", 0, 2, 5) == ()
    assert bulk.our_memory[:5] == b"23456"
    for _ in range(2):
        assert bulk.call("drop") == ()
    assert bulk.call("init", 0, 0, 1) == Fault.MEMORY_BOUNDS
    assert bulk.call("init", 0, 0, 0) == ()
    assert bulk.call("init_active", 0, 0, 1) == Fault.MEMORY_BOUNDS  # an active one is dropped from the beginning
    assert bulk.call("drop_active") == ()


def test_growth_ends_at_the_maximum(bulk: Pair) -> None:
    assert [bulk.call("grow", pages) for pages in (0, 1, 2, 1, 1, 0, 0xFFFFFFFF)] == [
        (1,), (1,), (0xFFFFFFFF,), (2,), (0xFFFFFFFF,), (3,), (0xFFFFFFFF,),
    ]  # fmt: skip
    assert bulk.call("fill", 3 * PAGE_BYTES - 1, 7, 1) == ()
    assert bulk.call("fill", 3 * PAGE_BYTES - 1, 7, 2) == Fault.MEMORY_BOUNDS


def test_a_memory_does_not_move() -> None:
    memory = Memory(1, 3)
    before = memory.view()
    before[5] = 7
    assert memory.grow(2) == 1
    before[6] = 8
    after = memory.view()
    assert (len(before), len(after), bytes(after[4:8])) == (PAGE_BYTES, 3 * PAGE_BYTES, b"\0\7\10\0")
    assert not memory.refused
    assert memory.grow(1) == -1
    assert memory.refused


def test_the_largest_memory_is_reserved_and_not_taken() -> None:
    memory = Memory(1, 65_536)
    assert memory.grow(65_535) == 1
    memory.store((1 << 32) - 4, 4, 0x01020304)
    assert memory.load((1 << 32) - 4, 4) == 0x01020304
    assert memory.view()[-1] == 1

"""Turns in batches on wasmer: the same as one by one, whatever agents come, go and do."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import pytest

from helpers import INBOX, OUTBOX, agent
from wavelock.core.abi import Fault
from wavelock.core.digest import hash_bytes
from wavelock.core.errors import EnvironmentFailure
from wavelock.core.form import FormOptions, rewrite_module
from wavelock.core.shard import GroupPlan, Shard, Turns
from wavelock.wasm_engines import wasmer_plugin
from wavelock.wasm_engines.loop import LoopShard
from wavelock.wasm_engines.wasmtime_engine import assemble_text

HERE = wasmer_plugin.unavailable()
pytestmark = pytest.mark.skipif(HERE is not None, reason=str(HERE))
PAGE = 1 << 16
ECHO, TRAP, CODE, TOO_LONG, LOOP, BOUNDS, WHOLE, MOST, GROW = range(9)
OBEYS = agent(f"""
    (local $order i32)
    (local.set $order (i32.load8_u (i32.const {INBOX})))
    (i64.store (i32.const 512) (i64.add (i64.load (i32.const 512)) (i64.const 1)))
    (memory.copy (i32.const {OUTBOX}) (i32.const {INBOX}) (local.get 0))
    (if (i32.eq (local.get $order) (i32.const {TRAP})) (then (unreachable)))
    (if (i32.eq (local.get $order) (i32.const {CODE})) (then (return (i32.const -5))))
    (if (i32.eq (local.get $order) (i32.const {TOO_LONG})) (then (return (i32.const 5000))))
    (if (i32.eq (local.get $order) (i32.const {LOOP})) (then (loop (br 0))))
    (if (i32.eq (local.get $order) (i32.const {BOUNDS})) (then (drop (i32.load (i32.const -4)))))
    (if (i32.eq (local.get $order) (i32.const {WHOLE})) (then (return (i32.const 4096))))
    (if (i32.eq (local.get $order) (i32.const {MOST})) (then (return (i32.const 4097))))
    (if (i32.eq (local.get $order) (i32.const {GROW})) (then (drop (memory.grow (i32.const 1)))))
    (local.get 0)""")
DOES_NOT_START = OBEYS.replace(
    '(func (export "wavelock_abi") (result i32)', '(func (export "wavelock_abi") (result i32) unreachable'
)


def plan(text: str, name: str, fuel: int = 200_000, buffer: int = 4096) -> GroupPlan:
    made = rewrite_module(assemble_text(text, "test"), "test", FormOptions(memory_pages=4))
    return GroupPlan(name, made.module, hash_bytes(made.module), fuel, 4 * PAGE, buffer, buffer, *made.state)


GROUPS = [plan(OBEYS, "obeys"), plan(DOES_NOT_START, "does not start"), plan(OBEYS, "poor", fuel=20_000)]


def open_shard(groups: Sequence[GroupPlan]) -> Shard:
    from wavelock.wasm_engines.wasmer_plugin import WasmerSettings, wavelock_engine

    return wavelock_engine().create(WasmerSettings(cache=False)).open_shard(groups)


@contextmanager
def both() -> Iterator[tuple[Shard, Shard]]:
    """A shard that takes its turns in batches, and one over the same kind of instances that does not."""
    with closing(open_shard(GROUPS)) as batched, closing(open_shard(GROUPS)) as model:
        assert isinstance(model, LoopShard)
        assert type(batched) is not LoopShard
        yield batched, LoopShard(GROUPS, model._make_instance)


def of(turns: Turns) -> list[Any]:
    return [*(column.tolist() for column in turns[:4]), turns.outbox_data]


def inboxes_for(count: int, chance: random.Random) -> tuple[np.ndarray[Any, np.dtype[np.uint32]], memoryview]:
    orders = chance.choices(range(9), [60, 2, 2, 2, 1, 2, 3, 1, 3], k=count)
    sizes = chance.choices([1, 7, 8, 31, 32, 33, 40, 96, 103, 2048, 4096], k=count)
    made = [bytes([order]) + chance.randbytes(size - 1) for order, size in zip(orders, sizes, strict=True)]
    return np.array(sizes, np.uint32), memoryview(b"".join(made))


@pytest.mark.parametrize("seed", range(6))
def test_batches_do_what_agents_do_one_by_one(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Agents come, fault, are replaced and dropped; plans are partial and in any order."""
    from wavelock.wasm_engines import wasmer_courier, wasmer_shard

    chance = random.Random(seed)
    if seed % 2:
        monkeypatch.setattr(wasmer_courier, "ENTRIES", 50)
        monkeypatch.setattr(wasmer_shard, "OUTBOXES_LAST", wasmer_courier.OUTBOXES_AT + 20_000)
    with both() as shards:
        alive: set[int] = set()
        for _ in range(25):
            born = np.array(chance.sample(range(400), chance.choice([1, 5, 130])), np.uint32)
            groups = np.array(chance.choices(range(3), [20, 1, 5], k=len(born)), np.uint32)
            one, other = (shard.create(born, groups).tolist() for shard in shards)
            assert one == other
            alive |= set(born.tolist())
            gone = np.array(chance.sample(range(400), chance.choice([0, 0, 3, 60])), np.uint32)
            for shard in shards:
                shard.drop(gone)
            alive -= set(gone.tolist())
            planned = sorted(chance.sample(sorted(alive), chance.randint(0, len(alive))))
            if chance.random() < 0.3:
                chance.shuffle(planned)
            ids = np.array(planned, np.uint32)
            sizes, inboxes = inboxes_for(len(ids), chance)
            first, second = (of(shard.run(ids, sizes, inboxes)) for shard in shards)
            assert first == second
        everyone = np.array(sorted(alive), np.uint32)
        states = [shard.capture(everyone) for shard in shards]
        assert states[0] == states[1]
        moved = np.array(sorted(alive)[::2], np.uint32)
        for shard in shards:
            shard.drop(everyone)
            shard.restore(moved, np.zeros(len(moved), np.uint32), states[0][::2])
        sizes, inboxes = inboxes_for(len(moved), chance)
        assert of(shards[0].run(moved, sizes, inboxes)) == of(shards[1].run(moved, sizes, inboxes))
        assert shards[0].capture(moved) == shards[1].capture(moved)


def test_every_order_was_obeyed() -> None:
    """The orders above mean what they say."""
    with both() as shards:
        ids = np.arange(9, dtype=np.uint32)
        for shard in shards:
            shard.create(ids, np.zeros(9, np.uint32))
            turns = shard.run(ids, np.full(9, 32, np.uint32), memoryview(b"".join(bytes([at] * 32) for at in range(9))))
            assert turns.faults.tolist() == [
                *(0, Fault.UNREACHABLE, Fault.AGENT_CODE, Fault.MALFORMED_OUTBOX, Fault.FUEL, Fault.MEMORY_BOUNDS),
                *(0, Fault.MALFORMED_OUTBOX, 0),
            ]
            assert turns.outbox_bytes.tolist() == [32, 0, 0, 0, 0, 0, 4096, 0, 32]
            assert turns.outbox_data[:32] == bytes(32)


def test_no_turns_are_no_calls() -> None:
    with both() as shards:
        for shard in shards:
            assert of(shard.run(np.zeros(0, np.uint32), np.zeros(0, np.uint32), memoryview(b""))) == [
                [],
                [],
                [],
                [],
                b"",
            ]


def test_large_buffers_take_their_turns_one_by_one() -> None:
    from wavelock.wasm_engines.wasmer_courier import LARGEST_BYTES

    with closing(open_shard([plan(OBEYS, "fits", buffer=LARGEST_BYTES)])) as fits:
        assert type(fits) is not LoopShard
    with closing(open_shard([plan(OBEYS, "large", buffer=LARGEST_BYTES + 8)])) as large:
        assert type(large) is LoopShard


def test_what_no_agent_causes_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(open_shard(GROUPS)) as shard:
        ids = np.arange(3, dtype=np.uint32)
        shard.create(ids, np.zeros(3, np.uint32))
        shard.run(ids, np.full(3, 32, np.uint32), memoryview(bytes(96)))
        batches: dict[int, Any] = shard._batches  # type: ignore[attr-defined]

        def broken(*_place: int) -> None:
            raise RuntimeError("call stack exhausted")

        for number, (_, members) in batches.items():
            batches[number] = broken, members
        with pytest.raises(
            EnvironmentFailure, match=r"^obeys: the engine wasmer came to the end of the thread's native"
        ):
            shard.run(ids, np.full(3, 32, np.uint32), memoryview(bytes(96)))

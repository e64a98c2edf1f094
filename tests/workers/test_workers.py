"""Worker kinds: what they serve, what goes wrong in them, and that they end."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import wavelock
from helpers import HELLO, write_profile
from wavelock.core.errors import EnvironmentFailure, ModuleError, UserError
from wavelock.core.shard import GroupPlan, Message, Shard, ShardService, Turns, U32Array
from wavelock.core.shards import ShardSet
from wavelock.plugins.members import NoSettings
from wavelock.transports import shared_memory
from wavelock.transports.shared_memory import SharedMemory
from wavelock.workers.inline import InlineWorkers
from wavelock.workers.interface import Workers
from wavelock.workers.threads import ThreadWorkers

STACK_BYTES = 1 << 20
KINDS: list[type] = [InlineWorkers, ThreadWorkers]


class EchoShard:
    """A shard whose agents answer their inbox; agent 13 breaks the host."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.closed = False

    def create(self, ids: U32Array, groups: U32Array) -> U32Array:
        return ids + 1000

    def run(self, ids: U32Array, inbox_bytes: U32Array, inboxes: memoryview) -> Turns:
        assert threading.get_ident() == self.thread
        if 13 in ids.tolist():
            raise MemoryError("the host is full")
        zeros = np.zeros(len(ids), np.int32)
        return Turns(ids.astype(np.uint64), zeros, zeros, inbox_bytes, [bytes(inboxes[: int(inbox_bytes.sum())])])

    def capture(self, ids: U32Array) -> list[bytes]:
        return [bytes([number]) * number for number in ids.tolist()]

    def restore(self, ids: U32Array, groups: U32Array, states: Sequence[bytes]) -> None:
        assert [bytes([group]) * number for number, group in zip(ids.tolist(), groups.tolist(), strict=True)] == states

    def drop(self, ids: U32Array) -> None:
        """Nothing to drop."""

    def close(self) -> None:
        self.closed = True


def start(kind: type, count: int) -> tuple[Workers, ShardSet, list[EchoShard]]:
    shards: list[EchoShard] = []

    def open_shard(_groups: Sequence[GroupPlan], _worker: int) -> Shard:
        shards.append(EchoShard())
        return shards[-1]

    workers: Workers = kind(NoSettings())
    links = workers.start(count, SharedMemory(NoSettings()), lambda: ShardService(open_shard), STACK_BYTES)
    return workers, ShardSet(links, []), shards


@pytest.mark.parametrize(("kind", "count"), [(InlineWorkers, 1), (ThreadWorkers, 1), (ThreadWorkers, 3)])
def test_results_come_back_in_plan_order(kind: type, count: int) -> None:
    workers, shards, made = start(kind, count)
    plan = np.array([9, 2, 4, 7, 0, 5], np.uint32)
    inboxes = [bytes([number]) * (number * 8) for number in plan.tolist()]
    turns = shards.run(plan, np.array([len(inbox) for inbox in inboxes], np.uint32), b"".join(inboxes))
    assert turns.fuel.tolist() == plan.tolist()
    assert turns.outbox_data == b"".join(inboxes)
    assert shards.create(plan, plan).tolist() == (plan + 1000).tolist()
    states = shards.capture(plan)
    assert states == [bytes([number]) * number for number in plan.tolist()]
    shards.restore(plan, plan, states)
    shards.drop(plan[:2])
    shards.close()
    shards.close()
    workers.close()
    workers.close()
    assert [shard.closed for shard in made] == [True] * count
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("wavelock-worker")]


@pytest.mark.parametrize("kind", KINDS)
def test_a_failure_inside_a_worker_rises_here_and_the_link_goes_on(
    kind: type, caplog: pytest.LogCaptureFixture
) -> None:
    workers, shards, _ = start(kind, 1)
    with pytest.raises(EnvironmentFailure, match="worker 0 failed: MemoryError: the host is full"):
        shards.run(np.array([13], np.uint32), np.array([0], np.uint32), b"")
    assert "the host is full" in caplog.text
    assert shards.run(np.array([1], np.uint32), np.array([0], np.uint32), b"").fuel.tolist() == [1]
    shards.close()
    workers.close()


def test_the_users_mistake_crosses_as_itself() -> None:
    def refuse(_groups: Sequence[GroupPlan], _worker: int) -> Shard:
        raise ModuleError("the module is not to our taste")

    workers = ThreadWorkers(NoSettings())
    links = workers.start(2, SharedMemory(NoSettings()), lambda: ShardService(refuse), STACK_BYTES)
    with pytest.raises(ModuleError, match="not to our taste"):
        ShardSet(links, [])
    workers.close()


def test_a_worker_that_is_gone_is_an_environment_failure() -> None:
    workers, shards, _ = start(ThreadWorkers, 2)
    workers.close()
    with pytest.raises(EnvironmentFailure):
        shards.run(np.array([1], np.uint32), np.array([0], np.uint32), b"")


def test_a_reply_that_cannot_be_sent_ends_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    workers, shards, _ = start(ThreadWorkers, 1)
    original = shared_memory._Arena.write

    def write(self: shared_memory._Arena, message: Message) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise MemoryError("no arena")
        original(self, message)

    monkeypatch.setattr(shared_memory._Arena, "write", write)
    with pytest.raises(EnvironmentFailure, match="worker 0 is gone"):
        shards.run(np.array([1], np.uint32), np.array([0], np.uint32), b"")
    workers.close()


@pytest.mark.parametrize("stack_kib", [512, 16 << 10])
def test_inline_serves_other_threads_on_one_of_its_own(tmp_path: Path, stack_kib: int) -> None:
    """Whatever their stacks: an engine's objects must stay on one thread, and a small stack ends the process."""
    profile = wavelock.load_profile(write_profile(tmp_path, said=HELLO))
    names: list[str] = []

    def run() -> None:
        with wavelock.Runtime(profile, record=False) as runtime:
            names.extend(thread.name for thread in threading.enumerate())
            runtime.run()
            names.append(runtime.outputs()[0].payload.decode())

    before = threading.stack_size(stack_kib << 10)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert "wavelock-inline" in names
    assert names[-1] == "hello"
    assert "wavelock-inline" not in [thread.name for thread in threading.enumerate()]


def test_inline_needs_no_thread_where_the_main_threads_stack_is_large(tmp_path: Path) -> None:
    profile = wavelock.load_profile(write_profile(tmp_path, said=HELLO), ["limits.stack=16 KiB"])
    with wavelock.Runtime(profile, record=False) as runtime:
        assert "wavelock-inline" not in [thread.name for thread in threading.enumerate()]
        runtime.run()


def test_inline_is_one_worker(tmp_path: Path) -> None:
    path = write_profile(tmp_path, "[workers]\ncount = 2\n", said=HELLO)
    with pytest.raises(UserError, match='"inline" is one worker, found 2; use = "threads" takes more'):
        wavelock.Runtime(wavelock.load_profile(path), record=False)
    assert threading.active_count() >= 1

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
        return Turns(ids.astype(np.uint64), zeros, zeros, inbox_bytes, bytes(inboxes[: int(inbox_bytes.sum())]))

    def drop(self, ids: U32Array) -> None:
        """Nothing to drop."""

    def close(self) -> None:
        self.closed = True


def start(kind: type, count: int) -> tuple[Workers, ShardSet, list[EchoShard]]:
    shards: list[EchoShard] = []

    def open_shard(_groups: Sequence[GroupPlan]) -> Shard:
        shards.append(EchoShard())
        return shards[-1]

    workers: Workers = kind(NoSettings())
    links = workers.start(count, SharedMemory(NoSettings()), lambda: ShardService(open_shard))
    return workers, ShardSet(links, []), shards


@pytest.mark.parametrize(("kind", "count"), [(InlineWorkers, 1), (ThreadWorkers, 1), (ThreadWorkers, 3)])
def test_results_come_back_in_plan_order(kind: type, count: int) -> None:
    workers, shards, made = start(kind, count)
    plan = np.array([9, 2, 4, 7, 0, 5], np.uint32)
    inboxes = [bytes([number]) * (number * 8) for number in plan.tolist()]
    turns = shards.run(plan, np.array([len(inbox) for inbox in inboxes], np.uint32), inboxes)
    assert turns.fuel.tolist() == plan.tolist()
    assert bytes(turns.outboxes) == b"".join(inboxes)
    assert shards.create(plan, plan).tolist() == (plan + 1000).tolist()
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
        shards.run(np.array([13], np.uint32), np.array([0], np.uint32), [b""])
    assert "the host is full" in caplog.text
    assert shards.run(np.array([1], np.uint32), np.array([0], np.uint32), [b""]).fuel.tolist() == [1]
    shards.close()
    workers.close()


def test_the_users_mistake_crosses_as_itself() -> None:
    def refuse(_groups: Sequence[GroupPlan]) -> Shard:
        raise ModuleError("the module is not to our taste")

    workers = ThreadWorkers(NoSettings())
    links = workers.start(2, SharedMemory(NoSettings()), lambda: ShardService(refuse))
    with pytest.raises(ModuleError, match="not to our taste"):
        ShardSet(links, [])
    workers.close()


def test_a_worker_that_is_gone_is_an_environment_failure() -> None:
    workers, shards, _ = start(ThreadWorkers, 2)
    workers.close()
    with pytest.raises(EnvironmentFailure):
        shards.run(np.array([1], np.uint32), np.array([0], np.uint32), [b""])


def test_a_reply_that_cannot_be_sent_ends_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    workers, shards, _ = start(ThreadWorkers, 1)
    original = shared_memory._Arena.write

    def write(self: shared_memory._Arena, message: Message) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise MemoryError("no arena")
        original(self, message)

    monkeypatch.setattr(shared_memory._Arena, "write", write)
    with pytest.raises(EnvironmentFailure, match="worker 0 is gone"):
        shards.run(np.array([1], np.uint32), np.array([0], np.uint32), [b""])
    workers.close()


def test_inline_workers_refuse_a_stack_that_is_too_small(tmp_path: Path) -> None:
    profile = wavelock.load_profile(write_profile(tmp_path, said=HELLO))
    said: list[str] = []

    def run() -> None:
        try:
            wavelock.Runtime(profile, record=False)
        except EnvironmentFailure as error:
            said.append(str(error))

    before = threading.stack_size(512 << 10)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert said == [
        'workers "inline": the stack of this thread has 512 KiB, and turns need 1536 KiB; raise it (ulimit -s, '
        'threading.stack_size) or use = "threads"'
    ]


def test_inline_is_one_worker(tmp_path: Path) -> None:
    path = write_profile(tmp_path, "[workers]\ncount = 2\n", said=HELLO)
    with pytest.raises(UserError, match='"inline" is one worker, found 2; use = "threads" takes more'):
        wavelock.Runtime(wavelock.load_profile(path), record=False)
    assert threading.active_count() >= 1

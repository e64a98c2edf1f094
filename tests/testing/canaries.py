"""Plugins that leak what no run may depend on: the suite must catch each of them. Registered as third parties' are.

Each class with a hook is a plugin; `testing.canaries:NAME` is the entry point's value.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgspec
import numpy as np

from wavelock import hookimpl
from wavelock.core.digest import hash_bytes
from wavelock.core.errors import EnvironmentFailure, ModuleError
from wavelock.core.shard import GroupPlan, Message, Reply, Request, Turns, U32Array
from wavelock.plugins.members import Member, NoSettings, Unavailable
from wavelock.schedulers.round_robin import RoundRobin, RoundRobinSettings
from wavelock.transports.interface import Endpoint, Received
from wavelock.wasm_engines import wasmtime_plugin

AGENT, WAVE = 1, 2
"""Who gives it away, and when: the leaks begin in one known place, so that a report can be held to it."""

# ---- engines: wasmtime, and something on top ----


class Wrapped:
    """wasmtime behind a function that may change the outcome of a plan. Everything else is wasmtime's own."""

    mailboxes: ClassVar[None] = None
    """Inboxes are sent, so that there is an outcome to change."""

    def __init__(self, tamper: Callable[[Turns, int, int], Turns], plan: Callable[[GroupPlan], GroupPlan]) -> None:
        member = wasmtime_plugin.wavelock_engine()
        self._engine: Any = member.create(member.settings())
        self._tamper = tamper
        self._plan = plan

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def open_shard(self, groups: Sequence[GroupPlan], worker: int) -> Any:
        return _WrappedShard(self._engine.open_shard([self._plan(group) for group in groups], worker), self._tamper)


class _ForgettingShard:
    """Captures another byte of an agent's memory than there is."""

    def __init__(self, shard: Any) -> None:
        self._shard = shard

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shard, name)

    def capture(self, ids: U32Array) -> list[bytes]:
        states: list[bytes] = self._shard.capture(ids)
        (places,) = np.nonzero(ids == AGENT)
        for place in places.tolist():
            at = states[place].rindex(bytes(64))
            states[place] = states[place][:at] + b"\1" + states[place][at + 1 :]
        return states


class _ForgettingEngine(Wrapped):
    def open_shard(self, groups: Sequence[GroupPlan], worker: int) -> Any:
        return _ForgettingShard(self._engine.open_shard(groups, worker))


class _WrappedShard:
    def __init__(self, shard: Any, tamper: Callable[[Turns, int, int], Turns]) -> None:
        self._shard = shard
        self._tamper = tamper

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shard, name)

    def run(self, ids: U32Array, inbox_bytes: U32Array, inboxes: memoryview) -> Turns:
        turns: Turns = self._shard.run(ids, inbox_bytes, inboxes)
        wave = int.from_bytes(inboxes[:8], "little")
        (places,) = np.nonzero(ids == AGENT)
        return self._tamper(turns, int(places[0]), wave) if wave == WAVE and len(places) else turns


def _as_it_is(turns: Turns, _place: int, _wave: int) -> Turns:
    return turns


def _same_plan(plan: GroupPlan) -> GroupPlan:
    return plan


def _engine(
    tamper: Callable[[Turns, int, int], Turns] = _as_it_is, plan: Callable[[GroupPlan], GroupPlan] = _same_plan
) -> Member[Any]:
    return Member("canary", "leaks", lambda _settings: Wrapped(tamper, plan))


def _more_fuel(turns: Turns, place: int, _wave: int) -> Turns:
    fuel = turns.fuel.copy()
    fuel[place] += 1
    return turns._replace(fuel=fuel)


def _time_told(turns: Turns, place: int, _wave: int) -> Turns:
    """The clock in the payload of an agent's last frame."""
    end = int(turns.outbox_bytes[: place + 1].sum())
    told = time.perf_counter_ns().to_bytes(8, "little")
    data = turns.outbox_data
    return turns._replace(outboxes=[data[: end - 8], told, data[end:]])


_NANS = {
    "430000c07f": "430000c0ff",
    "44000000000000f87f": "44000000000000f8ff",
    "fd0c" + "0000c07f" * 4: "fd0c" + "0000c0ff" * 4,
    "fd0c" + "000000000000f87f" * 2: "fd0c" + "000000000000f8ff" * 2,
}
"""The constants with which a module makes its NaNs alike, and those that an x86 processor would have made."""


def _native_nans(plan: GroupPlan) -> GroupPlan:
    module = plan.module
    for canonical, native in _NANS.items():
        module = module.replace(bytes.fromhex(canonical), bytes.fromhex(native))
    return msgspec.structs.replace(plan, module=module, digest=hash_bytes(module))


class ClockEngine:
    @staticmethod
    @hookimpl
    def wavelock_engine() -> Member[Any]:
        return _engine(_time_told)


class FuelEngine:
    @staticmethod
    @hookimpl
    def wavelock_engine() -> Member[Any]:
        return _engine(_more_fuel)


class NanEngine:
    @staticmethod
    @hookimpl
    def wavelock_engine() -> Member[Any]:
        return _engine(plan=_native_nans)


class MemoryEngine:
    @staticmethod
    @hookimpl
    def wavelock_engine() -> Member[Any]:
        return Member("canary", "leaks", lambda _settings: _ForgettingEngine(_as_it_is, _same_plan))


class HonestEngine:
    @staticmethod
    @hookimpl
    def wavelock_engine() -> Member[Any]:
        return _engine()


class FailingEngine:
    """The machine fails in the third wave."""

    @staticmethod
    def _fail(_turns: Turns, _place: int, wave: int) -> Turns:
        raise EnvironmentFailure(f"no memory left in wave {wave}")

    @staticmethod
    @hookimpl
    def wavelock_engine() -> Member[Any]:
        return _engine(FailingEngine._fail)


class PickyEngine:
    """Refuses every module."""

    @staticmethod
    def _refuse(_plan: GroupPlan) -> GroupPlan:
        raise ModuleError("canary runs nothing of this kind")

    @staticmethod
    @hookimpl
    def wavelock_engine() -> Member[Any]:
        return _engine(plan=PickyEngine._refuse)


class UnavailableEngine:
    @staticmethod
    @hookimpl
    def wavelock_engine() -> Member[Any]:
        return Member("canary", "is not there", Wrapped, unavailable=lambda: Unavailable("no wings", "grow some"))


# ---- schedulers ----


class _Leaking(RoundRobin):
    """All ready agents, in an order that something outside decides."""

    plans: ClassVar[list[list[int]]] = []

    def __init__(self) -> None:
        super().__init__(RoundRobinSettings())

    def order(self, ready: list[int], wave: int) -> list[int]:
        raise NotImplementedError

    def plan(self, wave: int, ready: Any) -> Any:
        planned = self.order(ready.tolist(), wave)
        _Leaking.plans.append(planned)
        return np.array(planned, np.uint32)


class _Token:
    """Hashed by where it lies in memory."""


class _ByIdentity(_Leaking):
    """In the order of a set of objects. All stay alive, so that each plan's lie elsewhere."""

    kept: ClassVar[list[_Token]] = []

    def order(self, ready: list[int], wave: int) -> list[int]:
        tokens = {_Token(): agent for agent in ready}
        self.kept.extend([*tokens, *(_Token() for _ in range(len(self.kept) % 13))])
        return [tokens[token] for token in frozenset(tokens)]


class _ByHash(_Leaking):
    """In the order of a set of names: another one for each PYTHONHASHSEED."""

    def order(self, ready: list[int], wave: int) -> list[int]:
        return [int(name.partition("/")[2]) for name in {f"agent/{agent}" for agent in ready}]


class _ByClock(_Leaking):
    """Shuffled by a clock from the third wave on."""

    def order(self, ready: list[int], wave: int) -> list[int]:
        if wave >= WAVE:
            random.Random(time.perf_counter_ns()).shuffle(ready)
        return ready


def _scheduler(kind: type[_Leaking]) -> Member[Any]:
    return Member("canary", "leaks", lambda _settings: kind())


class IdentityScheduler:
    @staticmethod
    @hookimpl
    def wavelock_scheduler() -> Member[Any]:
        return _scheduler(_ByIdentity)


class HashScheduler:
    @staticmethod
    @hookimpl
    def wavelock_scheduler() -> Member[Any]:
        return _scheduler(_ByHash)


class ClockScheduler:
    @staticmethod
    @hookimpl
    def wavelock_scheduler() -> Member[Any]:
        return _scheduler(_ByClock)


class BrokenScheduler:
    """Plans nobody, which the kernel refuses."""

    class _Empty(_Leaking):
        def order(self, ready: list[int], wave: int) -> list[int]:
            return []

    @staticmethod
    @hookimpl
    def wavelock_scheduler() -> Member[Any]:
        return _scheduler(BrokenScheduler._Empty)


class UntidyScheduler:
    """Raises what nobody expects."""

    class _Raises(_Leaking):
        def order(self, ready: list[int], wave: int) -> list[int]:
            return [dict[int, int]()[wave]]

    @staticmethod
    @hookimpl
    def wavelock_scheduler() -> Member[Any]:
        return _scheduler(UntidyScheduler._Raises)


# ---- a transport that merges replies as they come ----


@dataclass
class _Race:
    """What both workers share: replies in the order of completion, which is made to be another one in one wave.

    The second worker ends first in wave WAVE, and last in all others.
    """

    changed: threading.Condition = field(default_factory=threading.Condition)
    asked: int = 0
    done: list[tuple[int, bytes]] = field(default_factory=list)
    finished: int = 0

    def ask(self) -> None:
        with self.changed:
            self.asked += 1

    def finish(self, worker: int, wave: int, agents: int, body: bytes) -> None:
        first = 1 if wave == WAVE else 0
        with self.changed:
            if self.asked == 2 and worker != first:
                assert self.changed.wait_for(lambda: self.finished == 1, timeout=60)
            self.done.append((agents, body))
            self.finished += 1
            self.changed.notify_all()

    def take(self) -> tuple[int, bytes]:
        with self.changed:
            assert self.changed.wait_for(lambda: self.done, timeout=60)
            taken = self.done.pop(0)
            self.asked -= 1
            if not self.asked:
                self.finished = 0
            return taken


class _Pipe:
    """One direction of a link."""

    def __init__(self) -> None:
        self._bell = threading.Semaphore(0)
        self._messages: list[tuple[int, int, bytes]] = []
        self.closed = False

    def put(self, kind: int, agents: int, body: bytes) -> None:
        self._messages.append((kind, agents, body))
        self._bell.release()

    def get(self) -> Received | None:
        self._bell.acquire()
        if self.closed:
            return None
        kind, agents, body = self._messages.pop(0)
        return Received(kind, agents, memoryview(body))

    def close(self) -> None:
        self.closed = True
        self._bell.release()


class _Near:
    """The orchestrator's end. The replies to a plan are taken as they were completed, whoever's they are."""

    def __init__(self, there: _Pipe, back: _Pipe, race: _Race) -> None:
        self._there, self._back, self._race = there, back, race

    def send(self, message: Message) -> None:
        if message.kind == Request.RUN:
            self._race.ask()
        self._there.put(message.kind, message.agents, b"".join(message.parts))

    def receive(self) -> Received | None:
        reply = self._back.get()
        if reply is not None and reply.kind == Reply.RAN:
            agents, body = self._race.take()
            return Received(Reply.RAN, agents, memoryview(body))
        return reply

    def close(self) -> None:
        self._there.close()
        self._back.close()


class _Far:
    """A worker's end."""

    def __init__(self, there: _Pipe, back: _Pipe, race: _Race, worker: int) -> None:
        self._there, self._back, self._race, self._worker = there, back, race, worker
        self._wave = 0

    def send(self, message: Message) -> None:
        body = b"".join(message.parts)
        if message.kind == Reply.RAN:
            self._race.finish(self._worker, self._wave, message.agents, body)
        self._back.put(message.kind, message.agents, body)

    def receive(self) -> Received | None:
        request = self._there.get()
        if request is not None and request.kind == Request.RUN:
            inboxes = 8 * request.agents
            self._wave = int.from_bytes(request.body[inboxes : inboxes + 8], "little")
        return request

    def close(self) -> None:
        self._there.close()
        self._back.close()


class _Hasty:
    crosses_processes = False

    def __init__(self, _settings: NoSettings) -> None:
        self._race = _Race()
        self._ends: list[Endpoint] = []

    def link(self) -> tuple[Endpoint, Endpoint]:
        there, back = _Pipe(), _Pipe()
        ends = _Near(there, back, self._race), _Far(there, back, self._race, len(self._ends) // 2)
        self._ends += ends
        return ends

    def close(self) -> None:
        for end in self._ends:
            end.close()


class HastyTransport:
    @staticmethod
    @hookimpl
    def wavelock_transport() -> Member[Any]:
        return Member("canary", "merges replies in the order of their completion", _Hasty)

"""Mailboxes in the hub's memory: `core.mailboxes.Mailboxes` over the functions of hub.c.

The names of `CONTROL`, `BOX` and `GROUP` are those of the structs in hub.c, in their order.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from importlib import metadata, resources
from typing import Any, Final

import numpy as np
import wasmtime
from blake3 import blake3

from wavelock.core.abi import FRAME_HEADER, Reason, frame_bytes
from wavelock.core.cache import ModuleCache
from wavelock.core.mailboxes import Commit, GroupBounds, Mailboxes, Packed, Stop
from wavelock.core.shard import I32Array, U8Array, U32Array
from wavelock.wasm_engines.hub.memory import HubMemory, Part
from wavelock.wasm_engines.wasmtime_calls import function_of

CONTROL: Final = (
    "agents", "boxes", "ready", "groups", "topics", "grants", "lists", "members", "log", "log_bytes", "log_end", "live",
    "plan", "turns", "lengths", "inboxes", "faults", "outboxes", "scratch", "turn", "stage", "at", "end", "frame",
    "member", "filled", "taken", "exiting", "stale", "receiver", "reason", "messages",
)  # fmt: skip
"""The u32 words of `control_t`."""
WIDE: Final = ("wave", "time_ns", "entropy")
"""Its u64 words, behind those."""
BOX: Final = np.dtype(
    [(name, "<u4") for name in ("first", "last", "frames", "bytes", "room", "group", "ended", "unused")]
)
GROUP: Final = np.dtype([(name, "<u4") for name in ("message", "mailbox_bytes", "mailbox_frames", "flags")])
LETTER_BYTES: Final = 8
_DROPS_OLDEST, _DENIED_IS_FAULT = 1, 2
_CONTROL_AT: Final = 1024
_CONTROL_BYTES: Final = 4 * len(CONTROL) + 8 * len(WIDE)
_GROW, _BOUNCE = 1, 2
_HEADER_BYTES: Final = 32
_FUNCTIONS: Final = {
    "layout": 0, "put": 4, "greet": 4, "drop_oldest": 2, "take_first": 1, "clear": 1, "move_log": 2, "inbox_bytes": 0,
    "pack": 0, "commit": 0,
}  # fmt: skip
"""The functions of hub.c, and how many arguments they take."""
_STOPS: Final = {int(stop): stop for stop in Stop}
_WORD: Final = {name: at for at, name in enumerate(CONTROL)}
_AGENTS, _LIVE, _LOG_BYTES, _LOG_END = (_WORD[name] for name in ("agents", "live", "log_bytes", "log_end"))
_TURN, _STAGE, _AT, _END, _FRAME = (_WORD[name] for name in ("turn", "stage", "at", "end", "frame"))
_EXITING, _STALE, _RECEIVER, _REASON = (_WORD[name] for name in ("exiting", "stale", "receiver", "reason"))
_MESSAGES: Final = _WORD["messages"]
_PARTS: Final[dict[str, Any]] = {
    "boxes": BOX,
    "groups": GROUP,
    **dict.fromkeys(("lists", "members", "plan", "lengths", "faults"), np.uint32),
    **dict.fromkeys(("ready", "grants", "log", "inboxes", "outboxes", "scratch"), np.uint8),
}
"""The parts of the memory, and what their entries are."""


def configure_for_hub(config: wasmtime.Config) -> None:
    """What an engine needs that runs the hub."""
    wasmtime._ffi.wasmtime_config_wasm_threads_set(config.ptr(), True)
    wasmtime._ffi.wasmtime_config_shared_memory_set(config.ptr(), True)


def open_mailboxes() -> Mailboxes:
    """Mailboxes of their own, beside whatever engine runs the agents. Raises EnvironmentFailure."""
    config = wasmtime.Config()
    configure_for_hub(config)
    engine = wasmtime.Engine(config)
    module = hub_module(engine, metadata.version("wasmtime"), ModuleCache("wasmtime"))
    return HubMailboxes(wasmtime.Store(engine), module, HubMemory(engine))


def hub_module(engine: wasmtime.Engine, key: str, cache: ModuleCache) -> wasmtime.Module:
    """The compiled hub. key: what tells this engine's configuration from others."""
    data = resources.files(__package__).joinpath("hub.wasm").read_bytes()
    name = f"hub {key} {blake3(data).hexdigest()}"
    stored = cache.load(name)
    if stored is not None:
        try:
            return wasmtime.Module.deserialize(engine, stored)
        except wasmtime.WasmtimeError:
            pass  # written by another build of wasmtime
    module = wasmtime.Module(engine, data)
    cache.store(name, bytes(module.serialize()))
    return module


class HubMailboxes:
    """A `core.mailboxes.Mailboxes`."""

    def __init__(self, store: wasmtime.Store, module: wasmtime.Module, memory: HubMemory) -> None:
        """The store is closed with this."""
        self._store = store
        self._memory = memory
        instance = wasmtime.Instance(store, module, [memory.shared])
        call = {name: function_of(store, instance, name, count) for name, count in _FUNCTIONS.items()}
        expected = _CONTROL_BYTES << 16 | BOX.itemsize << 8 | GROUP.itemsize
        if call["layout"]() & 0xFFFFFFFF != expected:
            raise RuntimeError("hub.wasm and the package differ in their layout; build it anew")
        self._call = call
        self._put, self._greet, self._move_log = call["put"], call["greet"], call["move_log"]
        self.commit_call, self._pack = call["commit"], call["pack"]
        control = memory.view(_CONTROL_AT, _CONTROL_BYTES).data
        control[:] = bytes(_CONTROL_BYTES)
        self.words = control[: 4 * len(CONTROL)].cast("I")
        self._wide = control[4 * len(CONTROL) :].cast("Q")
        self._parts = {name: Part(memory, dtype) for name, dtype in _PARTS.items()}
        self._need("scratch", 1)
        self._need("log", 1)
        self.words[_LOG_BYTES], self.words[_LOG_END] = self._parts["log"].size, LETTER_BYTES
        self._scratch = self._parts["scratch"].array.data
        self._box_words = memoryview(b"").cast("I")
        self._closed = False

    def _need(self, name: str, count: int) -> Any:
        """Make room in a part, and tell the hub where it is. Answers its array."""
        part = self._parts[name]
        if part.need(count):
            self.words[_WORD[name]] = part.address
        return part.array

    def _array(self, name: str) -> Any:
        return self._parts[name].array

    def open(self, groups: Sequence[GroupBounds], topics: int) -> None:
        """See `Mailboxes`."""
        rows, grants = self._need("groups", len(groups)), self._need("grants", len(groups) * topics)
        for at, group in enumerate(groups):
            flags = _DROPS_OLDEST * group.drops_oldest | _DENIED_IS_FAULT * group.denied_is_fault
            rows[at] = (group.message, group.mailbox_bytes, group.mailbox_frames, flags)
            for topic in range(topics):
                grants[at * topics + topic] = topic in group.topics
        self.words[_WORD["topics"]] = topics
        self.members_changed()

    def close(self) -> None:
        """See `Mailboxes`."""
        if not self._closed:
            self._closed = True
            self._store.close()

    # ---- mailboxes ----

    @property
    def ready(self) -> U8Array:
        """See `Mailboxes`."""
        ready: U8Array = self._array("ready")[: self.words[_AGENTS]]
        return ready

    def add(self, group: int, count: int, room: int) -> None:
        """See `Mailboxes`."""
        first = self.words[_AGENTS]
        end = first + count
        boxes, ready = self._need("boxes", end), self._need("ready", end)
        boxes[first:end] = (0, 0, 0, 0, room, group, 0, 0)
        ready[first:end] = 0
        self.words[_AGENTS] = end
        self._box_words = self._parts["boxes"].array.view(np.uint32).data

    def _fill_scratch(self, data: bytes) -> None:
        if len(data) > len(self._scratch):
            self._need("scratch", len(data))
            self._scratch = self._parts["scratch"].array.data
        self._scratch[: len(data)] = data

    def greet(self, first: int, count: int, start: bytes, directory: bytes) -> None:
        """See `Mailboxes`."""
        self._fill_scratch(start + directory)
        while self._greet(first, count, len(start), len(directory)) & 0xFF == _GROW:
            self._make_room(count * (len(start) + len(directory) + 2 * LETTER_BYTES))

    def set_room(self, ids: U32Array, rooms: U32Array) -> None:
        """See `Mailboxes`."""
        self._array("boxes")["room"][ids] = rooms

    def room(self, agent: int) -> int:
        """See `Mailboxes`."""
        return self._box_words[8 * agent + 4]

    def held(self, agent: int) -> tuple[int, int]:
        """See `Mailboxes`."""
        return self._box_words[8 * agent + 2], self._box_words[8 * agent + 3]

    def put(self, agent: int, frame: bytes, more_frames: int = 0, more_bytes: int = 0) -> int:
        """See `Mailboxes`."""
        self._fill_scratch(frame)
        while True:
            answer = ctypes.c_int32(self._put(agent, len(frame), more_frames, more_bytes)).value
            if answer != -_GROW:
                return answer if answer == 0 else Reason(answer)
            self._make_room(len(frame) + LETTER_BYTES)

    def drop_oldest(self, agent: int, size: int) -> int:
        """See `Mailboxes`."""
        return self._call["drop_oldest"](agent, size) & 0xFFFFFFFF

    def end(self, agent: int) -> None:
        """See `Mailboxes`."""
        self._call["clear"](agent)
        self._box_words[8 * agent + 6] = 1
        self.ready[agent] = 0

    def mail(self, agent: int) -> list[bytes]:
        """See `Mailboxes`."""
        place, found = self._box_words[8 * agent], []
        for _ in range(self.held(agent)[0]):
            place, frame = self._letter(place)
            found.append(frame)
        return found

    def _letter(self, place: int) -> tuple[int, bytes]:
        """A letter: where the next one is, and its frame."""
        log, begin = self._array("log"), place + LETTER_BYTES
        following, size = log[place:begin].view(np.uint32).tolist()
        return following, log[begin : begin + size].tobytes()

    def restore(self, agent: int, mail: Sequence[bytes], room: int, *, ready: bool) -> None:
        """See `Mailboxes`."""
        self._call["clear"](agent)
        self._box_words[8 * agent + 4] = 0xFFFFFFFF
        for frame in mail:
            self.put(agent, frame, 0xFFFFFFFF, 0xFFFFFFFF)
        self._box_words[8 * agent + 4] = room
        self.ready[agent] = ready

    def _make_room(self, size: int) -> None:
        """Move what is in the log to another place, so that at least as much is free there as is taken."""
        log = self._parts["log"]
        needed = 2 * (self.words[_LIVE] + size) + LETTER_BYTES
        larger = max(log.size, 1 << (needed - 1).bit_length())
        address = self._memory.allocate(larger)
        self._move_log(address, larger)
        self._memory.free(log.address, log.size)
        log.take(address, larger)

    # ---- topics ----

    def members_changed(self) -> None:
        """See `Mailboxes`."""
        self.words[_STALE] = 1

    def relist(self, members: Sequence[U32Array]) -> None:
        """See `Mailboxes`."""
        lists, everyone = self._need("lists", 2 * len(members)), self._need("members", sum(map(len, members)))
        at = 0
        for topic, some in enumerate(members):
            lists[2 * topic], lists[2 * topic + 1] = at, len(some)
            everyone[at : at + len(some)] = some
            at += len(some)
        self.words[_STALE] = 0

    # ---- waves ----

    def _take_plan(self, plan: U32Array) -> int:
        """Bring a plan to the hub, and begin at its first turn. Answers how many turns it has."""
        count = len(plan)
        self._need("plan", count)[:count] = plan
        self._need("lengths", count)
        words = self.words
        words[_WORD["turns"]] = count
        words[_TURN] = words[_STAGE] = words[_WORD["filled"]] = words[_WORD["taken"]] = 0
        return count

    def pack(self, plan: U32Array, wave: int, time_ns: int, entropy: int) -> Packed:
        """See `Mailboxes`."""
        count, words = self._take_plan(plan), self.words
        inboxes = self._need("inboxes", self._call["inbox_bytes"]()).data
        words[_AT] = 0
        self._wide[0], self._wide[1], self._wide[2] = wave, time_ns, entropy
        bounced = []
        while self._pack() & 0xFF == _BOUNCE:
            agent = int(plan[words[_TURN]])
            bounced.append((agent, self._letter(self._box_words[8 * agent])[1]))
            self._call["take_first"](agent)
        return Packed(self._array("lengths")[:count].copy(), inboxes[: words[_AT]], bounced)

    def commit(self, plan: U32Array, faults: I32Array, lengths: U32Array, outboxes: bytes) -> Commit:
        """See `Mailboxes`."""
        count = self._take_plan(plan)
        self._need("faults", count)[:count] = faults.view(np.uint32)
        self._need("lengths", count)[:count] = lengths
        self._need("outboxes", len(outboxes))[: len(outboxes)] = np.frombuffer(outboxes, np.uint8)
        return _HubCommit(self, self.words[_WORD["outboxes"]])

    def make_room_for_letter(self) -> None:
        """Make room for what the effect at hand puts into one mailbox, or for the answer that it is refused."""
        at = self.words[_AT] - self._parts["outboxes"].address
        frame = self._parts["outboxes"].array[at : at + FRAME_HEADER.size].tobytes()
        self._make_room(frame_bytes(max(8, FRAME_HEADER.unpack(frame)[0])) + LETTER_BYTES)


class _HubCommit:
    """A `core.mailboxes.Commit`."""

    def __init__(self, mailboxes: HubMailboxes, base: int) -> None:
        self._mailboxes = mailboxes
        self._words = mailboxes.words
        self._base = base
        self._words[_AT] = base
        for word in (_EXITING, _MESSAGES, _WORD["member"]):
            self._words[word] = 0
        self.turn = self.start = self.receiver = self.reason = 0

    def advance(self) -> Stop:
        """See `Commit`."""
        mailboxes, words = self._mailboxes, self._words
        while (stop := mailboxes.commit_call() & 0xFF) == _GROW:
            mailboxes.make_room_for_letter()
        self.turn = words[_TURN]
        self.start = words[_FRAME if stop == Stop.EFFECT else _AT] - self._base
        self.receiver, self.reason = words[_RECEIVER], words[_REASON]
        return _STOPS[stop]

    def skip(self) -> None:
        """See `Commit`."""
        self._words[_AT] = self._words[_END]

    def exit(self) -> None:
        """See `Commit`."""
        self._words[_EXITING] = 1

    @property
    def messages(self) -> int:
        """See `Commit`."""
        return self._words[_MESSAGES]

"""Mailboxes in the hub's memory: `core.mailboxes.Mailboxes` over the functions of hub.c.

The names of `CONTROL`, `BOX` and `GROUP` are those of the structs in hub.c, in their order.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from importlib import resources
from itertools import pairwise
from typing import Any, Final

import msgspec
import numpy as np
import wasmtime
from blake3 import blake3

from wavelock.core.abi import FRAME_HEADER, Reason, frame_bytes
from wavelock.core.cache import ModuleCache
from wavelock.core.errors import EnvironmentFailure
from wavelock.core.mailboxes import Commit, GroupBounds, Mailboxes, Packed, Stop
from wavelock.core.shard import Bytes, I32Array, Placed, Turns, U8Array, U32Array, gather
from wavelock.core.shards import Places
from wavelock.core.turns import WaveHeader
from wavelock.wasm_engines.hub.memory import PAGE_BYTES, HubMemory, Part
from wavelock.wasm_engines.wasmtime_calls import function_of
from wavelock.wasm_engines.wasmtime_modules import compiled

CONTROL: Final = (
    "agents", "boxes", "ready", "groups", "topics", "grants", "lists", "members", "log", "log_bytes", "log_end", "live",
    "plan", "turns", "lengths", "inboxes", "faults", "details", "fuel", "outboxes", "scratch", "turn", "stage", "at",
    "end", "frame", "member", "filled", "taken", "exiting", "stale", "receiver", "reason", "messages",
)  # fmt: skip
"""The u32 words of `control_t`."""
WIDE: Final = ("wave", "time_ns", "entropy")
"""Its u64 words, behind those."""
BOX_WORDS: Final = (
    "first", "last", "frames", "bytes", "room", "group", "ended", "courier", "inbox", "outbox", "outbox_bytes",
    "unused",
)  # fmt: skip
"""The u32 words of `box_t`."""
BOX: Final = np.dtype([*((name, "<u4") for name in BOX_WORDS), ("spent", "<u8"), ("unused_too", "<u8")])
GROUP: Final = np.dtype(
    [*((name, "<u4") for name in ("message", "mailbox_bytes", "mailbox_frames", "flags")), ("fuel", "<u8")]
)
MOST_AGENTS: Final = 16
"""Agents of one courier."""
WORKER: Final = np.dtype(
    [
        *((name, "<u4") for name in ("places", "turns", "turn", "out", "out_bytes", "at", "taken", "starts")),
        ("left", "<u8"),
        ("header", "V32"),
        ("budget", "<u8"),
        ("started", "<u4"),
        ("unused", "<u4"),
        ("of", "V32", MOST_AGENTS),
    ]
)
LETTER_BYTES: Final = 8
_DROPS_OLDEST, _DENIED_IS_FAULT = 1, 2
_CONTROL_AT: Final = 1024
_CONTROL_BYTES: Final = 4 * len(CONTROL) + 8 * len(WIDE)
GROW: Final = 1
BOUNCE: Final = 2
"""Stops that no commit shows: a part is full; a frame is larger than its receiver's inbox."""
_FUNCTIONS: Final = {
    "layout": 0, "put": 4, "greet": 4, "drop_oldest": 2, "take_first": 1, "clear": 1, "move_log": 2, "inbox_bytes": 0,
    "pack": 0, "commit": 0,
}  # fmt: skip
"""The functions of hub.c, and how many arguments they take."""
_STRIDE: Final = BOX.itemsize // 4
_FRAMES, _BYTES, _ROOM, _ENDED = (BOX_WORDS.index(name) for name in ("frames", "bytes", "room", "ended"))
_COURIER, _INBOX, _OUTBOX, _OUTBOX_BYTES = (
    BOX_WORDS.index(name) for name in ("courier", "inbox", "outbox", "outbox_bytes")
)
_SPENT: Final = len(BOX_WORDS)
_STOPS: Final = {int(stop): stop for stop in Stop}
_OF_AGENT: Final = re.compile(r"\$(agent|turn|start|carry|enter)\b")
_WORD: Final = {name: at for at, name in enumerate(CONTROL)}
_AGENTS, _LIVE, _LOG_BYTES, _LOG_END = (_WORD[name] for name in ("agents", "live", "log_bytes", "log_end"))
_TURN, _STAGE, _AT, _END, _FRAME = (_WORD[name] for name in ("turn", "stage", "at", "end", "frame"))
_EXITING, _STALE, _RECEIVER, _REASON = (_WORD[name] for name in ("exiting", "stale", "receiver", "reason"))
_MESSAGES: Final = _WORD["messages"]
_PARTS: Final[dict[str, Any]] = {
    "boxes": BOX,
    "groups": GROUP,
    **dict.fromkeys(("lists", "members", "plan", "lengths", "faults", "details"), np.uint32),
    "fuel": np.uint64,
    **dict.fromkeys(("ready", "grants", "log", "inboxes", "outboxes", "scratch"), np.uint8),
}
"""The parts of the memory, and what their entries are."""


def configure_for_hub(config: wasmtime.Config) -> None:
    """What an engine needs that runs the hub."""
    wasmtime._ffi.wasmtime_config_wasm_threads_set(config.ptr(), True)
    wasmtime._ffi.wasmtime_config_shared_memory_set(config.ptr(), True)
    wasmtime._ffi.wasmtime_config_wasm_multi_memory_set(config.ptr(), True)


def open_mailboxes() -> Mailboxes:
    """Mailboxes of their own, beside whatever engine runs the agents. Raises EnvironmentFailure."""
    config = wasmtime.Config()
    configure_for_hub(config)
    return HubMailboxes(wasmtime.Engine(config), ModuleCache("hub"), "alone", shared=False)


def courier_module(engine: wasmtime.Engine, cache: ModuleCache | None, key: str, agents: int) -> wasmtime.Module:
    """A courier for so many agents, compiled. key: what tells the engine's configuration from others."""
    source = resources.files(__package__).joinpath("courier.wat").read_text(encoding="utf-8")
    text = courier_text(source, agents)
    return compiled(engine, cache, f"{key} {blake3(text.encode()).hexdigest()}", text)


def courier_text(source: str, agents: int) -> str:
    """courier.wat with what stands there for each agent once for each of so many."""
    lines: list[str] = []
    repeated: list[str] | None = None
    for line in source.splitlines():
        if line.strip() == ";; for each agent {":
            repeated = []
        elif line.strip() == ";; }":
            for place in range(agents):
                numbered = (_OF_AGENT.sub(rf"$\g<1>{place}", each) for each in repeated or ())
                lines += [each.replace("PLACE", str(place)) for each in numbered]
            repeated = None
        else:
            (lines if repeated is None else repeated).append(line)
    return "\n".join(lines)


class HubMailboxes:
    """A `core.mailboxes.Mailboxes`."""

    def __init__(self, engine: wasmtime.Engine, cache: ModuleCache | None, key: str, *, shared: bool) -> None:
        """key: what tells the engine's configuration from others. shared: with shards of the same engine."""
        self.engine = engine
        data = resources.files(__package__).joinpath("hub.wasm").read_bytes()
        self.module = compiled(engine, cache, f"{key} {blake3(data).hexdigest()}", data)
        self.memory = memory = HubMemory(engine)
        self.shared = shared
        self._store = store = wasmtime.Store(engine)
        table = wasmtime.Table(store, wasmtime.TableType(wasmtime.ValType.funcref(), wasmtime.Limits(1, None)), None)
        instance = wasmtime.Instance(store, self.module, [memory.shared, table])
        call = {name: function_of(store, instance, name, count) for name, count in _FUNCTIONS.items()}
        expected = _CONTROL_BYTES << 24 | WORKER.itemsize // 8 << 16 | BOX.itemsize << 8 | GROUP.itemsize
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
        self._laid_out = False
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
            # No frame is longer than these, and no more of them fit into the bytes.
            message, frames = (min(bound, 0xFFFFFFFF) for bound in (group.message, group.mailbox_frames))
            rows[at] = (message, group.mailbox_bytes, frames, flags, group.fuel)
            for topic in range(topics):
                grants[at * topics + topic] = topic in group.topics
        self.words[_WORD["topics"]] = topics
        self.members_changed()

    def close(self) -> None:
        """See `Mailboxes`."""
        if not self._closed:
            self._closed = True
            self._store.close()
            # Nothing may look at the memory any more: without these whoever does meets an error, and not a lost page.
            self._parts.clear()
            self.words = self._wide = self._box_words = self._scratch = memoryview(b"")
            self.memory.close()

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
        boxes[first:end] = np.zeros(1, BOX)
        boxes["room"][first:end], boxes["group"][first:end] = room, group
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
        while self._greet(first, count, len(start), len(directory)) & 0xFF == GROW:
            self._make_room(count * (len(start) + len(directory) + 2 * LETTER_BYTES))

    def set_room(self, ids: U32Array, rooms: U32Array) -> None:
        """See `Mailboxes`."""
        self._array("boxes")["room"][ids] = rooms

    def room(self, agent: int) -> int:
        """See `Mailboxes`."""
        return self._box_words[_STRIDE * agent + _ROOM]

    def held(self, agent: int) -> tuple[int, int]:
        """See `Mailboxes`."""
        return self._box_words[_STRIDE * agent + _FRAMES], self._box_words[_STRIDE * agent + _BYTES]

    def put(self, agent: int, frame: bytes, more_frames: int = 0, more_bytes: int = 0) -> int:
        """See `Mailboxes`."""
        self._fill_scratch(frame)
        while True:
            answer = ctypes.c_int32(self._put(agent, len(frame), more_frames, more_bytes)).value
            if answer != -GROW:
                return answer if answer == 0 else Reason(answer)
            self._make_room(len(frame) + LETTER_BYTES)

    def drop_oldest(self, agent: int, size: int) -> int:
        """See `Mailboxes`."""
        return self._call["drop_oldest"](agent, size) & 0xFFFFFFFF

    def end(self, agent: int) -> None:
        """See `Mailboxes`."""
        self._call["clear"](agent)
        self._box_words[_STRIDE * agent + _ENDED] = 1
        self.ready[agent] = 0

    def mail(self, agent: int) -> list[bytes]:
        """See `Mailboxes`."""
        place, found = self._box_words[_STRIDE * agent], []
        for _ in range(self.held(agent)[0]):
            place, frame = self.letter(place)
            found.append(frame)
        return found

    def letter(self, place: int) -> tuple[int, bytes]:
        """A letter: where the next one is, and its frame."""
        log, begin = self._array("log"), place + LETTER_BYTES
        following, size = log[place:begin].view(np.uint32).tolist()
        return following, log[begin : begin + size].tobytes()

    def restore(self, agent: int, mail: Sequence[bytes], room: int, *, ready: bool) -> None:
        """See `Mailboxes`."""
        self._call["clear"](agent)
        self._box_words[_STRIDE * agent + _ROOM] = 0xFFFFFFFF
        for frame in mail:
            self.put(agent, frame, 0xFFFFFFFF, 0xFFFFFFFF)
        self._box_words[_STRIDE * agent + _ROOM] = room
        self.ready[agent] = ready

    def _make_room(self, size: int) -> None:
        """Move what is in the log to another place, with room for a letter more, or for as much again if there is."""
        log = self._parts["log"]
        needed = self.words[_LIVE] + size + LETTER_BYTES
        larger = max(log.size, 1 << (2 * needed - 1).bit_length())
        try:
            address = self.memory.allocate(larger)
        except EnvironmentFailure:  # the memory is nearly full: no more than it takes
            larger = -(-needed // PAGE_BYTES) * PAGE_BYTES
            address = self.memory.allocate(larger)
        self._move_log(address, larger)
        self.memory.free(log.address, log.size)
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

    def share(self, plan: U32Array, header: WaveHeader) -> None:
        """See `core.turns.SharingMailboxes`."""
        count = self._take_plan(plan)
        for name in ("faults", "details", "fuel"):
            self._need(name, count)[:count] = 0
        self._wide[0], self._wide[1], self._wide[2] = header

    def collect(self, parts: Sequence[tuple[Places, Placed]]) -> Turns:
        """See `core.turns.SharingMailboxes`."""
        count = self.words[_WORD["turns"]]
        self.words[_LIVE] -= sum(placed.taken for _, placed in parts)
        if not self.words[_LIVE]:
            self.words[_LOG_END] = LETTER_BYTES
        lengths = self._array("lengths")[:count]
        if len(parts) == 1:
            address, size, *_ = msgspec.structs.astuple(parts[0][1])
            outboxes: Bytes = self.memory.view(address, size).data if size else b""
            self.words[_WORD["outboxes"]] = address
            self._laid_out = True
        else:
            outboxes = self._in_order(parts, lengths)
        fuel, faults, details = (self._array(name)[:count] for name in ("fuel", "faults", "details"))
        return Turns(fuel, faults.view(np.int32), details.view(np.int32), lengths, outboxes)

    def _in_order(self, parts: Sequence[tuple[Places, Placed]], lengths: U32Array) -> bytes:
        """The outboxes of several workers, in plan order."""
        pieces = [self.memory.view(placed.address, placed.size).tobytes() for _, placed in parts]
        if all(one[-1] < other[0] for (one, _), (other, _) in pairwise(parts)):
            return b"".join(pieces)
        starts, base = np.zeros(len(lengths), np.uint64), 0
        for places, placed in parts:
            ends = np.cumsum(lengths[places], dtype=np.uint64)
            starts[places] = ends - lengths[places] + np.uint64(base)
            base += placed.size
        return gather(b"".join(pieces), starts, lengths)

    @property
    def boxes(self) -> Any:
        """One row of BOX for each agent, writable. Valid until the next `add`."""
        return self._array("boxes")

    def admit(self, agent: int, courier: int, buffers: tuple[int, int, int, int], spent: int) -> None:
        """Where an agent's courier and buffers are; courier 0: it has none. spent: fuel that its start used."""
        at, words = _STRIDE * agent, self._box_words
        words[at + _COURIER] = courier
        words[at + _INBOX], _, words[at + _OUTBOX], words[at + _OUTBOX_BYTES] = buffers
        words[at + _SPENT], words[at + _SPENT + 1] = spent & 0xFFFFFFFF, spent >> 32

    def planned(self, place: int) -> int:
        """The agent at a place of the plan."""
        return int(self._array("plan")[place])

    def result(self, place: int) -> tuple[int, int]:
        """The fuel that a turn used, and what it answered."""
        return int(self._array("fuel")[place]), int(self._array("lengths").view(np.int32)[place])

    def failed(self, place: int, fault: int, detail: int, fuel: int) -> None:
        """The outcome of a turn that failed."""
        self._array("faults").view(np.int32)[place] = fault
        self._array("details").view(np.int32)[place] = detail
        self._array("fuel")[place], self._array("lengths")[place] = fuel, 0

    def pack(self, plan: U32Array, wave: int, time_ns: int, entropy: int) -> Packed:
        """See `Mailboxes`."""
        count, words = self._take_plan(plan), self.words
        inboxes = self._need("inboxes", self._call["inbox_bytes"]()).data
        words[_AT] = 0
        self._wide[0], self._wide[1], self._wide[2] = wave, time_ns, entropy
        bounced = []
        while self._pack() & 0xFF == BOUNCE:
            agent = int(plan[words[_TURN]])
            bounced.append((agent, self.letter(self._box_words[_STRIDE * agent])[1]))
            self._call["take_first"](agent)
        return Packed(self._array("lengths")[:count].copy(), inboxes[: words[_AT]], bounced)

    def commit(self, plan: U32Array, faults: I32Array, lengths: U32Array, outboxes: bytes) -> Commit:
        """See `Mailboxes`."""
        if self._laid_out:  # by the workers
            self._laid_out = False
            self.words[_TURN] = self.words[_STAGE] = 0
            return _HubCommit(self, self.words[_WORD["outboxes"]])
        count = self._take_plan(plan)
        self._need("faults", count)[:count] = faults.view(np.uint32)
        self._need("lengths", count)[:count] = lengths
        part = self._parts["outboxes"]
        part.need(len(outboxes))
        part.array.view(np.uint8)[: len(outboxes)] = np.frombuffer(outboxes, np.uint8)
        self.words[_WORD["outboxes"]] = part.address
        return _HubCommit(self, self.words[_WORD["outboxes"]])

    def make_room_for_letter(self) -> None:
        """Make room for what the effect at hand puts into one mailbox, or for the answer that it is refused."""
        frame = self.memory.view(self.words[_AT], FRAME_HEADER.size).tobytes()
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
        while (stop := mailboxes.commit_call() & 0xFF) == GROW:
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

"""Mailboxes in the hub's memory: `core.mailboxes.Mailboxes` over the functions of hub.c."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import wasmtime

from wavelock.core.abi import FRAME_HEADER, Reason
from wavelock.core.cache import ModuleCache
from wavelock.core.homes import Homes, Part
from wavelock.core.mailboxes import Commit, GroupBounds, Mailboxes, Packed
from wavelock.core.shard import Turns, U8Array, U32Array, U64Array
from wavelock.core.turns import WaveHeader
from wavelock.wasm_engines.hub.commit import Committer
from wavelock.wasm_engines.hub.gate import Gate
from wavelock.wasm_engines.hub.instance import HubInstance, configure_for_hub
from wavelock.wasm_engines.hub.layout import (
    BOUNCE,
    BOX,
    BOX_WORDS,
    DENIED_IS_FAULT,
    DROPS_OLDEST,
    GROW,
    LETTER_BYTES,
    NO_LOG,
    TURNS,
    WORD,
)
from wavelock.wasm_engines.hub.wave import HubWave
from wavelock.wasm_engines.wasmtime_modules import Compiler, trust

_STRIDE: Final = BOX.itemsize // 4
_FRAMES, _BYTES, _ROOM, _ENDED = (BOX_WORDS.index(name) for name in ("frames", "bytes", "room", "ended"))
_AGENTS, _FULL, _ENDS, _TURN, _AT, _STALE = (WORD[name] for name in ("agents", "full", "ends", "turn", "at", "stale"))


def open_mailboxes() -> Mailboxes:
    """Mailboxes of their own, beside whatever engine runs the agents. Raises EnvironmentFailure."""
    config = wasmtime.Config()
    configure_for_hub(config)
    trust(config)
    engine = wasmtime.Engine(config)
    return HubMailboxes(engine, ModuleCache("hub"), "alone", Homes(), shared=False, compiler=None)


class HubMailboxes:
    """A `core.turns.SharingMailboxes`.

    hub: where they lie. wave, committer: of the wave at hand. bounced: what workers could not deliver to any inbox of
    its agent, since `take_bounced`.
    """

    def __init__(
        self,
        engine: wasmtime.Engine,
        cache: ModuleCache | None,
        key: str,
        homes: Homes,
        *,
        shared: bool,
        compiler: Compiler,
    ) -> None:
        """key: what tells the engine's configuration from others. homes: of agents, on shards of the same engine where
        these are `shared` with it, on one otherwise.
        """
        self.hub = HubInstance(engine, cache, key, homes.workers, compiler)
        self.wave = HubWave(self.hub)
        self.shared = shared
        self.bounced: list[tuple[int, int, bytes]] = []
        self._homes = homes
        self._gate = Gate(self.hub)
        self.committer = Committer(self.hub, self._gate)
        self._call, self._words = self.hub.call, self.hub.words
        self._put, self._pack = self._call["put"], self._call["pack"]
        self._box_words = memoryview(b"").cast("I")
        self._laid_out = self._denied_is_fault = False
        self._closed = False

    def open(self, groups: Sequence[GroupBounds], topics: int) -> None:
        """See `Mailboxes`."""
        rows, grants = self.hub.need("groups", len(groups)), self.hub.need("grants", len(groups) * topics)
        for at, group in enumerate(groups):
            flags = DROPS_OLDEST * group.drops_oldest | DENIED_IS_FAULT * group.denied_is_fault
            # No frame is longer than these, and no more of them fit into the bytes.
            message, frames, timers = (
                min(bound, 0xFFFFFFFF) for bound in (group.message, group.mailbox_frames, group.timers)
            )
            rows[at] = (message, group.mailbox_bytes, frames, flags, group.fuel, timers, 0)
            for topic in range(topics):
                grants[at * topics + topic] = topic in group.topics
        self._denied_is_fault = any(group.denied_is_fault for group in groups)
        self._words[WORD["topics"]] = topics
        for least, column in (("message", "message"), ("bytes", "mailbox_bytes"), ("frames", "mailbox_frames")):
            self._words[WORD[f"least_{least}"]] = min(rows[column][: len(groups)].tolist(), default=0)
        self.members_changed()

    def close(self) -> None:
        """See `Mailboxes`."""
        if not self._closed:
            self._closed = True
            self._words = self._box_words = memoryview(b"")
            self.committer.close()
            self.hub.close()

    # ---- mailboxes ----

    @property
    def ready(self) -> U8Array:
        """See `Mailboxes`."""
        ready: U8Array = self.hub.array("ready")[: self._words[_AGENTS]]
        return ready

    @property
    def timers(self) -> U32Array:
        """See `Mailboxes`."""
        timers: U32Array = self.hub.array("boxes")["timers"][: self._words[_AGENTS]]
        return timers

    def add(self, group: int, count: int, room: int) -> None:
        """See `Mailboxes`."""
        first = self._words[_AGENTS]
        end = first + count
        boxes, ready, homes = (self.hub.need(name, end) for name in ("boxes", "ready", "homes"))
        self.hub.need("was_ready", end)
        boxes[first:end] = np.zeros(1, BOX)
        boxes["room"][first:end], boxes["group"][first:end] = room, group
        ready[first:end] = 0
        homes[first:end] = self._homes.of(np.arange(first, end, dtype=np.uint32))
        self._words[_AGENTS] = end
        self._box_words = boxes.view(np.uint32).data

    def greet(self, first: int, count: int, start: bytes, directory: bytes) -> None:
        """See `Mailboxes`."""
        self.hub.fill_scratch(start + directory)
        each = len(start) + len(directory) + 2 * LETTER_BYTES
        while done := count - self._call["greet"](first, count, len(start), len(directory)):
            first, count = first + count - done, done
            share = -(-count // self._homes.workers) if count > 1 else 1
            self.hub.make_room(self._words[_FULL], share * each)

    def set_room(self, ids: U32Array, rooms: U32Array) -> None:
        """See `Mailboxes`."""
        self.hub.array("boxes")["room"][ids] = rooms

    def room(self, agent: int) -> int:
        """See `Mailboxes`."""
        return self._box_words[_STRIDE * agent + _ROOM]

    def held(self, agent: int) -> tuple[int, int]:
        """See `Mailboxes`."""
        return self._box_words[_STRIDE * agent + _FRAMES], self._box_words[_STRIDE * agent + _BYTES]

    def put(self, agent: int, frame: bytes, more_frames: int = 0, more_bytes: int = 0) -> int:
        """See `Mailboxes`."""
        self.hub.fill_scratch(frame)
        while True:
            answer = ctypes.c_int32(self._put(agent, len(frame), more_frames, more_bytes)).value
            if answer != -GROW:
                return answer if answer == 0 else Reason(answer)
            self.hub.make_room(self._words[_FULL], len(frame) + LETTER_BYTES)

    def ring(self, agents: U32Array, tags: U32Array, first: int) -> int:
        """See `Mailboxes`."""
        count = len(agents)
        self.hub.fill_scratch(np.stack((agents, tags), axis=1).tobytes())
        while (first := self._call["ring"](first, count)) < count and self._words[_FULL] != NO_LOG:
            self.hub.make_room(self._words[_FULL], (count - first) * (FRAME_HEADER.size + LETTER_BYTES))
        return first

    def drop_oldest(self, agent: int, size: int) -> int:
        """See `Mailboxes`."""
        return self._call["drop_oldest"](agent, size) & 0xFFFFFFFF

    def end(self, agent: int) -> None:
        """See `Mailboxes`."""
        self._call["clear"](agent)
        self._box_words[_STRIDE * agent + _ENDED] = 1
        self._words[_ENDS] += 1
        self.ready[agent] = 0

    def mail(self, agent: int) -> list[bytes]:
        """See `Mailboxes`."""
        place, found = self._box_words[_STRIDE * agent], []
        for _ in range(self.held(agent)[0]):
            place, frame = self.hub.letter(place)
            found.append(frame)
        return found

    def restore(self, agent: int, mail: Sequence[bytes], room: int, *, ready: bool) -> None:
        """See `Mailboxes`."""
        self._call["clear"](agent)
        self._box_words[_STRIDE * agent + _ROOM] = 0xFFFFFFFF
        for frame in mail:
            self.put(agent, frame, 0xFFFFFFFF, 0xFFFFFFFF)
        self._box_words[_STRIDE * agent + _ROOM] = room
        self.ready[agent] = ready

    # ---- topics ----

    def members_changed(self) -> None:
        """See `Mailboxes`."""
        self._words[_STALE] = 1

    def relist(self, members: Sequence[U32Array]) -> None:
        """See `Mailboxes`. Each topic's list stands there whole, and behind that by worker."""
        workers = self._homes.workers
        lists = self.hub.need("lists", 2 * len(members) * (workers + 1))
        everyone = self.hub.need("members", 2 * sum(map(len, members)))
        row = at = 0
        for some in members:
            homes = self._homes.of(some)
            for part in (some, *(some[homes == worker] for worker in range(workers))):
                lists[row], lists[row + 1] = at, len(part)
                everyone[at : at + len(part)] = part
                row, at = row + 2, at + len(part)
        self._words[_STALE] = 0

    # ---- waves ----

    @property
    def hashing(self) -> bool:
        """See `core.turns.SharingMailboxes`."""
        return self.wave.hashing

    @hashing.setter
    def hashing(self, hashing: bool) -> None:
        self.wave.hash_outboxes(hashing)

    def share(self, plan: U32Array, header: WaveHeader, parts: Sequence[Part]) -> None:
        """See `core.turns.SharingMailboxes`."""
        self.wave.lay(plan, header, parts)
        self.committer.prepare(len(plan), max((part.size for part in parts), default=0))

    def run_turns(self) -> None:
        """See `core.turns.SharingMailboxes`."""
        self._gate.tell(TURNS)
        self._gate.wait()

    @property
    def gave_up(self) -> bool:
        """See `core.turns.SharingMailboxes`."""
        return self._gate.gave_up

    def attended(self, *, begins: bool) -> None:
        """See `core.turns.SharingMailboxes`."""
        if begins:
            self._gate.open()
        else:
            self._gate.dismiss()

    def work(self) -> U64Array:
        """See `core.turns.SharingMailboxes`."""
        column = self.hub.array("boxes")["work"][: self._words[_AGENTS]]
        found: U64Array = column.astype(np.uint64)
        column[:] = 0
        return found

    def groups_of(self, agents: U32Array) -> U32Array:
        """See `core.turns.SharingMailboxes`."""
        groups: U32Array = self.hub.array("boxes")["group"][agents]
        return groups

    def rehome(self, agents: U32Array) -> None:
        """See `core.turns.SharingMailboxes`."""
        for agent, home in zip(agents.tolist(), self._homes.of(agents).tolist(), strict=True):
            kept = self.mail(agent), self.room(agent), bool(self.ready[agent])
            self._call["clear"](agent)
            self.hub.array("homes")[agent] = home
            self.restore(agent, kept[0], kept[1], ready=kept[2])
        self.members_changed()

    def take_bounced(self) -> list[tuple[int, int, bytes]]:
        """See `core.turns.SharingMailboxes`."""
        bounced, self.bounced = self.bounced, []
        return bounced

    def collect(self) -> Turns:
        """See `core.turns.SharingMailboxes`."""
        self._laid_out = True
        return self.wave.collect()

    @property
    def boxes(self) -> Any:
        """One row of BOX for each agent, writable. Valid until the next `add`."""
        return self.hub.array("boxes")

    def admit(self, agents: U32Array, seats: tuple[Any, Any], buffers: tuple[int, int, int, int], spent: int) -> None:
        """Where couriers and buffers of some agents are, and the fuel that their starts used.

        seats: the courier of each agent, and its seat there: arrays of shape (n,).
        """
        boxes = self.hub.array("boxes")
        boxes["courier"][agents], boxes["seat"][agents] = seats
        boxes["inbox"][agents], _, boxes["outbox"][agents], boxes["outbox_bytes"][agents] = buffers
        boxes["spent"][agents] = spent

    def unseat(self, agents: U32Array) -> None:
        """These have no instance any more."""
        self.admit(agents, (0, 0), (0, 0, 0, 0), 0)

    def pack(self, plan: U32Array, wave: int, time_ns: int, entropy: int) -> Packed:
        """See `Mailboxes`."""
        self.wave.take_plan(plan)
        words = self._words
        inboxes = self.hub.need("inboxes", self._call["inbox_bytes"]()).data
        words[_AT] = 0
        self.wave.tell_header(WaveHeader(wave, time_ns, entropy))
        bounced = []
        while self._pack() & 0xFF == BOUNCE:
            agent = int(plan[words[_TURN]])
            bounced.append((agent, self.hub.letter(self._box_words[_STRIDE * agent])[1]))
            self._call["take_first"](agent)
        return Packed(self.wave.columns.lengths.copy(), inboxes[: words[_AT]], bounced)

    def commit(self, plan: U32Array, turns: Turns, wave: int) -> Commit:
        """See `Mailboxes`."""
        self.hub.wide[0] = wave
        if self._laid_out:  # by the workers
            self._laid_out = False
            return self.committer.begin(self.wave.marks, denied_is_fault=self._denied_is_fault)
        self._take_turns(plan, turns)
        return self.committer.begin(None, denied_is_fault=self._denied_is_fault)

    def _take_turns(self, plan: U32Array, turns: Turns) -> None:
        """Bring turns to the hub that were taken elsewhere."""
        self.wave.take_plan(plan)
        hub = self.hub
        self.wave.columns.faults[:] = turns.faults
        self.wave.columns.lengths[:] = turns.outbox_bytes
        data = b"".join(turns.outboxes)
        hub.need("outboxes", len(data))[: len(data)] = np.frombuffer(data, np.uint8)
        self._call["survey_all"](hub.address("outboxes"))

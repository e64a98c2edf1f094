"""Mailboxes in the hub's memory: `core.mailboxes.Mailboxes` over the functions of hub.c."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import wasmtime
from blake3 import blake3

from wavelock.core.abi import FRAME_HEADER, U32, Reason, frame_bytes
from wavelock.core.cache import ModuleCache
from wavelock.core.errors import EnvironmentFailure
from wavelock.core.homes import Homes
from wavelock.core.homes import Part as HomePart
from wavelock.core.mailboxes import TIMER, Commit, GroupBounds, Mailboxes, Packed, Stop, TimerArray
from wavelock.core.shard import Bytes, Turns, U8Array, U32Array, U64Array, gather
from wavelock.core.turns import WaveHeader
from wavelock.wasm_engines.hub.layout import (
    BOUNCE,
    BOX,
    BOX_WORDS,
    CONTROL,
    CONTROL_AT,
    CONTROL_BYTES,
    DELIVER,
    DENIED_IS_FAULT,
    DROPS_OLDEST,
    ERRAND_BYTES,
    ERRANDS,
    FAILED,
    FUNCTIONS,
    GROUP,
    GROW,
    GROW_TIMERS,
    LEAVE,
    LETTER_BYTES,
    MALFORMED,
    NEEDS_ONE,
    NO_LOG,
    PARTS,
    PUBLISHES,
    ROW,
    SPILLED,
    TURNS,
    WITH_GRANTS,
    WORD,
    WORKER,
    WORKER_BYTES,
)
from wavelock.wasm_engines.hub.memory import PAGE_BYTES, PAGES, HubMemory, Part
from wavelock.wasm_engines.wasmtime_calls import function_of
from wavelock.wasm_engines.wasmtime_modules import Compiler, compiled, trust

MOST_ERRAND_BYTES: Final = 1 << 29
"""So much of the memory errands take at most; where they would take more, one commits."""
MANY_TURNS: Final = 64
"""From so many turns on several workers commit."""
_WAIT_NS: Final = 100_000_000
"""So long a wait for workers lasts before Python may see to signals."""
_NO_TIMERS: Final = np.zeros(0, TIMER)
_ALONE_WAVES: Final = 16
"""So many waves are committed by one after workers had to take a commit back."""
_STRIDE: Final = BOX.itemsize // 4
_FRAMES, _BYTES, _ROOM, _ENDED = (BOX_WORDS.index(name) for name in ("frames", "bytes", "room", "ended"))
_STOPS: Final = {int(stop): stop for stop in Stop}
_AGENTS, _FULL, _MESSAGES, _ENDS = (WORD[name] for name in ("agents", "full", "messages", "ends"))
_TURN, _STAGE, _AT, _END, _FRAME = (WORD[name] for name in ("turn", "stage", "at", "end", "frame"))
_EXITING, _STALE, _RECEIVER, _REASON = (WORD[name] for name in ("exiting", "stale", "receiver", "reason"))
_TIMERS, _SORTING = WORD["timers"], WORD["sorting"]


def configure_for_hub(config: wasmtime.Config) -> None:
    """What an engine needs that runs the hub."""
    wasmtime._ffi.wasmtime_config_wasm_threads_set(config.ptr(), True)
    wasmtime._ffi.wasmtime_config_shared_memory_set(config.ptr(), True)
    wasmtime._ffi.wasmtime_config_wasm_multi_memory_set(config.ptr(), True)


def open_mailboxes() -> Mailboxes:
    """Mailboxes of their own, beside whatever engine runs the agents. Raises EnvironmentFailure."""
    config = wasmtime.Config()
    configure_for_hub(config)
    trust(config)
    engine = wasmtime.Engine(config)
    return HubMailboxes(engine, ModuleCache("hub"), "alone", Homes(), shared=False, compiler=None)


class HubMailboxes:
    """A `core.turns.SharingMailboxes`."""

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
        self.engine = engine
        data = Path(__file__).with_name("hub.wasm").read_bytes()
        self.module = compiled(engine, cache, f"{key} trusted {blake3(data).hexdigest()}", data, compiler)
        self.memory = memory = HubMemory(engine)
        self.shared = shared
        self.hashing = False
        self.bounced: list[tuple[int, int, bytes]] = []
        """What workers could not deliver to any inbox of its agent, since `take_bounced`."""
        self._homes = homes
        self._store = store = wasmtime.Store(engine)
        table = wasmtime.Table(store, wasmtime.TableType(wasmtime.ValType.funcref(), wasmtime.Limits(1, None)), None)
        instance = wasmtime.Instance(store, self.module, [memory.shared, table])
        call = {name: function_of(store, instance, name, count) for name, count in FUNCTIONS.items()}
        expected = CONTROL_BYTES << 24 | WORKER_BYTES // 8 << 16 | BOX.itemsize << 8 | GROUP.itemsize
        if call["layout"]() & 0xFFFFFFFF != expected:
            raise RuntimeError("hub.wasm and the package differ in their layout; build it anew")
        self._call = call
        self._put, self._commit, self._pack = call["put"], call["commit"], call["pack"]
        first_page = memory.view(0, PAGE_BYTES).data
        first_page[:] = bytes(PAGE_BYTES)
        control = first_page[CONTROL_AT : CONTROL_AT + CONTROL_BYTES]
        self.words = control[: 4 * len(CONTROL)].cast("I")
        self._wide = control[4 * len(CONTROL) :].cast("Q")
        self._parts = {name: Part(memory, dtype) for name, dtype in PARTS.items()}
        self._need("scratch", 1)
        self._scratch = self._parts["scratch"].array.data
        self._log_parts = [Part(memory, np.uint8) for _ in range(homes.workers)]
        self.rows = self._need("rows", homes.workers)[: homes.workers]
        self._open_workers()
        self._row_words = [self.rows[at : at + 1].view(np.uint32).data for at in range(homes.workers)]
        words = (self.words[_TIMERS:], *(row[ROW["timers"] :] for row in self._row_words))
        self._timers = [(Part(memory, TIMER), each[:3]) for each in words]
        """Rows of timers: of a commit by one, then of each worker; their parts, and begin, limit and end."""
        self._box_words = memoryview(b"").cast("I")
        self._wave_parts: Sequence[HomePart] = ()
        self._errands = [Part(memory, np.uint8) for _ in range(homes.workers)]
        self._errand_lists: list[Any] = []
        self._errand_room = 0
        """So many errands each worker has room for, for each."""
        self._laid_out = self._attended = self._denied_is_fault = False
        self._alone = 0
        self._closed = False

    def _open_workers(self) -> None:
        workers = self._homes.workers
        self.words[WORD["workers"]] = workers
        self.rows[:] = np.zeros(1, WORKER)
        self.rows["number"] = np.arange(workers)
        logs = self._need("logs", workers)
        for log, part in zip(logs, self._log_parts, strict=False):
            part.need(1)
            log["begin"] = log["end"] = part.address
            log["limit"] = part.address + part.size

    def _need(self, name: str, count: int) -> Any:
        """Make room in a part, and tell the hub where it is. Answers its array."""
        part = self._parts[name]
        if part.need(count) and name in WORD:
            self.words[WORD[name]] = part.address
        return part.array

    def _array(self, name: str) -> Any:
        return self._parts[name].array

    def open(self, groups: Sequence[GroupBounds], topics: int) -> None:
        """See `Mailboxes`."""
        rows, grants = self._need("groups", len(groups)), self._need("grants", len(groups) * topics)
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
        self.words[WORD["topics"]] = topics
        for least, column in (("message", "message"), ("bytes", "mailbox_bytes"), ("frames", "mailbox_frames")):
            self.words[WORD[f"least_{least}"]] = min(rows[column][: len(groups)].tolist(), default=0)
        self.members_changed()

    def close(self) -> None:
        """See `Mailboxes`."""
        if not self._closed:
            self._closed = True
            self._store.close()
            # Nothing may look at the memory any more: without these whoever does meets an error, and not a lost page.
            self._parts.clear()
            self._log_parts.clear()
            self._errands.clear()
            self._errand_lists.clear()
            self._timers.clear()
            self.rows = np.zeros(0, WORKER)
            self._row_words.clear()
            self.words = self._wide = self._box_words = self._scratch = memoryview(b"")
            self.memory.close()

    # ---- mailboxes ----

    @property
    def ready(self) -> U8Array:
        """See `Mailboxes`."""
        ready: U8Array = self._array("ready")[: self.words[_AGENTS]]
        return ready

    @property
    def timers(self) -> U32Array:
        """See `Mailboxes`."""
        timers: U32Array = self._array("boxes")["timers"][: self.words[_AGENTS]]
        return timers

    def add(self, group: int, count: int, room: int) -> None:
        """See `Mailboxes`."""
        first = self.words[_AGENTS]
        end = first + count
        boxes, ready, homes = (self._need(name, end) for name in ("boxes", "ready", "homes"))
        self._need("was_ready", end)
        boxes[first:end] = np.zeros(1, BOX)
        boxes["room"][first:end], boxes["group"][first:end] = room, group
        ready[first:end] = 0
        homes[first:end] = self._homes.of(np.arange(first, end, dtype=np.uint32))
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
        each = len(start) + len(directory) + 2 * LETTER_BYTES
        while done := count - self._call["greet"](first, count, len(start), len(directory)):
            first, count = first + count - done, done
            share = -(-count // self._homes.workers) if count > 1 else 1
            self._make_room(self.words[_FULL], share * each)

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
            self._make_room(self.words[_FULL], len(frame) + LETTER_BYTES)

    def ring(self, agents: U32Array, tags: U32Array, first: int) -> int:
        """See `Mailboxes`."""
        count = len(agents)
        self._fill_scratch(np.stack((agents, tags), axis=1).tobytes())
        while (first := self._call["ring"](first, count)) < count and self.words[_FULL] != NO_LOG:
            self._make_room(self.words[_FULL], (count - first) * (FRAME_HEADER.size + LETTER_BYTES))
        return first

    def drop_oldest(self, agent: int, size: int) -> int:
        """See `Mailboxes`."""
        return self._call["drop_oldest"](agent, size) & 0xFFFFFFFF

    def end(self, agent: int) -> None:
        """See `Mailboxes`."""
        self._call["clear"](agent)
        self._box_words[_STRIDE * agent + _ENDED] = 1
        self.words[_ENDS] += 1
        self.ready[agent] = 0

    def mail(self, agent: int) -> list[bytes]:
        """See `Mailboxes`."""
        place, found = self._box_words[_STRIDE * agent], []
        for _ in range(self.held(agent)[0]):
            place, frame = self.letter(place)
            found.append(frame)
        return found

    def letter(self, address: int) -> tuple[int, bytes]:
        """A letter: the address of the next one, and its frame."""
        following, size = self.memory.view(address, LETTER_BYTES).view(np.uint32).tolist()
        return following, self.memory.view(address + LETTER_BYTES, size).tobytes()

    def restore(self, agent: int, mail: Sequence[bytes], room: int, *, ready: bool) -> None:
        """See `Mailboxes`."""
        self._call["clear"](agent)
        self._box_words[_STRIDE * agent + _ROOM] = 0xFFFFFFFF
        for frame in mail:
            self.put(agent, frame, 0xFFFFFFFF, 0xFFFFFFFF)
        self._box_words[_STRIDE * agent + _ROOM] = room
        self.ready[agent] = ready

    def _make_room(self, worker: int, size: int) -> None:
        self.grow_log(worker, size, self._call["move_log"])

    def grow_log(self, worker: int, size: int, move_log: Callable[[int, int, int], int]) -> None:
        """Move what is in a log to another place, with room for so much more, or for as much again if there is.

        move_log: of an instance of the hub on the calling thread.
        """
        part, live = self._log_parts[worker], int(self._array("logs")["live"][worker])
        needed = live + size
        larger = max(part.size, 1 << (2 * needed - 1).bit_length())
        try:
            address = self.memory.allocate(larger)
        except EnvironmentFailure:  # the memory is nearly full: no more than it takes
            larger = -(-needed // PAGE_BYTES) * PAGE_BYTES
            address = self.memory.allocate(larger)
        move_log(worker, address, larger)
        self.memory.free(part.address, part.size)
        part.take(address, larger)

    # ---- topics ----

    def members_changed(self) -> None:
        """See `Mailboxes`."""
        self.words[_STALE] = 1

    def relist(self, members: Sequence[U32Array]) -> None:
        """See `Mailboxes`. Each topic's list stands there whole, and behind that by worker."""
        workers = self._homes.workers
        lists = self._need("lists", 2 * len(members) * (workers + 1))
        everyone = self._need("members", 2 * sum(map(len, members)))
        row = at = 0
        for some in members:
            homes = self._homes.of(some)
            for part in (some, *(some[homes == worker] for worker in range(workers))):
                lists[row], lists[row + 1] = at, len(part)
                everyone[at : at + len(part)] = part
                row, at = row + 2, at + len(part)
        self.words[_STALE] = 0

    # ---- waves ----

    def _take_plan(self, plan: U32Array) -> int:
        """Bring a plan to the hub, and begin at its first turn. Answers how many turns it has."""
        count = len(plan)
        self._need("plan", count)[:count] = plan
        for name in ("lengths", "outs"):
            self._need(name, count)
        self._need("marks", count)[:count] = 0
        words = self.words
        words[WORD["turns"]] = count
        words[_TURN] = words[_STAGE] = words[WORD["filled"]] = words[WORD["taken"]] = 0
        return count

    def share(self, plan: U32Array, header: WaveHeader, parts: Sequence[HomePart]) -> None:
        """See `core.turns.SharingMailboxes`."""
        count = self._take_plan(plan)
        for name in ("faults", "details"):
            self._need(name, count)[:count] = 0
        self._need("fuel", count)
        if self.hashing:
            self._need("hashes", count)[:count] = 0
        self.words[WORD["hashing"]] = self.hashing
        self._wide[0], self._wide[1], self._wide[2] = header
        self._wave_parts = parts
        for row in self._row_words:
            row[ROW["turns"]] = row[ROW["turn"]] = row[ROW["at"]] = row[ROW["marks"]] = 0
            row[ROW["examined"]] = 0
        self._lay_places(parts, count)
        self._lay_errands(parts, count)

    def _lay_places(self, parts: Sequence[HomePart], count: int) -> None:
        """Tell workers where in the plan their turns are."""
        at = 0
        for part in parts:
            row = self._row_words[part.worker]
            row[ROW["turns"]] = part.size
            if isinstance(part.places, slice):
                row[ROW["places"]], row[ROW["place"]] = 0, part.places.start
            else:
                places = self._need("places", count)
                places[at : at + part.size] = part.places
                row[ROW["places"]] = self._parts["places"].address + 4 * at
                at += part.size

    def _lay_errands(self, parts: Sequence[HomePart], count: int) -> None:
        """Have workers write down for each other what outboxes ask, where they will commit together."""
        self.words[_SORTING] = 0
        if not self._attended or count < MANY_TURNS:
            return
        if self._alone:  # something was refused lately, and mostly is again
            self._alone -= 1
            return
        room = max(self._errand_room, *(part.size for part in parts))
        if room > self._errand_room or not self._errand_lists:
            self._renew_errand_lists(room)
        if not self._errand_lists:
            self._alone = _ALONE_WAVES
            return
        for lists in self._errand_lists:
            lists["count"] = lists["done"] = 0
        self.words[_SORTING] = self._errand_room

    def _renew_errand_lists(self, room: int) -> None:
        try:
            self._errand_lists = self._make_errand_lists(room)
        except EnvironmentFailure:  # the memory is nearly full: one commits, who needs none of this
            self._errand_lists = []

    def _make_errand_lists(self, room: int) -> list[Any]:
        """Lists of room for so many errands, or for as many as there may be; none where that is too few."""
        workers = len(self._errands)
        head = -(-ERRANDS.itemsize * workers // 64) * 64
        whole = 1 << (head + workers * ERRAND_BYTES * room - 1).bit_length()  # what a part takes
        whole = min(whole, 1 << (MOST_ERRAND_BYTES // workers).bit_length() >> 1)
        self._errand_room = (whole - head) // (workers * ERRAND_BYTES) if whole > head else 0
        if self._errand_room == 0:
            return []
        made = []
        for row, part in zip(self._row_words, self._errands, strict=True):
            part.need(head + workers * ERRAND_BYTES * self._errand_room)
            row[ROW["errands"]] = part.address
            lists = self.memory.view(part.address, ERRANDS.itemsize * workers).view(ERRANDS)
            lists["begin"] = part.address + head + ERRAND_BYTES * self._errand_room * np.arange(workers)
            made.append(lists)
        return made

    def run_turns(self) -> None:
        """See `core.turns.SharingMailboxes`."""
        self._tell(TURNS)
        self._wait()

    def _tell(self, command: int) -> None:
        self._call["tell"](command, self._homes.workers - int(np.count_nonzero(self.rows["failed"])))

    def _wait(self) -> None:
        while self._call["wait"](_WAIT_NS) & 0xFFFFFFFF:
            pass

    @property
    def gave_up(self) -> bool:
        """See `core.turns.SharingMailboxes`."""
        return bool(self.rows["failed"].any())

    def attended(self, *, begins: bool) -> None:
        """See `core.turns.SharingMailboxes`."""
        if not begins:
            self._wait()  # where an interrupt left a command half done
            self._tell(LEAVE)
            self._wait()
        self._attended = begins

    def work(self) -> U64Array:
        """See `core.turns.SharingMailboxes`."""
        column = self._array("boxes")["work"][: self.words[_AGENTS]]
        found: U64Array = column.astype(np.uint64)
        column[:] = 0
        return found

    def groups_of(self, agents: U32Array) -> U32Array:
        """See `core.turns.SharingMailboxes`."""
        groups: U32Array = self._array("boxes")["group"][agents]
        return groups

    def rehome(self, agents: U32Array) -> None:
        """See `core.turns.SharingMailboxes`."""
        for agent, home in zip(agents.tolist(), self._homes.of(agents).tolist(), strict=True):
            kept = self.mail(agent), self.room(agent), bool(self.ready[agent])
            self._call["clear"](agent)
            self._array("homes")[agent] = home
            self.restore(agent, kept[0], kept[1], ready=kept[2])
        self.members_changed()

    def take_bounced(self) -> list[tuple[int, int, bytes]]:
        """See `core.turns.SharingMailboxes`."""
        bounced, self.bounced = self.bounced, []
        return bounced

    def collect(self) -> Turns:
        """See `core.turns.SharingMailboxes`."""
        self._laid_out = True
        count = self.words[WORD["turns"]]
        lengths, outs = self._array("lengths")[:count], self._array("outs")[:count]
        if all(isinstance(part.places, slice) for part in self._wave_parts):
            rows = [self._row_words[part.worker] for part in self._wave_parts]
            pieces: list[Bytes] = [self.memory.view(row[ROW["out"]], row[ROW["at"]]).data for row in rows]
        else:
            pieces = [gather(self.memory.view(0, PAGES * PAGE_BYTES).data, outs.astype(np.uint64), lengths)]
        fuel, faults, details = (self._array(name)[:count] for name in ("fuel", "faults", "details"))
        hashes = self._array("hashes")[:count] if self.hashing else None
        return Turns(fuel, faults.view(np.int32), details.view(np.int32), lengths, pieces, hashes)

    @property
    def boxes(self) -> Any:
        """One row of BOX for each agent, writable. Valid until the next `add`."""
        return self._array("boxes")

    def admit(self, agents: U32Array, seats: tuple[Any, Any], buffers: tuple[int, int, int, int], spent: int) -> None:
        """Where couriers and buffers of some agents are, and the fuel that their starts used.

        seats: the courier of each agent, and its seat there: arrays of shape (n,).
        """
        boxes = self._array("boxes")
        boxes["courier"][agents], boxes["seat"][agents] = seats
        boxes["inbox"][agents], _, boxes["outbox"][agents], boxes["outbox_bytes"][agents] = buffers
        boxes["spent"][agents] = spent

    def unseat(self, agents: U32Array) -> None:
        """These have no instance any more."""
        self.admit(agents, (0, 0), (0, 0, 0, 0), 0)

    def place_of(self, worker: int, turn: int) -> int:
        """The place in the plan of a worker's turn."""
        return int(self._places(worker, turn, 1)[0])

    def _places(self, worker: int, turn: int, count: int) -> U32Array:
        """The places in the plan of some of a worker's turns."""
        row = self._row_words[worker]
        places, first = row[ROW["places"]], row[ROW["place"]] + turn
        if places:
            return self.memory.view(places + 4 * turn, 4 * count).view(np.uint32)
        return np.arange(first, first + count, dtype=np.uint32)

    def outboxes_moved(self, worker: int, turns: int, distance: int) -> None:
        """The outboxes of a worker's first turns are somewhere else now."""
        self._array("outs")[self._places(worker, 0, turns)] += np.uint32(distance & 0xFFFFFFFF)

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
        self._array("fuel")[place], self._array("lengths")[place], self._array("outs")[place] = fuel, 0, 0
        self._array("marks")[place] = FAILED

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

    def commit(self, plan: U32Array, turns: Turns, wave: int) -> Commit:
        """See `Mailboxes`."""
        self._wide[0] = wave
        if self._laid_out:  # by the workers
            self._laid_out = False
            marks = self._marks()
            settled = not (marks & MALFORMED or (marks & WITH_GRANTS and self._denied_is_fault))
            self.begin_timers()
            return _HubCommit(self, aside=self._begin_aside(marks), settled=settled)
        count = self._take_plan(plan)
        self._need("faults", count)[:count] = turns.faults.view(np.uint32)
        self._need("lengths", count)[:count] = turns.outbox_bytes
        data = b"".join(turns.outboxes)
        part = self._parts["outboxes"]
        part.need(len(data))
        part.array.view(np.uint8)[: len(data)] = np.frombuffer(data, np.uint8)
        self._call["survey_all"](part.address)
        self.begin_timers()
        return _HubCommit(self, aside=False, settled=False)

    def advance(self) -> Stop:
        """Go on with a commit by one."""
        while (stop := self._commit() & 0xFF) in (GROW, GROW_TIMERS):
            if stop == GROW:
                self.make_room()
            else:
                self.grow_timers()
        return _STOPS[stop]

    # ---- commit by all workers ----

    def _marks(self) -> int:
        """Those of all outboxes of a wave that workers laid out."""
        marks = 0
        for row in self._row_words:
            marks |= row[ROW["marks"]]
        return marks

    def _begin_aside(self, marks: int) -> bool:
        """Have workers that attend commit, where they can do it all. Answers whether they do."""
        if marks & SPILLED:  # more room the next time; where there is no more to be had, the next time is later
            before = self._errand_room
            self._renew_errand_lists(2 * before)
            if self._errand_room <= before:
                self._alone = _ALONE_WAVES
        if not self.words[_SORTING] or marks & NEEDS_ONE:
            return False
        if marks & PUBLISHES and self.words[_STALE]:
            return False
        agents, rows = self.words[_AGENTS], self.rows
        self._array("was_ready")[:agents] = self._array("ready")[:agents]
        for name in ("member", "messages", "refused"):
            rows[name] = 0
        self._tell(DELIVER)
        return True

    def delivered(self) -> bool:
        """Wait for workers that commit. Answers whether that was all; if not, nothing has happened."""
        self._wait()
        rows = self.rows
        if self.gave_up:
            raise EnvironmentFailure("a worker gave up in the middle of a commit")
        if not rows["refused"].any():
            return True
        self._alone = _ALONE_WAVES
        for worker in range(len(rows)):
            self._call["withdraw"](self.row_address(worker))
        agents = self.words[_AGENTS]
        self._array("ready")[:agents] = self._array("was_ready")[:agents]
        return False

    def row_address(self, worker: int) -> int:
        """Where a worker's row of `rows` is."""
        return self._parts["rows"].address + WORKER.itemsize * worker

    def grow_after(self, worker: int, effect: int, move_log: Callable[[int, int, int], int]) -> None:
        """Make room in a log for what the effect at an address puts into one mailbox, or for a refusal of it."""
        frame = self.memory.view(effect, FRAME_HEADER.size).tobytes()
        size = frame_bytes(max(8, FRAME_HEADER.unpack(frame)[0])) + LETTER_BYTES
        self.grow_log(worker, size, move_log)

    def make_room(self) -> None:
        """Make room for the effect at hand of a commit by one."""
        self.grow_after(self.words[_FULL], self.words[_AT], self._call["move_log"])

    # ---- timers ----

    def begin_timers(self) -> None:
        """No timer was set yet in this wave, by anybody."""
        for _, words in self._timers:
            words[2] = words[0]

    def grow_timers(self, worker: int | None = None) -> None:
        """Make room for more of them: of a worker, or of a commit by one."""
        part, words = self._timers[0 if worker is None else 1 + worker]
        used = words[2] - words[0]
        part.need(2 * (used // TIMER.itemsize) + 1)
        words[0], words[1], words[2] = part.address, part.address + part.size, part.address + used

    def timers_set(self, *, aside: bool) -> TimerArray:
        """The timers that a commit set, by all workers or by one, in order."""
        rows = self._timers[1:] if aside else self._timers[:1]
        pieces = [self.memory.view(begin, end - begin).view(TIMER) for _, (begin, _, end) in rows if end > begin]
        if not pieces:
            return _NO_TIMERS
        found: TimerArray = np.concatenate(pieces)
        return found if len(pieces) == 1 else found[np.argsort(found["turn"], kind="stable")]


class _HubCommit:
    """A `core.mailboxes.Commit`."""

    def __init__(self, mailboxes: HubMailboxes, *, aside: bool, settled: bool) -> None:
        self._mailboxes = mailboxes
        self._words = mailboxes.words
        self.settled = settled
        self.aside = aside
        for word in (_TURN, _STAGE, _EXITING, _MESSAGES, _ENDS, WORD["member"]):
            self._words[word] = 0
        self.turn = self.receiver = self.reason = 0
        self._frame_at = 0

    def advance(self) -> Stop:
        """See `Commit`."""
        if self.aside and self._mailboxes.delivered():
            return Stop.DONE
        self.aside = False
        stop = self._mailboxes.advance()
        words = self._words
        self.turn, self.receiver, self.reason = words[_TURN], words[_RECEIVER], words[_REASON]
        self._frame_at = words[_FRAME if stop is Stop.EFFECT else _AT]
        return stop

    @property
    def frame(self) -> bytes:
        """See `Commit`."""
        memory = self._mailboxes.memory
        (size,) = U32.unpack(memory.view(self._frame_at, U32.size).data)
        return memory.view(self._frame_at, frame_bytes(size)).tobytes()

    @property
    def outbox(self) -> bytes:
        """See `Commit`."""
        begin, end = self._words[_AT], self._words[_END]
        return self._mailboxes.memory.view(begin, end - begin).tobytes()

    def skip(self) -> None:
        """See `Commit`."""
        self._words[_AT] = self._words[_END]

    def exit(self) -> None:
        """See `Commit`."""
        self._words[_EXITING] = 1

    @property
    def messages(self) -> int:
        """See `Commit`."""
        return int(self._mailboxes.rows["messages"].sum()) if self.aside else self._words[_MESSAGES]

    @property
    def timers(self) -> TimerArray:
        """See `Commit`."""
        return self._mailboxes.timers_set(aside=self.aside)

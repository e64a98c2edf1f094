"""A wave in the hub: its plan, who takes which turns of it, and what came of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from wavelock.core.homes import Part
from wavelock.core.shard import Bytes, Turns, U32Array, gather
from wavelock.core.turns import WaveHeader
from wavelock.wasm_engines.hub.instance import HubInstance
from wavelock.wasm_engines.hub.layout import FAILED, ROW, WORD
from wavelock.wasm_engines.hub.memory import PAGE_BYTES, PAGES

_NEW: Final = tuple(ROW[name] for name in ("turns", "turn", "at", "marks", "examined"))
"""The words of a worker's row that a wave begins with at 0."""
_BEGUN: Final = tuple(WORD[name] for name in ("turn", "stage", "filled", "taken"))
"""And those of the hub."""
_TURNS, _HASHING = WORD["turns"], WORD["hashing"]


class _Columns:
    """The plan and what comes of its turns, an entry each: good for waves of as many turns, one after the other."""

    def __init__(self, hub: HubInstance, count: int, *, hashing: bool) -> None:
        self.count = count
        self.plan, self.lengths, self.outs, self.marks, self.fuel = (
            hub.need(name, count)[:count] for name in ("plan", "lengths", "outs", "marks", "fuel")
        )
        self.faults, self.details = (hub.need(name, count)[:count].view(np.int32) for name in ("faults", "details"))
        self.hashes: U32Array | None = hub.need("hashes", count)[:count] if hashing else None


class HubWave:
    """The wave at hand. What comes of its turns is in columns, in plan order, valid until the next wave."""

    def __init__(self, hub: HubInstance) -> None:
        self._hub = hub
        self._parts: Sequence[Part] = ()
        self.hash_outboxes(False)

    def hash_outboxes(self, hashing: bool) -> None:
        """Whether turns come with the hashes of their outboxes, from the next wave on."""
        self.hashing = hashing
        self.columns = _Columns(self._hub, 0, hashing=hashing)

    def take_plan(self, plan: U32Array) -> int:
        """Bring a plan to the hub, and begin at its first turn. Answers how many turns it has."""
        count, columns, words = len(plan), self.columns, self._hub.words
        if columns.count != count:
            columns = self.columns = _Columns(self._hub, count, hashing=self.hashing)
        columns.plan[:] = plan
        columns.marks[:] = 0
        words[_TURNS] = count
        for word in _BEGUN:
            words[word] = 0
        return count

    def tell_header(self, header: WaveHeader) -> None:
        """What the turn headers of the wave have in common."""
        self._hub.wide[0], self._hub.wide[1], self._hub.wide[2] = header

    def lay(self, plan: U32Array, header: WaveHeader, parts: Sequence[Part]) -> None:
        """Lay out a wave whose turns workers take: parts of it each."""
        hub, count = self._hub, self.take_plan(plan)
        columns = self.columns
        columns.faults[:] = 0
        columns.details[:] = 0
        if columns.hashes is not None:
            columns.hashes[:] = 0
        hub.words[_HASHING] = self.hashing
        self.tell_header(header)
        self._parts = parts
        for row in hub.row_words:
            for word in _NEW:
                row[word] = 0
        self._lay_places(count)

    def _lay_places(self, count: int) -> None:
        """Tell workers where in the plan their turns are."""
        at = 0
        for part in self._parts:
            row = self._hub.row_words[part.worker]
            row[ROW["turns"]] = part.size
            if isinstance(part.places, slice):
                row[ROW["places"]], row[ROW["place"]] = 0, part.places.start
            else:
                self._hub.need("places", count)[at : at + part.size] = part.places
                row[ROW["places"]] = self._hub.address("places") + 4 * at
                at += part.size

    def collect(self) -> Turns:
        """What came of the turns."""
        hub, columns = self._hub, self.columns
        if all(isinstance(part.places, slice) for part in self._parts):
            rows = [hub.row_words[part.worker] for part in self._parts]
            pieces: list[Bytes] = [hub.memory.view(row[ROW["out"]], row[ROW["at"]]).data for row in rows]
        else:
            whole = hub.memory.view(0, PAGES * PAGE_BYTES).data
            pieces = [gather(whole, columns.outs.astype(np.uint64), columns.lengths)]
        return Turns(columns.fuel, columns.faults, columns.details, columns.lengths, pieces, columns.hashes)

    @property
    def marks(self) -> int:
        """Those of all outboxes that workers laid out."""
        marks = 0
        for row in self._hub.row_words:
            marks |= row[ROW["marks"]]
        return marks

    # ---- for shards, while they take turns ----

    def place_of(self, worker: int, turn: int) -> int:
        """The place in the plan of a worker's turn."""
        return int(self._places(worker, turn, 1)[0])

    def _places(self, worker: int, turn: int, count: int) -> U32Array:
        """The places in the plan of some of a worker's turns."""
        row = self._hub.row_words[worker]
        places, first = row[ROW["places"]], row[ROW["place"]] + turn
        if places:
            return self._hub.memory.view(places + 4 * turn, 4 * count).view(np.uint32)
        return np.arange(first, first + count, dtype=np.uint32)

    def outboxes_moved(self, worker: int, turns: int, distance: int) -> None:
        """The outboxes of a worker's first turns are somewhere else now."""
        self.columns.outs[self._places(worker, 0, turns)] += np.uint32(distance & 0xFFFFFFFF)

    def planned(self, place: int) -> int:
        """The agent at a place of the plan."""
        return int(self.columns.plan[place])

    def result(self, place: int) -> tuple[int, int]:
        """The fuel that a turn used, and what it answered."""
        return int(self.columns.fuel[place]), int(self.columns.lengths.view(np.int32)[place])

    def failed(self, place: int, fault: int, detail: int, fuel: int) -> None:
        """The outcome of a turn that failed."""
        columns = self.columns
        columns.faults[place], columns.details[place] = fault, detail
        columns.fuel[place], columns.lengths[place], columns.outs[place] = fuel, 0, 0
        columns.marks[place] = FAILED

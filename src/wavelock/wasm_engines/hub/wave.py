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

_NEW: Final = ("turns", "turn", "at", "marks", "examined")
"""The words of a worker's row that a wave begins with at 0."""


class HubWave:
    """The wave at hand. What comes of its turns is in columns, in plan order, valid until the next wave."""

    def __init__(self, hub: HubInstance) -> None:
        self._hub = hub
        self._parts: Sequence[Part] = ()
        self.hashing = False

    def take_plan(self, plan: U32Array) -> int:
        """Bring a plan to the hub, and begin at its first turn. Answers how many turns it has."""
        hub, count = self._hub, len(plan)
        hub.need("plan", count)[:count] = plan
        for name in ("lengths", "outs"):
            hub.need(name, count)
        hub.need("marks", count)[:count] = 0
        words = hub.words
        words[WORD["turns"]] = count
        for name in ("turn", "stage", "filled", "taken"):
            words[WORD[name]] = 0
        return count

    def tell_header(self, header: WaveHeader) -> None:
        """What the turn headers of the wave have in common."""
        self._hub.wide[0], self._hub.wide[1], self._hub.wide[2] = header

    def lay(self, plan: U32Array, header: WaveHeader, parts: Sequence[Part]) -> None:
        """Lay out a wave whose turns workers take: parts of it each."""
        hub, count = self._hub, self.take_plan(plan)
        for name in ("faults", "details"):
            hub.need(name, count)[:count] = 0
        hub.need("fuel", count)
        if self.hashing:
            hub.need("hashes", count)[:count] = 0
        hub.words[WORD["hashing"]] = self.hashing
        self.tell_header(header)
        self._parts = parts
        for row in hub.row_words:
            for name in _NEW:
                row[ROW[name]] = 0
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
        hub = self._hub
        count = hub.words[WORD["turns"]]
        fuel, faults, details, lengths, outs, hashes = (
            hub.array(name)[:count] for name in ("fuel", "faults", "details", "lengths", "outs", "hashes")
        )
        if all(isinstance(part.places, slice) for part in self._parts):
            rows = [hub.row_words[part.worker] for part in self._parts]
            pieces: list[Bytes] = [hub.memory.view(row[ROW["out"]], row[ROW["at"]]).data for row in rows]
        else:
            pieces = [gather(hub.memory.view(0, PAGES * PAGE_BYTES).data, outs.astype(np.uint64), lengths)]
        return Turns(
            fuel, faults.view(np.int32), details.view(np.int32), lengths, pieces, hashes if self.hashing else None
        )

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
        self._hub.array("outs")[self._places(worker, 0, turns)] += np.uint32(distance & 0xFFFFFFFF)

    def planned(self, place: int) -> int:
        """The agent at a place of the plan."""
        return int(self._hub.array("plan")[place])

    def result(self, place: int) -> tuple[int, int]:
        """The fuel that a turn used, and what it answered."""
        return int(self._hub.array("fuel")[place]), int(self._hub.array("lengths").view(np.int32)[place])

    def failed(self, place: int, fault: int, detail: int, fuel: int) -> None:
        """The outcome of a turn that failed."""
        for name, value in (("faults", fault), ("details", detail)):
            self._hub.array(name).view(np.int32)[place] = value
        for name, value in (("fuel", fuel), ("lengths", 0), ("outs", 0), ("marks", FAILED)):
            self._hub.array(name)[place] = value

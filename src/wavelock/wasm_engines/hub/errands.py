"""Errands: what workers write down for each other in a wave that they will commit together."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from wavelock.core.errors import EnvironmentFailure
from wavelock.wasm_engines.hub.instance import HubInstance
from wavelock.wasm_engines.hub.layout import ERRAND_BYTES, ERRANDS, ROW, WORD
from wavelock.wasm_engines.hub.memory import Part

MOST_ERRAND_BYTES: Final = 1 << 29
"""So much of the memory errands take at most; where they would take more, one commits."""
_SORTING: Final = WORD["sorting"]


class Errands:
    """A list of each worker for each, all of one length.

    They are laid, or left, before workers are told to take turns, who write them; a commit by all reads them.
    """

    def __init__(self, hub: HubInstance) -> None:
        self._hub = hub
        self._parts = [Part(hub.memory, np.uint8) for _ in hub.row_words]
        self._lists: list[Any] = []
        self._room = 0

    def lay(self, most: int) -> bool:
        """Have them written in the coming wave. Answers whether there is room. most: turns of the worker with most."""
        if most > self._room or not self._lists:
            self._renew(max(most, self._room))
        for lists in self._lists:
            lists["count"] = lists["done"] = 0
        self._hub.words[_SORTING] = self._room if self._lists else 0
        return bool(self._lists)

    def leave(self) -> None:
        """Have none written in the coming wave."""
        self._hub.words[_SORTING] = 0

    @property
    def laid(self) -> bool:
        """Whether there are any of the wave at hand."""
        return bool(self._hub.words[_SORTING])

    def lengthen(self) -> bool:
        """Make all lists twice as long. Answers whether that was possible."""
        before = self._room
        self._renew(2 * before)
        return self._room > before

    def _renew(self, room: int) -> None:
        try:
            self._lists = self._make(room)
        except EnvironmentFailure:  # the memory is nearly full: one commits, who needs none of this
            self._lists, self._room = [], 0

    def _make(self, room: int) -> list[Any]:
        """Lists of room for so many errands, or for as many as there may be; none where that is too few."""
        workers = len(self._parts)
        head = -(-ERRANDS.itemsize * workers // 64) * 64
        whole = 1 << (head + workers * ERRAND_BYTES * room - 1).bit_length()  # what a part takes
        whole = min(whole, 1 << (MOST_ERRAND_BYTES // workers).bit_length() >> 1)
        self._room = (whole - head) // (workers * ERRAND_BYTES) if whole > head else 0
        if self._room == 0:
            return []
        made = []
        for row, part in zip(self._hub.row_words, self._parts, strict=True):
            part.need(head + workers * ERRAND_BYTES * self._room)
            row[ROW["errands"]] = part.address
            lists = self._hub.memory.view(part.address, ERRANDS.itemsize * workers).view(ERRANDS)
            lists["begin"] = part.address + head + ERRAND_BYTES * self._room * np.arange(workers)
            made.append(lists)
        return made

    def close(self) -> None:
        """Look at the memory no more."""
        self._parts.clear()
        self._lists.clear()

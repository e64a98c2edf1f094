"""Rows of the timers that agents set in a wave."""

from __future__ import annotations

from typing import Final

import numpy as np

from wavelock.core.mailboxes import TIMER, TimerArray
from wavelock.wasm_engines.hub.instance import HubInstance
from wavelock.wasm_engines.hub.layout import ROW, WORD
from wavelock.wasm_engines.hub.memory import Part

_NONE: Final = np.zeros(0, TIMER)


class SetTimers:
    """A row of those that a commit by one sets, and a row of each worker."""

    def __init__(self, hub: HubInstance) -> None:
        self._memory = hub.memory
        words = (hub.words[WORD["timers"] :], *(row[ROW["timers"] :] for row in hub.row_words))
        self._rows = [(Part(hub.memory, TIMER), each[:3]) for each in words]
        """Of each its part, and the words that say where it begins, where it may end, and where it ends."""

    def begin(self) -> None:
        """No timer was set yet in this wave, by anybody."""
        for _, words in self._rows:
            words[2] = words[0]

    def grow(self, worker: int | None = None) -> None:
        """Make room for more of them: of a worker, or of a commit by one."""
        part, words = self._rows[0 if worker is None else 1 + worker]
        used = words[2] - words[0]
        part.need(2 * (used // TIMER.itemsize) + 1)
        words[0], words[1], words[2] = part.address, part.address + part.size, part.address + used

    def found(self, *, aside: bool) -> TimerArray:
        """The timers that a commit set, by all workers or by one, in order."""
        rows = self._rows[1:] if aside else self._rows[:1]
        pieces = [self._memory.view(begin, end - begin).view(TIMER) for _, (begin, _, end) in rows if end > begin]
        if not pieces:
            return _NONE
        found: TimerArray = np.concatenate(pieces)
        return found if len(pieces) == 1 else found[np.argsort(found["turn"], kind="stable")]

    def close(self) -> None:
        """Look at the memory no more."""
        self._rows.clear()

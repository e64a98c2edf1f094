"""Where the time of a run goes: wall time of each phase of a wave, summed over all waves."""

from __future__ import annotations

import time
from typing import Final

PHASES: Final = ("create", "intake", "plan", "turns", "commit", "digest", "models", "journal", "observe")
"""In the order of a wave. `ARCHITECTURE.md` has what each does; a clock is read between two of them."""


class PhaseTimes:
    """A stopwatch that is told what just ended."""

    def __init__(self) -> None:
        self.ns = dict.fromkeys(PHASES, 0)
        self._last = 0

    def begin(self) -> None:
        """A wave begins."""
        self._last = time.perf_counter_ns()

    def ended(self, phase: str) -> None:
        """A phase ended: the time since the one before is its own."""
        now = time.perf_counter_ns()
        self.ns[phase] += now - self._last
        self._last = now

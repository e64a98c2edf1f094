"""Where the time of a run goes: wall time of each phase of a wave, summed over all waves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from wavelock.core.resident import resident_bytes

PHASES: Final = ("create", "intake", "plan", "turns", "commit", "digest", "models", "journal", "observe")
"""In the order of a wave. `ARCHITECTURE.md` has what each does; a clock is read between two of them."""


MANY: Final = 1000
"""What fewer agents take says more of everything that is made along with the first of them."""


class PhaseTimes:
    """A stopwatch that is told what just ended.

    ns: by phase. made: agents that were made so far. agent_bytes: what each of the first ones took of the process's
    resident memory, None for fewer than `MANY` and where the system does not tell.
    """

    def __init__(self) -> None:
        self.ns = dict.fromkeys(PHASES, 0)
        self.made = 0
        self.agent_bytes: float | None = None
        self._last = 0

    def begin(self) -> None:
        """A wave begins."""
        self._last = time.perf_counter_ns()

    def ended(self, phase: str) -> None:
        """A phase ended: the time since the one before is its own."""
        now = time.perf_counter_ns()
        self.ns[phase] += now - self._last
        self._last = now

    @contextmanager
    def making(self, agents: int) -> Iterator[None]:
        """Within it so many agents are made."""
        before = resident_bytes() if agents >= MANY and not self.made else None
        yield
        self.made += agents
        if before is not None and (after := resident_bytes()) is not None:
            self.agent_bytes = max(0, after - before) / agents

"""The commit of a wave: by hub.c on the orchestrator's side, or by all workers where that comes to the same."""

from __future__ import annotations

from typing import Final

import numpy as np

from wavelock.core.abi import FRAME_HEADER, U32, frame_bytes
from wavelock.core.errors import EnvironmentFailure
from wavelock.core.mailboxes import Stop, TimerArray
from wavelock.wasm_engines.hub.errands import Errands
from wavelock.wasm_engines.hub.gate import Gate
from wavelock.wasm_engines.hub.instance import HubInstance, MoveLog
from wavelock.wasm_engines.hub.layout import (
    DELIVER,
    GROW,
    GROW_TIMERS,
    LETTER_BYTES,
    MALFORMED,
    NEEDS_ONE,
    PUBLISHES,
    SPILLED,
    WITH_GRANTS,
    WORD,
)
from wavelock.wasm_engines.hub.timers import SetTimers

MANY_TURNS: Final = 64
"""From so many turns on several workers commit."""
_ALONE_WAVES: Final = 16
"""So many waves are committed by one after workers had to take a commit back."""
_STOPS: Final = {int(stop): stop for stop in Stop}
_AGENTS, _FULL, _MESSAGES, _STALE = (WORD[name] for name in ("agents", "full", "messages", "stale"))
_TURN, _AT, _END, _FRAME, _EXITING = (WORD[name] for name in ("turn", "at", "end", "frame", "exiting"))
_RECEIVER, _REASON = WORD["receiver"], WORD["reason"]
_NEW: Final = tuple(WORD[name] for name in ("turn", "stage", "exiting", "messages", "ends", "member"))
"""The words that a commit begins with at 0."""


class Committer:
    """Commits, one wave after the other.

    `ready` is saved before workers are told to deliver, as they may have to take it back. What they set or sent counts
    once they have done it all.
    """

    def __init__(self, hub: HubInstance, gate: Gate) -> None:
        self.hub = hub
        self.timers = SetTimers(hub)
        self._gate = gate
        self._errands = Errands(hub)
        self._alone = 0

    def prepare(self, turns: int, most: int) -> None:
        """Have workers sort what outboxes ask, where they will commit together. most: turns that one of them has."""
        self._errands.leave()
        if not self._gate.attended or turns < MANY_TURNS:
            return
        if self._alone:  # something was refused lately, and mostly is again
            self._alone -= 1
        elif not self._errands.lay(most):
            self._alone = _ALONE_WAVES

    def begin(self, marks: int | None, *, denied_is_fault: bool) -> HubCommit:
        """Begin with a wave. marks: of all outboxes, where workers laid them out."""
        self.timers.begin()
        if marks is None:
            return HubCommit(self, aside=False, settled=False)
        settled = not (marks & MALFORMED or (marks & WITH_GRANTS and denied_is_fault))
        return HubCommit(self, aside=self._begin_aside(marks), settled=settled)

    def _begin_aside(self, marks: int) -> bool:
        """Have workers that attend commit, where they can do it all. Answers whether they do."""
        if marks & SPILLED and not self._errands.lengthen():
            self._alone = _ALONE_WAVES
        hub = self.hub
        if not self._errands.laid or marks & NEEDS_ONE or (marks & PUBLISHES and hub.words[_STALE]):
            return False
        agents = hub.words[_AGENTS]
        hub.array("was_ready")[:agents] = hub.array("ready")[:agents]
        for name in ("member", "messages", "refused"):
            hub.rows[name] = 0
        self._gate.tell(DELIVER)
        return True

    def delivered(self) -> bool:
        """Wait for workers that commit. Answers whether that was all; if not, nothing has happened."""
        self._gate.wait()
        hub = self.hub
        if self._gate.gave_up:
            raise EnvironmentFailure("a worker gave up in the middle of a commit")
        if not hub.rows["refused"].any():
            return True
        self._alone = _ALONE_WAVES
        for worker in range(len(hub.rows)):
            hub.call["withdraw"](hub.row_address(worker))
        agents = hub.words[_AGENTS]
        hub.array("ready")[:agents] = hub.array("was_ready")[:agents]
        return False

    def advance(self) -> Stop:
        """Go on with a commit by one."""
        commit = self.hub.call["commit"]
        while (stop := commit() & 0xFF) in (GROW, GROW_TIMERS):
            if stop == GROW:
                words = self.hub.words
                self.grow_after(words[_FULL], words[_AT], self.hub.call["move_log"])
            else:
                self.timers.grow()
        return _STOPS[stop]

    def grow_after(self, worker: int, effect: int, move_log: MoveLog) -> None:
        """Make room in a log for what the effect at an address puts into one mailbox, or for a refusal of it."""
        frame = self.hub.memory.view(effect, FRAME_HEADER.size).tobytes()
        size = frame_bytes(max(8, FRAME_HEADER.unpack(frame)[0])) + LETTER_BYTES
        self.hub.grow_log(worker, size, move_log)

    def close(self) -> None:
        """Look at the memory no more."""
        self.timers.close()
        self._errands.close()


class HubCommit:
    """A `core.mailboxes.Commit`."""

    def __init__(self, committer: Committer, *, aside: bool, settled: bool) -> None:
        """aside: workers commit already. settled: see `Commit`."""
        self._committer = committer
        self._hub = committer.hub
        self._words = committer.hub.words
        self.settled = settled
        self.aside = aside
        for word in _NEW:
            self._words[word] = 0
        self.turn = self.receiver = self.reason = 0
        self._frame_at = 0

    def advance(self) -> Stop:
        """See `Commit`."""
        if self.aside and self._committer.delivered():
            return Stop.DONE
        self.aside = False
        stop = self._committer.advance()
        words = self._words
        self.turn, self.receiver, self.reason = words[_TURN], words[_RECEIVER], words[_REASON]
        self._frame_at = words[_FRAME if stop is Stop.EFFECT else _AT]
        return stop

    @property
    def frame(self) -> bytes:
        """See `Commit`."""
        memory = self._hub.memory
        (size,) = U32.unpack(memory.view(self._frame_at, U32.size).data)
        return memory.view(self._frame_at, frame_bytes(size)).tobytes()

    @property
    def outbox(self) -> bytes:
        """See `Commit`."""
        begin, end = self._words[_AT], self._words[_END]
        return self._hub.memory.view(begin, end - begin).tobytes()

    def skip(self) -> None:
        """See `Commit`."""
        self._words[_AT] = self._words[_END]

    def exit(self) -> None:
        """See `Commit`."""
        self._words[_EXITING] = 1

    @property
    def messages(self) -> int:
        """See `Commit`."""
        return int(np.add.reduce(self._hub.rows["messages"])) if self.aside else self._words[_MESSAGES]

    @property
    def timers(self) -> TimerArray:
        """See `Commit`."""
        return self._committer.timers.found(aside=self.aside)

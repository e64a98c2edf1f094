"""Fuel and depth in one function: what is charged where, and where the fuel left is at each moment.

The fuel left is in a global. A function that is at work on it keeps it in a local, since a global in a loop costs as
much as the loop. Two facts are followed through the code: `held` (the local has the fuel left) and `dirty` (the global
does not). Where ways through the code meet, one state must hold on all of them:
- outside loops: the global has it, the local need not;
- inside a loop: the local has it, the global need not.
Before a call the global must have it; behind one only the global does.
"""

from __future__ import annotations

from wavelock.core.form.additions import Additions
from wavelock.core.form.edits import Edit, Edits


class Meter:
    """The fuel of one function, while the walk goes over it. See `docs/fuel.md` for what a segment is."""

    def __init__(self, additions: Additions, edits: Edits, local: int, first_cost: int) -> None:
        """local: the one that holds the fuel left. first_cost: what entering the function costs."""
        self.cost = first_cost
        """Of the segment so far."""
        self.segments = 0
        self.local = local
        self.held = False
        self.dirty = False
        self._additions = additions
        self._edits = edits
        self._place: Edit | None = None
        self._charged = False
        self._loads = False
        self._depth = 0

    # ---- segments ----

    def begin(self, offset: int, depth: int) -> None:
        """A segment begins at `offset`. depth: the label there of the block that ends where fuel runs out."""
        self._place, self._depth = self._edits.insert(offset), depth
        self._charged = False

    def reach(self) -> None:
        """Take note that the segment at hand charges, as something that depends on it comes next."""
        if self.cost and not self._charged:
            self._charged, self._loads = True, not self.held
            self.held = self.dirty = True

    def end(self) -> None:
        """The segment ends: what it costs is known."""
        self.reach()
        if self._charged and self._place is not None:
            self._place.code = self._additions.charge(self.cost, self.local, self._loads, self._depth)
            self.segments += not self._edits.muted
        self._place, self._charged, self.cost = None, False, 0

    # ---- where the fuel is ----

    def store(self) -> bytes:
        """Code that brings the global up to date, where it is not; afterwards it is."""
        if not self.dirty:
            return b""
        self.dirty = False
        return self._additions.store_fuel(self.local)

    def load(self) -> bytes:
        """Code that brings the local up to date, where it is not; afterwards it is."""
        if self.held:
            return b""
        self.held = True
        return self._additions.load_fuel(self.local)

    def meet(self, in_loop: bool) -> bytes:
        """Code that makes the state the one in which ways meet."""
        return self.load() if in_loop else self.store()

    def met(self, in_loop: bool) -> None:
        """The state behind a place where ways meet: no more is known than holds on all of them."""
        self.held = self.dirty = in_loop

    def called(self) -> None:
        """Something that uses fuel by itself has run."""
        self.held = self.dirty = False

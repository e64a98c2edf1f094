"""Fuel and depth in one function: what is charged where, and where the fuel left is at each moment.

The fuel left is in a global. A function that is at work on it keeps it in a local, since a global in a loop costs as
much as the loop. Two facts are followed through the code: `held` (the local has the fuel left) and `dirty` (the global
does not). Where ways through the code meet, one state must hold on all of them:
- at the end of an inner block, and at the head of a loop: the local has it, the global need not;
- at the end of the function: the global has it.
Before a call the global must have it; behind one only the global does.

Every segment is charged, but whether the fuel has run out is looked at only where a function begins, at the head of
each loop, and at the end of the turn: no way through the code is endless without passing one of these.
"""

from __future__ import annotations

from wavelock.core.form.additions import Additions
from wavelock.core.form.costs import PARTS
from wavelock.core.form.edits import Edit, Edits


class Meter:
    """The fuel of one function, while the walk goes over it. See `docs/fuel.md` for what a segment is."""

    def __init__(self, additions: Additions, edits: Edits, local: int, first_cost: int) -> None:
        """local: the one that holds the fuel left. first_cost: what entering the function costs."""
        self.cost = first_cost
        """Of the segment so far, in eighths of a unit."""
        self.segments = 0
        self.checked_entry = False
        """The function's first segment costs something, and is checked."""
        self.local = local
        self.held = False
        self.dirty = False
        self._additions = additions
        self._edits = edits
        self._place: Edit | None = None
        self._charged = False
        self._loads = False
        self._depth = 0
        self._check = False
        self._entry = False

    # ---- segments ----

    def begin(self, offset: int, depth: int, *, check: bool = False) -> None:
        """A segment begins at `offset`.

        check: find out here whether the fuel has run out. depth: the label there of the block that ends where it has.
        """
        self._place, self._depth, self._check = self._edits.insert(offset), depth, check
        self._charged = False

    def reach(self) -> None:
        """Take note that the segment at hand charges, as something that depends on it comes next."""
        if (self.cost >= PARTS or self._check) and not self._charged:
            self._charged, self._loads = True, not self.held
            self.held = self.dirty = True

    def end(self) -> None:
        """The segment ends: what it costs is known."""
        self.reach()
        if self._charged and self._place is not None:
            if self._entry:
                self.checked_entry = self._check = True
            self._place.code = self._additions.charge(
                self.cost // PARTS, self.local, loads=self._loads, check=self._check, depth=self._depth
            )
            self.segments += not self._edits.muted
        self._place, self._charged, self._check, self._entry, self.cost = None, False, False, False, 0

    def begin_function(self, offset: int) -> None:
        """The first segment of the function begins at `offset`; it is checked if it costs anything."""
        self.begin(offset, 1)
        self._entry = True

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

    def meet(self, inner: bool) -> bytes:
        """Code that makes the state the one in which ways meet."""
        return self.load() if inner else self.store()

    def met(self, inner: bool) -> None:
        """The state behind a place where ways meet: no more is known than holds on all of them."""
        self.held = self.dirty = inner

    def called(self) -> None:
        """Something that uses fuel by itself has run."""
        self.held = self.dirty = False

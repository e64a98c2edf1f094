"""Changes to a span of a module's bytes: what is inserted, replaced or left out, applied in one go at the end.

A place can be reserved before it is known what stands there, which is what metering needs: a charge stands where its
segment begins and is known where it ends.
"""

from __future__ import annotations

from typing import Final


class Edit:
    """One change: `code` stands at `offset`, and the original goes on at `resume`.

    taken: where in `code` a branch begins that is nearly always taken.
    """

    __slots__ = ("code", "offset", "rank", "resume", "taken")

    def __init__(self, offset: int, rank: int, code: bytes, resume: int) -> None:
        self.offset = offset
        self.rank = rank
        self.code = code
        self.resume = resume
        self.taken: int | None = None


BEHIND: Final = 0
"""At an offset that ends one operator and begins another: belongs to the first, so it comes before the rest."""
BEFORE: Final = 1


class Edits:
    """The changes to one function's code."""

    def __init__(self) -> None:
        self._edits: list[Edit] = []
        self.muted = False
        """The walk is in dead code, all of which is left out."""

    def insert(self, offset: int, code: bytes = b"", rank: int = BEFORE) -> Edit:
        """Code before the operator at `offset`; several at one place stand in the order in which they came."""
        edit = Edit(offset, rank, code, offset)
        if not self.muted:
            self._edits.append(edit)
        return edit

    def apply(self, data: bytes, start: int, end: int) -> tuple[bytes, list[int]]:
        """The changed bytes of data[start:end], and where in them the branches begin that are nearly always taken."""
        parts, position, length, taken = [], start, 0, []
        for edit in sorted(self._edits, key=_place):
            if edit.offset > position:
                parts.append(data[position : edit.offset])
                length += edit.offset - position
                position = edit.offset
            if edit.taken is not None:
                taken.append(length + edit.taken)
            parts.append(edit.code)
            length += len(edit.code)
            position = max(position, edit.resume)
        parts.append(data[position:end])
        return b"".join(parts), taken


def _place(edit: Edit) -> tuple[int, int]:
    return edit.offset, edit.rank

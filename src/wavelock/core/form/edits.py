"""Changes to a span of a module's bytes: what is inserted, replaced or left out, applied in one go at the end.

A place can be reserved before it is known what stands there, which is what metering needs: a charge stands where its
segment begins and is known where it ends.
"""

from __future__ import annotations

from typing import Final


class Edit:
    """One change: `code` stands at `offset`, and the original goes on at `resume`."""

    __slots__ = ("code", "offset", "rank", "resume")

    def __init__(self, offset: int, rank: int, code: bytes, resume: int) -> None:
        self.offset = offset
        self.rank = rank
        self.code = code
        self.resume = resume


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

    def apply(self, data: bytes, start: int, end: int) -> bytes:
        """The changed bytes of data[start:end]."""
        parts, position = [], start
        for edit in sorted(self._edits, key=_place):
            if edit.offset > position:
                parts.append(data[position : edit.offset])
                position = edit.offset
            parts.append(edit.code)
            position = max(position, edit.resume)
        parts.append(data[position:end])
        return b"".join(parts)


def _place(edit: Edit) -> tuple[int, int]:
    return edit.offset, edit.rank

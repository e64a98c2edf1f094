"""Makes the random bytes behind a finding fewer and simpler for as long as the finding stays."""

from __future__ import annotations

from collections.abc import Callable

Stays = Callable[[bytes], bool]
"""Whether what was found is still there with these bytes."""


def reduced(content: bytes, stays: Stays, tries: int = 300) -> bytes:
    """Pieces are cut out, then made zero: halves first, then quarters, down to one byte. Asks at most `tries` times."""
    left = _Tries(stays, tries)
    content = _pieces(content, left, lambda piece: b"")
    return _pieces(content, left, lambda piece: bytes(len(piece)))


class _Tries:
    """A bounded number of questions."""

    def __init__(self, stays: Stays, tries: int) -> None:
        self._stays = stays
        self.tries = tries

    def ask(self, content: bytes) -> bool:
        self.tries -= 1
        return self._stays(content)


def _pieces(content: bytes, left: _Tries, other: Callable[[bytes], bytes]) -> bytes:
    size = max(1, len(content) // 2)
    while size:
        at = 0
        while at < len(content) and left.tries > 0:
            piece = content[at : at + size]
            changed = content[:at] + other(piece) + content[at + size :]
            if changed != content and left.ask(changed):
                content = changed
                at += len(other(piece))
            else:
                at += size
        size //= 2
    return content

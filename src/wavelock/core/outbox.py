"""An outbox's bytes to effects: checked whole before any effect happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from wavelock.core.abi import FRAME_HEADER, LOG_LEVELS, PADDING, U16, Outbound, padded


class Effect(NamedTuple):
    """One frame of an outbox. The payload is data[start:end]; with padding it ends at `next`."""

    kind: int
    peer: int
    tag: int
    start: int
    end: int
    next: int


EffectTuple = tuple[int, int, int, int, int, int]


def read_effect(data: bytes) -> Effect:
    """The effect of one frame, which was checked."""
    length, kind, _, peer, tag = FRAME_HEADER.unpack_from(data)
    start = FRAME_HEADER.size
    return Effect(kind, peer, tag, start, start + length, start + padded(length))


class MalformedOutboxError(Exception):
    """An outbox that does not parse: offset of the frame, and what is wrong with it."""

    def __init__(self, offset: int, what: str) -> None:
        super().__init__(offset, what)
        self.offset = offset
        self.what = what


Check = Callable[[bytes, int, int, int], "str | None"]
"""(data, peer, payload start, payload length) to what is wrong."""


def _exact(length: int) -> Check:
    def check(_data: bytes, peer: int, _start: int, size: int) -> str | None:
        if peer:
            return f"peer {peer}, expected 0"
        return None if size == length else f"payload of {size} bytes, expected {length}"

    return check


def _peer_zero(_data: bytes, peer: int, _start: int, _size: int) -> str | None:
    return f"peer {peer}, expected 0" if peer else None


def _log(_data: bytes, peer: int, _start: int, _size: int) -> str | None:
    return None if peer < len(LOG_LEVELS) else f"log level {peer}, expected 0 to {len(LOG_LEVELS) - 1}"


def _put(data: bytes, peer: int, start: int, size: int) -> str | None:
    if peer:
        return f"peer {peer}, expected 0"
    if size < U16.size or U16.size + U16.unpack_from(data, start)[0] > size:
        return f"a key that ends past the payload's {size} bytes"
    return None


def _no_payload(_data: bytes, _peer: int, _start: int, size: int) -> str | None:
    return f"payload of {size} bytes, expected none" if size else None


def _anything(_data: bytes, _peer: int, _start: int, _size: int) -> str | None:
    return None


_CHECKS: Final[dict[int, Check]] = {
    Outbound.SEND: _anything,
    Outbound.PUBLISH: _anything,
    Outbound.INFER: _anything,
    Outbound.PUT: _put,
    Outbound.GET: _peer_zero,
    Outbound.SPAWN: _anything,
    Outbound.STOP: _no_payload,
    Outbound.TIMER: _exact(8),
    Outbound.LOG: _log,
    Outbound.YIELD: _exact(0),
    Outbound.EXIT: _exact(4),
    Outbound.WATCH: _peer_zero,
}
_HEADER_BYTES: Final = FRAME_HEADER.size


def parse_outbox(data: bytes) -> list[EffectTuple]:
    """All effects of an outbox, in order, as the plain tuples of `Effect`: this runs once a message.

    Raises MalformedOutboxError for anything the ABI does not allow.
    """
    effects: list[EffectTuple] = []
    at, size = 0, len(data)
    unpack, checks = FRAME_HEADER.unpack_from, _CHECKS
    while at < size:
        start = at + _HEADER_BYTES
        if start > size:
            raise MalformedOutboxError(at, f"{size - at} bytes left, a frame's header takes {_HEADER_BYTES}")
        length, kind, flags, peer, tag = unpack(data, at)
        end = start + length
        following = (end + 7) & ~7
        if following > size:
            raise MalformedOutboxError(at, f"payload of {length} bytes ends past the outbox's {size}")
        check = checks.get(kind)
        if check is None or flags:
            raise MalformedOutboxError(at, f"kind {kind}, flags {flags}; expected kind 1 to {len(_CHECKS)}, flags 0")
        if kind > 3 and (wrong := check(data, peer, start, length)):
            raise MalformedOutboxError(at, f"{Outbound(kind).name.lower()}: {wrong}")
        if end != following and data[end:following] != PADDING[following - end]:
            raise MalformedOutboxError(at, "padding that is not zero")
        effects.append((kind, peer, tag, start, end, following))
        at = following
    return effects

"""Outboxes: what parses, and that everything else is refused whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavelock.core.abi import FRAME_HEADER, Outbound, frame
from wavelock.core.outbox import MalformedOutboxError, parse_outbox

GOOD = {
    Outbound.SEND: (3, b"hello"),
    Outbound.PUBLISH: (3, b""),
    Outbound.INFER: (3, b"tensor"),
    Outbound.PUT: (0, b"\3\0keyvalue"),
    Outbound.GET: (0, b"key"),
    Outbound.SPAWN: (3, b"config"),
    Outbound.STOP: (3, b""),
    Outbound.TIMER: (0, bytes(8)),
    Outbound.LOG: (4, b"text"),
    Outbound.YIELD: (0, b""),
    Outbound.EXIT: (0, bytes(4)),
    Outbound.WATCH: (0, b"prefix"),
}


def test_every_kind_parses() -> None:
    data = b"".join(frame(kind, peer, 9, payload) for kind, (peer, payload) in GOOD.items())
    effects = parse_outbox(data)
    assert [(kind, peer, tag, data[start:end]) for kind, peer, tag, start, end, _ in effects] == [
        (kind, peer, 9, payload) for kind, (peer, payload) in GOOD.items()
    ]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"12345678", "8 bytes left"),
        (frame(Outbound.SEND, 0, 0, b"x")[:-8] + b"", "ends past"),
        (FRAME_HEADER.pack(2**32 - 1, 1, 0, 0, 0), "payload of 4294967295 bytes ends past"),
        (frame(0, 0, 0, b""), "kind 0"),
        (frame(13, 0, 0, b""), "kind 13"),
        (frame(Outbound.SEND, 0, 0, b"", flags=1), "flags 1"),
        (frame(Outbound.SEND, 0, 0, b"x")[:-1] + b"!", "padding"),
        (frame(Outbound.PUT, 1, 0, b"\0\0"), "put: peer 1, expected 0"),
        (frame(Outbound.PUT, 0, 0, b"\4\0key"), "put: a key that ends past"),
        (frame(Outbound.PUT, 0, 0, b"\0"), "put: a key that ends past"),
        (frame(Outbound.GET, 1, 0, b""), "get: peer 1"),
        (frame(Outbound.WATCH, 1, 0, b""), "watch: peer 1"),
        (frame(Outbound.STOP, 0, 0, b"x"), "stop: payload of 1 bytes"),
        (frame(Outbound.TIMER, 0, 0, bytes(7)), "timer: payload of 7 bytes, expected 8"),
        (frame(Outbound.TIMER, 1, 0, bytes(8)), "timer: peer 1"),
        (frame(Outbound.LOG, 5, 0, b""), "log level 5, expected 0 to 4"),
        (frame(Outbound.YIELD, 0, 0, b"x"), "yield: payload of 1 bytes"),
        (frame(Outbound.EXIT, 0, 0, b""), "exit: payload of 0 bytes, expected 4"),
    ],
)
def test_what_the_abi_does_not_allow_is_refused_with_its_offset(data: bytes, what: str) -> None:
    before = frame(Outbound.SEND, 1, 1, b"fine")
    with pytest.raises(MalformedOutboxError) as caught:
        parse_outbox(before + data)
    assert what in caught.value.what
    assert caught.value.offset == len(before)


@given(st.binary(max_size=200))
def test_any_bytes_parse_whole_or_are_refused(data: bytes) -> None:
    try:
        effects = parse_outbox(data)
    except MalformedOutboxError as error:
        assert 0 <= error.offset < len(data)
    else:
        assert (effects[-1][-1] if effects else 0) == len(data)


@given(st.lists(st.sampled_from(sorted(GOOD)), max_size=20), st.data())
def test_one_changed_byte_never_breaks_the_parser(kinds: list[Outbound], data: st.DataObject) -> None:
    outbox = bytearray(b"".join(frame(kind, GOOD[kind][0], 0, GOOD[kind][1]) for kind in kinds))
    if outbox:
        outbox[data.draw(st.integers(0, len(outbox) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        parse_outbox(bytes(outbox))
    except MalformedOutboxError as error:
        assert error.what

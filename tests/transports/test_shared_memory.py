"""The shared-memory transport: whole messages both ways, growth, and an end that closes."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavelock.core.errors import EnvironmentFailure
from wavelock.core.shard import Message
from wavelock.plugins.members import NoSettings
from wavelock.transports.shared_memory import FIRST_BYTES, SharedMemory


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.lists(st.binary(max_size=100), max_size=5)),
        max_size=8,
    )
)
def test_messages_arrive_as_they_were_sent(messages: list[tuple[int, int, list[bytes]]]) -> None:
    transport = SharedMemory(NoSettings())
    near, far = transport.link()
    for kind, agents, parts in messages:
        for sender, receiver in ((near, far), (far, near)):
            sender.send(Message(kind, agents, parts))
            got = receiver.receive()
            assert got is not None
            assert (got.kind, got.agents, bytes(got.body)) == (kind, agents, b"".join(parts))
    transport.close()


def test_an_arena_grows_to_what_it_must_hold() -> None:
    near, far = SharedMemory(NoSettings()).link()
    for size in (FIRST_BYTES - 16, FIRST_BYTES, 5 * FIRST_BYTES, 3):
        near.send(Message(1, 2, [b"x" * size]))
        got = far.receive()
        assert got is not None
        assert bytes(got.body) == b"x" * size


def test_closing_wakes_the_other_end_and_refuses_more() -> None:
    transport = SharedMemory(NoSettings())
    near, far = transport.link()
    got: list[object] = []
    thread = threading.Thread(target=lambda: got.append(far.receive()))
    thread.start()
    near.close()
    thread.join()
    assert got == [None]
    assert near.receive() is None
    with pytest.raises(EnvironmentFailure, match="the link is closed"):
        far.send(Message(1, 0, ()))
    transport.close()
    transport.close()

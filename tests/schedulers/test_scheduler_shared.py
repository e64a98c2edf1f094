"""What the built-in schedulers share: values by agent id, and the frame around a captured state."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavelock.schedulers._shared import ById, frame_state, unframe_state

pieces = st.lists(st.tuples(st.integers(0, 90), st.lists(st.integers(0, 255), max_size=90)), max_size=8)


@given(pieces=pieces)
def test_values_are_kept_by_id_while_the_store_grows(pieces: list[tuple[int, list[int]]]) -> None:
    kept = ById(np.uint8, absent=77)
    expected: list[int] = []
    for gap, values in pieces:
        skipped = gap if values else 0
        kept.add(len(expected) + skipped, np.array(values, np.uint8))
        expected += [77] * skipped + values
        assert kept.values.tolist() == expected


def test_adding_one_by_one_seldom_copies() -> None:
    kept = ById(np.int64)
    stores: list[object] = []
    for agent in range(10_000):
        kept.add(agent, np.array([agent]))
        if not stores or kept.values.base is not stores[-1]:
            stores.append(kept.values.base)
    assert len(stores) <= 10
    np.testing.assert_array_equal(kept.values, np.arange(10_000))


@given(payload=st.binary(max_size=40))
def test_a_frame_gives_its_payload_back(payload: bytes) -> None:
    assert unframe_state("mine", 3, frame_state("mine", 3, payload)) == payload


def test_a_frame_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="version 4; this mine reads version 3"):
        unframe_state("mine", 3, frame_state("mine", 4, b""))


def test_the_frame_is_the_same_on_every_machine() -> None:
    assert frame_state("mine", 1, b"\x02\x00") == bytes.fromhex("6d696e65000000000000000000000000010000007d70ef730200")

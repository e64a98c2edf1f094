"""Homes: every agent has one, parts are whole, and a better sharing is found where there is one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavelock.core.homes import BLOCK, TOLERATED, Homes
from wavelock.core.shard import U32Array


def ids(*numbers: int) -> U32Array:
    return np.array(numbers, np.uint32)


@given(st.integers(1, 9), st.integers(0, 60), st.lists(st.integers(0, 200), unique=True), st.booleans())
def test_parts_are_by_home_and_lose_nobody(workers: int, start: int, numbers: list[int], ascending: bool) -> None:
    homes, some = Homes(workers, start), ids(*(sorted(numbers) if ascending else numbers))
    found: list[tuple[int, int]] = []
    for part in homes.parts(some):
        mine = some[part.places]
        assert len(mine) == part.size > 0
        assert set(homes.of(mine).tolist()) == {part.worker}
        found += [(at, part.worker) for at in np.arange(len(some))[part.places].tolist()]
    assert sorted(at for at, _ in found) == list(range(len(some)))
    assert [worker for _, worker in found] == sorted(worker for _, worker in found)


def test_the_starts_agents_lie_in_contiguous_shares_and_later_ones_in_blocks() -> None:
    homes = Homes(3, 10)
    assert homes.of(np.arange(10, dtype=np.uint32)).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2]
    assert homes.of(ids(BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK)).tolist() == [1, 1, 2, 0]
    assert [part.places for part in homes.parts(ids(0, 2, 5, 9))] == [slice(0, 2), slice(2, 3), slice(3, 4)]


@pytest.mark.parametrize("work", [[100] * 8, [0] * 8, [100, 100, 100, 110, 100, 100, 100, 100]])
def test_what_is_balanced_stays(work: list[int]) -> None:
    assert Homes(2, 8).balance(np.array(work, np.uint64)) is None


def test_agents_move_towards_less_work() -> None:
    homes = Homes(2, 8)
    moved = homes.balance(np.array([900, 900, 900, 900, 100, 100, 100, 100], np.uint64))
    assert moved is not None
    agents, bounds = moved
    assert agents.tolist() == [2, 3]
    assert bounds.tolist() == [0, 2, 8]


def test_agents_move_only_where_it_pays() -> None:
    assert Homes(2, 8).balance(np.array([9, 9, 9, 9, 1, 1, 1, 1], np.uint64)) is None


def test_what_later_agents_do_is_counted_where_they_are() -> None:
    homes = Homes(2, 4)
    work = np.zeros(2 * BLOCK + 1, np.uint64)
    work[:4] = 1000
    work[BLOCK : 2 * BLOCK] = 10_000  # on worker 1, and these do not move
    assert homes.balance(work) is None  # evenly shared starters gain nothing where most is elsewhere


@given(st.integers(2, 6), st.lists(st.integers(0, 1 << 30), min_size=2, max_size=80))
def test_a_new_sharing_is_whole_and_better(workers: int, work: list[int]) -> None:
    homes, loads = Homes(workers, len(work)), np.array(work, np.uint64)
    everyone = np.arange(len(work), dtype=np.uint32)
    before = homes.of(everyone)
    moved = homes.balance(loads)
    if moved is None:
        return
    agents, bounds = moved
    assert (np.diff(bounds.astype(np.int64)) >= 0).all()
    assert (bounds[0], bounds[-1]) == (0, len(work))
    homes.bounds = bounds
    after = homes.of(everyone)
    assert np.flatnonzero(before != after).tolist() == agents.tolist()
    worst = [np.bincount(each, loads.astype(float), workers).max() for each in (before, after)]
    assert worst[1] < worst[0]
    assert worst[0] > TOLERATED * loads.mean()

"""The round-robin scheduler's order, and how long an agent can wait."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavelock.schedulers.interface import AgentIds
from wavelock.schedulers.round_robin import RoundRobin, RoundRobinSettings

id_sets = st.sets(st.integers(0, 40), min_size=1).map(sorted)
widths = st.integers(1, 7)


def ids(values: list[int] | range) -> AgentIds:
    return np.array(values, np.uint32)


def plans(width: int, ready: list[list[int]]) -> list[list[int]]:
    scheduler = RoundRobin(RoundRobinSettings(width))
    scheduler.open(())
    return [scheduler.plan(wave, ids(each)).tolist() for wave, each in enumerate(ready)]


@given(ready=st.lists(id_sets, max_size=10))
def test_width_zero_plans_all_ready_agents_ascending(ready: list[list[int]]) -> None:
    assert plans(0, ready) == ready


@given(ready=st.lists(id_sets, max_size=10), width=widths)
def test_a_plan_has_width_turns_or_all_that_are_ready(ready: list[list[int]], width: int) -> None:
    for each, plan in zip(ready, plans(width, ready), strict=True):
        assert len(plan) == min(width, len(each))


@given(ready=st.lists(id_sets, max_size=20), width=widths)
def test_a_plan_starts_behind_the_last_planned_id_and_wraps_round(ready: list[list[int]], width: int) -> None:
    cursor = 0
    for each, plan in zip(ready, plans(width, ready), strict=True):
        rotated = [i for i in each if i >= cursor] + [i for i in each if i < cursor]
        assert plan == rotated[:width]
        cursor = plan[-1] + 1


@given(ready=id_sets, width=widths, start=st.integers(0, 10))
def test_with_an_unchanged_ready_set_each_agent_goes_once_in_every_ceil_ready_by_width_waves(
    ready: list[int], width: int, start: int
) -> None:
    bound = math.ceil(len(ready) / width)
    stretch = plans(width, [ready] * (start + bound))[start:]
    assert sorted({agent for plan in stretch for agent in plan}) == ready


@given(
    others=st.lists(st.sets(st.integers(0, 40)), min_size=1, max_size=40),
    width=widths,
    agent=st.integers(0, 40),
)
def test_an_agent_waits_for_those_that_were_ready_meanwhile_once_each(
    others: list[set[int]], width: int, agent: int
) -> None:
    waited: list[set[int]] = []
    ready = [sorted(each | {agent}) for each in others]
    for each, plan in zip(ready, plans(width, ready), strict=True):
        waited.append(set(each))
        assert len(waited) <= math.ceil(len(set().union(*waited)) / width)
        if agent in plan:
            waited = []


def test_the_bound_counts_agents_of_all_waves_not_of_the_fullest_one() -> None:
    """Two are ready in each wave, yet agent 9 waits for nine others that become ready at the cursor."""
    ready = [[other, 9] for other in range(9)] + [[9]]
    assert plans(1, ready) == [[other] for other in range(9)] + [[9]]


def test_the_cursor_wraps_behind_the_highest_id() -> None:
    last = 2**32 - 1
    assert plans(1, [[5, last]] * 4) == [[5], [last], [5], [last]]


@pytest.mark.parametrize("width", [1, 999_983, 1_000_000, 2_000_000])
def test_a_million_agents(width: int) -> None:
    scheduler = RoundRobin(RoundRobinSettings(width))
    ready = np.arange(1_000_000, dtype=np.uint32)
    turns = min(width, len(ready))
    for wave in range(3):
        expected = (np.arange(turns, dtype=np.int64) + wave * turns) % len(ready)
        np.testing.assert_array_equal(scheduler.plan(wave, ready), expected)

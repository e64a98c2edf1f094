"""The priority scheduler's order, its aging, and how long an agent can wait."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavelock.schedulers._shared import frame_state
from wavelock.schedulers.interface import AgentIds, GroupInfo
from wavelock.schedulers.priority import AGENT_LIMIT, PRIORITY_LIMIT, Priority, PrioritySettings

priorities = st.integers(-3, 3) | st.sampled_from([-PRIORITY_LIMIT, PRIORITY_LIMIT - 1])
agent_priorities = st.lists(priorities, min_size=1, max_size=12)
masks = st.lists(st.integers(0, 2**12 - 1), min_size=1, max_size=30)
widths = st.integers(1, 5)
agings = st.integers(1, 4)


def ids(values: list[int] | range) -> AgentIds:
    return np.array(values, np.uint32)


def scheduler_of(settings: PrioritySettings, agents: list[int]) -> Priority:
    """A scheduler with one group for each agent, of the agent's priority."""
    scheduler = Priority(settings)
    scheduler.open([GroupInfo(f"group{i}", value, ()) for i, value in enumerate(agents)])
    scheduler.add(0, ids(range(len(agents))))
    return scheduler


def chosen(mask: int, agents: int) -> list[int]:
    return [i for i in range(agents) if mask >> i & 1] or [mask % agents]


def by_the_book(width: int, aging: int, agents: list[int], ready: list[list[int]]) -> list[list[int]]:
    """The rules, agent by agent, in Python's own numbers."""
    waited: dict[int, int] = {}
    plans = []
    for each in ready:
        waited = {i: waited.get(i, 0) for i in each}
        effective = {i: agents[i] + (waited[i] // aging if aging else 0) for i in each}
        plan = sorted(each, key=lambda i: (-effective[i], i))[: width or None]
        plans.append(plan)
        waited = {i: waited[i] + 1 for i in each if i not in plan}
    return plans


@given(agents=agent_priorities, masks=masks, width=st.integers(0, 5), aging=st.integers(0, 4))
def test_plans_are_those_of_the_rules(agents: list[int], masks: list[int], width: int, aging: int) -> None:
    ready = [chosen(mask, len(agents)) for mask in masks]
    scheduler = scheduler_of(PrioritySettings(width, aging), agents)
    plans = [scheduler.plan(wave, ids(each)).tolist() for wave, each in enumerate(ready)]
    assert plans == by_the_book(width, aging, agents, ready)


@given(agents=agent_priorities, masks=masks, width=st.integers(0, 5))
def test_without_aging_nobody_left_out_comes_before_anybody_planned(
    agents: list[int], masks: list[int], width: int
) -> None:
    scheduler = scheduler_of(PrioritySettings(width), agents)
    for wave, mask in enumerate(masks):
        ready = chosen(mask, len(agents))
        plan = scheduler.plan(wave, ids(ready)).tolist()
        order = [(-agents[i], i) for i in plan]
        assert order == sorted(order)
        assert len(plan) == (min(width, len(ready)) if width else len(ready))
        left = [(-agents[i], i) for i in ready if i not in plan]
        assert not left or max(order) < min(left)


@given(
    agents=st.lists(st.integers(-3, 3), min_size=1, max_size=12),
    masks=st.lists(st.integers(0, 2**12 - 1), min_size=20, max_size=90),
    width=widths,
    aging=agings,
    data=st.data(),
)
def test_with_aging_nothing_starves(
    agents: list[int], masks: list[int], width: int, aging: int, data: st.DataObject
) -> None:
    agent = data.draw(st.integers(0, len(agents) - 1))
    ready = [chosen(mask | 1 << agent, len(agents)) for mask in masks]
    grown = aging * (max(agents) - agents[agent] + 1)
    bound = grown + math.ceil(max(map(len, ready)) / width)
    scheduler = scheduler_of(PrioritySettings(width, aging), agents)
    wait = 0
    for wave, each in enumerate(ready):
        wait += 1
        assert wait <= bound
        if agent in scheduler.plan(wave, ids(each)):
            wait = 0


@pytest.mark.parametrize("aging", [1, 2, 5])
@pytest.mark.parametrize("gap", [0, 1, 3])
def test_the_bound_is_reached_within_the_last_term(aging: int, gap: int) -> None:
    """Fresh agents of the highest priority and lower ids come every wave; the last waits for its age."""
    newcomers = 40
    agents = [gap] * newcomers + [0]
    scheduler = scheduler_of(PrioritySettings(1, aging), agents)
    plans = [scheduler.plan(wave, ids([wave, newcomers])).tolist() for wave in range(newcomers)]
    first_turn = plans.index([newcomers]) + 1
    bound = aging * (gap + 1) + math.ceil(2 / 1)
    assert bound - 1 <= first_turn <= bound


def test_without_aging_a_low_priority_can_wait_for_ever() -> None:
    scheduler = scheduler_of(PrioritySettings(1), [1, 0])
    assert [scheduler.plan(wave, ids([0, 1])).tolist() for wave in range(200)] == [[0]] * 200


@given(masks=masks, width=widths)
def test_with_equal_priorities_and_aging_one_the_longest_waiting_goes_first(masks: list[int], width: int) -> None:
    scheduler = scheduler_of(PrioritySettings(width, 1), [4] * 12)
    queue: list[int] = []
    for wave, mask in enumerate(masks):
        ready = chosen(mask, 12)
        queue = [i for i in queue if i in ready]
        queue += [i for i in ready if i not in queue]
        assert scheduler.plan(wave, ids(ready)).tolist() == queue[:width]
        queue = queue[width:]


def test_an_agent_that_was_not_ready_has_lost_its_wait() -> None:
    scheduler = scheduler_of(PrioritySettings(1, 1), [2, 0])
    both, first = ids([0, 1]), ids([0])
    assert [scheduler.plan(wave, both).tolist() for wave in range(3)] == [[0]] * 3
    scheduler.plan(3, first)
    assert [scheduler.plan(wave, both).tolist() for wave in range(4, 8)] == [[0]] * 3 + [[1]]


def test_only_planned_waves_count_as_waiting() -> None:
    near, far = (scheduler_of(PrioritySettings(1, 1), [2, 0]) for _ in range(2))
    both = ids([0, 1])
    plans = [near.plan(wave, both).tolist() for wave in range(5)]
    assert plans == [[0], [0], [0], [1], [0]]
    assert [far.plan(wave * 1000, both).tolist() for wave in range(5)] == plans


def test_only_those_that_wait_are_captured() -> None:
    scheduler = scheduler_of(PrioritySettings(2, 1), [0] * 5)
    nobody = scheduler.capture()
    scheduler.plan(0, ids(range(5)))
    three_wait = scheduler.capture()
    assert len(three_wait) == len(nobody) + 3 * 12
    scheduler.plan(1, ids([0]))
    assert scheduler.capture() == nobody


def test_a_state_for_other_agents_or_without_aging_is_refused() -> None:
    scheduler = scheduler_of(PrioritySettings(2, 1), [0] * 5)
    scheduler.plan(0, ids(range(5)))
    state = scheduler.capture()
    with pytest.raises(ValueError, match="does not fit the 4 agents"):
        scheduler_of(PrioritySettings(2, 1), [0] * 4).restore(state)
    with pytest.raises(ValueError, match="aging is off"):
        scheduler_of(PrioritySettings(2), [0] * 5).restore(state)


@pytest.mark.parametrize(
    ("waiting", "waited"), [([1, 1], [1, 1]), ([2, 1], [1, 1]), ([1, 2], [1, 0]), ([1, 5], [1, 1])]
)
def test_a_state_that_no_capture_writes_is_refused(waiting: list[int], waited: list[int]) -> None:
    payload = np.array(waiting, "<u4").tobytes() + np.array(waited, "<i8").tobytes()
    with pytest.raises(ValueError, match="does not fit"):
        scheduler_of(PrioritySettings(2, 1), [0] * 5).restore(frame_state("priority", 1, payload))


@pytest.mark.parametrize("value", [PRIORITY_LIMIT, -PRIORITY_LIMIT - 1, 2**70])
def test_a_priority_out_of_range_is_refused(value: int) -> None:
    with pytest.raises(ValueError, match=f"group 'loud' has priority {value}"):
        Priority(PrioritySettings()).open([GroupInfo("loud", value, ())])


def test_an_id_out_of_range_is_refused() -> None:
    scheduler = scheduler_of(PrioritySettings(), [0])
    with pytest.raises(ValueError, match="ids below"):
        scheduler.add(AGENT_LIMIT, ids([0]))


@pytest.mark.parametrize(("width", "aging"), [(0, 0), (10, 0), (250_000, 2)])
def test_a_million_agents(width: int, aging: int) -> None:
    count = 1_000_000
    values = np.array([3, -5, 3, 0, 9], np.int64)
    scheduler = Priority(PrioritySettings(width, aging))
    scheduler.open([GroupInfo(f"group{i}", int(value), ()) for i, value in enumerate(values)])
    groups = (np.arange(count, dtype=np.uint32) * 7919 // 13) % 5
    scheduler.add(0, groups.astype(np.uint32))
    ready = np.arange(count, dtype=np.uint32)
    waited = np.zeros(count, np.int64)
    for wave in range(3):
        plan = scheduler.plan(wave, ready)
        effective = values[groups] + (waited // aging if aging else 0)
        expected = np.lexsort((ready, -effective))[: width or None]
        np.testing.assert_array_equal(plan, expected)
        waited += 1
        waited[plan] = 0

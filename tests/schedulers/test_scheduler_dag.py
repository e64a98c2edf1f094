"""The dag scheduler: levels, cycles, and the order of a round."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavelock.plugins.members import NoSettings
from wavelock.schedulers.dag import Dag, find_cycle, levels
from wavelock.schedulers.interface import AgentIds, GroupInfo

MOST_GROUPS = 7


def ids(values: list[int] | range) -> AgentIds:
    return np.array(values, np.uint32)


def groups_of(after: dict[str, tuple[str, ...]]) -> list[GroupInfo]:
    return [GroupInfo(name, 0, names) for name, names in after.items()]


@st.composite
def acyclic(draw: st.DrawFn) -> list[GroupInfo]:
    """Groups in any order whose `after` has no cycle."""
    count = draw(st.integers(1, MOST_GROUPS))
    groups = []
    for index in range(count):
        earlier = st.lists(st.integers(0, index - 1)) if index else st.just([])
        groups.append(GroupInfo(f"g{index}", 0, tuple(f"g{i}" for i in draw(earlier))))
    return draw(st.permutations(groups))


@st.composite
def any_groups(draw: st.DrawFn) -> list[GroupInfo]:
    """Groups that may follow any, themselves too."""
    count = draw(st.integers(1, MOST_GROUPS))
    names = [f"g{index}" for index in range(count)]
    return [GroupInfo(name, 0, tuple(draw(st.lists(st.sampled_from(names), max_size=2)))) for name in names]


def paths_to(name: str, after: dict[str, tuple[str, ...]]) -> list[int]:
    """The lengths of all paths that end at a group: slow, and plainly right."""
    return [0] + [1 + length for before in after[name] for length in paths_to(before, after)]


@given(groups=acyclic())
def test_a_level_is_the_length_of_the_longest_path(groups: list[GroupInfo]) -> None:
    after = {group.name: group.after for group in groups}
    assert levels(groups) == tuple(max(paths_to(group.name, after)) for group in groups)
    assert find_cycle(groups) is None


def reaches(start: str, goal: str, after: dict[str, tuple[str, ...]]) -> bool:
    seen: list[str] = []
    todo = list(after[start])
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.append(name)
            todo.extend(after[name])
    return goal in seen


@given(groups=any_groups())
def test_a_cycle_is_found_where_one_is_and_named_along_after(groups: list[GroupInfo]) -> None:
    after = {group.name: group.after for group in groups}
    cycle = find_cycle(groups)
    assert (cycle is not None) == any(reaches(name, name, after) for name in after)
    if cycle is None:
        return
    for name, before in pairwise(cycle):
        assert before in after[name]
    assert cycle[0] == cycle[-1]
    assert len(set(cycle)) == len(cycle) - 1
    names = list(after)
    assert cycle[0] == min(cycle, key=names.index)


@given(groups=any_groups())
def test_open_refuses_exactly_the_cycles_and_names_them(groups: list[GroupInfo]) -> None:
    cycle = find_cycle(groups)
    if cycle is None:
        Dag(NoSettings()).open(groups)
    else:
        with pytest.raises(ValueError, match=" after ".join(cycle)):
            Dag(NoSettings()).open(groups)


@pytest.mark.parametrize(
    ("after", "cycle"),
    [
        ({"a": ("b",), "b": ("a",)}, ("a", "b", "a")),
        ({"b": ("a",), "a": ("b",)}, ("b", "a", "b")),
        ({"a": ("a",)}, ("a", "a")),
        ({"x": ("c",), "a": ("b",), "b": ("c",), "c": ("a",)}, ("a", "b", "c", "a")),
        ({"a": ("unknown",), "b": ("a",)}, None),
        ({}, None),
    ],
)
def test_cycles_by_name(after: dict[str, tuple[str, ...]], cycle: tuple[str, ...] | None) -> None:
    assert find_cycle(groups_of(after)) == cycle


def test_an_unknown_name_has_no_level() -> None:
    with pytest.raises(ValueError, match="'b' is after 'ghost'"):
        levels(groups_of({"a": (), "b": ("a", "ghost")}))


def test_a_chain_longer_than_pythons_stack() -> None:
    count = 20_000
    after: dict[str, tuple[str, ...]] = {f"g{i}": (f"g{i + 1}",) for i in range(count - 1)}
    after[f"g{count - 1}"] = ()
    assert levels(groups_of(after)) == tuple(range(count - 1, -1, -1))
    after[f"g{count - 1}"] = ("g0",)
    cycle = find_cycle(groups_of(after))
    assert cycle == (*after, "g0")


masks = st.lists(st.integers(1, 2**20 - 1), min_size=1, max_size=30)


def setup(groups: list[GroupInfo], each: int) -> tuple[Dag, list[int]]:
    """A scheduler with `each` agents in every group, and each agent's level."""
    scheduler = Dag(NoSettings())
    scheduler.open(groups)
    indices = [index for index in range(len(groups)) for _ in range(each)]
    scheduler.add(0, ids(indices))
    group_levels = levels(groups)
    return scheduler, [group_levels[index] for index in indices]


def chosen(mask: int, agents: int) -> list[int]:
    return [i for i in range(agents) if mask >> i & 1] or [mask % agents]


@given(groups=acyclic(), masks=masks, each=st.integers(1, 3))
def test_a_plan_is_all_ready_agents_of_the_next_level_that_has_some(
    groups: list[GroupInfo], masks: list[int], each: int
) -> None:
    scheduler, level = setup(groups, each)
    current = -1
    for wave, mask in enumerate(masks):
        ready = chosen(mask, len(level))
        found = sorted({level[i] for i in ready})
        current = next((one for one in found if one > current), found[0])
        assert scheduler.plan(wave, ids(ready)).tolist() == [i for i in ready if level[i] == current]


@given(groups=acyclic(), masks=masks, data=st.data())
def test_an_agent_that_stays_ready_waits_no_longer_than_there_are_levels(
    groups: list[GroupInfo], masks: list[int], data: st.DataObject
) -> None:
    scheduler, level = setup(groups, 2)
    agent = data.draw(st.integers(0, len(level) - 1))
    wait = 0
    for wave, mask in enumerate(masks):
        wait += 1
        assert wait <= max(level) + 1
        if agent in scheduler.plan(wave, ids(chosen(mask | 1 << agent, len(level)))):
            wait = 0


@given(groups=acyclic(), data=st.data())
def test_messages_along_after_are_handled_in_the_round_that_sent_them(
    groups: list[GroupInfo], data: st.DataObject
) -> None:
    """One agent a group. Every turn sends to the groups that follow; a message makes its receiver ready."""
    scheduler, level = setup(groups, 1)
    names = [group.name for group in groups]
    follows = [[names.index(name) for name in group.after] for group in groups]
    ready = {i for i in range(len(groups)) if level[i] == 0}
    turns: list[int] = []
    while ready:
        plan = scheduler.plan(len(turns), ids(sorted(ready))).tolist()
        turns += plan
        ready -= set(plan)
        ready |= {i for i in range(len(groups)) if set(follows[i]) & set(plan)}
    assert sorted(turns) == list(range(len(groups))), "one round, one turn each, is enough for all messages"
    for group, before in enumerate(follows):
        assert all(turns.index(one) < turns.index(group) for one in before)


def test_what_goes_back_or_sideways_waits_for_the_next_round() -> None:
    scheduler, _ = setup(groups_of({"a": (), "b": ("a",), "c": ("b",)}), 1)
    assert scheduler.plan(0, ids([0])).tolist() == [0]
    assert scheduler.plan(1, ids([0, 1])).tolist() == [1]  # b, though a has work again
    assert scheduler.plan(2, ids([0, 1, 2])).tolist() == [2]  # c, though b sent to itself
    assert scheduler.plan(3, ids([0, 1])).tolist() == [0]  # the next round
    assert scheduler.plan(4, ids([1])).tolist() == [1]


def test_a_level_alone_comes_up_in_every_wave() -> None:
    scheduler, _ = setup(groups_of({"a": (), "b": ("a",)}), 2)
    assert [scheduler.plan(wave, ids([2, 3])).tolist() for wave in range(3)] == [[2, 3]] * 3


def test_a_state_from_a_deeper_dag_is_refused() -> None:
    deep, _ = setup(groups_of({"a": (), "b": ("a",)}), 1)
    deep.plan(0, ids([1]))
    flat, _ = setup(groups_of({"a": (), "b": ()}), 1)
    with pytest.raises(ValueError, match="have 1 levels"):
        flat.restore(deep.capture())


def test_a_million_agents() -> None:
    count = 1_000_000
    scheduler = Dag(NoSettings())
    scheduler.open(groups_of({"a": (), "b": ("a",), "c": ("a", "b"), "d": ()}))
    groups = np.arange(count, dtype=np.uint32) % 4
    scheduler.add(0, groups)
    ready = np.arange(count, dtype=np.uint32)
    level = np.array([0, 1, 2, 0])[groups]
    for wave in range(5):
        np.testing.assert_array_equal(scheduler.plan(wave, ready), np.flatnonzero(level == wave % 3))

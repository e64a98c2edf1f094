"""What every built-in scheduler keeps, whatever its order: the interface's promises."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavelock.plugins.members import Member
from wavelock.schedulers import dag, priority, round_robin
from wavelock.schedulers.interface import AgentIds, GroupInfo, Scheduler

GROUPS = (
    GroupInfo("source", 0, ()),
    GroupInfo("left", 7, ("source",)),
    GroupInfo("right", -3, ("source",)),
    GroupInfo("sink", 7, ("left", "right")),
)

CASES: dict[str, tuple[Callable[[], Member[Scheduler]], dict[str, int]]] = {
    "round-robin": (round_robin.wavelock_scheduler, {}),
    "round-robin width 3": (round_robin.wavelock_scheduler, {"width": 3}),
    "priority": (priority.wavelock_scheduler, {}),
    "priority width 2": (priority.wavelock_scheduler, {"width": 2}),
    "priority width 2 aging 1": (priority.wavelock_scheduler, {"width": 2, "aging": 1}),
    "priority width 1 aging 3": (priority.wavelock_scheduler, {"width": 1, "aging": 3}),
    "dag": (dag.wavelock_scheduler, {}),
}
every_case = pytest.mark.parametrize("case", CASES)


@dataclass(frozen=True)
class Wave:
    """born: the groups of new agents. ready: bit i for agent i. skip: wave numbers jumped after it."""

    born: tuple[int, ...]
    ready: int
    skip: int

    def ids(self, agents: int) -> list[int]:
        """The ready ids among the first `agents`; never none."""
        return [agent for agent in range(agents) if self.ready >> agent & 1] or [self.ready % agents]


born = st.lists(st.integers(0, len(GROUPS) - 1), max_size=4).map(tuple)
waves = st.lists(st.builds(Wave, born, st.integers(0, 2**48 - 1), st.integers(0, 5)), max_size=12)
scripts = st.builds(
    lambda first, rest: [first, *rest],
    st.builds(Wave, born.filter(bool), st.integers(0, 2**48 - 1), st.integers(0, 5)),
    waves,
)


def opened(case: str) -> Scheduler:
    hook, keys = CASES[case]
    member = hook()
    scheduler = member.create(msgspec.convert(keys, member.settings))
    scheduler.open(GROUPS)
    return scheduler


def as_groups(values: tuple[int, ...]) -> AgentIds:
    return np.array(values, np.uint32)


def as_given(ids: list[int]) -> AgentIds:
    return np.array(ids, np.uint32)


def play(
    case: str,
    script: list[Wave],
    shape: Callable[[list[int]], AgentIds] = as_given,
    cut: int | None = None,
    piecewise: bool = False,
) -> list[list[int]]:
    """All plans of a script. cut: before this wave a new instance takes over the captured state."""
    scheduler = opened(case)
    groups: tuple[int, ...] = ()
    plans = []
    number = 0
    for index, wave in enumerate(script):
        if index == cut:
            state = scheduler.capture()
            scheduler = opened(case)
            scheduler.add(0, as_groups(groups))
            scheduler.restore(state)
        pieces = [(group,) for group in wave.born] if piecewise else [wave.born]
        for piece in pieces:
            scheduler.add(len(groups), as_groups(piece))
            groups += piece
        plan = scheduler.plan(number, shape(wave.ids(len(groups))))
        assert plan.dtype == np.uint32
        plans.append(plan.tolist())
        number += 1 + wave.skip
    return plans


@every_case
@given(script=scripts)
def test_a_plan_is_a_subset_of_the_ready_each_once_and_not_empty(case: str, script: list[Wave]) -> None:
    agents = 0
    for wave, plan in zip(script, play(case, script), strict=True):
        agents += len(wave.born)
        assert plan
        assert len(set(plan)) == len(plan)
        assert set(plan) <= set(wave.ids(agents))


@every_case
@given(script=scripts)
def test_the_same_calls_give_the_same_plans(case: str, script: list[Wave]) -> None:
    assert play(case, script) == play(case, script)


def strided(ids: list[int]) -> AgentIds:
    wide = np.full(3 * len(ids), 2**32 - 1, np.uint32)
    wide[::3] = ids
    return wide[::3]


def read_only(ids: list[int]) -> AgentIds:
    array = np.array(ids, np.uint32)
    array.flags.writeable = False
    return array


SHAPES: dict[str, Callable[[list[int]], AgentIds]] = {
    "int64": lambda ids: np.array(ids, np.int64),
    "big-endian": lambda ids: np.array(ids, ">u4"),
    "strided": strided,
    "read-only": read_only,
}


@every_case
@given(script=scripts, shape=st.sampled_from(list(SHAPES)))
def test_plans_do_not_depend_on_how_the_ready_ids_are_stored(case: str, shape: str, script: list[Wave]) -> None:
    assert play(case, script, shape=SHAPES[shape]) == play(case, script)


@every_case
@given(script=scripts, data=st.data())
def test_a_restored_scheduler_goes_on_alike(case: str, script: list[Wave], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(script) - 1))
    assert play(case, script, cut=cut) == play(case, script)


@every_case
def test_a_restore_replaces_what_was_there(case: str) -> None:
    scheduler, used = opened(case), opened(case)
    everyone = np.arange(5, dtype=np.uint32)
    for each, waves in ((scheduler, 2), (used, 5)):
        each.add(0, as_groups((0, 1, 2, 3, 1)))
        for number in range(waves):
            each.plan(number, everyone)
    used.restore(scheduler.capture())
    for number in range(2, 12):
        assert used.plan(number, everyone).tolist() == scheduler.plan(number, everyone).tolist()


@every_case
@given(script=scripts)
def test_adding_agents_one_by_one_equals_adding_them_at_once(case: str, script: list[Wave]) -> None:
    assert play(case, script, piecewise=True) == play(case, script)


@every_case
@given(script=scripts)
def test_a_state_restored_is_captured_as_the_same_bytes(case: str, script: list[Wave]) -> None:
    scheduler = opened(case)
    groups: tuple[int, ...] = ()
    for number, wave in enumerate(script):
        scheduler.add(len(groups), as_groups(wave.born))
        groups += wave.born
        scheduler.plan(number, as_given(wave.ids(len(groups))))
    other = opened(case)
    other.add(0, as_groups(groups))
    other.restore(scheduler.capture())
    assert other.capture() == scheduler.capture()


@every_case
@pytest.mark.parametrize("dtype", ["u4", "i8"])
def test_a_plan_and_the_caller_share_no_memory(case: str, dtype: str) -> None:
    scheduler, twin = opened(case), opened(case)
    for each in (scheduler, twin):
        each.add(0, as_groups((0, 1, 2, 3, 1)))
    buffer: AgentIds = np.arange(5).astype(dtype)
    plan = scheduler.plan(0, buffer)
    before = plan.tolist()
    buffer[:] = 4
    assert plan.tolist() == before
    twin.plan(0, np.arange(5, dtype=np.uint32))
    plan[:] = 0
    for number, ready in enumerate([[0], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]], 1):
        assert scheduler.plan(number, as_given(ready)).tolist() == twin.plan(number, as_given(ready)).tolist()


def captured(case: str) -> bytes:
    scheduler = opened(case)
    scheduler.add(0, as_groups((0, 1, 2, 3, 1)))
    scheduler.plan(0, np.arange(5, dtype=np.uint32))
    return scheduler.capture()


@every_case
@given(state=st.binary(max_size=80))
def test_foreign_bytes_are_refused(case: str, state: bytes) -> None:
    with pytest.raises(ValueError, match="captured"):
        opened(case).restore(state)


@every_case
def test_a_state_cut_short_or_lengthened_is_refused(case: str) -> None:
    state = captured(case)
    scheduler = opened(case)
    scheduler.add(0, as_groups((0, 1, 2, 3, 1)))
    for wrong in (*(state[:size] for size in range(len(state))), state + b"\0"):
        with pytest.raises(ValueError, match="captured"):
            scheduler.restore(wrong)
    scheduler.restore(state)


@every_case
def test_a_state_with_any_bit_turned_is_refused(case: str) -> None:
    state = captured(case)
    scheduler = opened(case)
    scheduler.add(0, as_groups((0, 1, 2, 3, 1)))
    for bit in range(8 * len(state)):
        wrong = bytearray(state)
        wrong[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match="captured"):
            scheduler.restore(bytes(wrong))


@every_case
def test_another_schedulers_state_is_refused_by_name(case: str) -> None:
    mine = CASES[case][0]().name
    for other, (hook, _) in CASES.items():
        if hook().name != mine:
            with pytest.raises(ValueError, match=f"not a captured {mine} state.*{hook().name}"):
                opened(case).restore(captured(other))


@every_case
def test_a_refused_state_changes_nothing(case: str) -> None:
    scheduler, twin = opened(case), opened(case)
    everyone = np.arange(5, dtype=np.uint32)
    for each in (scheduler, twin):
        each.add(0, as_groups((0, 1, 2, 3, 1)))
        each.plan(0, everyone)
    with pytest.raises(ValueError, match="captured"):
        scheduler.restore(captured(case)[:-1])
    assert scheduler.capture() == twin.capture()
    assert scheduler.plan(1, everyone).tolist() == twin.plan(1, everyone).tolist()


@pytest.mark.parametrize("hook", [priority.wavelock_scheduler, dag.wavelock_scheduler])
def test_ids_that_exist_are_not_added_again(hook: Callable[[], Member[Scheduler]]) -> None:
    scheduler = hook().create(hook().settings())
    scheduler.open(GROUPS)
    scheduler.add(0, as_groups((0, 1)))
    with pytest.raises(ValueError, match="ids only grow"):
        scheduler.add(1, as_groups((0,)))


@pytest.mark.parametrize("hook", [priority.wavelock_scheduler, dag.wavelock_scheduler])
def test_an_agent_that_was_never_added_is_an_error(hook: Callable[[], Member[Scheduler]]) -> None:
    scheduler = hook().create(hook().settings())
    scheduler.open(GROUPS)
    scheduler.add(0, as_groups((0, 1)))
    with pytest.raises(IndexError):
        scheduler.plan(0, as_given([2]))


@every_case
def test_ids_may_be_skipped(case: str) -> None:
    scheduler = opened(case)
    scheduler.add(0, as_groups((0,)))
    scheduler.add(100, as_groups((0,) * 200))
    plan = scheduler.plan(0, as_given([0, 150, 299]))
    assert plan.tolist() == [0, 150, 299][: len(plan)]


def test_the_members_have_the_names_that_a_profile_uses() -> None:
    hooks = (round_robin.wavelock_scheduler, priority.wavelock_scheduler, dag.wavelock_scheduler)
    assert [hook().name for hook in hooks] == ["round-robin", "priority", "dag"]
    assert all(hook().unavailable() is None for hook in hooks)


@pytest.mark.parametrize(
    ("hook", "keys"),
    [
        (round_robin.wavelock_scheduler, {"width": -1}),
        (round_robin.wavelock_scheduler, {"width": 2**32}),
        (round_robin.wavelock_scheduler, {"width": 1.5}),
        (round_robin.wavelock_scheduler, {"width": True}),
        (round_robin.wavelock_scheduler, {"aging": 1}),
        (priority.wavelock_scheduler, {"width": -1}),
        (priority.wavelock_scheduler, {"aging": -1}),
        (priority.wavelock_scheduler, {"aging": 2**32}),
        (priority.wavelock_scheduler, {"widht": 1}),
        (dag.wavelock_scheduler, {"width": 1}),
    ],
)
def test_settings_out_of_range_or_unknown_are_refused(
    hook: Callable[[], Member[Scheduler]], keys: dict[str, object]
) -> None:
    with pytest.raises(msgspec.ValidationError, match=next(iter(keys))):
        msgspec.convert(keys, hook().settings)


@pytest.mark.parametrize("hook", [round_robin.wavelock_scheduler, priority.wavelock_scheduler])
def test_every_setting_is_described(hook: Callable[[], Member[Scheduler]]) -> None:
    (schema,) = msgspec.json.schema_components([hook().settings])[1].values()
    assert schema["properties"]
    assert all(field["description"] for field in schema["properties"].values())


PROBE = """
import sys
import numpy as np
from wavelock.plugins.members import NoSettings
from wavelock.schedulers import dag, priority, round_robin
from wavelock.schedulers.interface import GroupInfo

heavy = [name for name in ("wasmtime", "onnxruntime", "anyio", "sqlite3") if name in sys.modules]
assert not heavy, heavy
groups = [GroupInfo(f"g{i}", i % 3, tuple(f"g{j}" for j in range(i % 4, i))) for i in range(12)]
made = [
    round_robin.RoundRobin(round_robin.RoundRobinSettings(width=5)),
    priority.Priority(priority.PrioritySettings(width=5, aging=2)),
    dag.Dag(NoSettings()),
]
for scheduler in made:
    scheduler.open(groups)
    scheduler.add(0, np.arange(60, dtype=np.uint32) % 12)
    for wave in range(30):
        ready = np.flatnonzero((np.arange(60) * 7 + wave) % 5).astype(np.uint32)
        print(scheduler.plan(wave, ready).tolist())
    print(scheduler.capture().hex())
print(dag.find_cycle([GroupInfo(n, 0, a) for n, a in (("x", ("b", "c")), ("b", ("c",)), ("c", ("x",)))]))
"""


def test_plans_and_states_do_not_depend_on_the_hash_seed_and_imports_are_light() -> None:
    source = Path(round_robin.__file__).parents[2]
    outputs = [
        subprocess.run(
            [sys.executable, "-c", PROBE],
            env={"PYTHONPATH": str(source), "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("0", "4321")
    ]
    assert outputs[0] == outputs[1]
    assert outputs[0].endswith("('x', 'b', 'c', 'x')\n")

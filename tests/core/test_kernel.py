"""Waves: numbering, entropy, plans held to their contract, floods, and one digest whatever carries the run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import wavelock
from helpers import same_each_turn, yields
from puppets import PUPPET, Stage, effect, open_puppets, put, timer
from wavelock.core.abi import Outbound
from wavelock.core.errors import PluginError
from wavelock.core.mailboxes import turn_entropy, wave_entropy
from wavelock.schedulers.interface import AgentIds

OpenStage = Callable[[str], Stage]
MASK = 2**64 - 1


def slow_entropy(seed: int, wave: int, agent: int) -> int:
    """The formula of docs/abi.md in plain integers."""

    def mix(value: int) -> int:
        value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & MASK
        value = (value ^ value >> 27) * 0x94D049BB133111EB & MASK
        return value ^ value >> 31

    golden = 0x9E3779B97F4A7C15
    base = mix(seed + golden & MASK)
    base = mix((base ^ wave) + golden & MASK)
    return mix((base + agent) * golden + golden & MASK)


@given(st.integers(0, MASK), st.integers(0, 2**62), st.lists(st.integers(0, 2**32 - 2), min_size=1, max_size=5))
def test_entropy_is_the_documented_formula(seed: int, wave: int, agents: list[int]) -> None:
    got = turn_entropy(wave_entropy(seed, wave), np.array(agents, np.uint32)).tolist()
    assert got == [slow_entropy(seed, wave, agent) for agent in agents]


def test_entropy_differs_between_agents_waves_and_seeds() -> None:
    agents = np.arange(1000, dtype=np.uint32)
    drawn = np.concatenate([turn_entropy(wave_entropy(seed, wave), agents) for seed in (0, 1) for wave in (0, 1, 2)])
    assert len(np.unique(drawn)) == 6000


PAIR = """
[run]
seed = %d
[scheduler]
use = "%s"
[workers]
use = "%s"
count = %d
[[topics]]
name = "news"
subscribers = ["b", "a"]
[[agents]]
name = "a"
module = "puppet.wat"
count = 5
grants = { state = ["*"], topics = ["*"], spawn = ["*"] }
[[agents]]
name = "b"
module = "puppet.wat"
count = 3
after = ["a"]
priority = 3
restart = "fresh"
grants = { state = ["*"], topics = ["*"], spawn = ["*"] }
"""


def busy_run(folder: Path, seed: int, scheduler: str, workers: str, count: int) -> list[str]:
    """The digests of a run with every kind of effect and some faults."""
    with open_puppets(folder, PAIR % (seed, scheduler, workers, count)) as runtime:
        play = Stage(runtime)
        for round_number in range(3):
            for name in ("a/0", "a/3", "b/1", "b/2"):
                play.post(
                    name,
                    *(effect(Outbound.SEND, to, name.encode(), round_number) for to in range(8)),
                    put(b"key", name.encode()),
                    effect(Outbound.WATCH, 0, b"k", 2),
                    effect(Outbound.GET, 0, b"key", 3),
                    effect(Outbound.PUBLISH, 0, b"news"),
                    effect(Outbound.SPAWN, 1, b"child"),
                    timer(round_number + 2),
                    effect(Outbound.LOG, 2, b"log"),
                )
            play.post("b/0", b"garbage.")
            play.post("a/4", effect(Outbound.YIELD))
            play.settle()
        play.do("a/2", effect(Outbound.EXIT, 0, bytes(4)))
        assert runtime.result.faults == 3
        return [wave.digest for wave in play.waves]


@pytest.mark.parametrize("scheduler", ["round-robin", "priority", "dag"])
def test_workers_do_not_change_a_digest(tmp_path: Path, scheduler: str) -> None:
    inline = busy_run(tmp_path, 1, scheduler, "inline", 1)
    for count in (1, 2, 7):
        assert busy_run(tmp_path, 1, scheduler, "threads", count) == inline
    other = busy_run(tmp_path, 2, scheduler, "inline", 1)
    assert other[0] != inline[0]
    assert len(set(inline)) == len(inline)


class _Broken:
    """A scheduler that answers what a test says."""

    def __init__(self, answer: Callable[[AgentIds], Any]) -> None:
        self._answer = answer

    def open(self, groups: object) -> None:
        """Nothing to open."""

    def add(self, first: int, groups: object) -> None:
        """Nothing to keep."""

    def plan(self, wave: int, ready: AgentIds) -> Any:
        """The broken answer."""
        return self._answer(ready)

    def capture(self) -> bytes:
        """No state."""
        return b""

    def restore(self, state: bytes) -> None:
        """No state."""


@pytest.mark.parametrize(
    "answer",
    [
        lambda ready: ready[:0],
        lambda ready: np.concatenate([ready, ready]),
        lambda ready: np.array([99], np.uint32),
        lambda ready: np.array([2, 2], np.uint32),
    ],
    ids=["empty", "twice", "unknown", "repeated"],
)
def test_a_plan_that_breaks_its_contract_ends_the_run(tmp_path: Path, answer: Callable[[AgentIds], Any]) -> None:
    class Registry(wavelock.Registry):
        def scheduler(self, name: str, settings: object) -> Any:
            return _Broken(answer)

    text = '[[agents]]\nname = "a"\nmodule = "puppet.wat"\ncount = 3\n'
    with open_puppets(tmp_path, text, registry=Registry()) as runtime:
        with pytest.raises(PluginError, match='"round-robin", wave 0: its plan is not a non-empty subset of the 3'):
            runtime.step()
        with pytest.raises(wavelock.UserError, match="has failed"):
            runtime.step()


def test_width_leaves_agents_ready_for_later_waves(stage: OpenStage) -> None:
    play = stage('[scheduler]\nwidth = 2\n[[agents]]\nname = "a"\nmodule = "puppet.wat"\ncount = 5\n')
    assert [wave.turns for wave in play.waves] == [2, 2, 1]


def test_a_hundred_thousand_messages_to_one_mailbox_stay_bounded(stage: OpenStage) -> None:
    play = stage(
        """
        [[agents]]
        name = "sink"
        module = "puppet.wat"
        [[agents]]
        name = "source"
        module = "puppet.wat"
        count = 125
        limits = { mailbox_frames = 2000 }
        """
    )
    script = effect(Outbound.SEND, 0, b"") * 800
    for number in range(125):
        play.post(f"source/{number}", script)
    play.wave()
    assert play.waves[-1].messages == 4096  # limits.mailbox_frames of the sink
    kernel = play.runtime._kernel
    mail = [kernel.mailboxes.held(agent)[0] for agent in range(len(kernel.population))]
    assert mail[0] == 4096
    assert sum(mail[1:]) == 100_000 - 4096  # each refusal is answered once


def test_a_flood_does_not_keep_the_world_out(tmp_path: Path) -> None:
    flood = same_each_turn(*[effect(Outbound.SEND, 0)] * 60, yields())
    (tmp_path / "flood.wat").write_text(flood)
    text = """
    [[agents]]
    name = "victim"
    module = "puppet.wat"
    limits = { mailbox_frames = 100, inbox = 512 }
    [[agents]]
    name = "flood"
    module = "flood.wat"
    count = 5
    [[agents]]
    name = "other"
    module = "puppet.wat"
    """
    with open_puppets(tmp_path, text) as runtime:
        runtime.run(3)
        runtime.outputs()
        for number in range(200):
            runtime.post("victim", effect(Outbound.LOG, 2, b"%d" % number))
        runtime.post("other", effect(Outbound.LOG, 2, b"not held up"))
        waves = [runtime.step() for _ in range(120)]
        said = [line.text for wave in waves if wave for line in wave.logs if line.level == 2]
        assert said[0] == "not held up"
        assert said[1:4] == ["0", "1", "2"]


def test_agents_that_ended_hold_nothing(stage: OpenStage) -> None:
    play = stage('[[agents]]\nname = "a"\nmodule = "puppet.wat"\ncount = 2\nconfig = "large"\n')
    play.do("a/0", effect(Outbound.EXIT, 0, bytes(4)))
    kernel = play.runtime._kernel
    agent = kernel.population.agent(0)
    assert (agent.config, agent.watches, agent.children, kernel.mailboxes.mail(0)) == (b"", [], {}, [])
    assert agent.name == "a/0"


def test_a_spawn_loop_ends_at_the_limits(tmp_path: Path) -> None:
    (tmp_path / "rabbit.wat").write_text(same_each_turn(*[effect(Outbound.SPAWN, 0)] * 8, yields()))
    text = """
    [run]
    waves = 30
    [limits]
    agents = 500
    spawn_depth = 100
    [[agents]]
    name = "rabbit"
    module = "rabbit.wat"
    grants = { spawn = ["rabbit"] }
    """
    with wavelock.Runtime(wavelock.parse_profile(text, base=tmp_path), record=False) as runtime:
        assert runtime.run().ended == "waves"
        assert runtime._kernel.population.live == 500


def test_a_bounced_start_is_logged_and_not_lost_in_silence(tmp_path: Path) -> None:
    (tmp_path / "puppet.wat").write_text(PUPPET)
    text = f'[[agents]]\nname = "a"\nmodule = "puppet.wat"\nconfig = "{"x" * 400}"\nlimits = {{ inbox = 256 }}\n'
    with wavelock.Runtime(wavelock.parse_profile(text, base=tmp_path), record=False) as runtime:
        committed = runtime.step()
        assert committed is not None
        assert [line.text for line in committed.logs] == ["lost a frame of 416 bytes: its inbox takes 224"]

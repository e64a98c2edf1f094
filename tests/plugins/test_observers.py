"""Hooks: each documented and used, observers told in order, and none can disturb a run."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any

import pytest

import helpers
from wavelock import Profile, Registry, RunEnded, Runtime, hookimpl, load_profile
from wavelock.core.errors import PluginError
from wavelock.core.events import AgentFault, RunStarted, WaveCommitted
from wavelock.plugins import hookspecs
from wavelock.plugins.manager import FAMILIES, find_entry_points

HOOKS = {name: spec for name, spec in vars(hookspecs).items() if name.startswith("wavelock_")}
OBSERVED = sorted(name for name in HOOKS if name.removeprefix("wavelock_") not in FAMILIES)


class Recorder:
    """Keeps what it was told, as (hook, value)."""

    def __init__(self, log: list[tuple[str, Any]] | None = None, name: str = "") -> None:
        self.told = [] if log is None else log
        self.name = name

    @hookimpl
    def wavelock_run_started(self, run: RunStarted) -> None:
        self.told.append((f"{self.name}run_started", run))

    @hookimpl
    def wavelock_wave_committed(self, wave: WaveCommitted) -> None:
        self.told.append((f"{self.name}wave_committed", wave))

    @hookimpl
    def wavelock_agent_faulted(self, fault: AgentFault) -> None:
        self.told.append((f"{self.name}agent_faulted", fault))

    @hookimpl
    def wavelock_run_ended(self, run: RunEnded) -> None:
        self.told.append((f"{self.name}run_ended", run))


class Raises:
    """Fails whenever it is told something, in every way that is not an exit."""

    @hookimpl
    def wavelock_run_started(self, run: RunStarted) -> None:
        raise ValueError("started")

    @hookimpl
    def wavelock_wave_committed(self, wave: WaveCommitted) -> None:
        raise OSError("committed")

    @hookimpl
    def wavelock_agent_faulted(self, fault: AgentFault) -> None:
        raise RecursionError("faulted")

    @hookimpl
    def wavelock_run_ended(self, run: RunEnded) -> None:
        raise MemoryError("ended")


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    """Two waves: one agent talks, one faults in the first wave."""
    return load_profile(helpers.write_profile(tmp_path, "[run]\nwaves = 2\n", talks=helpers.TICKS, falls=helpers.TRAPS))


def run(profile: Profile, *observers: object) -> RunEnded:
    with Runtime(profile, record=False, observers=observers) as runtime:
        return runtime.run()


# ---- the specifications ----


def test_there_is_a_hook_for_every_family() -> None:
    assert {f"wavelock_{family}" for family in FAMILIES} < set(HOOKS)
    assert OBSERVED == [
        "wavelock_agent_faulted",
        "wavelock_run_ended",
        "wavelock_run_started",
        "wavelock_wave_committed",
    ]


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_is_documented_and_typed(name: str) -> None:
    text = inspect.getdoc(HOOKS[name]) or ""
    assert "Called" in text
    assert "example: `" in text
    example = text.partition("example: `")[2].partition("`")[0]
    root = Path(__file__).parents[2]
    sources = [path for path in (root / "src" / "wavelock" / example, root / example) if path.is_file()]
    assert f"def {name}(" in sources[0].read_text(encoding="utf-8")
    signature = inspect.signature(HOOKS[name])
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(item.annotation is not inspect.Parameter.empty for item in signature.parameters.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_hook_is_used_by_a_built_in(family: str) -> None:
    plugins = [found.entry.load() for found in find_entry_points() if found.distribution.startswith("wavelock ")]
    assert [plugin for plugin in plugins if hasattr(plugin, f"wavelock_{family}")]


@pytest.mark.parametrize("name", OBSERVED)
def test_an_observer_hook_is_told(profile: Profile, name: str) -> None:
    recorder = Recorder()
    assert callable(getattr(recorder, name))
    run(profile, recorder)
    assert f"wavelock_{recorder.told[0][0]}" == "wavelock_run_started"
    assert name in {f"wavelock_{hook}" for hook, _ in recorder.told}


# ---- what is told ----


def test_what_happens_in_order(profile: Profile) -> None:
    recorder = Recorder()
    result = run(profile, recorder)
    assert [hook for hook, _ in recorder.told] == [
        "run_started",
        "agent_faulted",
        "wave_committed",
        "wave_committed",
        "run_ended",
    ]
    started, fault, first, second, ended = (value for _, value in recorder.told)
    assert (started.name, started.agents, started.waves, started.run_file) == ("run", 2, 2, None)
    assert (fault.wave, fault.agent, fault.kind) == (0, "falls/0", "unreachable")
    assert (first.wave, first.turns, first.live, first.faults) == (0, 2, 1, (fault,))
    assert [(output.agent, output.text) for output in first.outputs] == [("talks/0", "tick")]
    assert (second.wave, second.turns, second.digest) == (1, 1, result.digest)
    assert ended == result
    assert (ended.ended, ended.waves, ended.turns, ended.faults) == ("waves", 2, 3, 1)


def test_observers_are_told_in_the_order_given(profile: Profile) -> None:
    log: list[tuple[str, Any]] = []
    run(profile, Recorder(log, "b "), Recorder(log, "a "))
    names = [hook for hook, _ in log]
    assert names[:4] == ["b run_started", "a run_started", "b agent_faulted", "a agent_faulted"]
    assert names[0::2] == [name.replace("a ", "b ") for name in names[1::2]]


def test_an_observer_that_raises_disturbs_nobody(profile: Profile, caplog: pytest.LogCaptureFixture) -> None:
    alone = run(profile)
    before, after = Recorder(), Recorder()
    with caplog.at_level(logging.ERROR, "wavelock.plugins"):
        result = run(profile, before, Raises(), after)
    assert result == alone
    assert before.told == after.told
    assert len(before.told) == 5
    hooks = [record.getMessage().rpartition(" ")[2] for record in caplog.records]
    assert hooks == [f"wavelock_{hook}" for hook, _ in before.told]
    assert all(record.exc_info is not None for record in caplog.records)


def test_an_observer_cannot_change_what_it_is_told(profile: Profile) -> None:
    class Changes:
        refused = 0

        @hookimpl
        def wavelock_wave_committed(self, wave: WaveCommitted) -> WaveCommitted:
            for field in fields(wave):
                try:
                    setattr(wave, field.name, None)
                except FrozenInstanceError:
                    self.refused += 1
            return wave

    changes, recorder = Changes(), Recorder()
    assert run(profile, changes, recorder) == run(profile)
    assert changes.refused == 2 * len(fields(WaveCommitted))
    assert recorder.told[2][1].turns == 2


def test_an_observer_may_take_part_of_what_is_told(profile: Profile) -> None:
    class Counts:
        waves = 0

        @hookimpl
        def wavelock_wave_committed(self) -> None:
            self.waves += 1

    counts = Counts()
    run(profile, counts)
    assert counts.waves == 2


# ---- what is refused ----


def test_an_unknown_hook_is_refused(profile: Profile) -> None:
    class Typo:
        @hookimpl
        def wavelock_wave_comitted(self, wave: WaveCommitted) -> None:
            raise AssertionError("never told")

    with pytest.raises(PluginError, match="unknown hook 'wavelock_wave_comitted'"):
        Runtime(profile, record=False, observers=[Typo()])


def test_an_unknown_argument_is_refused(profile: Profile) -> None:
    class Typo:
        @hookimpl
        def wavelock_wave_committed(self, wav: WaveCommitted) -> None:
            raise AssertionError("never told")

    registry = Registry()
    with pytest.raises(PluginError, match="wav"):
        registry.observe(Typo())
    with Runtime(profile, record=False, registry=registry) as runtime:
        assert runtime.run().waves == 2


def test_an_observer_given_twice_is_refused(profile: Profile) -> None:
    recorder = Recorder()
    with pytest.raises(PluginError, match="observes this run already"):
        Runtime(profile, record=False, observers=[recorder, recorder])


# ---- one manager each ----


@pytest.fixture
def two_runtimes(profile: Profile) -> Iterator[Callable[[Recorder, Recorder], None]]:
    registry = Registry()

    def both(one: Recorder, other: Recorder) -> None:
        with (
            Runtime(profile, record=False, registry=registry, observers=[one]) as first,
            Runtime(profile, record=False, registry=registry, observers=[other]) as second,
        ):
            first.run(1)
            second.run()

    yield both
    registry.tell("wavelock_wave_committed", wave=None)


def test_two_runtimes_share_no_manager(two_runtimes: Callable[[Recorder, Recorder], None]) -> None:
    one, other = Recorder(), Recorder()
    two_runtimes(one, other)
    assert [hook for hook, _ in one.told].count("wave_committed") == 1
    assert [hook for hook, _ in other.told].count("wave_committed") == 2


def test_what_a_registry_observes_every_runtime_of_it_tells(profile: Profile) -> None:
    registry, recorder = Registry(), Recorder()
    registry.observe(recorder)
    for _ in range(2):
        with Runtime(profile, record=False, registry=registry) as runtime:
            runtime.run()
    assert [hook for hook, _ in recorder.told].count("run_ended") == 2


def test_a_copy_lists_the_same_and_is_told_apart() -> None:
    registry, recorder = Registry(), Recorder()
    twin = registry.copy()
    twin.observe(recorder)
    registry.tell("wavelock_wave_committed", wave=None)
    assert recorder.told == []
    twin.tell("wavelock_wave_committed", wave=None)
    assert recorder.told == [("wave_committed", None)]
    assert twin.listed() == registry.listed()

"""The arithmetic of a measurement, what it refuses, and whole ones that are short."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from bench.conftest import needs_compiler
from wavelock.bench import Options, competitors, floor, measure
from wavelock.bench.children import Child, Lap, LeftOut
from wavelock.bench.measure import Competitor, check, enough_waves, entry, ratios, rounded, summary, wrong
from wavelock.bench.works import make_job
from wavelock.core.errors import EnvironmentFailure, PluginError, ProfileError, UserError
from wavelock.core.phases import PHASES

SHORT = Options(agents=20, rounds=2, measured_s=0.01)


def laps(*ns: int) -> list[Lap]:
    return [Lap(each, 10, 10) for each in ns]


@dataclass
class Steady:
    """Runs waves that take a fixed time."""

    wave_ns: int
    waves: int = 0

    def run(self, waves: int) -> Lap:
        self.waves += waves
        return Lap(waves * self.wave_ns, waves, waves)


class Played(Child):
    """A child that is no process."""

    def __init__(self, agents: int = 20) -> None:
        self.ready = {"agents": agents, "versions": {"it": "1"}}

    def close(self) -> None:
        pass


def competitor(name: str, *ns: int, left_out: str | None = None) -> Competitor:
    return Competitor(name, Played(), laps=laps(*ns), left_out=left_out)


def test_ratios_are_paired() -> None:
    """Round by round: a machine that is slow for a while is slow for both."""
    assert ratios(laps(200, 4000, 260), laps(100, 2000, 100)) == (2.0, 2.0, 2.6)
    assert ratios(laps(100, 100), laps(200, 400)) == (0.375, 0.25, 0.5)
    assert ratios(laps(5), laps(3)) == (1.667, 1.667, 1.667)


def test_digits() -> None:
    assert [rounded(value) for value in (0.000123456, 1.23456, 123456.0)] == [0.0001235, 1.235, 123500.0]


def test_an_entry() -> None:
    assert entry(competitor("ray", 20_000, 10_000, 40_000), laps(100, 100, 100)) == {
        "name": "ray",
        "agents": 20,
        "ns_per_turn": 2000.0,
        "turns_per_s": 500_000,
        "ratio": 0.005,
        "spread": [0.0025, 0.01],
        "times_as_fast": 200.0,
        "versions": {"it": "1"},
    }
    assert entry(competitor("ray", left_out="gone"), laps(1)) == {"name": "ray", "left_out": "gone"}


def test_the_ratio_on_top_is_the_floors() -> None:
    own = laps(100, 120, 110)
    found = summary(own, [competitor("ray", 1000, 1000, 1000), competitor("floor", 50, 50, 50)])
    assert (found["ratio"], found["spread"], found["ratio_of"]) == (2.2, [2.0, 2.4], "floor")
    assert (found["ns_per_turn"], found["floor_ns_per_turn"], found["turns_per_s"]) == (11.0, 5.0, 90909091)
    both = [competitor("pooled-floor", 10, 10, 10), competitor("floor", 50, 50, 50)]
    assert summary(own, both)["ratio_of"] == "floor", "the floor with defaults is the floor"
    gone = [competitor("floor", left_out="gone"), competitor("pooled-floor", 10, 10, 10)]
    assert summary(own, gone)["ratio_of"] == "pooled-floor"


def test_the_ratio_on_top_without_a_floor() -> None:
    others = [competitor("floor", left_out="gone"), competitor("ray", 1000), competitor("pykka", 100)]
    found = summary(laps(100), others)
    assert (found["ratio"], found["ratio_of"]) == (0.1, "ray")
    assert "floor_ns_per_turn" not in found


@pytest.mark.parametrize(
    ("wave_ns", "waves"), [(1_000, 300_000), (10_000_000, 30), (299_000_000, 1), (10_000_000_000, 1)]
)
def test_waves_by_time(wave_ns: int, waves: int) -> None:
    steady = Steady(wave_ns)
    assert enough_waves(steady, 0.3) == waves
    assert steady.waves <= waves, "finding out takes no longer than a measurement"


def test_waves_of_no_time_end() -> None:
    assert enough_waves(Steady(1), 3600.0) > 1 << 20


def test_other_work_than_asked() -> None:
    job = make_job("ring", 10, 16)
    assert wrong(Lap(1, 30, 30), 3, job) is None
    said = wrong(Lap(1, 30, 29), 3, job)
    assert said == ("did other work than asked: 30 turns and 29 messages in 3 waves, expected 30 turns and 30 messages")
    assert wrong(Lap(1, 29, 30), 3, job)
    by_chance = make_job("random", 10, 16)
    assert wrong(Lap(1, 17, 30), 3, by_chance) is None
    assert "expected any turns and 30 messages" in str(wrong(Lap(1, 17, 31), 3, by_chance))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"against": ("flor",)},
            "--against flor: expected one of floor, pooled-floor, wasmtime-py, extism, ray, pykka",
        ),
        ({"against": ()}, "expected something to measure against"),
        ({"rounds": 0}, "at least one round"),
        ({"workers": 0}, "one worker"),
        ({"work": "rnig"}, "--work rnig: expected one of ring"),
    ],
)
def test_options_that_cannot_be(change: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        check(replace(SHORT, **change))  # type: ignore[arg-type]


# ---- whole measurements ----


def test_the_result_has_everything() -> None:
    told: list[str] = []
    found = measure(replace(SHORT, against=("wasmtime-py", "wasmtime-py")), told.append)
    assert [found[key] for key in ("work", "agents", "bytes", "workers", "record", "engine", "rounds")] == [
        *("ring", 20, 16, 1, False, "wasmtime", 2)
    ]
    assert found["waves"] >= 1
    assert found["ns_per_turn"] > 0
    assert found["turns_per_s"] > 0
    assert 0 < found["spread"][0] <= found["ratio"] <= found["spread"][1]
    assert list(found["phases_ns_per_turn"]) == list(PHASES)
    assert found["phases_ns_per_turn"]["turns"] > 0
    (other,) = found["against"]
    assert (other["name"], other["agents"], list(other["versions"])) == ("wasmtime-py", 20, ["wasmtime"])
    assert set(found["machine"]) == {"processor", "cores", "system"}
    assert re.fullmatch("[0-9a-f]{64}", found["digest"])
    assert told == ["starting wasmtime-py", "starting wavelock", "round 1 of 2", "round 2 of 2"]


@needs_compiler
def test_a_failing_peer_is_left_out_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(Child):
        laps = 0

        def run(self, waves: int) -> Lap:
            self.laps += 1
            if self.laps > 3:
                raise LeftOut("it fell over")
            return super().run(waves)

    monkeypatch.setattr(competitors, "Child", Failing)
    found = measure(replace(SHORT, against=("wasmtime-py", "floor")))
    assert found["against"][0] == {"name": "wasmtime-py", "left_out": "it fell over"}
    assert found["ratio_of"] == "floor"


@needs_compiler
@pytest.mark.parametrize("name", ["floor", "pooled-floor"])
def test_a_floor_alone(name: str) -> None:
    found = measure(replace(SHORT, work="all-to-one", against=(name,), workers=2, record=True))
    assert found["ratio_of"] == name
    assert found["floor_ns_per_turn"] == found["against"][0]["ns_per_turn"]
    assert (found["workers"], found["record"]) == (2, True)


def test_nothing_to_measure_against(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> list[str]:
        raise LeftOut(floor.HINT)

    monkeypatch.setattr(floor, "find_compiler", refuse)
    with pytest.raises(EnvironmentFailure) as caught:
        measure(replace(SHORT, work="compute", against=("floor", "ray")))
    assert str(caught.value) == (
        f"there is nothing to measure against: floor: {floor.HINT}; "
        "ray: its agents are Python: the arithmetic would be all that is measured"
    )


def test_an_unknown_engine_is_told_before_anything_starts() -> None:
    told: list[str] = []
    with pytest.raises((ProfileError, PluginError), match='no engine plugin is named "wasmtine"'):
        measure(replace(SHORT, engine="wasmtine"), told.append)
    assert told == []


def test_peers_that_do_other_work_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Idle(Child):
        def run(self, waves: int) -> Lap:
            return super().run(waves)._replace(messages=0)

    monkeypatch.setattr(competitors, "Child", Idle)
    with pytest.raises(EnvironmentFailure, match=r"wasmtime-py: did other work than asked: .* and 0 messages"):
        measure(replace(SHORT, against=("wasmtime-py",)))


# ---- the floor ----


def compilers(monkeypatch: pytest.MonkeyPatch, *, path: str | None, ziglang: bool) -> Callable[[], list[str]]:
    monkeypatch.setattr("shutil.which", lambda name: path if name == "clang" else None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: object() if ziglang else None)
    return floor.find_compiler


def test_which_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    assert compilers(monkeypatch, path="/bin/clang", ziglang=True)() == ["/bin/clang"]
    assert compilers(monkeypatch, path=None, ziglang=True)()[1:] == ["-m", "ziglang", "cc"]
    with pytest.raises(LeftOut, match=r"no C compiler was found: .*pip install ziglang"):
        compilers(monkeypatch, path=None, ziglang=False)()


def test_a_compiler_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floor, "find_compiler", lambda: ["/nowhere/cc"])
    with pytest.raises(EnvironmentFailure, match=r"floor\.c could not be compiled: .*/nowhere/cc"):
        measure(SHORT)


@needs_compiler
def test_the_floor_says_when_mappings_run_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Out(Child):
        def __init__(self, name: str, _command: list[str]) -> None:
            raise LeftOut(f"{name} ended with 1: instance 21822 of 200000: Cannot allocate memory (os error 12)")

    monkeypatch.setattr(floor, "Child", Out)
    with pytest.raises(EnvironmentFailure, match=r"instance 21822 .*; with the engine's defaults .*pooled-floor"):
        measure(SHORT)
    with pytest.raises(EnvironmentFailure, match=r"instance 21822 .*os error 12\)$"):
        measure(replace(SHORT, against=("pooled-floor",)))

"""`wavelock bench`: its options, its table, its JSON, and what a user's mistake is told."""

from __future__ import annotations

import re

import pytest

from cli.conftest import Cli
from wavelock.bench import AGAINST as KNOWN
from wavelock.bench import WORKS as KNOWN_WORKS
from wavelock.bench import Options, environments, floor, measure
from wavelock.bench.children import LeftOut
from wavelock.cli import bench
from wavelock.cli.app import AGAINST, WORKS
from wavelock.core.errors import EXIT_DONE, EXIT_ENVIRONMENT, EXIT_USER


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measurements of a hundredth of a second."""

    def short(options: Options, *rest: object) -> object:
        return measure(Options(**{**vars(options), "measured_s": 0.01}), *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(bench, "measure", short)


def test_the_help_names_what_there_is(cli: Cli) -> None:
    assert tuple(KNOWN_WORKS) == WORKS
    assert KNOWN == AGAINST
    shown = re.sub(r"\s+", "", cli("bench", "--help").out)  # names are broken at their hyphens
    assert ",".join(WORKS) in shown
    assert ",".join(AGAINST) in shown


def test_json(cli: Cli) -> None:
    done = cli("bench", "--agents", "10", "--bytes", "24", "--rounds", "1", "--against", "wasmtime-py", "--json")
    assert (done.code, done.err) == (EXIT_DONE, "")
    found = done.json
    assert {"work", "agents", "bytes", "workers", "record", "engine", "rounds", "waves", "ns_per_turn"} <= set(found)
    assert {"turns_per_s", "ratio", "spread", "against", "phases_ns_per_turn", "python", "wasmtime"} <= set(found)
    assert {"machine", "digest"} <= set(found)
    assert found["create_ns_per_agent"] > 0
    assert (found["agent_bytes"], found["memory_layout"]) == (None, "guarded")
    assert (found["agents"], found["bytes"], found["ratio_of"]) == (10, 24, "wasmtime-py")
    assert found["against"][0]["times_as_fast"] == pytest.approx(1 / found["ratio"], rel=0.01)


def test_the_table(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> list[str]:
        raise LeftOut(floor.HINT)

    monkeypatch.setattr(floor, "find_compiler", refuse)
    done = cli("bench", "--agents", "10", "--rounds", "2", "--against", "floor", "--against", "wasmtime-py", "--record")
    assert (done.code, done.err) == (EXIT_DONE, "")
    lines = done.out.splitlines()
    assert lines[0] == "ring: 10 agents, messages of 16 bytes, 1 worker, with a run file, engine wasmtime"
    assert re.match(r"Wavelock +[\d,.]+ +[\d,]+$", lines[3])
    assert lines[4] == f"floor          left out: {floor.HINT}"
    assert re.match(r"wasmtime-py +[\d,.]+ +[\d,]+   [\d.]+, [\d.]+ to [\d.]+", lines[5])
    assert lines[7].startswith("ns a turn by phase: create ")
    assert re.match(r"agents made in [\d.,]+ us each; guarded memories$", lines[8])
    assert re.match("digest after 4 waves [0-9a-f]{64}$", lines[9])
    assert lines[10].startswith("medians of 2 rounds; Wavelock ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--work", "rign"), "--work rign: expected one of ring, random, all-to-one, broadcast, compute"),
        (("--against", "rai"), f"--against rai: expected one of {', '.join(AGAINST)}"),
        (("--bytes", "17"), "--bytes 17: expected a multiple of 8 from 16 to 4096"),
        (("--agents", "0"), "--agents 0: expected 2 to 1,000,000"),
        (("--agents", "many"), "'many' is not a valid integer"),
        (("--rounds", "0"), "0 is not in the range"),
        (("--workers", "0"), "0 is not in the range"),
        (("--engine", "wasmtim"), 'no engine plugin is named "wasmtim"'),
    ],
)
def test_a_users_mistake(cli: Cli, arguments: tuple[str, ...], said: str) -> None:
    done = cli("bench", *arguments)
    assert done.code == EXIT_USER
    assert said in done.err
    assert done.out == ""


def test_nothing_to_measure_against(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str, *_rest: object) -> None:
        raise LeftOut(f"{name} cannot be installed: ERROR: no network")

    monkeypatch.setattr("wavelock.bench.competitors.environment_python", fail)
    done = cli("bench", "--agents", "10", "--against", "pykka", "--json")
    assert done.code == EXIT_ENVIRONMENT
    assert done.json["kind"] == "EnvironmentFailure"
    assert done.json["error"] == (
        "there is nothing to measure against: pykka: pykka cannot be installed: ERROR: no network"
    )
    assert environments.MARK


@pytest.mark.parametrize(
    ("factor", "text"), [(1.04, "1.0"), (4.125, "4.1"), (88.7, "89"), (603.1, "600"), (1995.0, "2,000")]
)
def test_factors_are_read_by_people(factor: float, text: str) -> None:
    assert bench._times(factor) == text

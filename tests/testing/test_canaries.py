"""The suite can fail: plugins that leak are caught, and the report names the first wave and agent that differ."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from testing import canaries
from wavelock import Registry
from wavelock.testing import Check, Difference, Report, Status, run_conformance

With = Callable[[str], Registry]
Command = Callable[..., "subprocess.CompletedProcess[str]"]


def engine_report(registry: Registry, workload: str = "state") -> Report:
    """A workload in which six agents take a turn in each of the first waves, on the canary's engine."""
    return run_conformance(
        registry, engines=["canary"], schedulers=["round-robin"], workers=[("inline", 1)], workloads=[workload]
    )


def by_check(report: Report) -> dict[Check, Difference]:
    return {each.case.check: each for each in report.differences}


def test_a_wrapper_that_leaks_nothing_is_equal(registry_with: With) -> None:
    """What follows is the canaries' doing, not the wrapper's."""
    report = engine_report(registry_with("HonestEngine"))
    assert report.conforms
    assert [outcome.status for outcome in report.outcomes] == [Status.EQUAL] * 4


def test_a_clock_in_an_outbox(registry_with: With) -> None:
    found = by_check(engine_report(registry_with("ClockEngine")))
    assert set(found) == set(Check), "other than the reference, other each time, other under another seed"
    places = {check: (each.wave, each.agent, each.what) for check, each in found.items()}
    assert places.pop(Check.MOVED) == (2, "", "state"), "the digest so far is part of it"
    assert set(places.values()) == {(2, "keeper/1", "outbox")}
    assert found[Check.SAME].found != found[Check.SAME].expected
    assert found[Check.SAME].reference.engine == "wasmtime"
    assert found[Check.AGAIN].reference.engine == "canary"


def test_one_unit_of_fuel(registry_with: With) -> None:
    report = engine_report(registry_with("FuelEngine"))
    found = by_check(report)
    assert set(found) == {Check.SAME, Check.MOVED, Check.SEED}, "it is the same each time"
    same = found[Check.SAME]
    assert (same.wave, same.agent, same.what) == (2, "keeper/1", "fuel")
    assert int(same.found) == int(same.expected) + 1
    assert str(same) == f"wave 2, agent keeper/1: fuel: found {same.found}, expected {same.expected}"
    assert not report.conforms


def test_a_nan_that_is_the_processors_own(registry_with: With) -> None:
    """The same module without canonical NaNs: of a positive quiet NaN, a negative one is left."""
    report = engine_report(registry_with("NanEngine"), "floats")
    same = by_check(report)[Check.SAME]
    assert (same.wave, same.agent, same.what) == (0, "pairs32/0", "outbox")
    assert "0000c0ff" in same.found
    assert "0000c07f" in same.expected


def test_memory_that_no_message_shows(registry_with: With) -> None:
    """A byte of an agent's memory, captured between two waves: no outbox tells of it."""
    found = by_check(engine_report(registry_with("MemoryEngine")))
    assert set(found) == {Check.MOVED}
    moved = found[Check.MOVED]
    assert (moved.wave, moved.agent, moved.what) == (2, "keeper/1", "state")
    assert moved.found.startswith("instance: offset ")
    assert moved.found != moved.expected


def test_the_order_of_completion(registry_with: With) -> None:
    """Two workers, and a transport that takes their replies as they come: in wave 2 the second comes first.

    On an engine whose outboxes go by transport; wasmtime leaves them where they are.
    """
    report = run_conformance(
        registry_with("HastyTransport"),
        engines=["reference"], schedulers=["round-robin"], transports=["canary"], workers=[("threads", 2)],
        workloads=["state"],
    )  # fmt: skip
    same = by_check(report)[Check.SAME]
    assert (same.wave, same.agent) == (2, "keeper/0")
    assert same.reference.transport == "shared-memory"
    assert Check.SEED in by_check(report)


def test_completion_in_the_expected_order_is_equal(registry_with: With) -> None:
    """The same transport with one worker, which nobody overtakes."""
    report = run_conformance(
        registry_with("HastyTransport"),
        engines=["reference"], schedulers=["round-robin"], transports=["canary"], workers=[("threads", 1)],
        workloads=["state"],
    )  # fmt: skip
    assert report.conforms


def scheduler_report(registry: Registry) -> Report:
    return run_conformance(
        registry, engines=["wasmtime"], schedulers=["canary"], workers=[("inline", 1)], workloads=["state"]
    )


def test_the_order_of_a_set_by_identity(registry_with: With) -> None:
    """Caught in one process: objects lie elsewhere each time."""
    parting_of(registry_with("IdentityScheduler"))


def parting_of(registry: Registry) -> int:
    """The wave in which two runs under a canary part: the report names it and the agent as the plans themselves do."""
    canaries._Leaking.plans.clear()
    again = by_check(scheduler_report(registry))[Check.AGAIN]
    first, second = split_runs(canaries._Leaking.plans)[:2]
    assert again.what == "plan"
    assert (again.wave, again.agent) == first_parting(second, first)
    assert again.wave is not None
    return again.wave


def split_runs(plans: list[list[int]]) -> list[list[list[int]]]:
    """The plans of each run: in this workload all six agents take a turn in each of six waves."""
    return [plans[at : at + 6] for at in range(0, len(plans), 6)]


def first_parting(found: list[list[int]], expected: list[list[int]]) -> tuple[int, str]:
    names = ["keeper/0", "keeper/1", "keeper/2", "watcher/0", "watcher/1", "reader/0"]
    for wave, (mine, theirs) in enumerate(zip(found, expected, strict=True)):
        for one, other in zip(mine, theirs, strict=True):
            if one != other:
                return wave, names[other]
    raise AssertionError("the plans are the same")


def test_a_clock_in_a_plan(registry_with: With) -> None:
    """The plans agree until the clock comes in."""
    assert parting_of(registry_with("ClockScheduler")) >= 2


def test_the_order_of_a_set_by_hash(run_with: Command, tmp_path: Path) -> None:
    """Not to be seen in one process; between two with other hash seeds `--compare` sees it, and nothing else."""

    def run(hash_seed: int, *more: str) -> tuple[int, dict[str, Any]]:
        choices = ("--engine", "wasmtime", "--scheduler", "canary", "--scheduler", "priority", "--workers", "inline")
        command = ("wavelock", "conformance", "--json", *choices, "--workload", "state", *more)
        done = run_with("HashScheduler", *command, hash_seed=hash_seed)
        (tmp_path / f"{hash_seed}.json").write_text(done.stdout)
        return done.returncode, json.loads(done.stdout)

    code, first = run(1)
    assert (code, first["conforms"], first["differences"]) == (0, True, [])
    code, second = run(2, "--compare", str(tmp_path / "1.json"))
    assert code == 3
    assert second["conforms"], "this run by itself is consistent"
    (difference,) = second["compared"]["differences"]
    assert (difference["workload"], difference["scheduler"]) == ("state", "canary")
    assert difference["wave"] == 0
    assert second["compared"]["runs"] == 2
    code, third = run(1, "--compare", str(tmp_path / "1.json"))
    assert (code, third["compared"]["differences"]) == (0, [])


@pytest.mark.parametrize(
    ("canary", "told"),
    [
        ("BrokenScheduler", "is not a non-empty subset"),
        ("UntidyScheduler", "KeyError: 0"),
    ],
)
def test_a_scheduler_that_breaks_is_an_error(registry_with: With, canary: str, told: str) -> None:
    report = scheduler_report(registry_with(canary))
    assert {outcome.status for outcome in report.outcomes} == {Status.ERROR}
    assert all(told in outcome.told for outcome in report.errors)
    assert not report.conforms
    assert not report.differences


def test_a_machine_that_fails_is_an_error_of_its_cases(registry_with: With) -> None:
    report = run_conformance(
        registry_with("FailingEngine"),
        engines=["wasmtime", "canary"], schedulers=["dag"], workers=[("inline", 1)], workloads=["state"],
    )  # fmt: skip
    engines = {outcome.case.combination.engine: outcome.status for outcome in report.outcomes}
    assert engines == {"wasmtime": Status.EQUAL, "canary": Status.ERROR}
    assert all("no memory left in wave 2" in outcome.told for outcome in report.errors)
    assert not report.differences

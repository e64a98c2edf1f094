"""The suite itself: what takes part, what a case asks, what goes on and what ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from wavelock import Registry, UserError
from wavelock.plugins.manager import find_entry_points
from wavelock.testing import (
    WORKLOADS,
    Check,
    Combination,
    Conformance,
    Outcome,
    Selection,
    Status,
    Workload,
    run_conformance,
)
from wavelock.testing.combinations import reference_of, usable
from wavelock.testing.trace import settings
from wavelock.testing.workloads.agents import agent
from wavelock.testing.workloads.workload import group

STATE = next(workload for workload in WORKLOADS if workload.name == "state")
SCHEDULERS = ("round-robin", "dag", "priority")


def one(name: str, turn: str, **keys: object) -> Workload:
    """A workload with one agent."""
    return replace(STATE, name=name, profile=group("a", "a.wat"), files={"a.wat": agent(turn)}, **keys)  # type: ignore[arg-type]


def test_every_combination_of_what_is_installed(registry: Registry) -> None:
    with Conformance(registry, Selection(engines=["wasmtime"], transports=["shared-memory"])) as suite:
        workers = [("inline", 1), ("threads", 1), ("threads", 2), ("threads", 3)]
        assert [each for each in suite.combinations if each.workers in ("inline", "threads")] == [
            Combination(scheduler, "wasmtime", "shared-memory", *kind)
            for scheduler in usable(registry, "scheduler")
            for kind in workers
        ]
        assert set(SCHEDULERS) <= set(usable(registry, "scheduler"))
        assert suite.workloads == WORKLOADS
        checks = {(case.combination, case.workload.name, case.check) for case in suite.cases}
        assert len(checks) == len(suite.cases)
        for combination in suite.combinations:
            again = combination == reference_of(combination, registry)
            assert (combination, "floats", Check.AGAIN if again else Check.SAME) in checks
            assert (combination, "messages", Check.AGAIN) in checks, "a small one twice, for each"
            assert (combination, "messages", Check.SEED) in checks
            assert (combination, "messages", Check.MOVED) in checks
        moved = [case for case in suite.cases if case.check is Check.MOVED and case.workload.name == "floats"]
        assert [case.combination for case in moved] == [suite.combinations[0]], "all workloads once for each engine"


def test_the_default_members_come_first(registry: Registry) -> None:
    assert usable(registry, "scheduler")[0] == "round-robin"
    assert usable(registry, "engine")[0] == "wasmtime"
    assert usable(registry, "workers")[0] == "inline"


def test_the_quick_suite_is_smaller(registry: Registry) -> None:
    with Conformance(registry, Selection(quick=True)) as quick, Conformance(registry) as whole:
        assert 4 * len(quick.cases) < len(whole.cases)
        assert {each.count for each in quick.combinations} == {1, 2}
        assert {workload.name for workload in quick.workloads} < {workload.name for workload in whole.workloads}


def test_models_run_once_for_each_backend(registry: Registry) -> None:
    pytest.importorskip("onnxruntime")
    selection = Selection(engines=["wasmtime"], schedulers=["dag"], workers=[("inline", 1)], backends=["onnx"])
    with Conformance(registry, selection, ["inference", "state"]) as suite:
        backends = {(case.workload.name, case.combination.backend) for case in suite.cases}
        assert backends == {("inference", "onnx"), ("state", "")}
        cases = [case for case in suite.cases if case.workload.models]
        assert len(cases) == 2
        assert {suite.run(case).status for case in cases} == {Status.EQUAL}


def test_settings_are_those_of_the_scheduler() -> None:
    messages = next(workload for workload in WORKLOADS if workload.name == "messages")
    combination = Combination("priority", "e", "t", "threads", 3)
    assert settings(messages, combination, 5) == [
        'engine.use="e"', 'scheduler.use="priority"', "scheduler.width=6", "scheduler.aging=2",
        'transport.use="t"', 'workers.use="threads"', "workers.count=3", "run.seed=5",
    ]  # fmt: skip
    inference = next(workload for workload in WORKLOADS if workload.models)
    assert settings(inference, replace(combination, backend="b"), 1)[-3:] == [
        'models[0].backend="b"', 'models[1].backend="b"', "run.seed=1",
    ]  # fmt: skip


# ---- what cannot take part ----


def test_what_is_asked_for_must_be_there(registry_with: Callable[[str], Registry]) -> None:
    registry = registry_with("UnavailableEngine")
    with pytest.raises(UserError, match='the engine plugin "canary" is not available: no wings; grow some'):
        run_conformance(registry, engines=["canary"])
    with pytest.raises(UserError, match='no scheduler plugin is named "dags"; did you mean "dag"'):
        run_conformance(registry, schedulers=["dags"])
    with pytest.raises(UserError, match='no workload is named "message"; did you mean "messages"'):
        run_conformance(registry, workloads=["message"])
    with pytest.raises(UserError, match="no workload was asked for"):
        run_conformance(registry, workloads=[])


def test_what_is_not_there_is_listed_with_the_reason(registry_with: Callable[[str], Registry]) -> None:
    with Conformance(registry_with("UnavailableEngine")) as suite:
        (found,) = (each for each in suite.unavailable if each.name == "canary")
        assert (found.family, found.reason, found.remedy) == ("engine", "no wings", "grow some")
        assert "canary" not in {each.engine for each in suite.combinations}


def without(family: str) -> Registry:
    """The installed plugins but those of a family."""
    members = {item.name for item in Registry().listed() if item.family == family}
    return Registry([found for found in find_entry_points() if found.name not in members])


def test_a_family_without_members_ends_the_suite() -> None:
    with pytest.raises(UserError, match="no plugin of the family transport can be used here"):
        Conformance(without("transport"))


def test_without_a_backend_models_are_unavailable() -> None:
    registry = without("model_backend")
    report = run_conformance(
        registry, engines=["wasmtime"], schedulers=["dag"], workers=[("inline", 1)], workloads=["state", "inference"]
    )
    statuses = {outcome.case.workload.name: outcome.status for outcome in report.outcomes}
    assert statuses == {"state": Status.EQUAL, "inference": Status.UNAVAILABLE}
    assert "no inference backend can be used here" in report.outcomes[-1].told
    assert report.conforms
    with pytest.raises(UserError, match="nothing to run: no inference backend"):
        run_conformance(registry, workloads=["inference"])


def test_an_engine_may_refuse_what_is_optional_and_nothing_else(registry_with: Callable[[str], Registry]) -> None:
    workloads = ["state", "simd-stack", "simd-depth"]
    report = run_conformance(
        registry_with("PickyEngine"),
        engines=["canary"], schedulers=["dag"], workers=[("inline", 1)], workloads=workloads,
    )  # fmt: skip
    statuses = {outcome.case.workload.name: outcome.status for outcome in report.outcomes}
    assert statuses == {"state": Status.ERROR, "simd-stack": Status.UNAVAILABLE, "simd-depth": Status.UNAVAILABLE}
    assert {outcome.told for outcome in report.not_run} == {"canary runs nothing of this kind"}
    assert not report.conforms
    only = run_conformance(registry_with("PickyEngine"), engines=["canary"], workloads=["simd-depth"], quick=True)
    assert not only.errors
    assert not only.conforms, "nothing was shown"


# ---- cases ----

QUICKLY = {"engines": ["wasmtime"], "schedulers": ["round-robin"], "workers": [("inline", 1)]}


def test_each_case_is_told(registry: Registry) -> None:
    told: list[tuple[str, int, int]] = []

    def on_case(outcome: Outcome, done: int, total: int) -> None:
        told.append((outcome.case.check.value, done, total))

    report = run_conformance(registry, workloads=["state", "topics"], on_case=on_case, **QUICKLY)  # type: ignore[arg-type]
    assert told == [("again", 1, 5), ("moved", 2, 5), ("seed", 3, 5), ("again", 4, 5), ("moved", 5, 5)]
    assert report.conforms
    assert report.cases == 5


def test_a_workload_that_is_deaf_to_the_seed_is_reported(registry: Registry) -> None:
    deaf = one("deaf", "(call $say (i32.const 1) (i64.const 7)) (call $yield_until (i32.const 3))")
    report = run_conformance(registry, workloads=[deaf], **QUICKLY)  # type: ignore[arg-type]
    assert [outcome.status for outcome in report.outcomes] == [Status.EQUAL, Status.EQUAL, Status.DIFFERS]
    (difference,) = report.differences
    assert difference.case.check is Check.SEED
    assert difference.what == "seed"


def test_faults_other_than_a_workload_names_are_reported(registry: Registry) -> None:
    """Engines that all fail alike would agree with each other."""
    failing = one("failing", "(call $hear) (call $say_hash) (unreachable)", faults=frozenset({"fuel"}))
    report = run_conformance(registry, workloads=[failing], **QUICKLY)  # type: ignore[arg-type]
    found = {(each.what, each.found, each.expected) for each in report.differences}
    assert found == {("kinds of fault", "unreachable", "fuel")}


def test_a_run_without_end_is_an_error(registry: Registry) -> None:
    endless = one("endless", "(call $hear) (call $say_hash) (call $yield)")
    report = run_conformance(registry, workloads=[endless], **QUICKLY)  # type: ignore[arg-type]
    assert {outcome.status for outcome in report.outcomes} == {Status.ERROR}
    assert "the run has not ended after 500 waves" in report.errors[0].told


def test_a_module_that_is_none_is_an_error(registry: Registry) -> None:
    broken = one("broken", "(call $nothing)")
    report = run_conformance(registry, workloads=[broken], **QUICKLY)  # type: ignore[arg-type]
    assert {outcome.status for outcome in report.outcomes} == {Status.ERROR}
    assert "cannot be run" in report.errors[0].told


def test_what_is_not_selected_is_still_compared_with(registry: Registry) -> None:
    """One kind of worker alone: its reference is the default one all the same."""
    report = run_conformance(registry, schedulers=["dag"], workers=[("threads", 2)], engines=["wasmtime"],
                             workloads=["topics"])  # fmt: skip
    assert [case.check for case in (outcome.case for outcome in report.outcomes)] == [
        Check.SAME, Check.AGAIN, Check.MOVED, Check.SEED,
    ]  # fmt: skip
    assert report.conforms
    assert set(report.traces) == {("topics", "dag")}


def test_a_suite_is_closed_twice_without_harm(registry: Registry) -> None:
    suite = Conformance(registry, workloads=["state"])
    suite.close()
    suite.close()


def test_importing_it_needs_no_pytest_and_no_engine() -> None:
    code = "import sys, wavelock.testing; print({'pytest', 'wasmtime', 'onnxruntime', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n"

"""The stage: threads beside the waves, whose timing no answer shows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wavelock.core.errors import EnvironmentFailure, ModelError
from wavelock.core.ports import InferencePort
from wavelock.core.tensors import Array, decode_tensors, encode_tensors
from wavelock.models.stage import ModelRequest, ModelStage, open_stage

Make = Callable[..., Any]
DEADLINE_S = 20


def double(batch: Sequence[Array]) -> list[Array]:
    return [batch[0] * 2]


def payload(*values: float) -> bytes:
    return encode_tensors([np.array(values, dtype="<f4")])


def values(answers: Sequence[Any]) -> list[Any]:
    return [decode_tensors(answer.payload)[0].tolist() for answer in answers]


def model_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("wavelock-model-")]


class Gate:
    """A model function that waits until it is opened."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()

    def __call__(self, batch: Sequence[Array]) -> list[Array]:
        self.entered.set()
        assert self.opened.wait(DEADLINE_S)
        return double(batch)


@pytest.fixture
def open_models(
    repository: Path, put_model: Make, memory_model: Make, memory_backend: Make
) -> Iterator[Callable[..., ModelStage]]:
    """Open a stage over functions by model name; closed at the end of the test."""
    stages = []

    def make(functions: dict[str, Any], **changes: Any) -> ModelStage:
        models = {
            # A fixed batch of one: nothing is probed at load, so a function sees only what the test asks.
            name: function if hasattr(function, "run") else memory_model([(1, 2)], [(1, 2)], function)
            for name, function in functions.items()
        }
        for name in functions:
            put_model(b"file of " + name.encode(), name)
        requests = [request_for(repository, name, **changes) for name in functions]
        stages.append(open_stage(requests, {"memory": memory_backend(models)}))
        return stages[-1]

    yield make
    for stage in stages:
        stage.close()
    assert model_threads() == []


def request_for(repository: Path, name: str, **changes: Any) -> ModelRequest:
    fields: dict[str, Any] = {
        "name": name,
        "backend": "memory",
        "repository": repository,
        "model": name,
        "version": "latest",
        "providers": ("gpu", "memory"),
        "strict": False,
        "finite": True,
        "max_batch_rows": 4,
    }
    return ModelRequest(**{**fields, **changes})


def test_the_stage_is_an_inference_port(open_models: Callable[..., ModelStage]) -> None:
    port: InferencePort = open_models({"a": double})
    port.submit(3, 0, [payload(1, 2), payload(3, 4)])
    assert values(port.collect(3, 0)) == [[2, 4], [6, 8]]


def test_submit_returns_before_the_model_has_run(open_models: Callable[..., ModelStage]) -> None:
    gate = Gate()
    stage = open_models({"slow": gate, "fast": double})
    stage.submit(1, 0, [payload(1, 2)])
    assert gate.entered.wait(DEADLINE_S)
    stage.submit(2, 0, [payload(3, 4)])
    stage.submit(1, 1, [payload(5, 6)])
    assert values(stage.collect(1, 1)) == [[10, 12]]
    gate.opened.set()
    assert values(stage.collect(2, 0)) == [[6, 8]]
    assert values(stage.collect(1, 0)) == [[2, 4]]


def test_answers_are_kept_apart_by_wave_and_model(open_models: Callable[..., ModelStage]) -> None:
    stage = open_models({"a": double, "b": lambda batch: [batch[0] + 100]})
    for wave in range(50):
        for model in (1, 0):
            stage.submit(wave, model, [payload(wave, i) for i in range(wave % 4)])
    for wave in reversed(range(50)):
        assert values(stage.collect(wave, 0)) == [[2 * wave, 2 * i] for i in range(wave % 4)]
        assert values(stage.collect(wave, 1)) == [[100 + wave, 100 + i] for i in range(wave % 4)]


def test_a_batch_is_started_once_and_collected_once(open_models: Callable[..., ModelStage]) -> None:
    stage = open_models({"a": double})
    stage.submit(1, 0, [payload(1, 2)])
    with pytest.raises(ValueError, match="batch of wave 1 was started already"):
        stage.submit(1, 0, [])
    stage.collect(1, 0)
    with pytest.raises(LookupError, match="no batch of wave 1"):
        stage.collect(1, 0)
    stage.submit(1, 0, [payload(3, 4)])
    assert values(stage.collect(1, 0)) == [[6, 8]]


@pytest.mark.parametrize("failure", [MemoryError("none left"), EnvironmentFailure("the device is lost")])
def test_a_failing_machine_shows_at_collect_and_the_thread_lives_on(
    open_models: Callable[..., ModelStage], failure: Exception
) -> None:
    def fail_on_nine(batch: Sequence[Array]) -> list[Array]:
        if batch[0][0, 0] == 9:
            raise failure
        return double(batch)

    stage = open_models({"a": fail_on_nine})
    stage.submit(1, 0, [payload(9, 9)])
    stage.submit(2, 0, [payload(1, 1)])
    with pytest.raises(EnvironmentFailure, match=str(failure)):
        stage.collect(1, 0)
    assert values(stage.collect(2, 0)) == [[2, 2]]


def test_closing_wakes_who_waits_and_drops_what_has_not_run(open_models: Callable[..., ModelStage]) -> None:
    gate = Gate()
    stage = open_models({"slow": gate})
    for wave in range(3):
        stage.submit(wave, 0, [payload(1, 2)])
    assert gate.entered.wait(DEADLINE_S)
    failures: list[BaseException] = []

    def wait_for_it() -> None:
        try:
            stage.collect(2, 0)
        except EnvironmentFailure as problem:
            failures.append(problem)

    waiting = threading.Thread(target=wait_for_it)
    waiting.start()
    closing = threading.Thread(target=stage.close)
    closing.start()
    waiting.join(DEADLINE_S)
    gate.opened.set()
    closing.join(DEADLINE_S)
    assert not closing.is_alive()
    assert "was closed" in str(failures[0])
    assert model_threads() == []


def test_closing_twice_frees_models_and_refuses_work(
    open_models: Callable[..., ModelStage], memory_model: Make
) -> None:
    model = memory_model([(1, 2)], [(1, 2)], double)
    stage = open_models({"a": model})
    stage.close()
    stage.close()
    assert model.closed >= 1
    with pytest.raises(EnvironmentFailure, match="stage is closed"):
        stage.submit(1, 0, [])


def test_reports_are_in_profile_order_and_name_file_and_provider(
    open_models: Callable[..., ModelStage],
) -> None:
    reports = open_models({"b": double, "a": double}).reports()
    assert [report.name for report in reports] == ["b", "a"]
    first = reports[0]
    assert (first.version, first.backend, first.got, first.reason) == ("1", "memory", "memory", "memory: ok")
    assert first.asked == ("gpu", "memory")
    assert first.fingerprint.startswith("blake3:")
    assert first.fingerprint.endswith("; memory 1")
    assert first.fingerprint != reports[1].fingerprint


def test_max_batch_rows_and_finite_reach_the_batches(
    open_models: Callable[..., ModelStage], memory_model: Make
) -> None:
    model = memory_model([(None, 2)], [(None, 2)], double)
    stage = open_models({"a": model}, max_batch_rows=3, finite=False)
    model.shapes.clear()
    stage.submit(1, 0, [payload(i, np.inf) for i in range(7)])
    assert values(stage.collect(1, 0)) == [[2 * i, np.inf] for i in range(7)]
    assert [shapes[0][0] for shapes in model.shapes] == [3, 3, 1]


def test_rows_that_feel_their_neighbours_are_run_one_by_one(
    open_models: Callable[..., ModelStage], memory_model: Make
) -> None:
    model = memory_model([(None, 2)], [(None, 2)], lambda batch: [batch[0] / np.abs(batch[0]).max()])
    stage = open_models({"a": model})
    stage.submit(1, 0, [payload(1, 2), payload(1, 4)])
    assert values(stage.collect(1, 0)) == [[0.5, 1], [0.25, 1]]
    assert "rows run one by one" in stage.reports()[0].reason


def test_a_model_that_refuses_sampled_inputs_says_so(
    open_models: Callable[..., ModelStage], memory_model: Make
) -> None:
    def only_tens(batch: Sequence[Array]) -> list[Array]:
        if (batch[0] % 10).any():
            raise ValueError("not a ten")
        return double(batch)

    stage = open_models({"a": memory_model([(None, 2)], [(None, 2)], only_tens)})
    assert "batches unproved" in stage.reports()[0].reason
    stage.submit(1, 0, [payload(10, 20), payload(1, 2)])
    assert [answer.reason for answer in stage.collect(1, 0)] == [0, 20]


def test_a_model_that_cannot_be_loaded_leaves_nothing_loaded(
    repository: Path, put_model: Make, memory_model: Make, memory_backend: Make
) -> None:
    good = memory_model([(1, 2)], [(1, 2)], double)
    put_model(b"good", "good")
    backends = {"memory": memory_backend({"good": good})}
    with pytest.raises(ModelError, match="model 'bad'"):
        open_stage([request_for(repository, "good"), request_for(repository, "bad")], backends)
    assert good.closed == 1
    assert model_threads() == []


def test_a_model_that_fails_its_probe_with_the_machine_is_closed(
    repository: Path, put_model: Make, memory_model: Make, memory_backend: Make
) -> None:
    def lost(batch: Sequence[Array]) -> list[Array]:
        raise EnvironmentFailure("device lost")

    model = memory_model([(None, 2)], [(None, 2)], lost)
    put_model(b"m", "m")
    with pytest.raises(EnvironmentFailure, match="device lost"):
        open_stage([request_for(repository, "m")], {"memory": memory_backend({"m": model})})
    assert model.closed == 1


def test_an_unknown_backend_and_a_bad_row_limit_are_refused(
    repository: Path, put_model: Make, memory_backend: Make
) -> None:
    put_model(b"m", "m")
    backends = {"memory": memory_backend({})}
    with pytest.raises(ModelError, match="no inference backend 'onxx'; there is: memory"):
        open_stage([request_for(repository, "m", backend="onxx")], backends)
    with pytest.raises(ModelError, match="max_batch_rows is 0; expected 1 or more"):
        open_stage([request_for(repository, "m", max_batch_rows=0)], backends)


def test_a_stage_without_models_is_fine() -> None:
    stage = open_stage([], {})
    assert stage.reports() == []
    stage.close()

"""The inference stage: loaded models beside the waves, one thread each.

Rules: `submit` never waits; one thread runs a model's batches in the order in which they came; `collect`
answers what the requests alone decide, or raises EnvironmentFailure when the thread could not; closing stops
every thread and frees every model, once. Nothing here sleeps or polls: threads wait on a queue, the
orchestrator on a condition.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue

from wavelock.core.errors import EnvironmentFailure, ModelError
from wavelock.core.ports import InferenceAnswer, ModelReport
from wavelock.models.batching import answer_batch
from wavelock.models.interface import Model, ModelBackend, ModelSpec
from wavelock.models.probe import rows_are_independent
from wavelock.models.repository import FoundModel, find_model
from wavelock.models.requests import Batching, Checker, Intake, intake_for


@dataclass(frozen=True)
class ModelRequest:
    """One model of a profile. name: the profile's; model: the repository's. version: see `find_model`.

    providers, strict: see `ModelSpec`. finite: refuse NaN and infinities in requests. max_batch_rows: of one
    run.
    """

    name: str
    backend: str
    repository: Path
    model: str
    version: int | str
    providers: tuple[str, ...]
    strict: bool
    finite: bool
    max_batch_rows: int


@dataclass(frozen=True)
class _Loaded:
    model: Model
    intake: Intake
    report: ModelReport


class ModelStage:
    """`core.ports.InferencePort` over loaded models; a model's number is its place in the profile."""

    def __init__(self, loaded: Sequence[_Loaded]) -> None:
        self._lanes = [_Lane(item) for item in loaded]

    def submit(self, wave: int, model: int, payloads: Sequence[bytes]) -> None:
        """Start the batch (wave, model); returns at once. Raises ValueError where it was started already."""
        self._lanes[model].submit(wave, payloads)

    def collect(self, wave: int, model: int) -> list[InferenceAnswer]:
        """Wait for the batch (wave, model); one answer for each payload, in order. A batch is collected once.

        Raises EnvironmentFailure when the batch could not be run, LookupError for a batch never started.
        """
        return self._lanes[model].collect(wave)

    def reports(self) -> list[ModelReport]:
        """How each model was resolved, in profile order."""
        return [lane.report for lane in self._lanes]

    def close(self) -> None:
        """Stop the threads and free the models. Batches not yet run are dropped. Safe to call twice."""
        for lane in self._lanes:
            lane.stop()
        for lane in self._lanes:
            lane.close()


class _Lane:
    """One model and its thread."""

    def __init__(self, loaded: _Loaded) -> None:
        self._model, self._checker, self.report = loaded.model, Checker(loaded.intake), loaded.report
        self._queue: SimpleQueue[tuple[int, list[bytes]] | None] = SimpleQueue()
        self._changed = threading.Condition()
        self._started: set[int] = set()
        self._done: dict[int, list[InferenceAnswer] | BaseException] = {}
        self._stopped = False
        # A daemon, so that a stage that nobody closed cannot keep the interpreter from ending.
        self._thread = threading.Thread(target=self._work, name=f"wavelock-model-{self.report.name}", daemon=True)
        self._thread.start()

    def submit(self, wave: int, payloads: Sequence[bytes]) -> None:
        with self._changed:
            if self._stopped:
                raise EnvironmentFailure(f"model {self.report.name!r}: wave {wave}: the inference stage is closed")
            if wave in self._started:
                raise ValueError(f"model {self.report.name!r}: the batch of wave {wave} was started already")
            self._started.add(wave)
        self._queue.put((wave, list(payloads)))

    def collect(self, wave: int) -> list[InferenceAnswer]:
        with self._changed:
            if wave not in self._started:
                raise LookupError(f"model {self.report.name!r}: no batch of wave {wave} was started")
            self._changed.wait_for(lambda: self._stopped or wave in self._done)
            result = self._done.pop(wave, None)
            self._started.discard(wave)
        if isinstance(result, list):
            return result
        if isinstance(result, EnvironmentFailure):
            raise result
        why = "the inference stage was closed" if result is None else f"{type(result).__name__}: {result}"
        raise EnvironmentFailure(f"model {self.report.name!r}: wave {wave}: {why}") from result

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._queue.put(None)

    def close(self) -> None:
        self._thread.join()
        self._model.close()

    def _work(self) -> None:
        while (job := self._queue.get()) is not None and not self._stopped:
            wave, payloads = job
            result: list[InferenceAnswer] | BaseException
            try:
                result = answer_batch(self._model, self._checker, payloads)
            except BaseException as problem:  # raised again by `collect`, in the thread that can act on it
                result = problem
            with self._changed:
                self._done[wave] = result
                self._changed.notify_all()


def open_stage(models: Sequence[ModelRequest], backends: Mapping[str, ModelBackend]) -> ModelStage:
    """Find and load every model and start its thread. backends: by the name that profiles use.

    Raises ModelError, naming the model, and then leaves nothing loaded.
    """
    with ExitStack() as undo:
        loaded = []
        for request in models:
            loaded.append(_load(request, backends))
            undo.callback(loaded[-1].model.close)
        stage = ModelStage(loaded)
        undo.pop_all()
    return stage


def _load(request: ModelRequest, backends: Mapping[str, ModelBackend]) -> _Loaded:
    backend = backends.get(request.backend)
    if backend is None:
        listed = ", ".join(sorted(backends)) or "none"
        raise ModelError(f"model {request.name!r}: no inference backend {request.backend!r}; there is: {listed}")
    if request.max_batch_rows < 1:
        raise ModelError(f"model {request.name!r}: max_batch_rows is {request.max_batch_rows}; expected 1 or more")
    found = find_model(request.repository, request.model, request.version)
    spec = ModelSpec(
        request.name, found.path, str(found.version), found.digest, tuple(request.providers), request.strict
    )
    model = backend.load(spec)
    try:
        intake, note = _intake(model, request)
    except BaseException:
        model.close()
        raise
    return _Loaded(model, intake, _report(request, found, model, note))


def _intake(model: Model, request: ModelRequest) -> tuple[Intake, str]:
    intake = intake_for(model.inputs, model.outputs, max_rows=request.max_batch_rows, finite=request.finite)
    if intake.batching is not Batching.JOINED:
        return intake, ""
    independent, note = rows_are_independent(model)
    return (intake if independent else replace(intake, batching=Batching.PIECES)), note


def _report(request: ModelRequest, found: FoundModel, model: Model, note: str) -> ModelReport:
    resolution = model.resolution
    return ModelReport(
        name=request.name,
        version=str(found.version),
        backend=request.backend,
        asked=tuple(request.providers),
        got=resolution.got,
        reason="; ".join(part for part in (resolution.reason, note) if part),
        fingerprint=f"blake3:{found.digest}; {resolution.fingerprint}",
    )

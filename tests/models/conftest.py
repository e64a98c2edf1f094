"""What the tests of the inference family share: a backend in memory, and a folder to put models in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wavelock.core.tensors import Array
from wavelock.models.interface import Model, ModelSpec, Resolution, TensorSpec

Function = Callable[[Sequence[Array]], list[Array]]
F32 = np.dtype("<f4")


class MemoryModel:
    """A model that is a Python function over arrays; it counts its runs and can be closed twice."""

    def __init__(self, inputs: Sequence[Any], outputs: Sequence[Any], function: Function) -> None:
        self._inputs = tuple(TensorSpec(f"in{i}", F32, tuple(dims)) for i, dims in enumerate(inputs))
        self._outputs = tuple(TensorSpec(f"out{i}", F32, tuple(dims)) for i, dims in enumerate(outputs))
        self._function = function
        self.shapes: list[tuple[tuple[int, ...], ...]] = []
        self.closed = 0

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self._outputs

    @property
    def resolution(self) -> Resolution:
        return Resolution("memory", "memory: ok", "memory 1")

    def run(self, batch: Sequence[Array]) -> list[Array]:
        # numpy tells no true address of an array without elements.
        assert all(array.ctypes.data % 64 == 0 for array in batch if array.size)
        assert all(array.flags.c_contiguous for array in batch)
        self.shapes.append(tuple(array.shape for array in batch))
        return self._function(batch)

    def close(self) -> None:
        self.closed += 1


class MemoryBackend:
    """Gives out prepared models by the profile's name."""

    def __init__(self, models: dict[str, MemoryModel]) -> None:
        self.models = models
        self.asked: list[ModelSpec] = []

    def load(self, spec: ModelSpec) -> Model:
        self.asked.append(spec)
        return self.models[spec.name]


@pytest.fixture
def memory_model() -> Callable[..., MemoryModel]:
    """Make a model: dims of its inputs, dims of its outputs, the function."""
    return MemoryModel


@pytest.fixture
def memory_backend() -> Callable[..., MemoryBackend]:
    """Make a backend from models by name."""
    return MemoryBackend


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """An empty model repository."""
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


@pytest.fixture
def put_model(repository: Path) -> Callable[..., Path]:
    """Write a version of a model into the repository: (bytes, model, version)."""

    def put(content: bytes, model: str = "m", version: int | str = 1) -> Path:
        path = repository / model / str(version) / "model.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    return put

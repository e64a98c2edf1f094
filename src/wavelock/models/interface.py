"""The inference family: what a model backend is.

A backend loads one version of a model on a device and runs batches. Everything around it (finding the file in
a model repository, checking requests, cutting and joining batches, threads, the journal) is shared and is not
its concern.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from wavelock.core.tensors import Array


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a model.

    dims: None where any size is taken; the first is the batch's where it is None. An output whose rank the
    model does not tell has no dims, like a scalar.
    """

    name: str
    dtype: np.dtype[Any]
    dims: tuple[int | None, ...]


@dataclass(frozen=True)
class ModelSpec:
    """What a backend is asked to load.

    path: the model's file. digest: BLAKE3 of that file, hex. providers: preferred first, the backend's own
    names in lower case (`cuda`, `rocm`, `coreml`, `cpu`). strict: refuse, rather than run on a later provider
    of the list or partly on the CPU.
    """

    name: str
    path: Path
    version: str
    digest: str
    providers: tuple[str, ...]
    strict: bool


@dataclass(frozen=True)
class Resolution:
    """Which provider a model got, and why.

    fingerprint: backend, version, provider and device, for people to compare.
    """

    got: str
    reason: str
    fingerprint: str


class Model(Protocol):
    """A loaded model. Used by one thread at a time, not always the same."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs, in the order in which requests give them."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The outputs, in the order in which answers give them."""

    @property
    def resolution(self) -> Resolution:
        """Which provider runs this model, and why."""

    def run(self, batch: Sequence[Array]) -> list[Array]:
        """Run one batch: an array for each input, of its dtype and dims, C-contiguous, 64-byte aligned.

        Answers one array for each output. Raises EnvironmentFailure or MemoryError when the machine failed
        (no memory, the device lost): that ends the run. Any other exception means that the model itself fails
        on this batch, and is answered as `MODEL_FAILED`.
        """

    def close(self) -> None:
        """Free the model. Safe to call twice."""


class ModelBackend(Protocol):
    """A member of the family."""

    def load(self, spec: ModelSpec) -> Model:
        """Load a model. Raises ModelError, naming the model, when that cannot be done as asked."""

"""What the kernel asks of the world around it. Families implement these; the kernel never imports a family.

The kernel itself has no sockets, threads or clocks: assembly hands it objects with these interfaces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from wavelock.core.wave import Input, WaveRecord


class InferenceAnswer(NamedTuple):
    """What a model answered to one request.

    reason: 0 when `payload` holds tensors, else a `abi.Reason` (BAD_TENSOR ... MODEL_FAILED) and the payload is empty.
    """

    reason: int
    payload: bytes


@dataclass(frozen=True)
class ModelReport:
    """How one model of the profile was resolved: kept in the run file and shown to the user.

    fingerprint: what the answers may depend on (file hash, backend version, provider), for people to compare.
    """

    name: str
    version: str
    backend: str
    asked: tuple[str, ...]
    got: str
    reason: str
    fingerprint: str


class InferencePort(Protocol):
    """Runs models beside the waves. One batch is all requests of one wave for one model, in commit order."""

    def submit(self, wave: int, model: int, payloads: Sequence[bytes]) -> None:
        """Start a batch. Returns at once; the batch is known by (wave, model)."""

    def collect(self, wave: int, model: int) -> list[InferenceAnswer]:
        """Wait for a batch; one answer for each payload, in order.

        Raises EnvironmentFailure when the backend itself is lost (not when a request is bad).
        """

    def reports(self) -> list[ModelReport]:
        """One report for each model, in profile order."""

    def close(self) -> None:
        """Stop the backend. Safe to call twice."""


class SchedulerPort(Protocol):
    """What the kernel asks of a scheduler; `schedulers/interface.py` is the whole of it."""

    def add(self, first: int, groups: npt.NDArray[np.uint32]) -> None:
        """Agents `first`, `first + 1`, ... have come into being, of these groups."""

    def plan(self, wave: int, ready: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        """A non-empty subset of the ready ids, each once, in commit order."""

    def capture(self) -> bytes:
        """The scheduler's own state."""

    def restore(self, state: bytes) -> None:
        """Take over a captured state. Raises ValueError for one that does not fit."""


class FeedPort(Protocol):
    """Where outside inputs come from: files and posted messages, or a journal."""

    @property
    def waiting(self) -> bool:
        """Whether there is more to come, so that the run is not over though no agent is ready."""

    def next_wave(self, wave: int | None) -> int | None:
        """The number of the next wave, given what the kernel proposes (None: nothing ready, nothing due)."""

    def take(self, wave: int) -> list[Input]:
        """What enters before this wave, in the order in which it was accepted."""

    def close(self) -> None:
        """Close files. Safe to call twice."""


class JournalPort(Protocol):
    """Keeps what happened. Called from one thread, in wave order."""

    def write(self, record: WaveRecord) -> None:
        """Keep a committed wave. May wait for the disk. Raises EnvironmentFailure once writing has failed."""

    def close(self, ended: str) -> None:
        """Write what is left, and how the run ended. Safe to call twice. Raises EnvironmentFailure."""

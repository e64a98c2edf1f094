"""Wavelock itself, as it is measured: with a profile, limits, metering and digests, and a run file where asked."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from wavelock.bench.children import Lap
from wavelock.bench.works import Job, profile_text, write_modules
from wavelock.core.errors import EnvironmentFailure
from wavelock.core.profile import Profile
from wavelock.runtime import Runtime, parse_profile

DIGEST_WAVES: Final = 4
"""The digest that is reported is that of this many waves: the same on every machine, however long is measured."""


def job_profile(job: Job, folder: Path, engine: str, workers: int) -> Profile:
    """The profile of a job. folder: for modules and the run file; must exist. Raises ProfileError."""
    text = profile_text(job, write_modules(job, folder), folder, engine, workers)
    return parse_profile(text, f"the profile of {job.work}", folder)


class Subject:
    """A run of a job, as a context manager."""

    def __init__(self, job: Job, profile: Profile, record: bool) -> None:
        """profile: of `job_profile`. Raises as `Runtime` does."""
        self._job = job
        self._runtime = Runtime(profile, record=record)
        self.waves = 0

    def __enter__(self) -> Subject:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runtime.__exit__(kind, error, trace)

    @property
    def phases_ns(self) -> dict[str, int]:
        """Wall time of each phase so far."""
        return dict(self._runtime.phases.ns)

    @property
    def making(self) -> dict[str, Any]:
        """What it took to make the agents: see `phases.PhaseTimes` and `events.RunStarted`."""
        phases = self._runtime.phases
        return {
            "create_ns_per_agent": phases.ns["create"] / phases.made,
            "agent_bytes": phases.agent_bytes,
            "memory_layout": self._runtime.started.memory_layout,
        }

    @property
    def digest(self) -> str:
        """Of the last wave."""
        return self._runtime.result.digest

    def run(self, waves: int) -> Lap:
        """Run so many waves. Raises EnvironmentFailure where an agent faulted or the run ended."""
        before = self._runtime.result
        began = time.perf_counter_ns()
        after = self._runtime.run(waves)
        ns = time.perf_counter_ns() - began
        self.waves += waves
        if after.faults or after.waves != self.waves:
            raise EnvironmentFailure(
                f"{self._job.work} ended after {after.waves} of {self.waves} waves, {after.faults} turns failed: "
                f"{self._runtime.faults()[:1] or after.ended}"
            )
        return Lap(ns, after.turns - before.turns, after.messages - before.messages)

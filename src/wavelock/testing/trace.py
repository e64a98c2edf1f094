"""One run of a workload, and all that happened in it: the records of its waves, kept in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from wavelock.core.abi import Fault
from wavelock.core.assembly import assemble, live_sources
from wavelock.core.errors import EnvironmentFailure
from wavelock.core.profile import Profile
from wavelock.core.runtime import RunLoop
from wavelock.core.wave import WaveRecord
from wavelock.plugins.manager import Registry
from wavelock.runtime import load_profile
from wavelock.testing.combinations import Combination
from wavelock.testing.workloads import Workload

MOST_WAVES: Final = 500
"""No workload has as many: a run that goes on past them never ends."""


@dataclasses.dataclass(frozen=True)
class Trace:
    """What a run came to. header: the digest before the first wave. records: of all waves. ended: as in `RunEnded`."""

    header: bytes
    records: Sequence[WaveRecord]
    ended: str

    @property
    def digest(self) -> bytes:
        """The digest of the last wave."""
        return self.records[-1].digest if self.records else self.header

    @property
    def faults(self) -> frozenset[str]:
        """The kinds of fault that occurred."""
        return frozenset(Fault(row.fault).label for record in self.records for row in record.faults)

    @property
    def turns(self) -> int:
        """Turns of all waves."""
        return sum(len(record.plan) for record in self.records)

    @property
    def outboxes(self) -> list[bytes]:
        """What agents wrote, wave by wave: what a seed must show in, for the header names it in any case."""
        return [record.outboxes for record in self.records]

    def name(self, agent: int) -> str:
        """An agent's name."""
        births = (birth for record in self.records for birth in record.births)
        return next((birth.name for birth in births if birth.agent == agent), f"#{agent}")


class _Journal:
    """A `ports.JournalPort` that keeps all records in memory."""

    def __init__(self, header: bytes) -> None:
        self.header = header
        self.records: list[WaveRecord] = []

    def write(self, record: WaveRecord) -> None:
        """Keep it."""
        self.records.append(record)

    def close(self, ended: str) -> None:
        """Nothing to close."""


def run_workload(
    workload: Workload, profile: Path, combination: Combination, registry: Registry, seed: int | None = None
) -> Trace:
    """Run a workload, whose files lie around `profile`, under a combination of plugins.

    Raises what a run raises: EnvironmentFailure, UserError, and anything that a plugin does.
    """
    checked = load_profile(profile, settings(workload, combination, seed), registry)
    journals: list[_Journal] = []

    def make_journal(header: bytes, _reports: object) -> tuple[_Journal, Path]:
        journals.append(_Journal(header))
        return journals[-1], profile

    with _open(checked, registry, make_journal) as loop:
        result = loop.run(MOST_WAVES)
    if not result.ended:
        raise EnvironmentFailure(f"the run has not ended after {MOST_WAVES} waves")
    (journal,) = journals
    return Trace(journal.header, journal.records, result.ended)


def _open(profile: Profile, registry: Registry, make_journal: Any) -> RunLoop:
    """A runtime whose records stay in memory."""
    own = registry.copy()
    sources = dataclasses.replace(live_sources(profile, own, record=False), make_journal=make_journal)
    return RunLoop(assemble(profile, own, sources))


def settings(workload: Workload, combination: Combination, seed: int | None = None) -> list[str]:
    """The overrides that make a workload's profile one of a combination."""
    chosen: dict[str, dict[str, Any]] = {
        "engine": {"use": combination.engine},
        "scheduler": {"use": combination.scheduler, **workload.schedulers.get(combination.scheduler, {})},
        "transport": {"use": combination.transport},
        "workers": {"use": combination.workers, "count": combination.count},
    }
    found = [
        f'{section}.{key}="{value}"' if isinstance(value, str) else f"{section}.{key}={value}"
        for section, keys in chosen.items()
        for key, value in keys.items()
    ]
    if combination.backend:
        found += [f'models[{at}].backend="{combination.backend}"' for at in range(workload.profile.count("[[models]]"))]
    return found if seed is None else [*found, f"run.seed={seed}"]

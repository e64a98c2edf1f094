"""One run of a workload, and all that happened in it: the records of its waves, kept in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from wavelock.core.abi import Fault
from wavelock.core.assembly import assemble, live_sources
from wavelock.core.errors import EnvironmentFailure
from wavelock.core.runtime import Parts, RunLoop
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
        return [record.outbox_data for record in self.records]

    def name(self, agent: int) -> str:
        """An agent's name."""
        births = (birth for record in self.records for birth in record.births)
        born = next((birth for birth in births if birth.agent <= agent < birth.agent + birth.total), None)
        return f"#{agent}" if born is None else born.names()[agent - born.agent]


class _Journal:
    """A `ports.JournalPort` that keeps all records in memory."""

    def __init__(self) -> None:
        self.records: list[WaveRecord] = []

    def write(self, record: WaveRecord) -> None:
        """Keep it."""
        record.detach(outboxes=True)
        self.records.append(record)

    def close(self, ended: str) -> None:
        """Nothing to close."""


@dataclasses.dataclass(frozen=True)
class _Opened:
    """A run that has not begun. header: the digest before its first wave."""

    loop: RunLoop
    parts: Parts
    header: bytes

    def finish(self) -> Trace:
        """Run to the end. The journal comes in here, behind a restore: a run file would lack its beginning then."""
        self.parts.journal = journal = _Journal()
        result = self.loop.run(MOST_WAVES)
        if not result.ended:
            raise EnvironmentFailure(f"the run has not ended after {MOST_WAVES} waves")
        return Trace(self.header, journal.records, result.ended)


@dataclasses.dataclass(frozen=True)
class Setup:
    """A run to be made. profile: the workload's, with its files around it.

    All methods raise what a run raises: EnvironmentFailure, UserError, and anything that a plugin does.
    """

    workload: Workload
    profile: Path
    combination: Combination
    registry: Registry
    seed: int

    @contextmanager
    def _open(self) -> Iterator[_Opened]:
        registry, headers = self.registry.copy(), []
        checked = load_profile(self.profile, settings(self.workload, self.combination, self.seed), registry)
        sources = live_sources(checked, registry, record=False)
        noting = dataclasses.replace(sources, make_journal=lambda header, _reports: headers.append(header))
        parts = assemble(checked, registry, noting)
        with RunLoop(parts) as loop:
            yield _Opened(loop, parts, *headers)

    def run(self) -> Trace:
        """Run to the end."""
        with self._open() as opened:
            return opened.finish()

    def capture(self, waves: int) -> bytes:
        """Run so many waves; answers the state behind them."""
        with self._open() as opened:
            opened.loop.run(waves)
            return opened.loop.capture()

    def resume(self, state: bytes) -> Trace:
        """Go on from a captured state to the end; the trace begins there."""
        with self._open() as opened:
            opened.loop.restore(state)
            return opened.finish()


def settings(workload: Workload, combination: Combination, seed: int) -> list[str]:
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
    return [*found, f"run.seed={seed}"]

"""The measuring: all in turn, round by round, and what comes of it."""

from __future__ import annotations

import platform
import statistics
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Protocol

from wavelock._version import VERSION
from wavelock.bench.children import Child, Lap, LeftOut
from wavelock.bench.competitors import AGAINST, FLOORS, open_competitor
from wavelock.bench.machine import describe_machine
from wavelock.bench.subject import DIGEST_WAVES, Subject, job_profile
from wavelock.bench.works import Job, make_job
from wavelock.core.errors import EnvironmentFailure, UserError

MEASURED_S: Final = 0.3
"""About how long one measurement takes; a wave that takes longer is one."""
PROBES: Final = 10
"""A run that took this part of a measurement tells how many waves one takes."""
WAVES_MOST: Final = 1 << 20
ROUNDS: Final = 7
DIGITS: Final = 4


class Runs(Protocol):
    """Anything that runs waves."""

    def run(self, waves: int) -> Lap:
        """Run so many waves."""


@dataclass(frozen=True)
class Options:
    """What is measured, against what, how often."""

    work: str = "ring"
    agents: int = 1000
    bytes: int = 16
    workers: int = 1
    record: bool = False
    engine: str = "wasmtime"
    against: tuple[str, ...] = ("floor",)
    rounds: int = ROUNDS
    measured_s: float = MEASURED_S


@dataclass
class Competitor:
    """One that is measured, and how it went. left_out: why it is not, or not any more."""

    name: str
    child: Child | None = None
    waves: int = 1
    laps: list[Lap] = field(default_factory=list)
    left_out: str | None = None


def measure(options: Options, told: Callable[[str], None] = lambda _text: None) -> dict[str, Any]:
    """Measure, and answer what `wavelock bench --json` prints. told: is told what is being done.

    Raises UserError for options that cannot be, EnvironmentFailure where nothing could be measured against, and what
    `Runtime` raises.
    """
    job = check(options)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wavelock-bench-")))
        own = folder / "wavelock"
        own.mkdir()
        profile = job_profile(job, own, options.engine, options.workers)
        competitors = [Competitor(name) for name in dict.fromkeys(options.against)]
        for competitor in competitors:
            _open(competitor, job, folder, stack, told, options.measured_s)
        _need_one(competitors)
        told("starting wavelock")
        subject = stack.enter_context(Subject(job, profile, options.record))
        subject.run(DIGEST_WAVES)
        digest, making = subject.digest, subject.making
        waves = enough_waves(subject, options.measured_s)
        before = subject.phases_ns
        laps = _rounds(options.rounds, job, competitors, subject, waves, told)
        phases = {name: ns - before[name] for name, ns in subject.phases_ns.items()}
    _need_one(competitors)
    result = {**_what(options), "waves": waves, "digest": digest, "digest_waves": DIGEST_WAVES}
    result |= summary(laps, competitors)
    turns = sum(lap.turns for lap in laps)
    result["phases_ns_per_turn"] = {name: rounded(ns / turns) for name, ns in phases.items()}
    making["create_ns_per_agent"] = rounded(making["create_ns_per_agent"])
    result |= making | {
        "wavelock": VERSION,
        "python": platform.python_version(),
        "wasmtime": metadata.version("wasmtime"),
    }
    return result | {"machine": describe_machine()}


def check(options: Options) -> Job:
    """The job of these options. Raises UserError for those that cannot be."""
    unknown = [name for name in options.against if name not in AGAINST]
    if unknown:
        raise UserError(f"--against {unknown[0]}: expected one of {', '.join(AGAINST)}")
    if not options.against or options.rounds < 1 or options.workers < 1:
        raise UserError("expected something to measure against, and at least one round and one worker")
    return make_job(options.work, options.agents, options.bytes)


def _what(options: Options) -> dict[str, Any]:
    return {
        "work": options.work,
        "agents": options.agents,
        "bytes": options.bytes,
        "workers": options.workers,
        "record": options.record,
        "engine": options.engine,
        "rounds": options.rounds,
    }


def _open(
    competitor: Competitor,
    job: Job,
    folder: Path,
    stack: ExitStack,
    told: Callable[[str], None],
    measured_s: float,
) -> None:
    own = folder / competitor.name
    own.mkdir()
    told(f"starting {competitor.name}")
    try:
        competitor.child = open_competitor(competitor.name, job, own, told)
        stack.callback(competitor.child.close)
        competitor.child.run(2)
        competitor.waves = enough_waves(competitor.child, measured_s)
    except LeftOut as error:
        competitor.left_out = str(error)


def _need_one(competitors: Sequence[Competitor]) -> None:
    """Raises EnvironmentFailure where all are left out."""
    if all(competitor.left_out for competitor in competitors):
        reasons = "; ".join(f"{competitor.name}: {competitor.left_out}" for competitor in competitors)
        raise EnvironmentFailure(f"there is nothing to measure against: {reasons}")


def enough_waves(runs: Runs, measured_s: float) -> int:
    """How many waves take about `measured_s`, 1 at least. What it runs to find out is the warm-up."""
    waves, ns = 1, measured_s * 1e9
    while (lap := runs.run(waves)).ns < ns / PROBES and waves < WAVES_MOST:
        waves *= 4
    return max(1, round(ns * waves / lap.ns))


def _rounds(
    rounds: int, job: Job, competitors: Sequence[Competitor], subject: Subject, waves: int, told: Callable[[str], None]
) -> list[Lap]:
    """Wavelock's laps, one a round; the competitors keep theirs. One that fails is left out from then on."""
    laps = []
    for number in range(rounds):
        told(f"round {number + 1} of {rounds}")
        for competitor in competitors:
            if competitor.left_out is None and competitor.child is not None:
                _lap(competitor, competitor.child, job)
        lap = subject.run(waves)
        if said := wrong(lap, waves, job):
            raise EnvironmentFailure(f"Wavelock {said}")
        laps.append(lap)
    return laps


def _lap(competitor: Competitor, child: Child, job: Job) -> None:
    try:
        lap = child.run(competitor.waves)
    except LeftOut as error:
        competitor.left_out = str(error)
        return
    agents = child.ready["agents"]
    competitor.left_out = wrong(lap, competitor.waves, make_job(job.work, agents, job.bytes))
    competitor.laps.append(lap)


def wrong(lap: Lap, waves: int, job: Job) -> str | None:
    """What was done beside what was asked, in words; None where it is the same."""
    turns, messages = None if job.turns is None else waves * job.turns, waves * job.messages
    if turns in (None, lap.turns) and lap.messages == messages:
        return None
    asked = f"{'any' if turns is None else turns} turns and {messages} messages"
    return (
        f"did other work than asked: {lap.turns} turns and {lap.messages} messages in {waves} waves, expected {asked}"
    )


# ---- what comes of it ----


def summary(laps: Sequence[Lap], competitors: Sequence[Competitor]) -> dict[str, Any]:
    """Medians and ratios. The ratio on top is the floor's where it was measured, else the first one's."""
    ns = statistics.median(lap.ns_per_turn for lap in laps)
    against = [entry(competitor, laps) for competitor in competitors]
    measured = [found for found in against if "left_out" not in found]
    floors = [found for name in FLOORS for found in measured if found["name"] == name]
    first = (floors or measured)[0]
    result: dict[str, Any] = {"ns_per_turn": rounded(ns), "turns_per_s": round(1e9 / ns)}
    if floors:
        result["floor_ns_per_turn"] = first["ns_per_turn"]
    return result | {"ratio": first["ratio"], "spread": first["spread"], "ratio_of": first["name"], "against": against}


def entry(competitor: Competitor, laps: Sequence[Lap]) -> dict[str, Any]:
    """One competitor in the result. laps: Wavelock's, of the same rounds."""
    if competitor.left_out is not None or competitor.child is None:
        return {"name": competitor.name, "left_out": competitor.left_out}
    ratio, low, high = ratios(laps, competitor.laps)
    ns = statistics.median(lap.ns_per_turn for lap in competitor.laps)
    return {
        "name": competitor.name,
        "agents": competitor.child.ready["agents"],
        "ns_per_turn": rounded(ns),
        "turns_per_s": round(1e9 / ns),
        "ratio": ratio,
        "spread": [low, high],
        "times_as_fast": rounded(1 / ratio),
        "versions": competitor.child.ready.get("versions", {}),
    }


def ratios(laps: Sequence[Lap], others: Sequence[Lap]) -> tuple[float, float, float]:
    """Wavelock's time over the other's, turn by turn: median, least and most of the rounds' own ratios."""
    found = sorted(lap.ns_per_turn / other.ns_per_turn for lap, other in zip(laps, others, strict=True))
    return rounded(statistics.median(found)), rounded(found[0]), rounded(found[-1])


def rounded(value: float) -> float:
    """To so many digits that say something."""
    return float(f"{value:.{DIGITS}g}")

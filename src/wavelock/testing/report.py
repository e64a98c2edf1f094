"""What the suite found: cases, outcomes, differences; as JSON, and against a report that was made elsewhere."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, Final

import numpy as np
from blake3 import blake3

from wavelock._version import VERSION
from wavelock.core.abi import ABI_VERSION
from wavelock.core.digest import DIGEST_VERSION
from wavelock.core.errors import UserError
from wavelock.core.form import FORM_VERSION
from wavelock.plugins.manager import Registry
from wavelock.testing.combinations import Combination, Missing
from wavelock.testing.trace import Trace
from wavelock.testing.workloads import Workload

FORMAT: Final = 1
"""Of the JSON object."""
_SHORT: Final = 16
"""Hex digits of a wave's digest in a report: enough to tell two apart. The last wave's is whole."""

_COLUMNS: Final = ("wave", "digest", "turns", "fuel", "faults")
"""What a report keeps of each wave."""
_SHOWN: Final = ("wave", "turns", "faults", "fuel", "digest")
"""The same in the order in which one explains the next."""


class Check(str, Enum):
    """What a case asks of a combination."""

    SAME = "same"
    """The same run as under the reference."""
    AGAIN = "again"
    """The same run twice."""
    MOVED = "moved"
    """Cut in the middle: the same state there as under the reference, and from that one on the same run."""
    SEED = "seed"
    """Under another seed: the same run as under the reference, and another than under the first seed."""


class Status(str, Enum):
    """How a case ended."""

    EQUAL = "equal"
    DIFFERS = "differs"
    ERROR = "error"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True)
class Case:
    """One workload under one combination, and what is asked of it."""

    workload: Workload
    combination: Combination
    check: Check

    def __str__(self) -> str:
        return f"{self.workload.name} ({self.combination}; {self.check.value})"


@dataclass(frozen=True)
class Difference:
    """A case that came to something else than it should, and the first place where. See `differences.Place`."""

    case: Case
    reference: Combination
    wave: int | None
    agent: str
    what: str
    found: str
    expected: str

    def __str__(self) -> str:
        where = [f"wave {self.wave}"] if self.wave is not None else []
        where += [f"agent {self.agent}"] if self.agent else []
        head = f"{', '.join(where)}: " if where else ""
        return f"{head}{self.what}: found {self.found}, expected {self.expected}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "workload": self.case.workload.name,
            "check": self.case.check.value,
            "combination": asdict(self.case.combination),
            "reference": asdict(self.reference),
            "wave": self.wave,
            "agent": self.agent,
            "what": self.what,
            "found": self.found,
            "expected": self.expected,
        }


@dataclass(frozen=True)
class Outcome:
    """How a case ended. told: what there is to say in words. digest: of the last wave, hex."""

    case: Case
    status: Status
    told: str = ""
    difference: Difference | None = None
    digest: str = ""
    elapsed_s: float = 0.0


@dataclass(frozen=True)
class Report:
    """What the suite found. traces: the reference runs, by names of workload and scheduler. versions: of all used."""

    combinations: Sequence[Combination]
    workloads: Sequence[Workload]
    outcomes: Sequence[Outcome]
    unavailable: Sequence[Missing]
    traces: Mapping[tuple[str, str], Trace]
    versions: Mapping[str, Any]

    @property
    def cases(self) -> int:
        """How many cases were compared or tried."""
        return len(self.outcomes)

    @property
    def differences(self) -> list[Difference]:
        """What differs, case by case."""
        return [outcome.difference for outcome in self.outcomes if outcome.difference is not None]

    @property
    def errors(self) -> list[Outcome]:
        """The cases that ended with an error."""
        return [outcome for outcome in self.outcomes if outcome.status is Status.ERROR]

    @property
    def not_run(self) -> list[Outcome]:
        """The cases that cannot be run here, for want of a backend or of a feature of the engine."""
        return [outcome for outcome in self.outcomes if outcome.status is Status.UNAVAILABLE]

    @property
    def counts(self) -> dict[str, int]:
        """How many cases ended in each way."""
        found = Counter(outcome.status for outcome in self.outcomes)
        return {status.value: found[status] for status in Status}

    @property
    def conforms(self) -> bool:
        """Whether every case that could be run came to what it should, and at least one could."""
        return not self.differences and not self.errors and len(self.not_run) < self.cases

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values: what `wavelock conformance --json` prints, and `compare` takes."""
        return {
            "format": FORMAT,
            "conforms": self.conforms,
            "combinations": [asdict(each) for each in self.combinations],
            "workloads": [
                {"name": each.name, "summary": each.summary, "content": content(each)} for each in self.workloads
            ],
            "cases": self.cases,
            "counts": self.counts,
            "differences": [each.as_dict() for each in self.differences],
            "errors": [_reason(each) for each in self.errors],
            "not_run": [_reason(each) for each in self.not_run],
            "unavailable": [asdict(each) for each in self.unavailable],
            "versions": dict(self.versions),
            "digests": self._digests(),
        }

    def _digests(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for (workload, scheduler), trace in self.traces.items():
            found.setdefault(workload, {})[scheduler] = {
                "digest": trace.digest.hex(),
                "header": trace.header.hex(),
                "ended": trace.ended,
                "waves": [
                    [each.wave, each.digest.hex()[:_SHORT], len(each.plan), each.total_fuel, len(each.faults)]
                    for each in trace.records
                ],
            }
        return found


def _reason(outcome: Outcome) -> dict[str, Any]:
    case = outcome.case
    return {
        "workload": case.workload.name,
        "check": case.check.value,
        "combination": asdict(case.combination),
        "reason": outcome.told,
    }


def content(workload: Workload) -> str:
    """A hash of all that a workload is: reports are compared where it is the same."""
    hasher = blake3(repr((workload.profile, workload.schedulers)).encode())
    for name, data in sorted(workload.files.items()):
        raw = data.encode() if isinstance(data, str) else data
        hasher.update(f"{name} {len(raw)} ".encode() + raw)
    return hasher.hexdigest()


def versions(registry: Registry, engines_used: Iterable[str]) -> dict[str, Any]:
    """What a report's digests may and may not depend on: of Wavelock, Python, the engines and the system."""
    engines = {}
    for name in sorted(engines_used):
        member = registry.look_up("engine", name)
        engine = registry.engine(name, member.settings())  # type: ignore[union-attr] # it was used: no Problem
        engines[name] = engine.version
        engine.close()
    return {
        "wavelock": VERSION,
        "abi": ABI_VERSION,
        "digest": DIGEST_VERSION,
        "form": FORM_VERSION,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "engines": engines,
    }


# ---- against a report that was made elsewhere ----


@dataclass(frozen=True)
class Compared:
    """Two reports side by side. runs: how many were compared. skipped: what could not be, and why, in words."""

    runs: int
    differences: Sequence[Mapping[str, Any]]
    skipped: Sequence[str]


def compare(mine: Mapping[str, Any], theirs: object) -> Compared:
    """Compare the digests of two reports, as `Report.as_dict` has them: made on other machines, Pythons or engines.

    Raises UserError for what is no report, for versions that cannot agree, and where nothing can be compared.
    """
    other = _checked(theirs)
    for key in ("abi", "digest", "form"):
        if mine["versions"][key] != other["versions"].get(key):
            raise UserError(
                f"the reports cannot agree: version of the {key} {mine['versions'][key]} here, "
                f"{other['versions'].get(key)} there (Wavelock {mine['versions']['wavelock']}, "
                f"{other['versions'].get('wavelock')})"
            )
    contents = [{row["name"]: row["content"] for row in report["workloads"]} for report in (mine, other)]
    runs, differences, skipped = 0, [], []
    for workload, schedulers in mine["digests"].items():
        if contents[1].get(workload) != contents[0][workload]:
            why = "another workload" if workload in contents[1] else "not in the other report"
            skipped.append(f"{workload}: {why}")
            continue
        for scheduler, run in schedulers.items():
            match = other["digests"].get(workload, {}).get(scheduler)
            if match is None:
                skipped.append(f"{workload}, {scheduler}: not in the other report")
                continue
            runs += 1
            if run != match:
                differences.append({"workload": workload, "scheduler": scheduler, **_parting(run, match)})
    if not runs:
        raise UserError(f"the reports have no run in common ({'; '.join(skipped) or 'neither has any'})")
    return Compared(runs, differences, skipped)


def _checked(report: object) -> Mapping[str, Any]:
    if not isinstance(report, dict) or report.get("format") != FORMAT:
        raise UserError(f"not a conformance report of format {FORMAT}")
    shapes = {"workloads": list, "digests": dict, "versions": dict}
    if not all(isinstance(report.get(key), kind) for key, kind in shapes.items()):
        raise UserError(f"not a whole conformance report: {', '.join(shapes)} are expected")
    return report


def _parting(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """The first wave in which two recorded runs differ, and what shows of it in what a report keeps."""

    def place(wave: int | None, what: str, found: object, expected: object) -> dict[str, Any]:
        return {"wave": wave, "what": what, "found": found, "expected": expected}

    if mine["header"] != theirs["header"]:
        return place(None, "header", mine["header"], theirs["header"])
    for one, other in zip(mine["waves"], theirs["waves"], strict=False):
        if one != other:
            mine_now, theirs_now = dict(zip(_COLUMNS, one, strict=True)), dict(zip(_COLUMNS, other, strict=True))
            shown = next(name for name in _SHOWN if mine_now[name] != theirs_now[name])
            return place(one[0], shown, mine_now[shown], theirs_now[shown])
    if len(mine["waves"]) != len(theirs["waves"]):
        return place(None, "waves", len(mine["waves"]), len(theirs["waves"]))
    what = "ended" if mine["ended"] != theirs["ended"] else "digest"
    return place(None, what, mine[what], theirs[what])


def statuses(report: Report) -> Iterator[tuple[Combination, Workload, list[Outcome]]]:
    """The outcomes of each workload under each combination, in the order of the report: what a matrix shows."""
    found: dict[tuple[Combination, str], list[Outcome]] = {}
    for outcome in report.outcomes:
        case = outcome.case
        plain = Combination(**{**asdict(case.combination), "backend": ""})
        found.setdefault((plain, case.workload.name), []).append(outcome)
    for combination in report.combinations:
        for workload in report.workloads:
            yield combination, workload, found.get((combination, workload.name), [])


def worst(outcomes: Sequence[Outcome]) -> Status:
    """One status for several outcomes: the one that matters most."""
    order = (Status.DIFFERS, Status.ERROR, Status.UNAVAILABLE, Status.EQUAL)
    return min((outcome.status for outcome in outcomes), key=order.index, default=Status.UNAVAILABLE)

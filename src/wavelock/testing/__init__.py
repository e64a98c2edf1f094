"""The conformance suite: does a run come to the same digest with every plugin? `docs/conformance.md`."""

from __future__ import annotations

from wavelock.testing.combinations import Combination, Missing, Selection
from wavelock.testing.conformance import Conformance, run_conformance
from wavelock.testing.report import Case, Check, Compared, Difference, Outcome, Report, Status, compare
from wavelock.testing.trace import Trace
from wavelock.testing.workloads import WORKLOADS, Workload

__all__ = [
    "WORKLOADS",
    "Case",
    "Check",
    "Combination",
    "Compared",
    "Conformance",
    "Difference",
    "Missing",
    "Outcome",
    "Report",
    "Selection",
    "Status",
    "Trace",
    "Workload",
    "compare",
    "run_conformance",
]

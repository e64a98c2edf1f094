"""The suite as a test module: one test a case. Run with `wavelock.testing.plugin`, which has the options."""

from __future__ import annotations

import pytest

from wavelock.testing.conformance import Conformance
from wavelock.testing.report import Case, Status


def test_conformance(wavelock_conformance: Conformance, wavelock_case: Case) -> None:
    """A workload comes to the same digest under this combination of plugins as under the default ones."""
    outcome = wavelock_conformance.run(wavelock_case)
    if outcome.status is Status.UNAVAILABLE:
        pytest.skip(outcome.told)
    assert outcome.status is Status.EQUAL, f"{wavelock_case}: {outcome.told}"

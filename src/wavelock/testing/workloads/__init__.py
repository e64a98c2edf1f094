"""The workloads of the conformance suite, each a small run that shows one side of what agents can do."""

from __future__ import annotations

from typing import Final

from wavelock.testing.workloads import (
    atomics,
    budgets,
    depth,
    faults,
    floats,
    inference,
    inputs,
    integers,
    memory,
    messages,
    simd,
    spawning,
    state,
    tables,
    timers,
    topics,
    traps,
)
from wavelock.testing.workloads.workload import Workload

WORKLOADS: Final = (
    messages.WORKLOAD,
    topics.WORKLOAD,
    state.WORKLOAD,
    timers.WORKLOAD,
    spawning.WORKLOAD,
    inputs.WORKLOAD,
    inference.WORKLOAD,
    faults.WORKLOAD,
    traps.WORKLOAD,
    budgets.WORKLOAD,
    depth.DEPTH,
    depth.STACK,
    depth.SIMD_DEPTH,
    depth.SIMD_STACK,
    memory.WORKLOAD,
    tables.WORKLOAD,
    integers.WORKLOAD,
    floats.WORKLOAD,
    simd.WORKLOAD,
    atomics.WORKLOAD,
)
"""All of them, in the order in which they run."""

__all__ = ["WORKLOADS", "Workload"]

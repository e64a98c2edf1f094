"""Timers: near and far ones, so that waves jump; limits, chains, and timers of agents that ended or began anew."""

from __future__ import annotations

from wavelock.core.abi import Inbound
from wavelock.testing.workloads.agents import agent, frames
from wavelock.testing.workloads.workload import Workload, group

_CHAIN = 9
_DELAYS = (0, 1, 3, 1 << 40, 1000, 3, 1 << 62)
"""In waves. With the chain there are more than `limits.timers`, and the last is past what is allowed."""

_WAITS = agent(
    f"""(if (i32.eqz (global.get $turns)) (then
      (call $timer (i32.const {_CHAIN}) (i64.const 2))
      {"".join(f"(call $timer (i32.const {tag}) (i64.const {delay}))" for tag, delay in enumerate(_DELAYS))}))
    """
    + frames(
        (
            Inbound.TIMER,
            f"""(if (i32.eq (call $tag (local.get $frame)) (i32.const {_CHAIN})) (then
              (if (i32.lt_u (global.get $turns) (i32.const 9)) (then
                (call $timer (i32.const {_CHAIN}) (i64.and (call $entropy) (i64.const 3)))))))
            (call $say (call $tag (local.get $frame)) (i64.extend_i32_u (call $wave)))""",
        )
    )
    + "(call $say_hash)"
)
_QUITS = agent("(call $hear) (call $timer (i32.const 1) (i64.const 50)) (call $say_hash) (call $exit (i32.const 3))")
_BREAKS = agent(
    """(call $timer (i32.const 1) (i64.const 2))
    (call $timer (i32.const 2) (i64.const 7))"""
    + frames((Inbound.TIMER, "(if (i32.eq (call $tag (local.get $frame)) (i32.const 1)) (then (unreachable)))"))
    + "(call $say_hash)"
)

WORKLOAD = Workload(
    name="timers",
    summary="timers near and far, waves that jump, forgotten timers",
    profile=group("waiter", "waiter.wat", 4, limits={"timers": 6})
    + group("quitter", "quitter.wat")
    + group("breaker", "breaker.wat", 2, restart="fresh", limits={"restarts": 2}),
    files={"waiter.wat": _WAITS, "quitter.wat": _QUITS, "breaker.wat": _BREAKS},
    schedulers={"round-robin": {"width": 3}, "priority": {"width": 3}},
    faults=frozenset({"unreachable"}),
)

"""Modules compiled for threads: an agent is one thread, so atomics are plain operators with checks of alignment."""

from __future__ import annotations

from typing import Final

from wavelock.testing.workloads.agents import PAGE, SCRATCH, agent, choose
from wavelock.testing.workloads.workload import Workload, group

_WIDTHS: Final = {
    "i32": {"": 4, "8": 1, "16": 2},
    "i64": {"": 8, "8": 1, "16": 2, "32": 4},
}
"""By kind of value: the access's suffix and its bytes."""
_CHANGES: Final = ("add", "sub", "and", "or", "xor", "xchg")


def _value(kind: str) -> str:
    return "(global.get $hash)" if kind == "i64" else "(i32.wrap_i64 (global.get $hash))"


def _fold(kind: str, code: str) -> str:
    return f"(call $fold {code if kind == 'i64' else f'(i64.extend_i32_u {code})'})"


def _every_operator() -> list[str]:
    steps = []
    for kind, widths in _WIDTHS.items():
        for suffix, size in widths.items():
            unsigned = "_u" if suffix else ""
            at = f"offset={size * 8} (local.get $at)"
            steps.append(f"({kind}.atomic.store{suffix} {at} {_value(kind)})")
            steps.append(_fold(kind, f"({kind}.atomic.load{suffix}{unsigned} {at})"))
            steps += [
                _fold(kind, f"({kind}.atomic.rmw{suffix}.{change}{unsigned} {at} {_value(kind)})")
                for change in _CHANGES
            ]
            # once with what is there, which takes, and once with what may not be
            held = f"({kind}.atomic.load{suffix}{unsigned} {at})"
            steps += [
                _fold(kind, f"({kind}.atomic.rmw{suffix}.cmpxchg{unsigned} {at} {expected} {_value(kind)})")
                for expected in (held, _value(kind))
            ]
    return steps


_WAITS: Final = f"""
    (call $fold (i64.extend_i32_u (memory.atomic.notify (local.get $at) (i32.const 3))))
    (call $fold (i64.extend_i32_u
      (memory.atomic.wait32 (local.get $at) (i32.load (local.get $at)) (i64.const 1000000000))))
    (call $fold (i64.extend_i32_u
      (memory.atomic.wait32 (local.get $at) (i32.add (i32.load (local.get $at)) (i32.const 1)) (i64.const -1))))
    (call $fold (i64.extend_i32_u
      (memory.atomic.wait64 (local.get $at) (i64.load (local.get $at)) (i64.const 5))))
    (call $fold (i64.extend_i32_u
      (memory.atomic.wait64 (local.get $at) (i64.const {0x1234567}) (i64.const 0))))
    (atomic.fence)
"""
"""Nobody can notify an agent's only thread: a wait for what is there is over at once, as if its time had passed."""
_AT: Final = SCRATCH
_BREAKS: Final = [
    *(
        f"(drop ({kind}.atomic.load{suffix}{'_u' if suffix else ''} offset={size // 2 or 1} (i32.const {_AT})))"
        for kind, widths in _WIDTHS.items()
        for suffix, size in widths.items()
        if size > 1
    ),
    f"(i64.atomic.store (i32.const {_AT + 4}) (i64.const 1))",
    f"(drop (i32.atomic.rmw16.add_u (i32.const {_AT + 1}) (i32.const 1)))",
    f"(drop (i64.atomic.rmw32.cmpxchg_u (i32.const {_AT + 2}) (i64.const 1) (i64.const 1)))",
    f"(drop (memory.atomic.notify (i32.const {_AT + 2}) (i32.const 1)))",
    f"(drop (memory.atomic.wait32 (i32.const {_AT + 1}) (i32.const 0) (i64.const 0)))",
    f"(drop (memory.atomic.wait64 (i32.const {_AT + 4}) (i64.const 0) (i64.const 0)))",
    # past the end: misaligned first, then out of bounds
    f"(drop (i32.atomic.load (i32.const {PAGE - 2})))",
    f"(drop (i32.atomic.load (i32.const {PAGE})))",
    f"(drop (i64.atomic.rmw.add offset=8 (i32.const {PAGE - 8}) (i64.const 1)))",
    f"(drop (memory.atomic.notify (i32.const {PAGE}) (i32.const 1)))",
    f"(drop (memory.atomic.wait32 (i32.const {PAGE + 4}) (i32.const 0) (i64.const 0)))",
]
"""By agent."""
_MEMORY: Final = "1 2 shared"
_WORKS = agent(
    f"""(call $hear)
    (call $fold (call $entropy))
    (local.set $at (i32.add (i32.const {_AT}) (i32.shl (global.get $turns) (i32.const 7))))
    {"".join(_every_operator())}
    {_WAITS}
    (call $fold_bytes (i32.const {_AT}) (i32.const {_AT + 256}))
    (call $yield_until (i32.const 4))
    (call $say_hash)""",
    memory=_MEMORY,
    locals_="(local $at i32)",
)
_FAULTS = agent(
    f"""(call $hear)
    (call $say_hash)
    (call $yield_until (i32.const 2))
    (if (i32.eq (global.get $turns) (i32.const 1)) (then
      {choose(f"(i32.rem_u (call $self) (i32.const {len(_BREAKS)}))", _BREAKS)}))""",
    memory=_MEMORY,
)

WORKLOAD = Workload(
    name="atomics",
    summary="modules for threads: atomics, waits, misaligned accesses",
    profile=group("breaker", "breaker.wat", len(_BREAKS)) + group("worker", "worker.wat", 2),
    files={"worker.wat": _WORKS, "breaker.wat": _FAULTS},
    faults=frozenset({"misaligned atomic", "memory bounds"}),
)

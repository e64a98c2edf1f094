"""Memory: growth up to and past every limit, bulk operators and their bounds, what lies beyond the end."""

from __future__ import annotations

from typing import Final

from wavelock.testing.workloads.agents import PAGE, SCRATCH, agent, choose
from wavelock.testing.workloads.workload import Workload, group, table

_PAGES: Final = 5
"""`limits.memory` in pages. The first size of a memory is one."""
_ENOUGH: Final = 1 << 45
"""Fuel: growth is paid for by what is asked for, however little is granted."""

_GROWS = agent(
    """(call $hear)
    (call $grow (i32.const 0))
    (call $grow (i32.const 65535))
    (call $grow (i32.const -1))
    (call $grow (i32.add (i32.and (call $self) (i32.const 1)) (i32.const 1)))
    ;; the last bytes of the memory there is now hold what was left in them, and are written anew
    (local.set $end (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 8)))
    (call $fold (i64.load (local.get $end)))
    (i64.store (local.get $end) (global.get $hash))
    (call $fold (i64.load offset=65528 (i32.const 0)))
    (call $yield_until (i32.const 6))
    (call $say_hash)
    (call $say (i32.const 100) (i64.extend_i32_u (memory.size)))""",
    rest="""
  (func $grow (param $pages i32) (call $fold (i64.extend_i32_s (memory.grow (local.get $pages)))))
""",
    locals_="(local $end i32)",
)
_HUNGRY = agent(
    """(call $hear)
    (call $say_hash)
    (call $yield)
    (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (unreachable)))"""
)
_STEPS: Final = [
    f"(memory.fill (i32.const {SCRATCH}) (i32.wrap_i64 (call $entropy)) (i32.const 61))",
    f"(memory.copy (i32.const {SCRATCH + 5}) (i32.const {SCRATCH}) (i32.const 200))",
    f"(memory.copy (i32.const {SCRATCH}) (i32.const {SCRATCH + 3}) (i32.const 200))",
    f"(memory.init $text (i32.const {SCRATCH + 100}) (i32.const 3) (i32.const 20)) (data.drop $text)",
    f"""(memory.fill (i32.const {PAGE}) (i32.const 1) (i32.const 0))
      (memory.copy (i32.const {PAGE}) (i32.const {PAGE}) (i32.const 0))
      (memory.init $text (i32.const {PAGE}) (i32.const 0) (i32.const 0))""",
    f"(memory.fill (i32.const {PAGE - 9}) (i32.const 0x1FF) (i32.const 9))",
]
"""By turn."""
_TRAPS: Final = [
    f"(memory.fill (i32.const {PAGE - 9}) (i32.const 2) (i32.const 10))",
    f"(memory.copy (i32.const {PAGE - 9}) (i32.const {SCRATCH}) (i32.const 10))",
    f"(memory.copy (i32.const {SCRATCH}) (i32.const {PAGE + 1}) (i32.const 0))",
    f"(memory.init $text (i32.const {SCRATCH}) (i32.const 0) (i32.const 1))",
    "(memory.fill (i32.const 0) (i32.const 0) (i32.const -1))",
    f"(i64.store (i32.const {PAGE - 7}) (i64.const -1))",
    f"(call $fold (i64.load offset=0xFFFFFFF8 (i32.const {PAGE})))",
    # the memory grew, and ends elsewhere now
    f"(drop (memory.grow (i32.const 1))) (i64.store (i32.const {2 * PAGE - 8}) (i64.const 1))"
    f" (drop (i32.load8_u (i32.const {2 * PAGE})))",
]
"""By agent, after the last step."""
_BULK = agent(
    f"""(call $hear)
    {choose("(global.get $turns)", _STEPS, choose(f"(i32.rem_u (call $self) (i32.const {len(_TRAPS)}))", _TRAPS))}
    (call $fold_bytes (i32.const {SCRATCH}) (i32.const {SCRATCH + 256}))
    (call $fold (i64.load (i32.const {PAGE - 8})))
    (call $yield)
    (call $say_hash)""",
    rest='(data $text "a passive segment of some length")',
)

WORKLOAD = Workload(
    name="memory",
    summary="growth to and past the limits, bulk operators, bounds",
    profile=table("limits", memory=_PAGES * PAGE, fuel_per_turn=_ENOUGH)
    + group("grower", "grower.wat", 2)
    + group("hungry", "hungry.wat", 2)
    + group("tight", "hungry.wat", 1, limits={"memory": 2 * PAGE + PAGE // 2})
    + group("bounded", "bounded.wat", 2)
    + group("bulk", "bulk.wat", len(_TRAPS)),
    files={
        "grower.wat": _GROWS,
        "hungry.wat": _HUNGRY,
        "bounded.wat": _GROWS.replace('(memory (export "memory") 1)', '(memory (export "memory") 1 3)'),
        "bulk.wat": _BULK,
    },
    faults=frozenset({"memory", "memory bounds"}),
)

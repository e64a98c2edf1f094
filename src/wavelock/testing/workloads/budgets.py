"""Budgets that end everywhere: one program under every budget from nothing to more than its dearest turn costs.

The program's turns cost more and more, so that each budget ends in its own turn, at its own point of the program.
"""

from __future__ import annotations

from typing import Final

from wavelock.testing.workloads.agents import OUTBOX, SCRATCH, agent, choose
from wavelock.testing.workloads.workload import Workload, group

_TURNS: Final = 4
SWEEP: Final = range(1, 231)
"""Budgets of the program that computes: each and every one."""
OPERANDS: Final = range(40, 7_500, 83)
"""Budgets of the program whose operators are paid for by their operands."""
_PLENTY: Final = 1 << 45

_LEAN: Final = f"""
  (func $tell (param $value i64) ;; a message to the world, and a yield; cheaper than the prelude's
    (i64.store (i32.const {OUTBOX}) (i64.const 0x100000008))
    (i64.store (i32.const {OUTBOX + 8}) (i64.const 0xFFFFFFFF))
    (i64.store (i32.const {OUTBOX + 16}) (local.get $value))
    (i64.store (i32.const {OUTBOX + 24}) (i64.const 0xA00000000))
    (i64.store (i32.const {OUTBOX + 32}) (i64.const 0))
    (global.set $out (i32.const {OUTBOX + 40})))
"""
_CASES = [
    "(local.set $x (i64.add (local.get $x) (i64.const 3)))",
    "(local.set $x (i64.div_u (local.get $x) (i64.const 3))) (local.set $x (i64.mul (local.get $x) (i64.const 5)))",
    "(local.set $x (call_indirect (type $change) (local.get $x) (i32.and (local.get $n) (i32.const 1))))",
    "(local.set $x (i64.extend_i32_u (i32.trunc_sat_f32_u (f32.sqrt (f32.convert_i64_u (local.get $x))))))",
    "(block $out (br_if $out (i64.eqz (local.get $x))) (local.set $x (call $twice (local.get $x))))",
]
"""What the loop of a turn does, round by round; each turn has one round more."""
_COMPUTES = agent(
    f"""(local.set $x (i64.extend_i32_u (global.get $turns)))
    (loop $again
      {choose("(local.get $n)", _CASES)}
      (if (i64.lt_u (local.get $x) (i64.const 20))
        (then (local.set $x (i64.add (local.get $x) (i64.const 17))))
        (else (local.set $x (i64.rotl (local.get $x) (i64.const 7)))))
      (br_if $again (i32.le_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (global.get $turns))))
    (call $tell (local.get $x))
    (if (i32.eq (global.get $turns) (i32.const {_TURNS - 1})) (then (call $exit (i32.const 0))))""",
    rest=_LEAN
    + """
  (type $change (func (param i64) (result i64)))
  (table 2 funcref)
  (elem (i32.const 0) $twice $thrice)
  (func $twice (type $change) (i64.shl (local.get 0) (i64.const 1)))
  (func $thrice (type $change) (local i64 i64 i64 i64 i64 i64 i64 i64 i64) (i64.mul (local.get 0) (i64.const 3)))
""",
    locals_="(local $n i32) (local $x i64)",
)
_OPERATES = agent(
    f"""(memory.fill (i32.const {SCRATCH}) (i32.const 7) (i32.mul (i32.add (global.get $turns) (i32.const 1))
      (i32.const 3000)))
    (memory.copy (i32.const {SCRATCH + 100}) (i32.const {SCRATCH}) (i32.const 4001))
    (drop (table.grow (ref.null func) (i32.const 300)))
    (table.fill (i32.const 1) (ref.func $begin) (i32.const 250))
    (call $tell (i64.add (i64.load (i32.const {SCRATCH + 4096})) (i64.extend_i32_s (memory.grow
      (i32.and (global.get $turns) (i32.const 1))))))
    (memory.init $text (i32.const {SCRATCH}) (i32.const 0) (i32.const 30))
    (if (i32.eq (global.get $turns) (i32.const {_TURNS - 1})) (then (call $exit (i32.const 0))))""",
    rest=_LEAN + '(table 4 funcref) (elem declare func $begin) (data $text "thirty bytes and a few more than that")',
)
# Growth that is refused is paid for all the same, by what was asked for, without wrapping.
_DEAR: Final = {
    "memory": "(drop (memory.grow (i32.const -1)))",
    "table": "(drop (table.grow (ref.null func) (i32.const -1)))",
    "fill": f"(memory.fill (i32.const {SCRATCH}) (i32.const 0) (i32.const -1))",
}
_ASKS = {
    name: agent(f"(call $tell (call $entropy)) {code} (call $exit (i32.const 0))", rest=_LEAN + "(table 1 funcref)")
    for name, code in _DEAR.items()
}

WORKLOAD = Workload(
    name="budgets",
    summary="fuel that ends at every point, operands that are paid for",
    profile="".join(group(f"budget{fuel}", "computes.wat", limits={"fuel_per_turn": fuel}) for fuel in SWEEP)
    + "".join(group(f"operands{fuel}", "operates.wat", limits={"fuel_per_turn": fuel}) for fuel in OPERANDS)
    + "".join(group(f"dear-{name}", f"{name}.wat", limits={"fuel_per_turn": 1 << 28}) for name in _DEAR)
    + "".join(group(f"rich-{name}", f"{name}.wat", limits={"fuel_per_turn": _PLENTY}) for name in _DEAR),
    files={
        "computes.wat": _COMPUTES,
        "operates.wat": _OPERATES,
        **{f"{name}.wat": text for name, text in _ASKS.items()},
    },
    faults=frozenset({"fuel", "memory bounds"}),
    quick=True,
)

"""Tables: entries set, filled, copied, initialised, grown, called through; segments dropped; and what traps."""

from __future__ import annotations

from typing import Final

from wavelock.testing.workloads.agents import agent, choose
from wavelock.testing.workloads.workload import Workload, group, table

_ENOUGH: Final = 1 << 45
"""Fuel: growth is paid for by what is asked for, however little is granted."""
_STEPS: Final = [
    "(table.set $main (i32.const 1) (ref.func $double))",
    "(call $fold (i64.extend_i32_s (table.grow $main (ref.func $triple) (i32.const 3))))",
    "(table.fill $main (i32.const 2) (ref.func $square) (i32.const 4))",
    "(table.copy $main $main (i32.const 3) (i32.const 1) (i32.const 4))",
    "(table.copy $main $main (i32.const 1) (i32.const 2) (i32.const 5))",
    "(table.init $main $kept (i32.const 4) (i32.const 1) (i32.const 2))",
    "(table.copy $main $other (i32.const 0) (i32.const 1) (i32.const 2)) (elem.drop $kept)",
    "(table.init $main $kept (i32.const 9) (i32.const 0) (i32.const 0))",
    "(table.set $main (i32.const 5) (ref.null func))",
    # one more than its own maximum, then all that is left, then none at all
    """(call $fold (i64.extend_i32_s (table.grow $main (ref.null func) (i32.const 8))))
      (call $fold (i64.extend_i32_s (table.grow $main (ref.null func) (i32.const 7))))
      (call $fold (i64.extend_i32_s (table.grow $main (ref.null func) (i32.const 1))))
      (call $fold (i64.extend_i32_s (table.grow $main (ref.null func) (i32.const 0))))
      (call $fold (i64.extend_i32_s (table.grow $other (ref.null func) (i32.const -1))))""",
]
"""By turn."""
_TRAPS: Final = [
    "(table.init $main $kept (i32.const 0) (i32.const 0) (i32.const 1))",
    "(table.set $main (i32.const 16) (ref.null func))",
    "(drop (table.get $main (i32.const -1)))",
    "(table.fill $main (i32.const 15) (ref.null func) (i32.const 2))",
    "(table.copy $main $other (i32.const 0) (i32.const 2) (i32.const 2))",
    "(drop (call_indirect $main (type $number) (i32.const 1) (i32.const 5)))",
    "(drop (call_indirect $main (type $number) (i32.const 1) (i32.const 16)))",
    "(call_indirect $main (type $nothing) (i32.const 1))",
]
"""By agent, after the last step."""
_WORKS = agent(
    f"""(call $hear)
    {choose("(global.get $turns)", _STEPS, choose("(call $self)", _TRAPS))}
    ;; every entry that is not null is called, and what it answers is folded
    (call $fold (i64.extend_i32_u (table.size $main)))
    (loop $each
      (if (ref.is_null (table.get $main (local.get $n)))
        (then (call $fold (i64.const -1)))
        (else (call $fold (i64.extend_i32_s (call_indirect $main (type $number)
          (i32.add (call $self) (local.get $n)) (local.get $n))))))
      (br_if $each (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (table.size $main))))
    (call $yield)
    (call $say_hash)""",
    rest="""
  (type $number (func (param i32) (result i32)))
  (type $nothing (func))
  (table $main 6 16 funcref)
  (table $other 3 3 funcref)
  (elem (table $main) (i32.const 0) func $double $triple)
  (elem (table $other) (i32.const 0) func $triple $square)
  (elem $kept func $square $double $double)
  (func $double (type $number) (i32.shl (local.get 0) (i32.const 1)))
  (func $triple (type $number) (i32.mul (local.get 0) (i32.const 3)))
  (func $square (type $number) (i32.mul (local.get 0) (local.get 0)))
""",
    locals_="(local $n i32)",
)

WORKLOAD = Workload(
    name="tables",
    summary="table operators, calls through tables, dropped segments",
    profile=table("limits", fuel_per_turn=_ENOUGH) + group("table", "table.wat", len(_TRAPS)),
    files={"table.wat": _WORKS},
    faults=frozenset({"table bounds", "indirect call"}),
)

"""Integers and control: operators over edge values, loads and stores of every width, branches of every form."""

from __future__ import annotations

import struct
from typing import Final

from wavelock.testing.workloads.agents import DATA, SCRATCH, agent, choose, data
from wavelock.testing.workloads.workload import Workload, group

_EDGES: Final = (0, 1, 2, 31, 63, 0x7F, 0x80, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xDEADBEEFCAFEBABE, 0xFFFFFFFFFFFFFFFF)
_COMPARES: Final = ("eq", "ne", "lt_s", "lt_u", "gt_s", "gt_u", "le_s", "le_u", "ge_s", "ge_u", "eqz")
_BINARY: Final = (
    "add", "sub", "mul", "and", "or", "xor", "shl", "shr_s", "shr_u", "rotl", "rotr", *_COMPARES[:-1],
)  # fmt: skip
_UNARY: Final = ("clz", "ctz", "popcnt", "eqz", "extend8_s", "extend16_s")


def _fold(kind: str, name: str, *operands: str) -> str:
    code = f"({kind}.{name} {' '.join(operands)})"
    return f"(call $fold {code if kind == 'i64' and name not in _COMPARES else f'(i64.extend_i32_u {code})'})"


def _all_of(kind: str) -> str:
    """Folds every operator over x and y, and the divisions where they do not trap."""
    names = [_fold(kind, name, "(local.get $x)", "(local.get $y)") for name in _BINARY]
    names += [_fold(kind, name, "(local.get $x)") for name in _UNARY]
    divisor = f"({kind}.and ({kind}.or (local.get $y) ({kind}.const 2)) ({kind}.const -2))"  # neither 0 nor -1
    divisions = [_fold(kind, name, "(local.get $x)", divisor) for name in ("div_s", "div_u", "rem_s", "rem_u")]
    return "".join(names + divisions)


_COMPUTES = agent(
    f"""(call $hear)
    ;; each turn other first operands, against all second ones
    (local.set $wide (i64.load offset={DATA} (i32.shl
      (i32.rem_u (i32.add (i32.mul (global.get $turns) (i32.const 3)) (call $self)) (i32.const {len(_EDGES)}))
      (i32.const 3))))
    (loop $each
      (call $narrow (i32.wrap_i64 (local.get $wide)) (i32.load offset={DATA} (i32.shl (local.get $n) (i32.const 3))))
      (call $broad (local.get $wide) (i64.load offset={DATA} (i32.shl (local.get $n) (i32.const 3))))
      (br_if $each (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const {len(_EDGES)}))))
    (call $yield_until (i32.const 3))
    (call $say_hash)""",
    rest=data(DATA, struct.pack(f"<{len(_EDGES)}Q", *_EDGES))
    + f"""
  (func $narrow (param $x i32) (param $y i32) {_all_of("i32")})
  (func $broad (param $x i64) (param $y i64) {_all_of("i64")} {_fold("i64", "extend32_s", "(local.get $x)")})
""",
    locals_="(local $n i32) (local $wide i64)",
)

_LOADS: Final = (
    "i32.load8_s", "i32.load8_u", "i32.load16_s", "i32.load16_u", "i32.load", "i64.load8_s", "i64.load8_u",
    "i64.load16_s", "i64.load16_u", "i64.load32_s", "i64.load32_u", "i64.load",
)  # fmt: skip
_STORES: Final = (
    "i32.store8", "i32.store16", "i32.store", "i64.store8", "i64.store16", "i64.store32", "i64.store",
)  # fmt: skip


def _store(name: str, offset: int) -> str:
    value = "(global.get $hash)" if name.startswith("i64") else "(i32.wrap_i64 (global.get $hash))"
    return f"({name} offset={offset} (local.get $n) {value})"


def _load(name: str, offset: int) -> str:
    code = f"({name} offset={offset} (local.get $n))"
    return f"(call $fold {code if name.startswith('i64') else f'(i64.extend_i32_s {code})'})"


_TOUCHES = agent(
    f"""(call $hear)
    (loop $each ;; at addresses that fit no alignment
      {"".join(_store(name, SCRATCH + at * 9) for at, name in enumerate(_STORES))}
      {"".join(_load(name, SCRATCH + at * 5) for at, name in enumerate(_LOADS))}
      (br_if $each (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 17))))
    (call $yield_until (i32.const 4))
    (call $say_hash)""",
    locals_="(local $n i32)",
)

_CASES = [
    "(local.set $x (i32.add (local.get $x) (i32.const 7)))",
    "(local.set $x (i32.mul (local.get $x) (i32.const 3)))",
    "(call $swap (local.get $x) (local.get $y)) (local.set $y) (local.set $x)",
    "(local.set $x (call $collatz (i32.and (local.get $x) (i32.const 255))))",
    "(if (i32.lt_s (local.get $x) (local.get $y)) (then (local.set $x (i32.const 12345)))"
    " (else (local.set $y (i32.sub (local.get $y) (i32.const 1)))))",
]
_CHOSEN = choose(
    "(i32.rem_u (i32.add (local.get $x) (local.get $n)) (i32.const 7))",
    _CASES,
    "(local.set $x (select (local.get $x) (local.get $y) (i32.and (local.get $n) (i32.const 1))))",
)
_BRANCHES = agent(
    f"""(call $hear)
    (local.set $x (i32.wrap_i64 (call $entropy)))
    (local.set $y (i32.wrap_i64 (i64.shr_u (global.get $hash) (i64.const 20))))
    (loop $each
      {_CHOSEN}
      (call $fold (i64.extend_i32_u (local.get $x)))
      (call $fold (i64.extend_i32_u
        (block $out (result i32) ;; a value carried out of three depths
          (block $inner (result i32)
            (br_table $inner $out $inner
              (i32.add (local.get $y) (local.get $n)) (i32.and (local.get $x) (i32.const 3))))
          (i32.const 5) (i32.xor))))
      (br_if $each (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 40))))
    (call $yield_until (i32.const 4))
    (call $say_hash)
    (call $say (i32.const 100) (i64.extend_i32_u (global.get $begun)))""",
    rest="""
  (global $begun (mut i32) (i32.const 1))
  (func $main (global.set $begun (i32.mul (global.get $begun) (i32.const 3))))
  (start $main)
  (func (export "_initialize") (global.set $begun (i32.add (global.get $begun) (i32.const 4))))
  (func $swap (param i32 i32) (result i32 i32) (local.get 1) (local.get 0))
  (func $collatz (param $n i32) (result i32) (local $steps i32)
    (loop $more (result i32)
      (if (result i32) (i32.le_u (local.get $n) (i32.const 1))
        (then (return (local.get $steps)))
        (else
          (if (i32.and (local.get $n) (i32.const 1))
            (then (local.set $n (i32.add (i32.mul (local.get $n) (i32.const 3)) (i32.const 1))))
            (else (local.set $n (i32.shr_u (local.get $n) (i32.const 1)))))
          (local.set $steps (i32.add (local.get $steps) (i32.const 1)))
          (br $more)))))
""",
    locals_="(local $n i32) (local $x i32) (local $y i32)",
)

WORKLOAD = Workload(
    name="integers",
    summary="integer operators, loads and stores, branches, starts",
    profile=group("computer", "computer.wat", 3)
    + group("toucher", "toucher.wat", 2)
    + group("branch", "branch.wat", 4),
    files={"computer.wat": _COMPUTES, "toucher.wat": _TOUCHES, "branch.wat": _BRANCHES},
)

"""Depth: recursions to every depth around the limit, with frames of every size, and ones without end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from wavelock.core.form.features import SIMD
from wavelock.testing.workloads.agents import agent
from wavelock.testing.workloads.workload import Workload, group, table

_TURNS: Final = 8
"""An agent goes one call deeper each turn."""


class _Shape(NamedTuple):
    """A recursion. first: the depth of the first agent's first turn. agents: each begins where the one before ends."""

    first: int
    agents: int
    functions: str


_MANY = "(local i64 i64 i64 i64 i64 i64 i64 i64)" * 12
_SHAPES: Final = {
    "small": _Shape(
        140, 7,
        """(func $down (param $n i32) (result i32)
          (if (result i32) (local.get $n)
            (then (i32.add (call $down (i32.sub (local.get $n) (i32.const 1))) (i32.const 3)))
            (else (i32.const 1))))""",
    ),
    "large": _Shape(
        8, 2,
        f"""(func $down (param $n i32) (result i32) {_MANY} (local $kept i64)
          (local.set $kept (i64.extend_i32_u (i32.mul (local.get $n) (i32.const 0x10001))))
          (if (result i32) (local.get $n)
            (then
              (i32.xor
                (call $down (i32.sub (local.get $n) (i32.const 1)))
                (i32.wrap_i64 (i64.shr_u (local.get $kept) (i64.const 3)))))
            (else (i32.const 5))))""",
    ),
    "operands": _Shape( # what waits on the operand stack counts as well
        100, 6,
        """(func $down (param $n i32) (result i32)
          (if (i32.eqz (local.get $n)) (then (return (i32.const 2))))
          (local.get $n) (local.get $n) (local.get $n) (local.get $n)
          (call $down (i32.sub (local.get $n) (i32.const 1)))
          (i32.add) (i32.xor) (i32.add) (i32.mul))""",
    ),
    "mutual": _Shape(
        110, 5,
        """(type $step (func (param i32 i64) (result i32)))
        (table 2 funcref)
        (elem (i32.const 0) $even $odd)
        (func $even (type $step)
          (if (result i32) (local.get 0)
            (then
              (call_indirect (type $step)
                (i32.sub (local.get 0) (i32.const 1)) (i64.add (local.get 1) (i64.const 5)) (i32.const 1)))
            (else (i32.wrap_i64 (local.get 1)))))
        (func $odd (type $step) (local i64 i64 i64)
          (block $out (result i32)
            (br_if $out (i32.const 9) (i32.eqz (local.get 0)))
            (drop)
            (call_indirect (type $step)
              (i32.sub (local.get 0) (i32.const 1)) (i64.mul (local.get 1) (i64.const 3)) (i32.const 0))))
        (func $down (param $n i32) (result i32) (call $even (local.get $n) (i64.const 1)))""",
    ),
}  # fmt: skip
_SHAPES_OF_VECTORS: Final = {
    "wide": _Shape(
        43, 4,
        """(func $down (param $n i32) (result i32) (local v128 v128 v128 v128 v128 v128 v128 v128) (local $kept v128)
          (local.set $kept (i32x4.splat (local.get $n)))
          (if (result i32) (local.get $n)
            (then
              (i32.add
                (call $down (i32.sub (local.get $n) (i32.const 1)))
                (i32x4.extract_lane 2 (i32x4.mul (local.get $kept) (local.get $kept)))))
            (else (i32.const 7))))""",
    ),
}  # fmt: skip


def _agents(shape: _Shape, first_id: int) -> str:
    return agent(
        f"""(call $hear)
        (local.set $depth
          (i32.add
            (i32.add (i32.const {shape.first})
              (i32.mul (i32.sub (call $self) (i32.const {first_id})) (i32.const {_TURNS})))
            (global.get $turns)))
        (call $say (local.get $depth) (i64.extend_i32_u (call $down (local.get $depth))))
        (call $say_hash)
        (call $yield_until (i32.const {_TURNS}))""",
        rest=shape.functions,
        locals_="(local $depth i32)",
    )


def _to_every_depth(name: str, summary: str, shapes: Mapping[str, _Shape], optional: str = "") -> Workload:
    profile, files, first = table("limits", stack="16 KiB"), {}, 0
    for kind, shape in shapes.items():
        profile += group(kind, f"{kind}.wat", shape.agents)
        files[f"{kind}.wat"] = _agents(shape, first)
        first += shape.agents
    return Workload(name, summary, profile, files, faults=frozenset({"depth"}), optional=optional)


DEPTH = _to_every_depth("depth", "recursions to every depth around the limit, frames of all sizes", _SHAPES)
SIMD_DEPTH = _to_every_depth(
    "simd-depth", "recursions around the limit with vectors in their frames", _SHAPES_OF_VECTORS, SIMD
)

_STEP: Final = 300
"""Calls that each turn nests more than the one before, until the fourth nests them without end."""
_DEEPER = "(call $down (i32.sub (local.get $n) (i32.const 1)))"
_BOTTOMLESS: Final = {
    "small": f"""(func $down (param $n i32) (result i32)
      (if (i32.eqz (local.get $n)) (then (return (i32.const 1))))
      (i32.add {_DEEPER} (i32.const 1)))""",
    "large": f"""(func $down (param $n i32) (result i32) {_MANY}
      (local.set 8 (i64.extend_i32_u (local.get $n)))
      (if (i32.eqz (local.get $n)) (then (return (i32.const 1))))
      (i32.xor {_DEEPER} (i32.wrap_i64 (local.get 8))))""",
    "params": f"""(func $down (param $n i32) (result i32)
        (call $deeper (local.get $n) {"(i64.const 3) (f64.const 0.5) " * 12}))
      (func $deeper (param i32 {"i64 f64 " * 12}) (result i32)
        (if (i32.eqz (local.get 0)) (then (return (i32.const 1))))
        (i32.add (i32.wrap_i64 (local.get 23))
          (call $deeper
            (i32.sub (local.get 0) (i32.const 1)) {" ".join(f"(local.get {at})" for at in range(1, 25))})))""",
}
_BOTTOMLESS_OF_VECTORS: Final = {
    "wide": f"""(func $down (param $n i32) (result i32) (local v128 v128 v128 v128)
      (local.set 2 (i32x4.splat (local.get $n)))
      (if (i32.eqz (local.get $n)) (then (return (i32.const 1))))
      (i32.add {_DEEPER} (i32x4.extract_lane 0 (local.get 2))))""",
}


def _without_end(name: str, summary: str, functions: Mapping[str, str], optional: str = "") -> Workload:
    turn = f"""(call $hear)
        (call $say (i32.const 100)
          (i64.extend_i32_u
            (call $down
              (select (i32.const -1) (i32.mul (global.get $turns) (i32.const {_STEP}))
                (i32.eq (global.get $turns) (i32.const 3))))))
        (call $say_hash)
        (call $yield)"""
    profile = table("limits", stack="1 MiB") + "".join(group(kind, f"{kind}.wat") for kind in functions)
    files = {f"{kind}.wat": agent(turn, rest=code) for kind, code in functions.items()}
    return Workload(name, summary, profile, files, faults=frozenset({"depth"}), optional=optional)


STACK = _without_end("stack", "deep recursions, and ones without end, under the largest limit", _BOTTOMLESS)
SIMD_STACK = _without_end(
    "simd-stack", "recursions without end with vectors in their frames", _BOTTOMLESS_OF_VECTORS, SIMD
)

"""Floats: every operator over pairs of special values, chaotic maps, and the many ways in which a NaN becomes visible.

Results leave as raw bits, in payloads. Where engines are free (which NaN an operation makes) the deterministic form
decides; where they are not (what `neg`, a load or a select do to a NaN that is there) the specification does.
"""

from __future__ import annotations

from typing import Final

from wavelock.core.abi import WORLD, Outbound
from wavelock.testing.workloads.agents import DATA, SCRATCH, agent, binary32, binary64, data
from wavelock.testing.workloads.workload import Workload, group

SPECIALS_32: Final = (
    0x00000000, 0x80000000, 0x3F800000, 0xC0200000, 0x7F800000, 0xFF800000, 0x7FC00000, 0xFFC12345,
    0x7FA00001, 0x00000001, 0x7F7FFFFF, 0x3F000000, 0x4B000001, 0x807FFFFF, 0x3EAAAAAB, 0xBFC00000,
)  # fmt: skip
"""Zeros, 1, -2.5, infinities, NaNs quiet and signalling, subnormals, the largest, halves, 2^23 + 1, a third."""
SPECIALS_64: Final = (
    0x0000000000000000, 0x8000000000000000, 0x3FF0000000000000, 0xC004000000000000,
    0x7FF0000000000000, 0xFFF0000000000000, 0x7FF8000000000000, 0xFFF8123456789ABC,
    0x7FF4000000000001, 0x0000000000000001, 0x7FEFFFFFFFFFFFFF, 0x3FE0000000000000,
    0x4330000000000001, 0x800FFFFFFFFFFFFF, 0x3FD5555555555555, 0xBFF8000000000000,
)  # fmt: skip
COUNT: Final = len(SPECIALS_32)
_BINARY: Final = ("add", "sub", "mul", "div", "min", "max", "copysign")
_UNARY: Final = ("sqrt", "ceil", "floor", "trunc", "nearest", "abs", "neg")


def _table(kind: str, names: tuple[str, ...], params: str) -> str:
    """A type, a function for each operator of a name, and a table of them."""
    functions = "".join(
        f"(func ${name} (type $operator) ({kind}.{name} "
        + " ".join(f"(local.get {at})" for at in range(params.count(kind)))
        + "))\n"
        for name in names
    )
    return f"""
  (type $operator (func (param {params}) (result {kind})))
  (table {len(names)} funcref)
  (elem (i32.const 0) {" ".join(f"${name}" for name in names)})
  {functions}"""


def _pairs(kind: str, size: int, values: bytes) -> str:
    """An agent that applies one operator, by its id, to all pairs: half of them in each of two turns."""
    half = COUNT // 2
    return agent(
        f"""(call $hear)
        (if (i32.lt_u (global.get $turns) (i32.const 2)) (then
          (local.set $to (call $emit (i32.const {Outbound.SEND.value}) (i32.const {WORLD}) (call $self)
            (i32.const {half * COUNT * size})))
          (local.set $i (i32.mul (global.get $turns) (i32.const {half})))
          (loop $rows
            (local.set $j (i32.const 0))
            (loop $columns
              ({kind}.store (local.get $to)
                (call_indirect (type $operator)
                  ({kind}.load offset={DATA} (i32.mul (local.get $i) (i32.const {size})))
                  ({kind}.load offset={DATA} (i32.mul (local.get $j) (i32.const {size})))
                  (i32.rem_u (call $self) (i32.const {len(_BINARY)}))))
              (local.set $to (i32.add (local.get $to) (i32.const {size})))
              (br_if $columns (i32.lt_u (local.tee $j (i32.add (local.get $j) (i32.const 1))) (i32.const {COUNT}))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $rows (i32.rem_u (local.get $i) (i32.const {half}))))))
        (call $yield_until (i32.const 2))
        (call $say_hash)""",
        rest=data(DATA, values) + _table(kind, _BINARY, f"{kind} {kind}"),
        locals_="(local $i i32) (local $j i32) (local $to i32)",
    )


def _singles(kind: str, size: int, values: bytes) -> str:
    """An agent that applies every operator of one operand: one operator a turn, then the conversions."""
    other = "f32.demote_f64" if kind == "f64" else "f64.promote_f32"
    conversions = [f"{integer}.trunc_sat_{kind}_{sign}" for integer in ("i32", "i64") for sign in "su"]
    taken = {name: f"({name} (local.get $x))" for name in conversions}
    folds = "".join(
        f"(call $fold {code if name.startswith('i64') else f'(i64.extend_i32_u {code})'})"
        for name, code in taken.items()
    )
    bits = (
        f"(i64.extend_i32_u (i32.reinterpret_f32 ({other} (local.get $x))))"
        if kind == "f64"
        else f"(i64.reinterpret_f64 ({other} (local.get $x)))"
    )
    return agent(
        f"""(call $hear)
        (if (i32.lt_u (global.get $turns) (i32.const {len(_UNARY)})) (then
          (local.set $to (call $emit (i32.const {Outbound.SEND.value}) (i32.const {WORLD}) (global.get $turns)
            (i32.const {COUNT * size})))
          (loop $each
            (local.set $x ({kind}.load offset={DATA} (i32.mul (local.get $i) (i32.const {size}))))
            ({kind}.store (local.get $to) (call_indirect (type $operator) (local.get $x) (global.get $turns)))
            (local.set $to (i32.add (local.get $to) (i32.const {size})))
            (if (i32.eqz (global.get $turns)) (then
              (call $say (i32.const 100) {bits})
              {folds}
              (call $fold (i64.extend_i32_u ({kind}.lt (local.get $x) ({kind}.const 0.5))))
              (call $fold (i64.extend_i32_u ({kind}.ge (local.get $x) (local.get $x))))))
            (br_if $each (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const {COUNT}))))))
        (call $yield_until (i32.const {len(_UNARY)}))
        (call $say_hash)""",
        rest=data(DATA, values) + _table(kind, _UNARY, kind),
        locals_=f"(local $i i32) (local $to i32) (local $x {kind})",
    )


# A NaN is made from operands that no compiler knows, and then shown in one way each.
_MADE_32 = "(f32.div (global.get $zero32) (global.get $zero32))"
_MADE_64 = "(f64.sub (global.get $inf64) (global.get $inf64))"
_PATHS: Final = {
    "at once": f"(i32.reinterpret_f32 {_MADE_32})",
    "local": f"(local.set $x {_MADE_32}) (i32.reinterpret_f32 (local.get $x))",
    "tee": f"(i32.reinterpret_f32 (local.tee $x {_MADE_32}))",
    "global": f"(global.set $kept {_MADE_32}) (i32.reinterpret_f32 (global.get $kept))",
    "memory": f"(f32.store (i32.const {SCRATCH}) {_MADE_32}) (i32.load (i32.const {SCRATCH}))",
    "negated": f"(i32.reinterpret_f32 (f32.neg {_MADE_32}))",
    "negated twice": f"(i32.reinterpret_f32 (f32.neg (f32.neg {_MADE_32})))",
    "absolute": f"(i32.reinterpret_f32 (f32.abs (f32.neg {_MADE_32})))",
    "sign": f"(i32.reinterpret_f32 (f32.copysign {_MADE_32} (f32.const -1)))",
    "its sign": f"(i32.reinterpret_f32 (f32.copysign (f32.const 3) {_MADE_32}))",
    "select": f"(i32.reinterpret_f32 (select {_MADE_32} (f32.const 1) (i32.const 1)))",
    "block": f"(i32.reinterpret_f32 (block $b (result f32) (br $b {_MADE_32})))",
    "branch": f"(i32.reinterpret_f32 (block $b (result f32) (br_if $b {_MADE_32} (i32.const 1))))",
    "if": f"""(i32.reinterpret_f32
      (if (result f32) (i32.eqz (global.get $turns)) (then {_MADE_32}) (else (f32.const 2))))""",
    "loop": f"{_MADE_32} (loop (param f32) (result i32) (i32.reinterpret_f32))",
    "result": "(i32.reinterpret_f32 (call $make))",
    "parameter": f"(call $bits {_MADE_32})",
    "two results": "(call $two) (drop) (i32.reinterpret_f32)",
    "hidden": f"(i32.reinterpret_f32 (f32.add (f32.mul {_MADE_32} (f32.const 2)) (f32.const 1)))",
    "compared": f"(f32.ne (local.tee $x {_MADE_32}) (local.get $x))",
    "truncated": f"(i32.trunc_sat_f32_s {_MADE_32})",
    "promoted": f"(i32.wrap_i64 (i64.shr_u (i64.reinterpret_f64 (f64.promote_f32 {_MADE_32})) (i64.const 32)))",
    "demoted": f"(i32.reinterpret_f32 (f32.demote_f64 {_MADE_64}))",
    "f64": f"(i32.wrap_i64 (i64.shr_u (i64.reinterpret_f64 {_MADE_64}) (i64.const 32)))",
    "f64 negated": f"(i32.wrap_i64 (i64.shr_u (i64.reinterpret_f64 (f64.neg {_MADE_64})) (i64.const 32)))",
    "root": "(i32.reinterpret_f32 (f32.sqrt (f32.sub (global.get $zero32) (f32.const 1))))",
    "payload lost": f"(i32.reinterpret_f32 (f32.add (f32.load (i32.const {DATA})) (f32.const 1)))",
    "payload kept": f"(i32.reinterpret_f32 (f32.load (i32.const {DATA})))",
    "signalling kept": f"(i32.reinterpret_f32 (f32.neg (f32.load (i32.const {DATA + 4}))))",
    "signalling lost": f"(i32.reinterpret_f32 (f32.nearest (f32.load (i32.const {DATA + 4}))))",
    "smallest": f"(i32.reinterpret_f32 (f32.min (f32.load (i32.const {DATA})) (f32.const 1)))",
}
"""By what makes the bits of a NaN visible: code that answers an i32."""
_SHOWS = agent(
    f"""(call $hear)
    {"".join(f"(call $say (i32.const {at}) (i64.extend_i32_u (call $path{at})))" for at in range(len(_PATHS)))}
    (call $yield_until (i32.const 2))""",
    rest=data(DATA, binary32(0xFFC12345, 0x7FA00001))
    + f"""
  (global $zero32 (mut f32) (f32.const 0))
  (global $inf64 (mut f64) (f64.const inf))
  (global $kept (mut f32) (f32.const 0))
  (func $make (result f32) {_MADE_32})
  (func $bits (param f32) (result i32) (i32.reinterpret_f32 (local.get 0)))
  (func $two (result f32 f32) {_MADE_32} (f32.neg {_MADE_32}))
  {"".join(f"(func $path{at} (result i32) (local $x f32) {code})" for at, code in enumerate(_PATHS.values()))}
""",
)

_STEPS, _MAP_TURNS = 24, 5
_MAPS = agent(
    f"""(call $hear)
    (if (i32.eqz (global.get $turns)) (then ;; another orbit for each agent
      (global.set $x (f32.div (f32.convert_i32_u (i32.add (call $self) (i32.const 1))) (f32.const 43)))
      (global.set $y (f64.div (f64.convert_i32_u (i32.add (call $self) (i32.const 3))) (f64.const 41)))))
    (loop $more
      ;; the logistic map, in the chaotic range
      (global.set $x
        (f32.mul (f32.mul (f32.const 3.9) (global.get $x)) (f32.sub (f32.const 1) (global.get $x))))
      ;; Hénon's map, its second coordinate kept as the first of the step before
      (local.set $new
        (f64.add
          (f64.sub (f64.const 1) (f64.mul (f64.const 1.4) (f64.mul (global.get $y) (global.get $y))))
          (f64.mul (f64.const 0.3) (global.get $before))))
      (global.set $before (global.get $y))
      (global.set $y (local.get $new))
      ;; all of the rounding operators over a mix of both
      (local.set $mix
        (f64.sqrt
          (f64.abs (f64.add (f64.promote_f32 (global.get $x)) (f64.mul (global.get $y) (f64.const 10))))))
      (local.set $mix
        (f64.max
          (f64.min (f64.sub (local.get $mix) (f64.nearest (local.get $mix))) (f64.const 0.375))
          (f64.div (f64.floor (local.get $mix)) (f64.ceil (f64.mul (global.get $y) (f64.const 3))))))
      (call $fold (i64.reinterpret_f64 (local.get $mix)))
      (call $fold
        (i64.extend_i32_u
          (i32.reinterpret_f32
            (f32.trunc (f32.mul (f32.demote_f64 (local.get $mix)) (f32.mul (global.get $x) (f32.const 1e6)))))))
      (br_if $more (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const {_STEPS}))))
    (call $say (i32.const 101) (i64.reinterpret_f64 (global.get $y)))
    (call $say (i32.const 102) (i64.extend_i32_u (i32.reinterpret_f32 (global.get $x))))
    (call $say (i32.const 103) (i64.reinterpret_f64 (f64.sqrt (f64.sub (f64.const -2) (f64.abs (global.get $y))))))
    (call $yield_until (i32.const {_MAP_TURNS}))
    (call $say_hash)""",
    rest="""
  (global $x (mut f32) (f32.const 0))
  (global $y (mut f64) (f64.const 0))
  (global $before (mut f64) (f64.const 0))
""",
    locals_="(local $n i32) (local $new f64) (local $mix f64)",
)

WORKLOAD = Workload(
    name="floats",
    summary="float operators over special values, chaotic maps, NaN bits",
    profile=group("pairs32", "pairs32.wat", len(_BINARY))
    + group("pairs64", "pairs64.wat", len(_BINARY))
    + group("singles32", "singles32.wat")
    + group("singles64", "singles64.wat")
    + group("paths", "paths.wat")
    + group("maps", "maps.wat", 4),
    files={
        "pairs32.wat": _pairs("f32", 4, binary32(*SPECIALS_32)),
        "pairs64.wat": _pairs("f64", 8, binary64(*SPECIALS_64)),
        "singles32.wat": _singles("f32", 4, binary32(*SPECIALS_32)),
        "singles64.wat": _singles("f64", 8, binary64(*SPECIALS_64)),
        "paths.wat": _SHOWS,
        "maps.wat": _MAPS,
    },
    quick=True,
)

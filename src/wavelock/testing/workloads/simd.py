"""SIMD: float lanes over pairs of special values, and integer lanes through a mixer that uses most operators."""

from __future__ import annotations

from typing import Final

from wavelock.core.abi import WORLD, Outbound
from wavelock.core.form.features import SIMD
from wavelock.testing.workloads.agents import DATA, SCRATCH, agent, binary32, binary64, data
from wavelock.testing.workloads.floats import SPECIALS_32, SPECIALS_64
from wavelock.testing.workloads.workload import Workload, group

_BINARY: Final = ("add", "sub", "mul", "div", "min", "max", "pmin", "pmax")
_VECTOR_BYTES: Final = 16
_ROTATE_32: Final = "i8x16.shuffle 4 5 6 7 8 9 10 11 12 13 14 15 0 1 2 3"
_ROTATE_64: Final = "i8x16.shuffle 8 9 10 11 12 13 14 15 0 1 2 3 4 5 6 7"


def _pairs(kind: str, rotate: str, lanes: int, values: bytes) -> str:
    """An agent that applies one operator, by its id, to all pairs of lanes: the second vector rotated by its turn."""
    vectors = len(values) // _VECTOR_BYTES
    functions = "".join(
        f"(func ${name} (type $operator) ({kind}.{name} (local.get 0) (local.get 1)))\n" for name in _BINARY
    )
    return agent(
        f"""(call $hear)
        (if (i32.lt_u (global.get $turns) (i32.const {lanes})) (then
          (local.set $to (call $emit (i32.const {Outbound.SEND.value}) (i32.const {WORLD}) (call $self)
            (i32.const {vectors * vectors * _VECTOR_BYTES})))
          (loop $rows
            (local.set $first (v128.load offset={DATA} (i32.shl (local.get $i) (i32.const 4))))
            (local.set $j (i32.const 0))
            (loop $columns
              (local.set $second (v128.load offset={DATA} (i32.shl (local.get $j) (i32.const 4))))
              (local.set $n (global.get $turns))
              (block $rotated
                (loop $more
                  (br_if $rotated (i32.eqz (local.get $n)))
                  (local.set $second ({rotate} (local.get $second) (local.get $second)))
                  (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                  (br $more)))
              (v128.store (local.get $to)
                (call_indirect (type $operator) (local.get $first) (local.get $second)
                  (i32.rem_u (call $self) (i32.const {len(_BINARY)}))))
              (local.set $to (i32.add (local.get $to) (i32.const {_VECTOR_BYTES})))
              (br_if $columns
                (i32.lt_u (local.tee $j (i32.add (local.get $j) (i32.const 1))) (i32.const {vectors}))))
            (br_if $rows (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const {vectors}))))))
        (call $yield_until (i32.const {lanes}))""",
        rest=data(DATA, values)
        + f"""
  (type $operator (func (param v128 v128) (result v128)))
  (table {len(_BINARY)} funcref)
  (elem (i32.const 0) {" ".join(f"${name}" for name in _BINARY)})
  {functions}""",
        locals_="(local $i i32) (local $j i32) (local $n i32) (local $to i32) (local $first v128) (local $second v128)",
    )


_X, _Y = "(local.get $x)", "(local.get $y)"
_SINGLES: Final = (
    *(f"({kind}.{name} {_X})" for kind in ("f32x4", "f64x2")
      for name in ("sqrt", "ceil", "floor", "trunc", "nearest", "abs", "neg")),
    *(f"({kind}.{name} {_X} {_Y})" for kind in ("f32x4", "f64x2") for name in ("eq", "ne", "lt", "gt", "le", "ge")),
    f"(f32x4.demote_f64x2_zero {_X})",
    f"(f64x2.promote_low_f32x4 {_X})",
    f"(i32x4.trunc_sat_f32x4_s {_X})",
    f"(i32x4.trunc_sat_f32x4_u {_X})",
    f"(i32x4.trunc_sat_f64x2_s_zero {_X})",
    f"(i32x4.trunc_sat_f64x2_u_zero {_X})",
    f"(f32x4.convert_i32x4_s {_X})",
    f"(f32x4.convert_i32x4_u {_X})",
    f"(f64x2.convert_low_i32x4_s {_X})",
    f"(f64x2.convert_low_i32x4_u {_X})",
    # a NaN that is made in one shape of lanes and looked at in another
    f"(i8x16.popcnt (f32x4.div {_X} {_X}))",
    f"(v128.xor (f64x2.sub {_X} {_X}) (f32x4.add {_X} {_X}))",
    f"(f32x4.replace_lane 2 {_X} (f32.neg (f32x4.extract_lane 1 (f32x4.sub {_X} {_X}))))",
    f"(f64x2.splat (f64x2.extract_lane 1 (f64x2.div {_X} {_X})))",
    f"(v128.bitselect (f32x4.mul {_X} {_Y}) {_X} (i32x4.shr_s {_Y} (i32.const 3)))",
)  # fmt: skip
"""Over x, one vector of the specials, and y, the next one."""
_SINGLE_VALUES: Final = binary32(*SPECIALS_32) + binary64(*SPECIALS_64)
_SINGLES_AGENT = agent(
    f"""(call $hear)
    (local.set $x (v128.load offset={DATA} (i32.shl (global.get $turns) (i32.const 4))))
    (local.set $y (v128.load offset={DATA + _VECTOR_BYTES} (i32.shl (global.get $turns) (i32.const 4))))
    (local.set $to (call $emit (i32.const {Outbound.SEND.value}) (i32.const {WORLD}) (global.get $turns)
      (i32.const {len(_SINGLES) * _VECTOR_BYTES})))
    {"".join(f"(v128.store offset={at * 16} (local.get $to) {code})" for at, code in enumerate(_SINGLES))}
    (call $yield_until (i32.const {len(_SINGLE_VALUES) // _VECTOR_BYTES - 1}))""",
    rest=data(DATA, _SINGLE_VALUES),
    locals_="(local $x v128) (local $y v128) (local $to i32)",
)

_A, _B = "(local.get $a)", "(local.get $b)"
_N = "(local.get $n)"


def _of_lanes(shapes: str, names: str) -> list[str]:
    return [f"({shape}.{name} {_A} {_B})" for shape in shapes.split() for name in names.split()]


_MIXERS: Final = (
    *_of_lanes("i8x16 i16x8", "add_sat_s add_sat_u sub_sat_s sub_sat_u avgr_u"),
    *_of_lanes("i8x16 i16x8 i32x4", "add sub min_s min_u max_s max_u eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u"),
    *_of_lanes("i64x2", "add sub mul eq ne lt_s gt_s le_s ge_s"),
    *_of_lanes("i16x8 i32x4", "mul"),
    *_of_lanes("i16x8", "q15mulr_sat_s extmul_low_i8x16_s extmul_high_i8x16_u narrow_i32x4_s narrow_i32x4_u"),
    *_of_lanes("i32x4", "dot_i16x8_s extmul_low_i16x8_u extmul_high_i16x8_s"),
    *_of_lanes("i64x2", "extmul_low_i32x4_s extmul_high_i32x4_u"),
    *_of_lanes("i8x16", "swizzle narrow_i16x8_s narrow_i16x8_u"),
    *_of_lanes("v128", "and or xor andnot"),
    *(f"({shape}.{name} {_A} {_N})" for shape in ("i8x16", "i16x8", "i32x4", "i64x2")
      for name in ("shl", "shr_s", "shr_u")),
    *(f"({shape}.{name} {_A})" for shape in ("i8x16", "i16x8", "i32x4", "i64x2") for name in ("abs", "neg")),
    *(f"({name} {_A})" for name in (
        "v128.not", "i8x16.popcnt",
        "i16x8.extadd_pairwise_i8x16_s", "i16x8.extadd_pairwise_i8x16_u",
        "i32x4.extadd_pairwise_i16x8_s", "i32x4.extadd_pairwise_i16x8_u",
        "i16x8.extend_low_i8x16_s", "i16x8.extend_high_i8x16_u", "i32x4.extend_low_i16x8_u",
        "i32x4.extend_high_i16x8_s", "i64x2.extend_low_i32x4_s", "i64x2.extend_high_i32x4_u",
    )),
    f"(i8x16.shuffle 0 17 2 19 4 21 6 23 31 30 29 28 3 2 1 0 {_A} {_B})",
    f"(v128.bitselect {_A} {_B} (i32x4.splat (i32.const 0x0F0F3355)))",
    f"(i32x4.splat (i8x16.bitmask {_A}))",
    f"(i32x4.splat (i16x8.bitmask {_A}))",
    f"(i64x2.splat (i64.extend_i32_u (i32.add (i32x4.bitmask {_A}) (i64x2.bitmask {_B}))))",
    f"(i8x16.splat (i32.add (v128.any_true {_A}) (i32.shl (i16x8.all_true {_B}) (i32.const 1))))",
    f"(i16x8.replace_lane 5 {_A} (i8x16.extract_lane_s 3 {_B}))",
    f"(i8x16.replace_lane 9 {_A} (i16x8.extract_lane_u 6 {_B}))",
    f"(i32x4.replace_lane 3 {_A} (i32x4.extract_lane 0 {_B}))",
    f"(i64x2.replace_lane 1 {_A} (i64x2.extract_lane 0 {_B}))",
    *(f"(v128.{name} (i32.add (i32.const {SCRATCH}) (i32.and {_N} (i32.const 15))))" for name in (
        "load8x8_s", "load8x8_u", "load16x4_s", "load32x2_u", "load8_splat", "load16_splat", "load32_splat",
        "load64_splat", "load32_zero", "load64_zero",
    )),
    *(f"(v128.load{bits}_lane {lane} (i32.add (i32.const {SCRATCH}) (i32.and {_N} (i32.const 15))) {_A})"
      for bits, lane in ((8, 13), (16, 5), (32, 2), (64, 1))),
)  # fmt: skip
"""Over vectors a and b and a number n."""
_STORES = "".join(
    f"(v128.store{bits}_lane {lane} (i32.add (i32.const {SCRATCH + 16}) (i32.and {_N} (i32.const 7))) {_A})"
    for bits, lane in ((8, 3), (16, 7), (32, 1), (64, 0))
)
_MIXES = agent(
    f"""(call $hear)
    (v128.store (i32.const {SCRATCH}) (i64x2.splat (i64.add (global.get $hash) (call $entropy))))
    {"".join(f"(call $mix{at})" for at in range(len(_MIXERS)))}
    (local.set $to
      (call $emit (i32.const {Outbound.SEND.value}) (i32.const {WORLD}) (global.get $turns) (i32.const 48)))
    (v128.store (local.get $to) (global.get $kept))
    (v128.store offset=16 (local.get $to) (v128.load (i32.const {SCRATCH})))
    (v128.store offset=32 (local.get $to) (v128.load (i32.const {SCRATCH + 16})))
    (call $fold (i64x2.extract_lane 0 (global.get $kept)))
    (call $yield_until (i32.const 5))
    (call $say_hash)""",
    rest="(global $kept (mut v128) (v128.const i32x4 0x01234567 0x89abcdef 0xfedcba98 0x76543210))\n"
    + "".join(
        f"""(func $mix{at} (local $a v128) (local $b v128) (local $n i32)
          (local.set $a (v128.load (i32.const {SCRATCH})))
          (local.set $b (global.get $kept))
          (local.set $n (i32x4.extract_lane 2 {_B}))
          {_STORES if at % 16 == 0 else ""}
          ;; what was mixed in goes round by a byte, so that few bits are lost
          (local.set $a (i8x16.add {code} (i8x16.shuffle 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 0 {_A} {_A})))
          (global.set $kept {_A})
          (v128.store (i32.const {SCRATCH}) (v128.xor {_B} {_A})))
        """
        for at, code in enumerate(_MIXERS)
    ),
    locals_="(local $to i32)",
)

WORKLOAD = Workload(
    name="simd",
    summary="float and integer lanes, conversions, lane loads and stores",
    profile=group("pairs32", "pairs32.wat", len(_BINARY))
    + group("pairs64", "pairs64.wat", len(_BINARY))
    + group("singles", "singles.wat")
    + group("mixer", "mixer.wat", 3),
    files={
        "pairs32.wat": _pairs("f32x4", _ROTATE_32, 4, binary32(*SPECIALS_32)),
        "pairs64.wat": _pairs("f64x2", _ROTATE_64, 2, binary64(*SPECIALS_64)),
        "singles.wat": _SINGLES_AGENT,
        "mixer.wat": _MIXES,
    },
    optional=SIMD,
)

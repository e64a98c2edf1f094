"""Every operator, in one table: opcode, name, immediates, operand and result types, feature.

Opcodes are those of the WebAssembly specification's index of instructions; the tests hold them against an
assembler. Operators behind a prefix byte have `code = prefix << 16 | number`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from wavelock.core.form import features as f
from wavelock.core.form.immediates import Immediate


@dataclass(frozen=True)
class Operator:
    """One operator.

    signature: operand types, a colon, result types (i i32, I i64, f f32, F f64, v v128); empty where the
    types follow from immediates, from the stack, or from the operator being control flow or refused.
    """

    code: int
    name: str
    immediates: Immediate
    signature: str
    feature: str


_Run = tuple[int, Immediate, str, str]
"""Consecutive opcodes: the first number, immediates, signature, and names or `stem: suffix suffix`."""

_NONE, _INDEX, _MEMARG = Immediate.NONE, Immediate.INDEX, Immediate.MEMARG
_PAIR, _LANE, _UNREAD = Immediate.INDEX_PAIR, Immediate.LANE, Immediate.UNREAD

_INT_COMPARE = "eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u"
_FLOAT_COMPARE = "eq ne lt gt le ge"
_INT_BINARY = "add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr"
_FLOAT_UNARY = "abs neg ceil floor trunc nearest sqrt"
_FLOAT_BINARY = "add sub mul div min max copysign"

_MVP: tuple[_Run, ...] = (
    (0x00, _NONE, "", "unreachable"),
    (0x01, _NONE, ":", "nop"),
    (0x02, Immediate.BLOCK, "", "block loop if"),
    (0x05, _NONE, "", "else"),
    (0x0B, _NONE, "", "end"),
    (0x0C, _INDEX, "", "br br_if"),
    (0x0E, Immediate.LABELS, "", "br_table"),
    (0x0F, _NONE, "", "return"),
    (0x10, _INDEX, "", "call"),
    (0x11, _PAIR, "", "call_indirect"),
    (0x1A, _NONE, "", "drop select"),
    (0x20, _INDEX, "", "local.: get set tee"),
    (0x23, _INDEX, "", "global.: get set"),
    (0x28, _MEMARG, "i:i", "i32.load"),
    (0x29, _MEMARG, "i:I", "i64.load"),
    (0x2A, _MEMARG, "i:f", "f32.load"),
    (0x2B, _MEMARG, "i:F", "f64.load"),
    (0x2C, _MEMARG, "i:i", "i32.load: 8_s 8_u 16_s 16_u"),
    (0x30, _MEMARG, "i:I", "i64.load: 8_s 8_u 16_s 16_u 32_s 32_u"),
    (0x36, _MEMARG, "ii:", "i32.store"),
    (0x37, _MEMARG, "iI:", "i64.store"),
    (0x38, _MEMARG, "if:", "f32.store"),
    (0x39, _MEMARG, "iF:", "f64.store"),
    (0x3A, _MEMARG, "ii:", "i32.store: 8 16"),
    (0x3C, _MEMARG, "iI:", "i64.store: 8 16 32"),
    (0x3F, Immediate.MEMORY, ":i", "memory.size"),
    (0x40, Immediate.MEMORY, "i:i", "memory.grow"),
    (0x41, Immediate.I32, ":i", "i32.const"),
    (0x42, Immediate.I64, ":I", "i64.const"),
    (0x43, Immediate.F32, ":f", "f32.const"),
    (0x44, Immediate.F64, ":F", "f64.const"),
    (0x45, _NONE, "i:i", "i32.eqz"),
    (0x46, _NONE, "ii:i", f"i32.: {_INT_COMPARE}"),
    (0x50, _NONE, "I:i", "i64.eqz"),
    (0x51, _NONE, "II:i", f"i64.: {_INT_COMPARE}"),
    (0x5B, _NONE, "ff:i", f"f32.: {_FLOAT_COMPARE}"),
    (0x61, _NONE, "FF:i", f"f64.: {_FLOAT_COMPARE}"),
    (0x67, _NONE, "i:i", "i32.: clz ctz popcnt"),
    (0x6A, _NONE, "ii:i", f"i32.: {_INT_BINARY}"),
    (0x79, _NONE, "I:I", "i64.: clz ctz popcnt"),
    (0x7C, _NONE, "II:I", f"i64.: {_INT_BINARY}"),
    (0x8B, _NONE, "f:f", f"f32.: {_FLOAT_UNARY}"),
    (0x92, _NONE, "ff:f", f"f32.: {_FLOAT_BINARY}"),
    (0x99, _NONE, "F:F", f"f64.: {_FLOAT_UNARY}"),
    (0xA0, _NONE, "FF:F", f"f64.: {_FLOAT_BINARY}"),
    (0xA7, _NONE, "I:i", "i32.wrap_i64"),
    (0xA8, _NONE, "f:i", "i32.trunc_f32: _s _u"),
    (0xAA, _NONE, "F:i", "i32.trunc_f64: _s _u"),
    (0xAC, _NONE, "i:I", "i64.extend_i32: _s _u"),
    (0xAE, _NONE, "f:I", "i64.trunc_f32: _s _u"),
    (0xB0, _NONE, "F:I", "i64.trunc_f64: _s _u"),
    (0xB2, _NONE, "i:f", "f32.convert_i32: _s _u"),
    (0xB4, _NONE, "I:f", "f32.convert_i64: _s _u"),
    (0xB6, _NONE, "F:f", "f32.demote_f64"),
    (0xB7, _NONE, "i:F", "f64.convert_i32: _s _u"),
    (0xB9, _NONE, "I:F", "f64.convert_i64: _s _u"),
    (0xBB, _NONE, "f:F", "f64.promote_f32"),
    (0xBC, _NONE, "f:i", "i32.reinterpret_f32"),
    (0xBD, _NONE, "F:I", "i64.reinterpret_f64"),
    (0xBE, _NONE, "i:f", "f32.reinterpret_i32"),
    (0xBF, _NONE, "I:F", "f64.reinterpret_i64"),
)
_SIGN_EXTENSION: tuple[_Run, ...] = (
    (0xC0, _NONE, "i:i", "i32.extend: 8_s 16_s"),
    (0xC2, _NONE, "I:I", "i64.extend: 8_s 16_s 32_s"),
)
_REFERENCE_TYPES: tuple[_Run, ...] = (
    (0x1C, Immediate.TYPES, "", "select"),
    (0x25, _INDEX, "", "table.: get set"),
    (0xD0, Immediate.HEAP, "", "ref.null"),
    (0xD1, _NONE, "", "ref.is_null"),
    (0xD2, _INDEX, "", "ref.func"),
)
_EXCEPTIONS: tuple[_Run, ...] = (
    (0x06, _UNREAD, "", "try catch throw rethrow throw_ref"),
    (0x18, _UNREAD, "", "delegate catch_all"),
    (0x1F, _UNREAD, "", "try_table"),
)
_TAIL_CALL: tuple[_Run, ...] = (
    (0x12, _INDEX, "", "return_call"),
    (0x13, _PAIR, "", "return_call_indirect"),
)
_FUNCTION_REFERENCES: tuple[_Run, ...] = (
    (0x14, _UNREAD, "", "call_ref return_call_ref"),
    (0xD4, _UNREAD, "", "ref.as_non_null br_on_null br_on_non_null"),
)
_STACK_SWITCHING: tuple[_Run, ...] = (
    (0xE0, _UNREAD, "", "cont.new cont.bind suspend resume resume_throw resume_throw_ref switch"),
)
_GC_PLAIN: tuple[_Run, ...] = ((0xD3, _UNREAD, "", "ref.eq"),)

_SATURATING_FC: tuple[_Run, ...] = (
    (0, _NONE, "f:i", "i32.trunc_sat_f32: _s _u"),
    (2, _NONE, "F:i", "i32.trunc_sat_f64: _s _u"),
    (4, _NONE, "f:I", "i64.trunc_sat_f32: _s _u"),
    (6, _NONE, "F:I", "i64.trunc_sat_f64: _s _u"),
)
_BULK_MEMORY_FC: tuple[_Run, ...] = (
    (8, Immediate.SEGMENT_MEMORY, "iii:", "memory.init"),
    (9, _INDEX, ":", "data.drop"),
    (10, Immediate.MEMORY_PAIR, "iii:", "memory.copy"),
    (11, Immediate.MEMORY, "iii:", "memory.fill"),
    (12, _PAIR, "iii:", "table.init"),
    (13, _INDEX, ":", "elem.drop"),
    (14, _PAIR, "iii:", "table.copy"),
)
_REFERENCE_TYPES_FC: tuple[_Run, ...] = (
    (15, _INDEX, "", "table.grow"),
    (16, _INDEX, ":i", "table.size"),
    (17, _INDEX, "", "table.fill"),
)
_MEMORY_CONTROL_FC: tuple[_Run, ...] = ((18, _UNREAD, "", "memory.discard"),)
_WIDE_ARITHMETIC_FC: tuple[_Run, ...] = ((19, _UNREAD, "", "i64.: add128 sub128 mul_wide_s mul_wide_u"),)

_GC_FB: tuple[_Run, ...] = (
    (0, _UNREAD, "", "struct.: new new_default get get_s get_u set"),
    (6, _UNREAD, "", "array.: new new_default new_fixed new_data new_elem get get_s get_u set len fill copy"),
    (18, _UNREAD, "", "array.: init_data init_elem"),
    (20, _UNREAD, "", "ref.test: -- _null"),
    (22, _UNREAD, "", "ref.cast: -- _null"),
    (24, _UNREAD, "", "br_on_cast: -- _fail"),
    (26, _UNREAD, "", "any.convert_extern extern.convert_any"),
    (28, _UNREAD, "", "ref.i31 i31.get_s i31.get_u"),
)

_NARROW_BINARY = "add add_sat_s add_sat_u sub sub_sat_s sub_sat_u"
_EXTMUL = "low_{0}_s high_{0}_s low_{0}_u high_{0}_u"
_LANES_BINARY = "add sub mul div min max pmin pmax"

_SIMD_FD: tuple[_Run, ...] = (
    (
        0,
        _MEMARG,
        "i:v",
        "v128.load: -- 8x8_s 8x8_u 16x4_s 16x4_u 32x2_s 32x2_u 8_splat 16_splat 32_splat 64_splat",
    ),
    (11, _MEMARG, "iv:", "v128.store"),
    (12, Immediate.V128, ":v", "v128.const"),
    (13, Immediate.LANES, "vv:v", "i8x16.shuffle"),
    (14, _NONE, "vv:v", "i8x16.swizzle"),
    (15, _NONE, "i:v", "i8x16.splat i16x8.splat i32x4.splat"),
    (18, _NONE, "I:v", "i64x2.splat"),
    (19, _NONE, "f:v", "f32x4.splat"),
    (20, _NONE, "F:v", "f64x2.splat"),
    (21, _LANE, "v:i", "i8x16.extract_lane: _s _u"),
    (23, _LANE, "vi:v", "i8x16.replace_lane"),
    (24, _LANE, "v:i", "i16x8.extract_lane: _s _u"),
    (26, _LANE, "vi:v", "i16x8.replace_lane"),
    (27, _LANE, "v:i", "i32x4.extract_lane"),
    (28, _LANE, "vi:v", "i32x4.replace_lane"),
    (29, _LANE, "v:I", "i64x2.extract_lane"),
    (30, _LANE, "vI:v", "i64x2.replace_lane"),
    (31, _LANE, "v:f", "f32x4.extract_lane"),
    (32, _LANE, "vf:v", "f32x4.replace_lane"),
    (33, _LANE, "v:F", "f64x2.extract_lane"),
    (34, _LANE, "vF:v", "f64x2.replace_lane"),
    (35, _NONE, "vv:v", f"i8x16.: {_INT_COMPARE}"),
    (45, _NONE, "vv:v", f"i16x8.: {_INT_COMPARE}"),
    (55, _NONE, "vv:v", f"i32x4.: {_INT_COMPARE}"),
    (65, _NONE, "vv:v", f"f32x4.: {_FLOAT_COMPARE}"),
    (71, _NONE, "vv:v", f"f64x2.: {_FLOAT_COMPARE}"),
    (77, _NONE, "v:v", "v128.not"),
    (78, _NONE, "vv:v", "v128.: and andnot or xor"),
    (82, _NONE, "vvv:v", "v128.bitselect"),
    (83, _NONE, "v:i", "v128.any_true"),
    (84, Immediate.MEMARG_LANE, "iv:v", "v128.load: 8_lane 16_lane 32_lane 64_lane"),
    (88, Immediate.MEMARG_LANE, "iv:", "v128.store: 8_lane 16_lane 32_lane 64_lane"),
    (92, _MEMARG, "i:v", "v128.load: 32_zero 64_zero"),
    (94, _NONE, "v:v", "f32x4.demote_f64x2_zero f64x2.promote_low_f32x4"),
    (96, _NONE, "v:v", "i8x16.: abs neg popcnt"),
    (99, _NONE, "v:i", "i8x16.: all_true bitmask"),
    (101, _NONE, "vv:v", "i8x16.narrow_i16x8: _s _u"),
    (103, _NONE, "v:v", "f32x4.: ceil floor trunc nearest"),
    (107, _NONE, "vi:v", "i8x16.: shl shr_s shr_u"),
    (110, _NONE, "vv:v", f"i8x16.: {_NARROW_BINARY}"),
    (116, _NONE, "v:v", "f64x2.: ceil floor"),
    (118, _NONE, "vv:v", "i8x16.: min_s min_u max_s max_u"),
    (122, _NONE, "v:v", "f64x2.trunc"),
    (123, _NONE, "vv:v", "i8x16.avgr_u"),
    (124, _NONE, "v:v", "i16x8.extadd_pairwise_i8x16: _s _u"),
    (126, _NONE, "v:v", "i32x4.extadd_pairwise_i16x8: _s _u"),
    (128, _NONE, "v:v", "i16x8.: abs neg"),
    (130, _NONE, "vv:v", "i16x8.q15mulr_sat_s"),
    (131, _NONE, "v:i", "i16x8.: all_true bitmask"),
    (133, _NONE, "vv:v", "i16x8.narrow_i32x4: _s _u"),
    (135, _NONE, "v:v", f"i16x8.extend_: {_EXTMUL.format('i8x16')}"),
    (139, _NONE, "vi:v", "i16x8.: shl shr_s shr_u"),
    (142, _NONE, "vv:v", f"i16x8.: {_NARROW_BINARY}"),
    (148, _NONE, "v:v", "f64x2.nearest"),
    (149, _NONE, "vv:v", "i16x8.: mul min_s min_u max_s max_u"),
    (155, _NONE, "vv:v", "i16x8.avgr_u"),
    (156, _NONE, "vv:v", f"i16x8.extmul_: {_EXTMUL.format('i8x16')}"),
    (160, _NONE, "v:v", "i32x4.: abs neg"),
    (163, _NONE, "v:i", "i32x4.: all_true bitmask"),
    (167, _NONE, "v:v", f"i32x4.extend_: {_EXTMUL.format('i16x8')}"),
    (171, _NONE, "vi:v", "i32x4.: shl shr_s shr_u"),
    (174, _NONE, "vv:v", "i32x4.add"),
    (177, _NONE, "vv:v", "i32x4.sub"),
    (181, _NONE, "vv:v", "i32x4.: mul min_s min_u max_s max_u dot_i16x8_s"),
    (188, _NONE, "vv:v", f"i32x4.extmul_: {_EXTMUL.format('i16x8')}"),
    (192, _NONE, "v:v", "i64x2.: abs neg"),
    (195, _NONE, "v:i", "i64x2.: all_true bitmask"),
    (199, _NONE, "v:v", f"i64x2.extend_: {_EXTMUL.format('i32x4')}"),
    (203, _NONE, "vi:v", "i64x2.: shl shr_s shr_u"),
    (206, _NONE, "vv:v", "i64x2.add"),
    (209, _NONE, "vv:v", "i64x2.sub"),
    (213, _NONE, "vv:v", "i64x2.: mul eq ne lt_s gt_s le_s ge_s"),
    (220, _NONE, "vv:v", f"i64x2.extmul_: {_EXTMUL.format('i32x4')}"),
    (224, _NONE, "v:v", "f32x4.: abs neg"),
    (227, _NONE, "v:v", "f32x4.sqrt"),
    (228, _NONE, "vv:v", f"f32x4.: {_LANES_BINARY}"),
    (236, _NONE, "v:v", "f64x2.: abs neg"),
    (239, _NONE, "v:v", "f64x2.sqrt"),
    (240, _NONE, "vv:v", f"f64x2.: {_LANES_BINARY}"),
    (248, _NONE, "v:v", "i32x4.trunc_sat_f32x4: _s _u"),
    (250, _NONE, "v:v", "f32x4.convert_i32x4: _s _u"),
    (252, _NONE, "v:v", "i32x4.trunc_sat_f64x2: _s_zero _u_zero"),
    (254, _NONE, "v:v", "f64x2.convert_low_i32x4: _s _u"),
)
_RELAXED_SIMD_FD: tuple[_Run, ...] = (
    (0x100, _UNREAD, "", "i8x16.relaxed_swizzle"),
    (0x101, _UNREAD, "", "i32x4.relaxed_trunc_: f32x4_s f32x4_u f64x2_s_zero f64x2_u_zero"),
    (0x105, _UNREAD, "", "f32x4.relaxed_: madd nmadd"),
    (0x107, _UNREAD, "", "f64x2.relaxed_: madd nmadd"),
    (0x109, _UNREAD, "", "i8x16.relaxed_laneselect i16x8.relaxed_laneselect"),
    (0x10B, _UNREAD, "", "i32x4.relaxed_laneselect i64x2.relaxed_laneselect"),
    (0x10D, _UNREAD, "", "f32x4.relaxed_min f32x4.relaxed_max f64x2.relaxed_min f64x2.relaxed_max"),
    (0x111, _UNREAD, "", "i16x8.relaxed_: q15mulr_s dot_i8x16_i7x16_s"),
    (0x113, _UNREAD, "", "i32x4.relaxed_dot_i8x16_i7x16_add_s"),
)


_WIDTHS = (
    ("i", "i32", ""),
    ("I", "i64", ""),
    ("i", "i32", "8"),
    ("i", "i32", "16"),
    ("I", "i64", "8"),
    ("I", "i64", "16"),
    ("I", "i64", "32"),
)
"""The seven widths of an atomic operation: the type, and the bits in memory where fewer."""


def _read_modify_write(first: int, name: str, operands: int = 1) -> Iterator[_Run]:
    for number, (letter, kind, bits) in enumerate(_WIDTHS, first):
        extends = "_u" if bits else ""
        yield number, _MEMARG, f"i{letter * operands}:{letter}", f"{kind}.atomic.rmw{bits}.{name}{extends}"


_THREADS_FE: tuple[_Run, ...] = (
    (0x00, _MEMARG, "ii:i", "memory.atomic.notify"),
    (0x01, _MEMARG, "iiI:i", "memory.atomic.wait32"),
    (0x02, _MEMARG, "iII:i", "memory.atomic.wait64"),
    (0x03, Immediate.FENCE, ":", "atomic.fence"),
    (0x10, _MEMARG, "i:i", "i32.atomic.load"),
    (0x11, _MEMARG, "i:I", "i64.atomic.load"),
    (0x12, _MEMARG, "i:i", "i32.atomic.load: 8_u 16_u"),
    (0x14, _MEMARG, "i:I", "i64.atomic.load: 8_u 16_u 32_u"),
    (0x17, _MEMARG, "ii:", "i32.atomic.store"),
    (0x18, _MEMARG, "iI:", "i64.atomic.store"),
    (0x19, _MEMARG, "ii:", "i32.atomic.store: 8 16"),
    (0x1B, _MEMARG, "iI:", "i64.atomic.store: 8 16 32"),
    *_read_modify_write(0x1E, "add"),
    *_read_modify_write(0x25, "sub"),
    *_read_modify_write(0x2C, "and"),
    *_read_modify_write(0x33, "or"),
    *_read_modify_write(0x3A, "xor"),
    *_read_modify_write(0x41, "xchg"),
    *_read_modify_write(0x48, "cmpxchg", 2),
)


def _names(listed: str) -> list[str]:
    stem, colon, suffixes = listed.partition(":")
    if not colon:
        return listed.split()
    return [stem + ("" if suffix == "--" else suffix) for suffix in suffixes.split()]


def _expand(prefix: int, groups: Iterable[tuple[str, tuple[_Run, ...]]]) -> Mapping[int, Operator]:
    table: dict[int, Operator] = {}
    for feature, runs in groups:
        for first, immediates, signature, listed in runs:
            for number, name in enumerate(_names(listed), first):
                assert number not in table, f"{name} and {table[number].name} share an opcode"
                table[number] = Operator(prefix << 16 | number, name, immediates, signature, feature)
    return MappingProxyType(table)


PLAIN: Final = _expand(
    0,
    (
        (f.MVP, _MVP),
        (f.SIGN_EXTENSION, _SIGN_EXTENSION),
        (f.REFERENCE_TYPES, _REFERENCE_TYPES),
        (f.EXCEPTIONS, _EXCEPTIONS),
        (f.TAIL_CALL, _TAIL_CALL),
        (f.FUNCTION_REFERENCES, _FUNCTION_REFERENCES),
        (f.STACK_SWITCHING, _STACK_SWITCHING),
        (f.GC, _GC_PLAIN),
    ),
)
"""Operators of one byte, by opcode."""

PREFIXED: Final[Mapping[int, Mapping[int, Operator]]] = MappingProxyType(
    {
        0xFB: _expand(0xFB, ((f.GC, _GC_FB),)),
        0xFC: _expand(
            0xFC,
            (
                (f.SATURATING_CONVERSION, _SATURATING_FC),
                (f.BULK_MEMORY, _BULK_MEMORY_FC),
                (f.REFERENCE_TYPES, _REFERENCE_TYPES_FC),
                (f.MEMORY_CONTROL, _MEMORY_CONTROL_FC),
                (f.WIDE_ARITHMETIC, _WIDE_ARITHMETIC_FC),
            ),
        ),
        0xFD: _expand(0xFD, ((f.SIMD, _SIMD_FD), (f.RELAXED_SIMD, _RELAXED_SIMD_FD))),
        0xFE: _expand(0xFE, ((f.THREADS, _THREADS_FE),)),
    }
)
"""Operators behind a prefix byte: prefix to number to operator."""

BY_CODE: Final[Mapping[int, Operator]] = MappingProxyType(
    {operator.code: operator for table in (PLAIN, *PREFIXED.values()) for operator in table.values()}
)
"""Every operator by its code."""

END: Final = PLAIN[0x0B]

"""Small programs that several tests run: control flow, calls, and all that the form changes."""

from __future__ import annotations

from typing import Final

SMALL: Final = (0, 1, 2, 3, 4, 5, 7, 0xFFFFFFFF)
FUNCTIONS: Final = {
    "blocks that leave values below a branch's own": """(param i32) (result i32)
      (i32.const 1000)
      (block (result i32)
        (i32.const 1) (i32.const 2) (i32.const 3)
        (br_if 0 (local.get 0)) (drop) (drop))
      (i32.add)""",
    "a branch out of three blocks": """(param i32) (result i32)
      (block $a (result i32) (i32.const 7)
        (block $b (result i32) (i32.const 8)
          (block $c (result i32) (i32.const 9)
            (i32.const 10) (br_table $a $b $c (local.get 0)))
          (i32.add) (br $b))
        (i32.mul))""",
    "parameters and several results": """(param i32) (result i32)
      (i32.const 3) (i32.const 4)
      (block (param i32 i32) (result i32 i32 i32)
        (local.get 0) (if (param i32 i32) (result i32 i32) (then (i32.mul) (i32.const 5)) (else))
        (local.get 0))
      (i32.sub) (i32.sub)""",
    "a loop with parameters": """(param i32) (result i32)
      (i32.const 1) (i32.and (local.get 0) (i32.const 7))
      (loop $again (param i32 i32) (result i32)
        (local.set 0)
        (i32.mul (i32.const 3))
        (i32.sub (local.get 0) (i32.const 1)) (local.tee 0)
        (br_if $again (i32.gt_s (local.get 0) (i32.const 0))) (drop))""",
    "an if without else": """(param i32) (result i32)
      (if (local.get 0) (then (local.set 0 (i32.const 99)))) (local.get 0)""",
    "an if whose branches both leave": """(param i32) (result i32)
      (if (result i32) (local.get 0) (then (return (i32.const 1))) (else (br 1 (i32.const 2))))
      (i32.const 3) (i32.add)""",
    "a dead else": """(param i32) (result i32)
      (block $out (result i32)
        (br $out (i32.const 5))
        (if (result i32) (i32.const 1) (then (i32.const 2)) (else (i32.const 3))) (br_if 0) (loop (br 0)))""",
    "dead code after unreachable": """(param i32) (result i32)
      (if (i32.eqz (local.get 0)) (then (unreachable) (i32.add) (drop) (block (br 1))))
      (local.get 0)""",
    "nested loops": """(param i32) (result i32) (local $i i32) (local $j i32) (local $sum i32)
      (local.set 0 (i32.and (local.get 0) (i32.const 7)))
      (block $done (loop $outer
        (br_if $done (i32.ge_u (local.get $i) (local.get 0)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (local.set $j (i32.const 0))
        (block $inner_done (loop $inner
          (br_if $inner_done (i32.gt_u (local.get $j) (local.get $i)))
          (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 3)) (local.get $j)))
          (local.set $j (i32.add (local.get $j) (i32.const 1)))
          (br_if $outer (i32.eq (i32.add (local.get $i) (local.get $j)) (i32.const 7)))
          (br $inner)))
        (br $outer)))
      (local.get $sum)""",
    "a branch to the function": """(param i32) (result i32)
      (i32.const 8) (i32.const 4) (br_if 0 (local.get 0)) (i32.add)""",
    "br_table with one label": "(param i32) (result i32) (block (br_table 0 (local.get 0))) (i32.const 6)",
    "br_table to loops and blocks": """(param i32) (result i32) (local i32)
      (block $out (loop $again
        (local.set 1 (i32.add (local.get 1) (i32.const 10)))
        (block $once (br_table $once $out $once $again $out
          (local.tee 0 (i32.shr_u (local.get 0) (i32.const 1)))))
        (local.set 0 (i32.const 2)) (br $again)))
      (local.get 1)""",
    "select": """(param i32) (result i32)
      (i32.add (select (i32.const 1) (i32.const 2) (local.get 0)) (select (result i32) (i32.const 30) (i32.const 40)
        (local.get 0)))""",
    "locals begin as zero": """(param i32) (result i32) (local i64 f32 f64 v128 i32 funcref)
      (i32.add (i32.wrap_i64 (local.get 1)) (i32.add (i32.reinterpret_f32 (local.get 2)) (i32.add (local.get 5)
        (i32.add (i32x4.extract_lane 0 (local.get 4)) (ref.is_null (local.get 6))))))""",
    "constants": """(param i32) (result i32)
      (i32.xor (i32.const -2147483648) (i32.xor
        (i32.wrap_i64 (i64.shr_u (i64.const -9223372036854775807) (i64.const 20)))
        (i32.xor (i32.reinterpret_f32 (f32.const -nan:0x123456))
          (i32x4.extract_lane 2 (v128.const i32x4 1 2 -3 4)))))""",
    "nops": "(param i32) (result i32) (nop) (block (nop)) (local.get 0) (nop)",
}


SAME_FOR_ALL: Final = ("a dead else", "locals begin as zero", "constants", "br_table with one label")
CALLS: Final = """
(module
  (type $unary (func (param i32) (result i32)))
  (type $binary (func (param i32 i32) (result i32)))
  (table $functions (export "table") 6 funcref)
  (table $others 2 4 funcref)
  (elem (table $functions) (i32.const 1) func $double $square $minus)
  (elem (table $others) (i32.const 1) funcref (ref.func $square))
  (func $double (type $unary) (i32.add (local.get 0) (local.get 0)))
  (func $square (type $unary) (i32.mul (local.get 0) (local.get 0)))
  (func $minus (type $binary) (i32.sub (local.get 0) (local.get 1)))
  (func $swap (param i32 i64) (result i64 i32) (local.get 1) (local.get 0))
  (func (export "swapped") (param i32 i64) (result i64 i32) (call $swap (local.get 0) (local.get 1)))
  (func (export "unary") (param i32 i32) (result i32)
    (i32.const 5) (call_indirect (type $unary) (local.get 0) (local.get 1)) (i32.add))
  (func (export "binary") (param i32 i32) (result i32)
    (call_indirect (param i32 i32) (result i32) (local.get 0) (i32.const 10) (local.get 1)))
  (func (export "other") (param i32 i32) (result i32)
    (call_indirect $others (type $unary) (local.get 0) (local.get 1)))
  (func $even (export "even") (param i32) (result i32)
    (if (result i32) (local.get 0)
      (then (call $odd (i32.sub (local.get 0) (i32.const 1)))) (else (i32.const 1))))
  (func $odd (param i32) (result i32)
    (if (result i32) (local.get 0)
      (then (return (call $even (i32.sub (local.get 0) (i32.const 1))))) (else (i32.const 0))))
  (func $fib (export "fib") (param i32) (result i32)
    (if (i32.lt_s (local.get 0) (i32.const 2)) (then (return (local.get 0))))
    (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1))) (call $fib (i32.sub (local.get 0) (i32.const 2)))))
  (func $deep (export "deep") (param i32) (result i32)
    (if (i32.eqz (local.get 0)) (then (unreachable)))
    (i32.add (call $deep (i32.sub (local.get 0) (i32.const 1))) (i32.const 1))))
"""
STATE: Final = '(memory (export "memory") 1 8) (global $g (export "g") (mut i64) (i64.const 5))'
PROGRAMS: Final = {
    "bulk": """(func (export "f") (param i32 i32 i32)
      (global.set $g (i64.const 1))
      (memory.fill (local.get 0) (i32.const 7) (local.get 2))
      (global.set $g (i64.const 2))
      (memory.copy (local.get 1) (local.get 0) (local.get 2))
      (global.set $g (i64.const 3))
      (memory.init $d (local.get 0) (i32.const 1) (i32.and (local.get 2) (i32.const 31)))
      (global.set $g (i64.const 4)))
      (data $d "0123456789abcdefghijklmnopqrstuv")""",
    "growth": """(func (export "f") (param i32 i32) (result i32 i32)
      (memory.grow (local.get 0)) (memory.grow (local.get 1))
      (global.set $g (i64.extend_i32_u (memory.size))))""",
    "growth and unreachable": """(func (export "f") (param i32)
      (if (i32.eq (memory.grow (local.get 0)) (i32.const -1)) (then (unreachable)))
      (i32.store (i32.const 65532) (i32.const -1)))""",
    "growth and bounds": """(func (export "f") (param i32)
      (i32.store (i32.add (i32.const 65536) (memory.grow (local.get 0))) (i32.const -1)))""",
    "floats": """(func (export "f") (param i64 i64) (result i64 i64 i32) (local $a f64) (local $b f64)
      (local.set $a (f64.reinterpret_i64 (local.get 0))) (local.set $b (f64.reinterpret_i64 (local.get 1)))
      (i64.reinterpret_f64 (f64.add (f64.mul (local.get $a) (local.get $b)) (f64.sqrt (local.get $a))))
      (i64.reinterpret_f64 (f64.neg (f64.div (local.get $a) (f64.sub (local.get $b) (local.get $b)))))
      (i32.reinterpret_f32 (f32.copysign (f32.demote_f64 (f64.min (local.get $a) (local.get $b))) (f32.const -1)))
      (f64.store (i32.const 8) (f64.max (local.get $b) (local.get $a)))
      (f64.store (i32.const 16) (f64.abs (f64.nearest (local.get $a)))))""",
    "float loops": """(func (export "f") (param i32) (result i64) (local $x f64) (local $y f64)
      (loop $again
        (local.set $y (f64.div (local.get $x) (local.get $y)))
        (local.set $x (f64.add (f64.mul (local.get $x) (f64.const 1e300)) (local.get $y)))
        (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
      (i64.reinterpret_f64 (f64.neg (local.get $x))))""",
    "vectors": """(func (export "f") (param i64 i64) (result i64 i64) (local $v v128)
      (local.set $v (i64x2.replace_lane 1 (i64x2.splat (local.get 0)) (local.get 1)))
      (v128.store (i32.const 16) (f32x4.add (local.get $v) (f32x4.neg (local.get $v))))
      (v128.store (i32.const 32) (f64x2.sqrt (local.get $v)))
      (v128.store (i32.const 48) (f64x2.neg (f64x2.promote_low_f32x4 (local.get $v))))
      (v128.store (i32.const 64) (f32x4.demote_f64x2_zero (f64x2.mul (local.get $v) (local.get $v))))
      (i64x2.extract_lane 0 (f32x4.max (local.get $v) (f32x4.sqrt (local.get $v))))
      (i64x2.extract_lane 1 (i8x16.swizzle (local.get $v) (f32x4.div (local.get $v) (local.get $v)))))""",
    "integer traps": """(func (export "f") (param i32 i32) (result i32)
      (global.set $g (i64.const 9)) (i32.rem_s (i32.const 100) (i32.div_s (local.get 0) (local.get 1))))""",
    "conversion traps": """(func (export "f") (param i64) (result i32)
      (global.set $g (i64.const 9)) (i32.trunc_f64_s (f64.reinterpret_i64 (local.get 0))))""",
    "a heavy leaf": """(func $leaf (param i32) (result i32) (local i64 i64 i64 i64 i64 i64 i64 i64)
        (i32.add (local.get 0) (i32.const 1)))
      (func (export "f") (param i32) (result i32) (call $leaf (call $leaf (local.get 0))))""",
    "many blocks of memory": """(func (export "f") (param i32 i32)
      (loop $again
        (i32.store8 (local.get 1) (local.get 0))
        (local.set 1 (i32.add (local.get 1) (i32.const 7)))
        (if (i32.and (local.get 0) (i32.const 1)) (then (i64.store (local.get 1) (global.get $g)))
          (else (global.set $g (i64.rotl (global.get $g) (i64.const 5)))))
        (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))""",
    "atomics": """(func (export "f") (param i32) (result i32 i64 i32 i32)
      (i64.atomic.store (i32.const 8) (i64.const 0x1122334455667788))
      (i32.atomic.rmw.add offset=8 (local.get 0) (i32.const 1))
      (i64.atomic.rmw8.xchg_u (i32.const 9) (i64.const 0x1ff))
      (atomic.fence)
      (memory.atomic.notify (i32.const 8) (i32.const 1))
      (i32.atomic.load16_u (i32.add (local.get 0) (i32.const 12))))""",
}
NAN: Final = 0x7FF8000000000000
FLOATS: Final = (0, 1 << 63, 0x3FF0000000000000, 0x7FF0000000000000, 0xFFF0000000000000, 0xFFF4000000000123, NAN + 77)
CALLED: Final[dict[str, list[list[int]]]] = {
    "bulk": [[0, 100, 64], [5, 0, 65531], [5, 0, 65532], [0, 65530, 7], [0, 0, 31], [0, 0, 95], [0, 0, 0]],
    "growth": [[0, 1], [7, 0], [3, 4], [3, 5], [8, 7], [-1, 1], [1, -1]],
    "growth and unreachable": [[0], [7], [8], [-1]],
    "growth and bounds": [[0], [1], [8]],
    "floats": [[a, b] for a in FLOATS for b in FLOATS[:3] + FLOATS[5:]],
    "float loops": [[1], [2], [5], [20]],
    "vectors": [[a, b] for a in FLOATS for b in (FLOATS[1], FLOATS[5], 0xFFC000017FA00001, 0x7F800000FF800000)],
    "integer traps": [[7, 3], [7, 0], [0, 7], [0x80000000, 0xFFFFFFFF], [0x80000000, 1]],
    "conversion traps": [[number] for number in FLOATS],
    "a heavy leaf": [[5]],
    "many blocks of memory": [[1, 0], [2, 0], [20, 0], [20, 65400]],
    "atomics": [[0], [1], [4], [0xFFF8], [0xFFFFFFF0], [0xFFFFFFF8]],
}
AGAIN: Final = "(call $r (i32.sub (local.get 0) (i32.const 1)))"
DEPTHS: Final = {
    "plain": f"(func $r (param i32) (local i64 i64) (if (local.get 0) (then {AGAIN})))",
    "vectors": f"(func $r (param i32) (drop (v128.const i64x2 1 2)) (if (local.get 0) (then {AGAIN})))",
    "vector results": f"""(func $v (result v128) (v128.const i64x2 1 2))
      (func $r (param i32) (drop (call $v)) (if (local.get 0) (then {AGAIN})))""",
    "a vector global": f"""(global $v v128 (v128.const i64x2 1 2))
      (func $r (param i32) (drop (global.get $v)) (if (local.get 0) (then {AGAIN})))""",
    "dead vectors": f"""(func $r (param i32)
      (if (local.get 0) (then {AGAIN} (return) (drop (v128.const i64x2 1 2)))))""",
    "a dead vector result": f"""(func $r (param i32)
      (if (local.get 0) (then {AGAIN} (return)))
      (block (drop (block (result v128) (br 1)))))""",
    "a block's vectors": f"""(func $r (param i32)
      (if (local.get 0) (then {AGAIN}))
      (block (br 0) (drop (block (result v128) (v128.const i64x2 1 2)))))""",
    "operands": f"""(func $r (param i32) (i32.const 1) (i32.const 2) (i32.const 3)
      (if (local.get 0) (then {AGAIN})) (drop) (drop) (drop))""",
    "results of dead blocks": f"""(func $r (param i32)
      (if (local.get 0) (then {AGAIN}))
      (block (block (result i32 i32 i32 i32) (br 1)) (drop) (drop) (drop) (drop)))""",
    "dead operands": f"""(func $r (param i32)
      (if (local.get 0) (then {AGAIN} (return)
        (i32.const 1) (i32.const 2) (i32.const 3) (i32.const 4) (i32.const 5) (drop) (drop) (drop) (drop) (drop))))""",
    "an else after dead operands": f"""(func $r (param i32)
      (if (local.get 0) (then {AGAIN} (br 0) (i32.const 1) (i32.const 2) (i32.const 3) (drop) (drop) (drop))
        (else (drop (i32.const 1)))))""",
    "a leaf below": f"""(func $leaf (param i32) (local i64) (drop (local.get 0)))
      (func $r (param i32) (call $leaf (local.get 0)) (if (local.get 0) (then {AGAIN})))""",
    "a heavy leaf below": f"""(func $leaf (param i32) (local {"i64 " * 600}) (drop (local.get 0)))
      (func $r (param i32) (call $leaf (local.get 0)) (if (local.get 0) (then {AGAIN})))""",
    "calls that are dead": f"""(func $dead (local {"i64 " * 9}) (return) (call $dead))
      (func $r (param i32) (call $dead) (if (local.get 0) (then {AGAIN})))""",
    "indirect": """(table 1 funcref) (elem (i32.const 0) func $r) (type $t (func (param i32)))
      (func $r (type $t)
        (if (local.get 0) (then (call_indirect (type $t) (i32.sub (local.get 0) (i32.const 1)) (i32.const 0)))))""",
    "many results": """(func $r (param i32) (result i32 i32 i32 i32 i32)
        (i32.const 1) (i32.const 2) (i32.const 3) (i32.const 4) (i32.const 5)
        (if (local.get 0) (then (call $r (i32.sub (local.get 0) (i32.const 1))) drop drop drop drop drop)))""",
    "a dead end with many results": """(func $dead (result i32 i32 i32 i32 i32 i32 i32)
        (if (i32.const 0) (then (call $dead) (unreachable))) (unreachable))
      (func $r (param i32)
        (if (local.get 0) (then (call $r (i32.sub (local.get 0) (i32.const 1))) (return))) (call $dead)
        drop drop drop drop drop drop drop)""",
    "a dead end with a vector": """(func $dead (result v128)
        (if (i32.const 0) (then (drop (call $dead)) (unreachable))) (unreachable))
      (func $r (param i32)
        (if (local.get 0) (then (call $r (i32.sub (local.get 0) (i32.const 1))) (return))) (drop (call $dead)))""",
}
TABLES: Final = """(module
  (table $a 3 20 funcref) (table $b 2 funcref)
  (elem $e func $one $two) (elem (table $a) (i32.const 1) func $two)
  (func $one (result i32) (i32.const 1))
  (func $two (result i32) (i32.const 2))
  (func (export "call") (param i32) (result i32) (call_indirect $a (result i32) (local.get 0)))
  (func (export "grow") (param i32) (result i32 i32)
    (table.grow $a (ref.func $one) (local.get 0)) (call_indirect $a (result i32) (i32.const 3)))
  (func (export "grow_b") (param i32) (result i32) (table.grow $b (ref.null func) (local.get 0)))
  (func (export "fill") (param i32 i32) (result i32)
    (table.fill $a (local.get 0) (ref.func $two) (local.get 1)) (call_indirect $a (result i32) (i32.const 2)))
  (func (export "init") (param i32 i32) (result i32)
    (table.init $a $e (local.get 0) (i32.const 0) (local.get 1)) (elem.drop $e)
    (call_indirect $a (result i32) (i32.const 0)))
  (func (export "copy") (param i32 i32) (result i32)
    (table.copy $b $a (local.get 0) (i32.const 1) (local.get 1)) (call_indirect $b (result i32) (i32.const 0)))
  (func (export "set") (param i32) (result i32)
    (table.set $a (local.get 0) (ref.func $one)) (ref.is_null (table.get $a (i32.const 0)))))
"""
AGENT: Final = """(module (memory (export "memory") 2)
  (global $starts (export "starts") (mut i32) (i32.const 0))
  (data (i32.const 1024) "\\01\\00\\00\\00\\00\\20\\00\\00\\00\\01\\00\\00\\00\\40\\00\\00\\00\\01\\00\\00")
  (start $start)
  (func $start (global.set $starts (i32.add (global.get $starts) (i32.const 1))))
  (func (export "_initialize") (global.set $starts (i32.mul (global.get $starts) (i32.const 10))))
  (func (export "wavelock_abi") (result i32) (i32.const 1024))
  (func (export "wavelock_turn") (param $length i32) (result i32)
    (memory.copy (i32.const 16384) (i32.const 8192) (local.get $length))
    (i32.store8 (i32.const 16384) (global.get $starts))
    (local.get $length)))"""

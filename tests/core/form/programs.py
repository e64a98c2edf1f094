"""Random programs as text: nested control flow, calls and floats, with NaNs of every kind, all seen in the memory.

A program always ends: every branch backwards counts a global down. The same seed gives the same program.
"""

from __future__ import annotations

import random
from typing import Final

_LETTERS: Final = {"i": "i32", "I": "i64", "f": "f32", "F": "f64", "v": "v128"}
_OPERATORS: Final = {
    "i": (
        "i32.add ii", "i32.xor ii", "i32.lt_u ii", "i32.eqz i", "i32.clz i", "f64.lt FF", "f32.eq ff", "f64.ne FF",
        "i32.trunc_sat_f64_s F", "i32.reinterpret_f32 f", "i32.wrap_i64 I", "v128.any_true v", "i32x4.bitmask v",
        "i32x4.extract_lane:1 v", "i32.trunc_sat_f32_u f",
    ),
    "I": (
        "i64.add II", "i64.rotl II", "i64.extend_i32_u i", "i64.reinterpret_f64 F", "i64.trunc_sat_f64_s F",
        "i64x2.extract_lane:1 v",
    ),
    "f": (
        "f32.add ff", "f32.div ff", "f32.mul ff", "f32.min ff", "f32.sqrt f", "f32.neg f", "f32.copysign ff",
        "f32.demote_f64 F", "f32.convert_i32_s i", "f32.reinterpret_i32 i", "f32.nearest f", "f32.abs f",
        "f32x4.extract_lane:2 v",
    ),
    "F": (
        "f64.sub FF", "f64.div FF", "f64.max FF", "f64.sqrt F", "f64.neg F", "f64.copysign FF", "f64.promote_f32 f",
        "f64.convert_i64_u I", "f64.reinterpret_i64 I", "f64.ceil F", "f64.abs F", "f64x2.extract_lane:0 v",
    ),
    "v": (
        "f32x4.add vv", "f32x4.div vv", "f64x2.mul vv", "f64x2.div vv", "f32x4.sqrt v", "f64x2.sqrt v", "f32x4.neg v",
        "f32x4.pmin vv", "f64x2.pmax vv", "f32x4.min vv", "v128.xor vv", "v128.bitselect vvv", "i32x4.add vv",
        "f32x4.splat f", "f64x2.splat F", "f64x2.promote_low_f32x4 v", "f32x4.demote_f64x2_zero v", "i8x16.popcnt v",
        "f64x2.convert_low_i32x4_s v", "f64x2.convert_low_i32x4_u v", "f32x4.convert_i32x4_u v", "f32x4.ceil v",
        "i64x2.extmul_high_i32x4_s vv", "i32x4.trunc_sat_f64x2_u_zero v", "f32x4.replace_lane:3 vf", "f64x2.nearest v",
        "f32x4.le vv", "i8x16.shuffle:0_1_2_3_20_21_22_23_8_9_10_11_28_29_30_31 vv",
    ),
}  # fmt: skip
_CONSTANTS: Final = {
    "i": ("0", "1", "-1", "0x7fc00001", "0xffc00000", "100"),
    "I": ("0", "-1", "0x7ff8000000000001", "0xfff0000000000001"),
    "f": ("0", "1.5", "nan", "nan:0x200001", "-nan", "inf", "-inf", "3e38"),
    "F": ("0", "-1.5", "nan", "nan:0x4000000000001", "-nan:0x8000000000001", "inf", "1e308"),
    "v": ("i32x4 0 0 0 0", "f32x4 nan -nan 1 inf", "f64x2 -nan:0x8000000000001 inf", "i32x4 -1 0x7fffffff 0 5"),
}
_LOADS: Final = {"i": "i32.load", "I": "i64.load", "f": "f32.load", "F": "f64.load", "v": "v128.load"}
_SIGNATURES: Final = (("iF", "F"), ("if", "f"), ("iv", "v"), ("i", ""), ("iI", "i"), ("ifF", "I"), ("i", "Fi"))


class Program:
    """One module's text. Its export `f` takes an i32 and gives an i32."""

    def __init__(self, seed: int, functions: int = 4) -> None:
        self._chance = random.Random(seed)
        self._types = [("i", "i")] + [self._chance.choice(_SIGNATURES) for _ in range(functions)]
        self._index = 0
        self._locals = ""
        self._results = ""
        self._labels: list[str | None] = []
        bodies = [self._function(index) for index in range(len(self._types))]
        data = "".join(
            f"\\{self._chance.choice((0, 1, 0x7F, 0xFF, 0xC0, 0xF8, 0xF0, byte % 256)):02x}" for byte in range(512)
        )
        table = " ".join(f"$f{index}" for index in range(len(self._types)))
        self.text = f"""(module (memory (export "memory") 1) (data (i32.const 0) "{data}") (table funcref
            (elem {table}))
          (global $n (mut i32) (i32.const 12)) (global $i (mut i32) (i32.const 3)) (global $I (mut i64) (i64.const 3))
          (global $f (mut f32) (f32.const 3)) (global $F (mut f64) (f64.const 3))
          (global $v (mut v128) (v128.const i32x4 1 2 3 4))
          {" ".join(bodies)} (export "f" (func $f0)))"""

    def _function(self, index: int) -> str:
        params, results = self._types[index]
        self._index, self._results = index, results
        self._locals = params + "".join(self._chance.choice("iIfFv") for _ in range(self._chance.randint(2, 9)))
        self._labels = []
        body = " ".join(self._statement(3) for _ in range(self._chance.randint(2, 6)))
        shown = " ".join(
            f"({_LETTERS[letter]}.store (i32.const {1024 + index * 512 + at * 16}) (local.get {at}))"
            for at, letter in enumerate(self._locals)
        )
        ends = " ".join(self._expression(letter, 2) for letter in results)
        return (
            f"(func $f{index} {self._typed(params, 'param')} {self._typed(results, 'result')} "
            f"{self._typed(self._locals[len(params) :], 'local')} {body} {shown} {ends})"
        )

    def _typed(self, letters: str, what: str) -> str:
        return f"({what} {' '.join(_LETTERS[letter] for letter in letters)})" if letters else ""

    # ---- expressions ----

    def _expression(self, letter: str, depth: int) -> str:
        kind = self._chance.randrange(16)
        locals_ = [at for at, found in enumerate(self._locals) if found == letter]
        if depth <= 0 or kind < 3:
            if locals_ and self._chance.random() < 0.7:
                return f"(local.get {self._chance.choice(locals_)})"
            return f"({_LETTERS[letter]}.const {self._chance.choice(_CONSTANTS[letter])})"
        if kind < 9:
            return self._operator(letter, depth)
        if kind == 9:
            return f"({_LOADS[letter]} {self._address()})"
        if kind == 10 and locals_:
            return f"(local.tee {self._chance.choice(locals_)} {self._expression(letter, depth - 1)})"
        if kind == 11:
            values = f"{self._expression(letter, depth - 1)} {self._expression(letter, depth - 1)}"
            return f"(select {values} {self._expression('i', depth - 1)})"
        if kind == 12:
            return f"(global.get ${letter})"
        if kind == 13:
            return self._block(letter, depth)
        if kind == 14:
            return self._call(letter, depth)
        condition = self._expression("i", depth - 1)
        arms = f"(then {self._inside(letter, depth)}) (else {self._inside(letter, depth)})"
        return f"(if (result {_LETTERS[letter]}) {condition} {arms})"

    def _operator(self, letter: str, depth: int) -> str:
        name, _, operands = self._chance.choice(_OPERATORS[letter]).partition(" ")
        name, _, lanes = name.partition(":")
        parts = " ".join(self._expression(operand, depth - 1) for operand in operands)
        return f"({name} {lanes.replace('_', ' ')} {parts})"

    def _address(self) -> str:
        return f"(i32.and {self._expression('i', 1)} (i32.const 0x1ff))"

    def _inside(self, letter: str, depth: int) -> str:
        self._labels.append(letter)
        code = " ".join(self._statement(depth - 1) for _ in range(self._chance.randint(0, 2)))
        code += self._expression(letter, depth - 1)
        self._labels.pop()
        return code

    def _block(self, letter: str, depth: int) -> str:
        keyword = self._chance.choice(("block", "block", "loop"))
        self._labels.append(None if keyword == "loop" else letter)
        code = " ".join(self._statement(depth - 1) for _ in range(self._chance.randint(0, 2)))
        code += self._expression(letter, depth - 1)
        if keyword == "block":
            code = f"(br_if 0 {code} {self._expression('i', depth - 1)})"
        self._labels.pop()
        return f"({keyword} (result {_LETTERS[letter]}) {code})"

    def _call(self, letter: str, depth: int) -> str:
        fitting = [at for at in range(self._index + 1, len(self._types)) if self._types[at][1] == letter]
        if not fitting:
            return self._operator(letter, depth)
        return self._called(self._chance.choice(fitting), depth)

    def _called(self, callee: int, depth: int) -> str:
        params, results = self._types[callee]
        operands = " ".join(self._expression(param, depth - 1) for param in params)
        if self._chance.random() < 0.7:
            return f"(call $f{callee} {operands})"
        types = f"{self._typed(params, 'param')} {self._typed(results, 'result')}"
        return f"(call_indirect {types} {operands} (i32.const {callee}))"

    # ---- statements ----

    def _statement(self, depth: int) -> str:
        kind = self._chance.randrange(16)
        letter = self._chance.choice("iIfFv")
        at = self._chance.randrange(len(self._locals))
        if depth <= 0 or kind < 4:
            return f"(local.set {at} {self._expression(self._locals[at], min(depth, 2))})"
        if kind == 4:
            return f"({_LETTERS[letter]}.store {self._address()} {self._expression(letter, depth)})"
        if kind == 5:
            return f"(global.set ${letter} {self._expression(letter, depth)})"
        if kind == 6:
            return f"(drop {self._expression(letter, depth)})"
        if kind in (7, 8):
            return self._nested(self._chance.choice(("block", "loop")), depth)
        if kind in (9, 10):
            return self._choice(depth)
        if kind in (11, 12):
            return self._branch(depth)
        if kind == 13:
            return self._table(depth)
        if kind == 14 and self._index + 1 < len(self._types):
            callee = self._chance.randrange(self._index + 1, len(self._types))
            return self._called(callee, depth) + " drop" * len(self._types[callee][1])
        if kind == 15:
            return self._bulk()
        return f"(local.set {at} {self._expression(self._locals[at], depth)})"

    def _bulk(self) -> str:
        """What costs by its operand: the fuel goes out of the function and comes back."""
        length = f"(i32.and {self._expression('i', 1)} (i32.const 0xff))"
        fill = f"(memory.fill (i32.const 8192) {self._expression('i', 1)} {length})"
        copy = f"(memory.copy {self._address()} {self._address()} {length})"
        return self._chance.choice((fill, copy, "(drop (memory.grow (i32.const 0)))"))

    def _nested(self, keyword: str, depth: int) -> str:
        self._labels.append(None if keyword == "loop" else "")
        code = " ".join(self._statement(depth - 1) for _ in range(self._chance.randint(1, 3)))
        self._labels.pop()
        return f"({keyword} {code})"

    def _choice(self, depth: int) -> str:
        condition = self._expression("i", depth - 1)
        arms = []
        for keyword in ("then", "else")[: self._chance.randint(1, 2)]:
            self._labels.append("")
            code = " ".join(self._statement(depth - 1) for _ in range(self._chance.randint(0, 3)))
            arms.append(f"({keyword} {code})")
            self._labels.pop()
        return f"(if {condition} {' '.join(arms)})"

    def _branch(self, depth: int) -> str:
        label = self._chance.randrange(len(self._labels) + 1)
        letters = self._results if label == len(self._labels) else self._labels[-1 - label]
        if letters is None:
            count = "(global.set $n (i32.sub (global.get $n) (i32.const 1)))"
            return f"{count} (br_if {label} (i32.gt_s (global.get $n) (i32.const 0)))"
        operands = " ".join(self._expression(letter, depth - 1) for letter in letters)
        kind = self._chance.random()
        if kind < 0.2:
            return f"(br {label} {operands})"
        if kind < 0.3:
            return f"(return {' '.join(self._expression(letter, depth - 1) for letter in self._results)})"
        return f"(br_if {label} {operands} {self._expression('i', depth - 1)})" + " drop" * len(letters)

    def _table(self, depth: int) -> str:
        """A br_table to labels that take nothing; loops are left out, as no count goes before."""
        fitting = [str(at) for at, found in enumerate(reversed(self._labels)) if found == ""]
        if not fitting:
            return "(nop)"
        labels = " ".join(self._chance.choice(fitting) for _ in range(self._chance.randint(1, 4)))
        return f"(block (br_if 0 {self._expression('i', 1)}) {self._deeper(labels, depth)})"

    def _deeper(self, labels: str, depth: int) -> str:
        shifted = " ".join(str(int(label) + 1) for label in labels.split())
        return f"(br_table {shifted} {self._expression('i', depth - 1)})"

"""Random programs that are valid by construction: every operator, blocks, loops, branches, calls, traps, growth.

Nothing bounds the loops but fuel. All that a program computed shows in its memory and its globals.
"""

from __future__ import annotations

from random import Random
from typing import Final

from wasm_engines.reference.accesses import ACCESSES, lanes
from wasm_engines.reference.operands import FLOAT_EDGES, KINDS, TRAPS, immediates_of
from wavelock.core.form.features import REFUSED
from wavelock.core.form.operators import BY_CODE
from wavelock.wasm_engines.reference.floats import F32, F64, Format
from wavelock.wasm_engines.reference.plain import OPERATIONS

KINDS_AT_RANDOM: Final = "iiiIfFFvv"
LOCALS: Final = "iiIfFv"
"""Of every function: its two parameters (i32, f64) come before them."""
PARAMETERS: Final = "iF"
NAMES: Final = {
    kind: [(operator, operator.signature.partition(":")[0]) for operator in BY_CODE.values()
           if operator.name in OPERATIONS and operator.feature not in REFUSED
           and operator.signature.endswith(f":{kind}") and len(operator.signature.partition(":")[0]) < 4]
    for kind in KINDS
}  # fmt: skip
LOADS: Final = {
    kind: [operator for operator in ACCESSES.values() if operator.signature == f"i:{kind}"] for kind in KINDS
}
STORES: Final = [
    operator
    for operator in ACCESSES.values()
    if operator.signature.startswith("i") and len(operator.signature) > 2 and not operator.signature.startswith("i:")
]


class Writer:
    """Writes one program, all of it from one seed."""

    def __init__(self, seed: int | str) -> None:
        self._chance = Random(seed)
        self._labels: list[str] = []
        """Of the blocks that are open, what a branch to each must bring: a kind, or nothing. Innermost last."""
        self._functions = 3

    def program(self) -> str:
        """A module that exports `f` (i32, i64) -> i32, a memory and two globals."""
        functions = "\n".join(self._function(number) for number in range(self._functions))
        table = " ".join(f"$g{number}" for number in range(self._functions))
        shows = "\n".join(
            f"({KINDS[kind][0]}.store (i32.const {16 * index}) (global.get {2 + index}))"
            for index, kind in enumerate(LOCALS)
        )
        states = "".join(f"(global (mut {KINDS[kind][0]}) ({constant(kind, 0)}))" for kind in LOCALS)
        return f"""(module (memory (export "memory") 1 4) (table 5 funcref) (elem (i32.const 1) func {table})
          (data (i32.const 0) "{self._bytes(2048)}") (data (i32.const 63488) "{self._bytes(2048)}")
          (type $t (func (param i32 f64) (result i32)))
          (global (export "a") (mut i32) (i32.const 7)) (global (export "b") (mut i64) (i64.const 7)) {states}
          {functions}
          (func (export "f") (param i32 i64) (result i32)
            (call $g0 (local.get 0) (f64.reinterpret_i64 (local.get 1))) {shows}))"""

    def _bytes(self, count: int) -> str:
        return "".join(f"\\{byte:02x}" for byte in self._chance.randbytes(count))

    def _function(self, number: int) -> str:
        self._labels = []
        begin = "".join(f"(local.set {2 + index} {self._constant(kind, 0)})" for index, kind in enumerate(LOCALS))
        body = "\n".join(self._statements(3) for _ in range(4))
        locals_of = " ".join(KINDS[kind][0] for kind in LOCALS)
        return f"""(func $g{number} (type $t) (local {locals_of})
          {begin} {body} {self._expression("i", 3)})"""

    # Statements

    def _statements(self, depth: int) -> str:
        return "\n".join(self._statement(depth) for _ in range(self._chance.randint(1, 4)))

    def _statement(self, depth: int) -> str:
        simple = (self._set, self._set, self._set, self._set_global, self._store, self._store, self._drop)
        nested = (self._block, self._loop, self._loop, self._loop, self._if)
        rare = (self._bulk, self._branch, self._branch_if, self._branch_if, self._end, self._branch_table)
        choices = simple + (nested if depth else ()) + (rare if self._chance.random() < 0.3 else ())
        return self._chance.choice(choices)(depth)

    def _set(self, depth: int) -> str:
        index = self._chance.randrange(len(LOCALS))
        return f"(local.set {2 + index} {self._expression(LOCALS[index], depth)})"

    def _set_global(self, depth: int) -> str:
        if self._chance.random() < 0.3:
            return f"(global.set 1 {self._expression('I', depth)})"
        index = self._chance.randrange(len(LOCALS))
        return f"(global.set {2 + index} {self._expression(LOCALS[index], depth)})"

    def _drop(self, depth: int) -> str:
        return f"(drop {self._expression(self._chance.choice(KINDS_AT_RANDOM), depth)})"

    def _store(self, depth: int) -> str:
        operator = self._chance.choice(STORES)
        lane = self._chance.choice(lanes(operator))
        operands, _, result = operator.signature.partition(":")
        others = " ".join(self._expression(kind, depth - 1) for kind in operands[1:])
        done = f"({operator.name} offset={self._offset()}{lane} {self._address()} {others})"
        return f"(drop {done})" if result else done

    def _bulk(self, depth: int) -> str:
        length = f"(i32.and {self._expression('i', 1)} (i32.const 255))"
        return self._chance.choice((
            f"(memory.fill {self._address()} {self._expression('i', 1)} {length})",
            f"(memory.copy {self._address()} {self._address()} {length})",
            f"(drop (memory.grow (i32.and {self._expression('i', 1)} (i32.const 1))))",
        ))  # fmt: skip

    def _block(self, depth: int) -> str:
        return f"(block {self._inside('', depth)})"

    def _loop(self, depth: int) -> str:
        counted = "(br_if 0 (i32.and (local.tee 3 (i32.add (local.get 3) (i32.const 1))) (i32.const 1)))"
        return f"(loop {self._inside('', depth)} {counted if self._chance.random() < 0.9 else ''})"

    def _if(self, depth: int) -> str:
        condition = self._expression("i", 1)
        other = f"(else {self._inside('', depth)})" if self._chance.random() < 0.5 else ""
        return f"(if {condition} (then {self._inside('', depth)}) {other})"

    def _inside(self, label: str, depth: int) -> str:
        self._labels.append(label)
        body = self._statements(depth - 1)
        self._labels.pop()
        return body

    def _label(self) -> tuple[int, str]:
        """A block that is open, or the function, counted from the inside; and what a branch to it must bring."""
        outward = self._chance.randint(0, len(self._labels) - (self._chance.random() < 0.8 and len(self._labels) > 0))
        return outward, self._labels[-1 - outward] if outward < len(self._labels) else "i"

    def _branch_if(self, depth: int) -> str:
        outward, kind = self._label()
        if not kind:
            return f"(br_if {outward} {self._expression('i', depth)})"
        return f"(drop (br_if {outward} {self._expression(kind, 1)} {self._expression('i', 1)}))"

    def _branch(self, _: int) -> str:
        outward, kind = self._label()
        condition = self._expression("i", 1)
        return f"(if {condition} (then (br {outward + 1} {self._within(kind)})))"

    def _branch_table(self, _: int) -> str:
        outward, kind = self._label()
        same = [index for index, label in enumerate(reversed(self._labels)) if label == kind]
        targets = " ".join(str(self._chance.choice([*same, outward]) + 1) for _ in range(3))
        return f"(block (br_table {targets} {outward + 1} {self._within(kind)} (i32.and (local.get 0) (i32.const 3))))"

    def _end(self, _: int) -> str:
        rare = f"(i32.eq (i32.and {self._expression('i', 1)} (i32.const 15)) (i32.const 5))"
        done = self._chance.choice(("(unreachable)", f"(return {self._within('i')})"))
        return f"(if {rare} (then {done} {self._within('F')} (drop)))"

    def _within(self, kind: str) -> str:
        """An expression inside of one more block; none where there is no kind."""
        self._labels.append("")
        found = self._expression(kind, 1) if kind else ""
        self._labels.pop()
        return found

    # Expressions

    def _expression(self, kind: str, depth: int) -> str:
        leaf = (self._constant, self._local, self._local, self._global)
        inner = (self._operation,) * 8 + (
            self._load,
            self._call,
            self._select,
            self._tee,
            self._valued,
            self._valued_if,
        )
        return self._chance.choice(leaf if depth <= 0 else inner)(kind, depth)

    def _constant(self, kind: str, _: int) -> str:
        bits = 8 * KINDS[kind][1]
        edges = FLOAT_EDGES.get(kind, [0, 1, 2, 3, 8, (1 << bits) - 1, 1 << (bits - 1), self._chance.getrandbits(bits)])
        return f"({constant(kind, self._chance.choice(edges))})"

    def _local(self, kind: str, _: int) -> str:
        indexes = [index for index, other in enumerate(PARAMETERS + LOCALS) if other == kind]
        return f"(local.get {self._chance.choice(indexes)})"

    def _global(self, kind: str, _: int) -> str:
        return f"(global.get {2 + LOCALS.index(kind)})"

    def _operation(self, kind: str, depth: int) -> str:
        operator, operands = self._chance.choice(NAMES[kind])
        if operator.name in TRAPS and self._chance.random() < 0.9:
            return self._operation(kind, depth)
        immediates = self._chance.choice(immediates_of(operator))
        return f"({operator.name}{immediates} {' '.join(self._expression(each, depth - 1) for each in operands)})"

    def _load(self, kind: str, _: int) -> str:
        operator = self._chance.choice(LOADS[kind])
        return f"({operator.name} offset={self._offset()} {self._address()})"

    def _offset(self) -> int:
        return 8 * self._chance.randrange(4)

    def _address(self) -> str:
        """Mostly inside, and a multiple of 16 for atomic operators."""
        mask = -1 if self._chance.random() < 0.02 else 0xFFF0
        return f"(i32.and {self._expression('i', 1)} (i32.const {mask}))"

    def _call(self, kind: str, depth: int) -> str:
        if kind != "i" or self._chance.random() < 0.85:
            return self._operation(kind, depth)
        arguments = f"{self._expression('i', depth - 1)} {self._expression('F', depth - 1)}"
        if self._chance.random() < 0.3:
            return f"(call_indirect (type $t) {arguments} (i32.and {self._expression('i', 1)} (i32.const 3)))"
        return f"(call $g{self._chance.randrange(self._functions)} {arguments})"

    def _select(self, kind: str, depth: int) -> str:
        first, second = self._expression(kind, depth - 1), self._expression(kind, depth - 1)
        return f"(select {first} {second} {self._expression('i', depth - 1)})"

    def _tee(self, kind: str, depth: int) -> str:
        return f"(local.tee {2 + LOCALS.index(kind)} {self._expression(kind, depth - 1)})"

    def _valued(self, kind: str, depth: int) -> str:
        shape = self._chance.choice(("block", "loop"))
        self._labels.append(kind if shape == "block" else "")
        body = self._statement(min(depth, 1) - 1)
        value = self._expression(kind, depth - 1)
        if shape == "block" and self._chance.random() < 0.6:
            value = f"(br_if 0 {value} {self._expression('i', 1)})"
        self._labels.pop()
        return f"({shape} (result {KINDS[kind][0]}) {body} {value})"

    def _valued_if(self, kind: str, depth: int) -> str:
        condition = self._expression("i", 1)
        self._labels.append(kind)
        first, second = self._expression(kind, depth - 1), self._expression(kind, depth - 1)
        self._labels.pop()
        return f"(if (result {KINDS[kind][0]}) {condition} (then {first}) (else {second}))"


def constant(kind: str, bits: int) -> str:
    """A constant instruction of these bits."""
    if kind in "iI":
        return f"{KINDS[kind][0]}.const {bits}"
    if kind == "v":
        return f"v128.const i64x2 {bits & (1 << 64) - 1} {bits >> 64}"
    return f"{KINDS[kind][0]}.const {_float_text(F32 if kind == 'f' else F64, bits)}"


def _float_text(form: Format, bits: int) -> str:
    """A float's text, to the bit: hexadecimal, or a NaN with its payload."""
    sign = "-" if bits & form.sign else ""
    if form.is_nan(bits):
        return f"{sign}nan:{bits & (form.sign - 1) ^ form.infinity:#x}"
    if bits & (form.sign - 1) == form.infinity:
        return f"{sign}inf"
    return form.value(bits).hex()

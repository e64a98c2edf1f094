"""Every operator that accesses memory, in a function that takes the address."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from wavelock.core.form.immediates import Immediate
from wavelock.core.form.limits import PAGE_BYTES
from wavelock.core.form.operators import BY_CODE, Operator

KINDS: Final = {"i": "i32", "I": "i64", "f": "f32", "F": "f64", "v": "v128"}
RESULT: Final = 64
"""Where a function leaves what an operator answers; its other operands come from the addresses below."""
OFFSETS: Final = (0, 5, 8, 4096, 0xFFFFFFFF)
ADDRESSES: Final = (
    *range(128, 137),
    *range(PAGE_BYTES - 4096 - 9, PAGE_BYTES - 4096),
    *(PAGE_BYTES - before for before in (4096 + 17, 4096 + 16, 24, 21, 20, 17, 16, 15)),
    *range(PAGE_BYTES - 9, PAGE_BYTES + 1),
    *(0x7FFFFFF8, 0x80000000, 0xFFFFFFF8, 0xFFFFFFFB, 0xFFFFFFFF),
)
ACCESSES: Final = {
    operator.name: operator
    for operator in BY_CODE.values()
    if operator.immediates in (Immediate.MEMARG, Immediate.MEMARG_LANE)
}


def lanes(operator: Operator) -> tuple[str, ...]:
    """The last lane and the first one, where an operator has lanes."""
    if operator.immediates is not Immediate.MEMARG_LANE:
        return ("",)
    bits = int(operator.name.removeprefix("v128.load").removeprefix("v128.store").removesuffix("_lane"))
    return " 0", f" {128 // bits - 1}"


def access(operator: Operator, offset: int, lane: str) -> str:
    """A function that does one access at its parameter; the other operands are loaded from below RESULT."""
    operands, _, result = operator.signature.partition(":")
    others = "".join(
        f"({KINDS[letter]}.load (i32.const {16 * index}))" for index, letter in enumerate(operands) if index
    )
    done = f"({operator.name} offset={offset}{lane} (local.get $at) {others})"
    if result:
        done = f"({KINDS[result]}.store (i32.const {RESULT}) {done})"
    return f'(func (export "{offset}{lane}") (param $at i32) {done})'


def accesses(operator: Operator) -> Iterator[str]:
    for lane in lanes(operator):
        for offset in OFFSETS:
            yield f"{offset}{lane}"


def length(operator: Operator) -> int:
    """The bytes that an atomic operator accesses: 0x1E is i32.atomic.rmw.add, and every operation has seven widths."""
    number = operator.code & 0xFFFF
    if number < 0x10:
        return 8 if operator.name.endswith("64") else 4
    return (4, 8, 1, 2, 1, 2, 4)[(number - 0x10) % 7]

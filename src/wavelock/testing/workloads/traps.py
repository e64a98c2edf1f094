"""Traps: every instruction that can, at the last value that does not trap and the first that does."""

from __future__ import annotations

from typing import Final

from wavelock.testing.workloads.agents import PAGE, agent, choose
from wavelock.testing.workloads.workload import Workload, group

_MINIMUM_32, _MINIMUM_64 = -(1 << 31), -(1 << 63)


def _divisions(kind: str, minimum: int) -> list[tuple[str, str]]:
    """(goes well, traps): by zero, and the one quotient that does not fit."""

    def take(name: str, one: int, other: int) -> str:
        return f"({kind}.{name} ({kind}.const {one}) ({kind}.const {other}))"

    pairs = [(take(name, minimum, 1), take(name, minimum, 0)) for name in ("div_s", "div_u", "rem_s", "rem_u")]
    # The remainder of the overflowing division is 0, not a trap.
    return [*pairs, (take("rem_s", minimum, -1), take("div_s", minimum, -1))]


def _truncations(to: str, source: str, last: str, first: str, last_unsigned: str, first_unsigned: str) -> list[
    tuple[str, str]
]:  # fmt: skip
    def take(sign: str, value: str) -> str:
        return f"({to}.trunc_{source}_{sign} ({source}.const {value}))"

    return [
        (take("s", last), take("s", first)),
        (take("s", f"-{first}" if source == "f32" or to == "i64" else "-0x1.00000001ffffp31"), take("s", "nan")),
        (take("u", last_unsigned), take("u", first_unsigned)),
        (take("u", "-0x1.fffffp-1"), take("u", "-1")),
        (take("u", "0.5"), take("u", "nan")),
    ]


_PAIRS: Final = [
    *_divisions("i32", _MINIMUM_32),
    *_divisions("i64", _MINIMUM_64),
    *_truncations("i32", "f32", "0x1.fffffep30", "0x1p31", "0x1.fffffep31", "0x1p32"),
    *_truncations("i32", "f64", "2147483647.9", "0x1p31", "4294967295.9", "0x1p32"),
    *_truncations("i64", "f32", "0x1.fffffep62", "0x1p63", "0x1.fffffep63", "0x1p64"),
    *_truncations("i64", "f64", "0x1.fffffffffffffp62", "0x1p63", "0x1.fffffffffffffp63", "0x1p64"),
    *(
        (f"({name} offset=16 (i32.const {PAGE - size - 16}))", f"({name} offset=16 (i32.const {PAGE - size - 15}))")
        for name, size in (("i32.load8_u", 1), ("i32.load16_s", 2), ("i32.load", 4), ("i64.load", 8))
    ),
    ("(i32.const 1)", "(i32.load offset=0xFFFFFFFF (i32.const -1))"),
    *(
        (
            f"(block (result i32) ({name} (i32.const {PAGE - size}) ({name[:3]}.const 7)) (i32.const 2))",
            f"(block (result i32) ({name} (i32.const {PAGE - size + 1}) ({name[:3]}.const 7)) (i32.const 2))",
        )
        for name, size in (("i32.store8", 1), ("i64.store16", 2), ("i64.store32", 4), ("i64.store", 8))
    ),
    ("(call_indirect (type $give) (i32.const 0))", "(call_indirect (type $give) (i32.const 1))"),
    ("(call_indirect (type $give) (i32.const 3))", "(call_indirect (type $take) (i32.const 7) (i32.const 3))"),
    ("(call_indirect (type $take) (i32.const 7) (i32.const 2))", "(call_indirect (type $give) (i32.const 4))"),
    ("(call_indirect (type $give) (i32.const 0))", "(call_indirect (type $give) (i32.const -1))"),
    ("(i32.const 3)", "(unreachable)"),
]
"""Expressions: one that goes well and one, as near to it as can be, that traps."""


def _folded(code: str) -> str:
    wide = code.startswith("(i64") and "block" not in code
    return f"(call $fold {code if wide else f'(i64.extend_i32_s {code})'})"


_GOES_WELL = "".join(_folded(well) for well, _ in _PAIRS)
_TRAPS = agent(
    f"""(call $hear)
    (if (i32.eqz (global.get $turns)) (then {_GOES_WELL}))
    (call $say_hash)
    (call $yield_until (i32.const 3))
    (if (i32.eq (global.get $turns) (i32.const 1)) (then ;; what an agent does before its trap costs fuel, and is lost
      (local.set $n (call $self))
      (loop $more
        (call $fold (i64.extend_i32_u (local.get $n)))
        (br_if $more (i32.gt_s (local.tee $n (i32.sub (local.get $n) (i32.const 7))) (i32.const 0))))
      {choose("(call $self)", [_folded(trap) for _, trap in _PAIRS])}))""",
    rest="""
  (type $give (func (result i32)))
  (type $take (func (param i32) (result i32)))
  (table 4 funcref)
  (elem (i32.const 0) $give)
  (elem (i32.const 2) $take $give)
  (func $give (result i32) (i32.const 41))
  (func $take (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
""",
    locals_="(local $n i32)",
)

WORKLOAD = Workload(
    name="traps",
    summary="every instruction that can trap, beside its last good value",
    profile=group("trapper", "trapper.wat", len(_PAIRS)),
    files={"trapper.wat": _TRAPS},
    schedulers={"round-robin": {"width": 25}, "priority": {"width": 25}},
    faults=frozenset(
        {
            "unreachable", "memory bounds", "table bounds", "indirect call", "integer overflow", "division by zero",
            "bad conversion",
        }
    ),
)  # fmt: skip

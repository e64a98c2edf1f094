"""Every kind of fault that an agent can cause: in a turn, in the start, again after a fresh start."""

from __future__ import annotations

from wavelock.core.abi import ABI_RECORD, ABI_VERSION, Outbound
from wavelock.testing.workloads.agents import INBOX, INBOX_BYTES, OUTBOX, OUTBOX_BYTES, PAGE, RECORD, agent, data
from wavelock.testing.workloads.workload import Workload, group, row, table

_NO_KIND = 13
_TABLE = """
  (type $nothing (func))
  (table $table 4 funcref)
  (elem (i32.const 0) $reach)
  (func $reach)
  (func $recurse (param $n i32) (result i32) (i32.add (call $recurse (local.get $n)) (i32.const 1)))
"""
_BREAKS = {
    "unreachable": "(unreachable)",
    "load": f"(drop (i32.load (i32.const {PAGE - 3})))",
    "store": f"(i64.store offset={PAGE} (i32.const -{PAGE}) (i64.const 1))",
    "call-past": "(call_indirect (type $nothing) (i32.const 4))",
    "call-null": "(call_indirect (type $nothing) (i32.const 3))",
    "overflow": "(drop (i32.div_s (i32.const 0x80000000) (i32.sub (call $wave) (i32.add (call $wave) (i32.const 1)))))",
    "division": "(drop (i64.rem_u (call $entropy) (i64.const 0)))",
    "too-large": "(drop (i32.trunc_f64_u (f64.const 1e10)))",
    "not-a-number": "(drop (i64.trunc_f32_s (f32.div (f32.const 0) (f32.const 0))))",
    "endless": "(loop $ever (br $ever))",
    "bottomless": "(drop (call $recurse (i32.const 1)))",
    "hungry": "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) (unreachable)",
    "bad-kind": f"(drop (call $emit (i32.const {_NO_KIND}) (i32.const 0) (i32.const 0) (i32.const 8)))",
    "too-long": f"(global.set $out (i32.const {OUTBOX + OUTBOX_BYTES + 8}))",
    "own-code": f"(global.set $out (i32.sub (i32.const {OUTBOX - 100}) (call $self)))",
    "denied": f"""(call $say (i32.const 1) (i64.const 1))
      (drop (call $emit (i32.const {Outbound.PUBLISH.value}) (i32.const 0) (i32.const 0) (i32.const 0)))""",
}
"""By the name of a group: what its agents do in their second turn."""
_RECORDS = {
    "version": (ABI_VERSION + 1, INBOX, INBOX_BYTES, OUTBOX, OUTBOX_BYTES),
    "misaligned": (ABI_VERSION, INBOX + 4, INBOX_BYTES, OUTBOX, OUTBOX_BYTES),
    "overlap": (ABI_VERSION, INBOX, INBOX_BYTES, INBOX + INBOX_BYTES - 8, OUTBOX_BYTES),
    "outside": (ABI_VERSION, INBOX, INBOX_BYTES, PAGE - 64, 72),
}
"""ABI records that are refused."""
_STARTS = {
    "start": "(func $main (call $fold (i64.const 1)) (unreachable)) (start $main)",
    "initialize": """(func (export "_initialize") (drop (i32.div_u (i32.const 1) (global.get $turns))))""",
    "slow-start": '(func (export "_initialize") (loop $ever (br $ever)))',
}
"""Modules whose start faults."""

_ENDLESS = ("endless", "slow-start")


def _breaking(code: str) -> str:
    """Says what it heard, breaks in its second turn; what it wrote in that turn is dropped."""
    return agent(
        f"""(call $hear)
        (call $send (i32.const 0) (i32.const 1) (global.get $hash))
        (call $say_hash)
        (call $yield_until (i32.const 3))
        (if (i32.eq (global.get $turns) (i32.const 1)) (then {code}))""",
        rest=_TABLE,
    )


_HEARS = agent("(call $hear) (call $say_hash)")
_MODULES = {
    **{name: _breaking(code) for name, code in _BREAKS.items()},
    **{name: agent("(call $hear)", abi=data(RECORD, ABI_RECORD.pack(*found))) for name, found in _RECORDS.items()},
    **{name: agent("(call $hear)", rest=rest) for name, rest in _STARTS.items()},
}

WORKLOAD = Workload(
    name="faults",
    summary="every kind of fault, in turns and in starts, with fresh starts",
    profile=table("limits", stack="16 KiB", memory="192 KiB", restarts=1, denied="fault")
    + row("topics", name="topic")
    + group("listener", "listener.wat", priority=-5)
    + "".join(
        group(
            name, f"{name}.wat", 2,
            restart="fresh" if at % 3 else "never",
            limits={"fuel_per_turn": 4000 if name in _ENDLESS else 30_000},
        )
        for at, name in enumerate(_MODULES)
    ),
    files={"listener.wat": _HEARS, **{f"{name}.wat": text for name, text in _MODULES.items()}},
    schedulers={"round-robin": {"width": 20}, "priority": {"width": 20, "aging": 1}},
    faults=frozenset(
        {
            "unreachable", "memory bounds", "table bounds", "indirect call", "integer overflow", "division by zero",
            "bad conversion", "fuel", "depth", "memory", "malformed outbox", "agent code", "bad abi", "denied",
        }
    ),
    quick=True,
)  # fmt: skip

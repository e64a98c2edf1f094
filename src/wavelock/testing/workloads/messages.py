"""Messages: a ring, crowds that flood two sinks, and all that a send can be refused for."""

from __future__ import annotations

from wavelock.core.abi import EndReason, Inbound, Outbound
from wavelock.testing.workloads.agents import agent, choose, frames
from wavelock.testing.workloads.workload import Workload, group, table

_RING, _CROWD = 5, 6
_FIRST_OF_CROWD = _RING
_REJECTING = _FIRST_OF_CROWD + _CROWD
_DROPPING = _REJECTING + 1
_QUITTER = _DROPPING + 1
_HOPS = 6
_TOKEN = 1
"""The tag of a token that goes round the ring."""

_PASS = f"""
  (func $pass (param $hops i32) (param $value i64) (local $payload i32)
    (local.set $payload
      (call $emit (i32.const {Outbound.SEND.value})
        (i32.rem_u (i32.add (call $self) (i32.const 1)) (i32.const {_RING})) (i32.const {_TOKEN}) (i32.const 12)))
    (i64.store (local.get $payload) (local.get $value))
    (i32.store offset=8 (local.get $payload) (local.get $hops)))
"""
_PASSES = agent(
    frames(
        (Inbound.START, "(call $pass (i32.const 0) (call $entropy))"),
        (
            Inbound.MESSAGE,
            f"""(if (i32.lt_u (i32.load offset=24 (local.get $frame)) (i32.const {_HOPS})) (then
              (call $pass
                (i32.add (i32.load offset=24 (local.get $frame)) (i32.const 1))
                (i64.add (i64.load offset=16 (local.get $frame)) (call $entropy)))))""",
        ),
    )
    + "(call $say_hash)",
    rest=_PASS,
)
_LENGTHS = (0, 1, 5, 8, 13, 24)
"""Payload bytes of what the crowd sends: with padding and without."""
_CHOSEN = choose(
    f"(i32.rem_u (local.get $tag) (i32.const {len(_LENGTHS)}))",
    [f"(local.set $len (i32.const {length}))" for length in _LENGTHS],
)
_FLOOD = f"""
  (func $spread (param $to i32) (param $tag i32) (local $len i32) (local $payload i32) ;; a payload of some length
    {_CHOSEN}
    (local.set $payload
      (call $emit (i32.const {Outbound.SEND.value}) (local.get $to) (local.get $tag) (local.get $len)))
    (if (i32.ge_u (local.get $len) (i32.const 8))
      (then (i64.store (local.get $payload) (i64.xor (call $entropy) (i64.extend_i32_u (local.get $tag)))))))
"""
_CROWDS = agent(
    f"""(call $hear)
    (local.set $base (i32.add (i32.mul (global.get $turns) (i32.const 7)) (call $self)))
    (if (i32.lt_u (global.get $turns) (i32.const 4)) (then
      (loop $each
        (call $spread (i32.const {_REJECTING}) (i32.add (local.get $base) (local.get $n)))
        (call $spread (i32.const {_DROPPING}) (i32.add (local.get $base) (i32.mul (local.get $n) (i32.const 5))))
        (br_if $each (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 3))))
      (call $spread (call $self) (local.get $base))
      (call $spread (i32.const {_QUITTER}) (local.get $base))
      (call $spread (i32.const 999) (local.get $base))
      ;; more than the receiver's inbox takes, and more than any message may be
      (drop (call $emit (i32.const {Outbound.SEND.value}) (i32.const {_REJECTING}) (i32.const 1) (i32.const 400)))
      (drop (call $emit (i32.const {Outbound.SEND.value}) (i32.const {_REJECTING}) (i32.const 2) (i32.const 600)))))
    (call $yield_until (i32.const 4))
    (call $say_hash)""",
    rest=_FLOOD,
    locals_="(local $n i32) (local $base i32)",
)
_SINKS = agent("(call $hear) (call $say_hash)")
_QUITS = agent(f"(call $hear) (call $say_hash) (call $exit (i32.const -{EndReason.EXITED.value + 6}))")

WORKLOAD = Workload(
    name="messages",
    summary="ring, floods, leftovers, overflow both ways, refused sends",
    profile=table("limits", message=512)
    + group("ring", "ring.wat", _RING, priority=2)
    + group("crowd", "crowd.wat", _CROWD, after=["ring"], priority=1)
    + group("rejecting", "sink.wat", after=["crowd"], priority=3, limits={"inbox": "320 B", "mailbox_frames": 7})
    + group(
        "dropping", "sink.wat", after=["crowd"],
        limits={"inbox": "256 B", "mailbox": "400 B", "overflow": "drop-oldest"},
    )
    + group("quitter", "quitter.wat"),
    files={"ring.wat": _PASSES, "crowd.wat": _CROWDS, "sink.wat": _SINKS, "quitter.wat": _QUITS},
    schedulers={"round-robin": {"width": 7}, "priority": {"width": 6, "aging": 2}},
    quick=True,
)  # fmt: skip

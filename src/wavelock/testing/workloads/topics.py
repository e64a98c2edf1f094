"""Topics: publications to several groups, refused ones, ones that a full mailbox loses, and late subscribers."""

from __future__ import annotations

from wavelock.core.abi import Inbound, Outbound
from wavelock.testing.workloads.agents import agent, frames
from wavelock.testing.workloads.workload import Workload, group, row

_NEWS, _ODDS, _SECRET, _NO_TOPIC = 0, 1, 2, 9
_LATE = 3
"""The group that is spawned into a subscription."""

_WRITES = agent(
    f"""(call $hear)
    (if (i32.lt_u (global.get $turns) (i32.const 4)) (then
      (call $publish (i32.const {_NEWS}) (i32.const 8))
      (call $publish (i32.const {_ODDS}) (i32.const 21))
      (call $publish (i32.const {_SECRET}) (i32.const 8))
      (call $publish (i32.const {_NO_TOPIC}) (i32.const 8))))
    (if (i32.eq (global.get $turns) (i32.const 1)) (then
      (drop (call $emit (i32.const {Outbound.SPAWN.value}) (i32.const {_LATE}) (i32.const 5) (i32.const 0)))))
    (call $yield_until (i32.const 4))
    (call $say_hash)""",
    rest=f"""
  (func $publish (param $topic i32) (param $len i32) (local $payload i32)
    (local.set $payload
      (call $emit (i32.const {Outbound.PUBLISH.value}) (local.get $topic)
        (i32.add (i32.mul (call $self) (i32.const 100)) (global.get $turns)) (local.get $len)))
    (i64.store (local.get $payload) (i64.add (call $entropy) (i64.extend_i32_u (local.get $len)))))
""",
)
_READS = agent("(call $hear) (call $say_hash)")
_ANSWERS = agent(
    frames(
        (
            Inbound.MESSAGE,
            """(if (call $flags (local.get $frame)) (then ;; published: answer its writer directly
              (call $send (call $peer (local.get $frame)) (call $tag (local.get $frame)) (global.get $hash))))""",
        )
    )
)

WORKLOAD = Workload(
    name="topics",
    summary="publications, grants, lost publications, spawned subscribers",
    profile=row("topics", name="news", subscribers=["reader", "answerer", "late"])
    + row("topics", name="odds", subscribers=["reader"])
    + row("topics", name="secret", subscribers=["reader"])
    + group("writer", "writer.wat", 3, priority=1, grants={"topics": ["news", "odds"], "spawn": ["late"]})
    + group("reader", "reader.wat", 4, after=["writer"], limits={"mailbox_frames": 5})
    + group("answerer", "answerer.wat", 2, after=["writer"])
    + group("late", "reader.wat", 0, after=["reader"]),
    files={"writer.wat": _WRITES, "reader.wat": _READS, "answerer.wat": _ANSWERS},
)

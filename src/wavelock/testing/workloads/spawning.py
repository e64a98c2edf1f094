"""Trees of spawned agents: depth and number bounded, children that exit, fault and are stopped, orphans."""

from __future__ import annotations

from wavelock.core.abi import Inbound, Outbound
from wavelock.testing.workloads.agents import SCRATCH, agent, frames
from wavelock.testing.workloads.workload import Workload, group, table

_ROOT, _BRANCH, _LEAF = range(3)
_CHILDREN = SCRATCH
"""Where an agent keeps the ids of its children: u32 count, then the ids."""

_TREE = f"""
  (func $spawn (param $group i32) (param $tag i32) (param $config_len i32)
    (local $payload i32)
    (local.set $payload (call $emit (i32.const {Outbound.SPAWN.value}) (local.get $group) (local.get $tag)
      (local.get $config_len)))
    (if (local.get $config_len) (then (i32.store8 (local.get $payload) (local.get $tag)))))

  (func $stop (param $child i32)
    (drop (call $emit (i32.const {Outbound.STOP.value}) (local.get $child) (i32.const 77) (i32.const 0))))

  (func $child (param $n i32) (result i32)
    (i32.load offset={_CHILDREN + 4} (i32.shl (local.get $n) (i32.const 2))))

  (func $keep_child (param $id i32)
    (i32.store offset={_CHILDREN + 4} (i32.shl (i32.load (i32.const {_CHILDREN})) (i32.const 2)) (local.get $id))
    (i32.store (i32.const {_CHILDREN}) (i32.add (i32.load (i32.const {_CHILDREN})) (i32.const 1))))
"""
# Directory rows: what and name_len, then the id at 4. That of a spawn has a tag, that of a start has none.
_GREW = (
    Inbound.DIRECTORY,
    "(if (call $tag (local.get $frame)) (then (call $keep_child (i32.load offset=20 (local.get $frame)))))",
)
_PLANTS = agent(
    f"""(if (i32.eqz (global.get $turns)) (then
      (call $spawn (i32.const {_BRANCH}) (i32.const 1) (i32.const 0))
      (call $spawn (i32.const {_BRANCH}) (i32.const 2) (i32.const 3))
      (call $spawn (i32.const {_LEAF}) (i32.const 3) (i32.const 0)) ;; not granted
      (call $spawn (i32.const 50) (i32.const 4) (i32.const 0))))
    {frames(_GREW)}
    (if (i32.eq (global.get $turns) (i32.const 6)) (then
      (call $stop (call $child (i32.const 0)))
      (call $stop (call $child (i32.const 0))) ;; which has ended by now
      (call $stop (call $self))
      (call $stop (i32.const 1000))))
    (call $yield_until (i32.const 9))
    (call $say_hash)""",
    rest=_TREE,
)
_BRANCHES = agent(
    f"""(if (i32.eqz (global.get $turns)) (then
      (call $spawn (i32.const {_BRANCH}) (i32.const 5) (i32.const 1))
      (call $spawn (i32.const {_LEAF}) (i32.const 6) (i32.const 2))
      (call $spawn (i32.const {_BRANCH}) (i32.const 7) (i32.const 0))))
    {frames(_GREW)}
    (if (i32.and (i32.eq (global.get $turns) (i32.const 3)) (i32.eqz (i32.rem_u (call $self) (i32.const 5)))) (then
      (call $exit (call $self)))) ;; its children go on as orphans
    (call $yield_until (i32.const 5))
    (call $say_hash)""",
    rest=_TREE,
)
_LEAVES = agent(
    """(call $hear)
    (call $say_hash)
    (if (i32.eq (global.get $turns) (i32.const 1)) (then
      (if (i32.and (call $self) (i32.const 1)) (then (unreachable)) (else (call $exit (i32.const 11))))))
    (call $yield_until (i32.const 2))"""
)

WORKLOAD = Workload(
    name="spawning",
    summary="trees of agents, exits, stops, orphans, bounds",
    profile=table("limits", agents=24, spawn_depth=3)
    + group("root", "root.wat", 2, grants={"spawn": ["branch"]}, priority=-1)
    + group("branch", "branch.wat", 0, grants={"spawn": ["branch", "leaf"]}, after=["root"])
    + group("leaf", "leaf.wat", 0, after=["branch"], priority=5),
    files={"root.wat": _PLANTS, "branch.wat": _BRANCHES, "leaf.wat": _LEAVES},
    schedulers={"round-robin": {"width": 9}, "priority": {"width": 9, "aging": 3}},
    faults=frozenset({"unreachable"}),
)

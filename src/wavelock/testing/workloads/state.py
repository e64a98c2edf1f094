"""The shared state: puts, gets and watches, in plan order; and what the limits and grants refuse."""

from __future__ import annotations

from wavelock.core.abi import Outbound
from wavelock.testing.workloads.agents import SCRATCH, agent
from wavelock.testing.workloads.workload import Workload, group, table

_KEYED = f"""
  ;; `k/` and a letter: the key of agent number n, in the scratch area
  (func $key (param $n i32) (result i32)
    (i32.store8 (i32.const {SCRATCH}) (i32.const {ord("k")}))
    (i32.store8 (i32.const {SCRATCH + 1}) (i32.const {ord("/")}))
    (i32.store8 (i32.const {SCRATCH + 2}) (i32.add (local.get $n) (i32.const {ord("a")})))
    (i32.const {SCRATCH}))

  ;; u16 key_len, key, value: a key of so many bytes, and as many of the hash's
  (func $put (param $len i32) (param $value_len i32) (local $payload i32)
    (local.set $payload
      (call $emit (i32.const {Outbound.PUT.value}) (i32.const 0) (local.get $len)
        (i32.add (i32.add (local.get $len) (local.get $value_len)) (i32.const 2))))
    (i32.store16 (local.get $payload) (local.get $len))
    (memory.copy (i32.add (local.get $payload) (i32.const 2)) (i32.const {SCRATCH}) (local.get $len))
    (if (i32.ge_u (local.get $value_len) (i32.const 8)) (then
      (i64.store (i32.add (local.get $payload) (i32.add (local.get $len) (i32.const 2))) (global.get $hash)))))

  (func $ask (param $effect i32) (param $from i32) (param $len i32) ;; get or watch
    (memory.copy
      (call $emit (local.get $effect) (i32.const 0) (local.get $len) (local.get $len))
      (local.get $from) (local.get $len)))
"""
_KEEPS = agent(
    f"""(call $hear)
    (if (i32.lt_u (global.get $turns) (i32.const 5)) (then
      (call $ask (i32.const {Outbound.GET.value}) (call $key (i32.add (call $self) (i32.const 1))) (i32.const 3))
      (drop (call $key (call $self)))
      (call $put (i32.const 3) (i32.add (i32.const 8) (i32.mul (global.get $turns) (i32.const 150))))
      (call $ask (i32.const {Outbound.GET.value}) (call $key (i32.const 0)) (i32.const 3))
      (call $put (i32.const 30) (i32.const 8)) ;; a key past limits.state_key
      (call $put (i32.const 1) (i32.const 8)) ;; `k`, which is not granted
      (call $ask (i32.const {Outbound.GET.value}) (i32.const {SCRATCH}) (i32.const 2))))
    (call $yield_until (i32.const 5))
    (call $say_hash)""",
    rest=_KEYED,
)
_WATCHES = agent(
    f"""(if (i32.eqz (global.get $turns)) (then
      (drop (call $key (i32.const 1)))
      (call $ask (i32.const {Outbound.WATCH.value}) (i32.const {SCRATCH}) (i32.const 3))
      (call $ask (i32.const {Outbound.WATCH.value}) (i32.const {SCRATCH}) (i32.const 2))
      (call $ask (i32.const {Outbound.WATCH.value}) (call $key (i32.const 2)) (i32.const 3)) ;; past limits.watches
      (call $ask (i32.const {Outbound.WATCH.value}) (i32.const {SCRATCH}) (i32.const 0))))
    (call $hear)
    (call $say_hash)""",
    rest=_KEYED,
)

WORKLOAD = Workload(
    name="state",
    summary="puts, gets, watches, limits and grants of the shared state",
    profile=table("limits", state="1800 B", state_key=24, watches=2)
    + group("keeper", "keeper.wat", 3, grants={"state": ["k/"]})
    + group("watcher", "watcher.wat", 2, priority=3, grants={"state_read": ["k/"]})
    + group("reader", "keeper.wat", 1, after=["keeper"], grants={"state_read": ["*"]}),
    files={"keeper.wat": _KEEPS, "watcher.wat": _WATCHES},
)

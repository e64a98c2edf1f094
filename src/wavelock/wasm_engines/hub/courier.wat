;; courier: one agent's way to the hub and back. There is one instance for each agent: it alone knows both memories.
;;
;; It writes the turn header and the frames of `letters` into the agent's inbox, lets the agent take its turn, and
;; copies its outbox to `to`. A letter in the hub's log is: u32 place of the next one, u32 bytes, the frame.
(module
  (import "hub" "memory" (memory $hub 1 65535 shared))
  (import "hub" "table" (table $couriers 1 funcref))
  (import "agent" "memory" (memory $agent 0))
  (import "agent" "turn" (func $turn (param i32 i64) (result i32 i64)))

  ;; Offsets in hub.c's worker_t.
  (global $LEFT i32 (i32.const 32))
  (global $HEADER i32 (i32.const 40))
  ;; What is longer is copied in bulk, which is a call into the engine.
  (global $SHORT i32 (i32.const 256))

  ;; `bytes`, a multiple of 8, from the hub to the agent.
  (func $to_agent (param $to i32) (param $from i32) (param $bytes i32)
    (local $end i32)
    (if (i32.gt_u (local.get $bytes) (global.get $SHORT))
      (then
        (memory.copy $agent $hub (local.get $to) (local.get $from) (local.get $bytes))
        (return)))
    (local.set $end (i32.add (local.get $from) (local.get $bytes)))
    (block $done
      (loop $more
        (br_if $done (i32.ge_u (local.get $from) (local.get $end)))
        (i64.store $agent (local.get $to) (i64.load $hub (local.get $from)))
        (local.set $to (i32.add (local.get $to) (i32.const 8)))
        (local.set $from (i32.add (local.get $from) (i32.const 8)))
        (br $more))))

  ;; `bytes`, of any number, from the agent to the hub.
  (func $to_hub (param $to i32) (param $from i32) (param $bytes i32)
    (local $end i32)
    (if (i32.or (i32.gt_u (local.get $bytes) (global.get $SHORT)) (i32.and (local.get $bytes) (i32.const 7)))
      (then
        (memory.copy $hub $agent (local.get $to) (local.get $from) (local.get $bytes))
        (return)))
    (local.set $end (i32.add (local.get $from) (local.get $bytes)))
    (block $done
      (loop $more
        (br_if $done (i32.ge_u (local.get $from) (local.get $end)))
        (i64.store $hub (local.get $to) (i64.load $agent (local.get $from)))
        (local.set $to (i32.add (local.get $to) (i32.const 8)))
        (local.set $from (i32.add (local.get $from) (i32.const 8)))
        (br $more))))

  (func $carry (export "carry")
    (param $worker i32) (param $log i32) (param $letter i32) (param $frames i32)
    (param $inbox i32) (param $outbox i32) (param $most i32) (param $to i32) (param $budget i64) (result i32)
    (local $at i32) (local $bytes i32) (local $result i32) (local $left i64)
    (call $to_agent (local.get $inbox) (i32.add (local.get $worker) (global.get $HEADER)) (i32.const 32))
    (local.set $at (i32.add (local.get $inbox) (i32.const 32)))
    (block $done
      (loop $more
        (br_if $done (i32.eqz (local.get $frames)))
        (local.set $letter (i32.add (local.get $log) (local.get $letter)))
        (local.set $bytes (i32.load $hub offset=4 (local.get $letter)))
        (call $to_agent (local.get $at) (i32.add (local.get $letter) (i32.const 8)) (local.get $bytes))
        (local.set $at (i32.add (local.get $at) (local.get $bytes)))
        (local.set $letter (i32.load $hub (local.get $letter)))
        (local.set $frames (i32.sub (local.get $frames) (i32.const 1)))
        (br $more)))
    (call $turn (i32.sub (local.get $at) (local.get $inbox)) (local.get $budget))
    (local.set $left)
    (local.set $result)
    (i64.store $hub (i32.add (local.get $worker) (global.get $LEFT)) (local.get $left))
    (if (i32.le_u (local.get $result) (local.get $most))
      (then (call $to_hub (local.get $to) (local.get $outbox) (local.get $result))))
    (local.get $result))

  ;; It puts itself behind all others of its store, where hub.c finds it.
  (elem declare func $carry)
  (func $enter
    (drop (table.grow $couriers (ref.func $carry) (i32.const 1))))
  (start $enter))

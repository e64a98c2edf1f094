;; courier: the way of some agents to the hub and back. It alone knows their memories and the hub's.
;;
;; What stands between `for each agent {` and `}` is there once for each of them, with its number behind the names of
;; `agent`, `turn`, `start`, `carry` and `enter`, and for PLACE: a million agents have 62,500 couriers of 16.
;;
;; `enter` starts an agent. `carry` writes the turn header and the frames of `letters` into its inbox, lets it take its
;; turn, and copies its outbox to `to`. A letter in the hub is: u32 address of the next one, u32 bytes, the frame.
;; `touch` reads a word of the inbox and of the outbox of each of some agents, before they take their turns: memory then
;; brings all of them at once, and not one after the other.
(module
  (import "hub" "memory" (memory $hub 65535 65535 shared))
  (import "hub" "table" (table $couriers 1 funcref))
  (import "hub" "worker" (global $worker i32))  ;; the address of hub.c's worker_t
  ;; for each agent {
  (import "agent" "memory" (memory $agent 0))
  (import "agent" "turn" (func $turn (param i32 i64) (result i32 i64)))
  (import "agent" "start" (func $start (param i64) (result i32 i64)))
  (import "agent" "left" (func $left (result i64)))
  ;; }

  ;; What is longer is copied in bulk, which is a call into the engine.
  (global $SHORT i32 (i32.const 256))

  ;; for each agent {
  (func $carry
    (param $letter i32) (param $frames i32) (param $inbox i32)
    (param $outbox i32) (param $most i32) (param $to i32) (param $budget i64) (result i32)
    (local $at i32) (local $bytes i32) (local $end i32) (local $result i32) (local $rest i64)
    ;; The turn header, of 32 bytes, is in the worker_t.
    (i64.store $agent (local.get $inbox) (i64.load $hub offset=40 (global.get $worker)))
    (i64.store $agent offset=8 (local.get $inbox) (i64.load $hub offset=48 (global.get $worker)))
    (i64.store $agent offset=16 (local.get $inbox) (i64.load $hub offset=56 (global.get $worker)))
    (i64.store $agent offset=24 (local.get $inbox) (i64.load $hub offset=64 (global.get $worker)))
    (local.set $at (i32.add (local.get $inbox) (i32.const 32)))

    ;; The frames: each ends at a multiple of 8 bytes.
    (block $delivered
      (loop $next
        (br_if $delivered (i32.eqz (local.get $frames)))
        (local.set $frames (i32.sub (local.get $frames) (i32.const 1)))
        (local.set $bytes (i32.load $hub offset=4 (local.get $letter)))
        (local.set $end (i32.add (local.get $at) (local.get $bytes)))
        (if (i32.gt_u (local.get $bytes) (global.get $SHORT))
          (then
            (memory.copy $agent $hub
              (local.get $at) (i32.add (local.get $letter) (i32.const 8)) (local.get $bytes))
            (local.set $at (local.get $end))
            (local.set $letter (i32.load $hub (local.get $letter)))
            (br $next)))
        (local.set $bytes (i32.add (local.get $letter) (i32.const 8)))
        (local.set $letter (i32.load $hub (local.get $letter)))
        (loop $words
          (i64.store $agent (local.get $at) (i64.load $hub (local.get $bytes)))
          (local.set $at (i32.add (local.get $at) (i32.const 8)))
          (local.set $bytes (i32.add (local.get $bytes) (i32.const 8)))
          (br_if $words (i32.ne (local.get $at) (local.get $end))))  ;; an inbox may end with the memory, at 2^32
        (br $next)))

    (call $turn (i32.sub (local.get $at) (local.get $inbox)) (local.get $budget))
    (local.set $rest)
    (local.set $result)
    (i64.store $hub offset=32 (; left ;) (global.get $worker) (local.get $rest))

    ;; The outbox: of any number of bytes where it is malformed, and none where the agent answered a code.
    (if (i32.or (i32.gt_u (local.get $result) (global.get $SHORT)) (i32.and (local.get $result) (i32.const 7)))
      (then
        (if (i32.le_u (local.get $result) (local.get $most))
          (then (memory.copy $hub $agent (local.get $to) (local.get $outbox) (local.get $result))))
        (return (local.get $result))))
    ;; By 4 bytes: processors hand on what was just stored only to loads that are no wider, and a frame's fields are 4 bytes.
    (local.set $end (i32.add (local.get $to) (local.get $result)))
    (block $taken
      (br_if $taken (i32.gt_u (local.get $result) (local.get $most)))
      (loop $words
        (br_if $taken (i32.ge_u (local.get $to) (local.get $end)))
        (i32.store $hub (local.get $to) (i32.load $agent (local.get $outbox)))
        (i32.store $hub offset=4 (local.get $to) (i32.load $agent offset=4 (local.get $outbox)))
        (local.set $to (i32.add (local.get $to) (i32.const 8)))
        (local.set $outbox (i32.add (local.get $outbox) (i32.const 8)))
        (br $words)))
    (local.get $result))

  ;; Starts the agent, where the worker says so, and tells what came of it. Then the courier is put behind all others of
  ;; the store, where hub.c finds it; `touch` stands before them.
  (func $enter
    (local $record i32) (local $rest i64) (local $word i32)
    (if (i32.and (i32.load $hub offset=28 (; starts ;) (global.get $worker)) (i32.shl (i32.const 1) (i32.const PLACE)))
      (then
        (call $start (i64.load $hub offset=72 (; budget ;) (global.get $worker)))
        (local.set $rest)
        (local.set $record)
        (local.set $word (i32.add (global.get $worker) (i32.shl (i32.const PLACE) (i32.const 5))))
        (i64.store $hub offset=136 (; of, left ;) (local.get $word) (local.get $rest))
        (i32.store $hub offset=164 (; of, pages ;) (local.get $word) (memory.size $agent))
        (if (i64.le_u
              (i64.add (i64.extend_i32_u (local.get $record)) (i64.const 20))
              (i64.shl (i64.extend_i32_u (memory.size $agent)) (i64.const 16)))
          (then
            (memory.copy $hub $agent
              (i32.add (local.get $word) (i32.const 144 (; of, record ;))) (local.get $record) (i32.const 20)))
          (else
            (memory.fill $hub (i32.add (local.get $word) (i32.const 144)) (i32.const 0) (i32.const 20))))
        (i32.store $hub offset=80 (; started ;) (global.get $worker)
          (i32.add (i32.load $hub offset=80 (global.get $worker)) (i32.const 1)))))
    (drop (table.grow $couriers (ref.func $carry) (i32.const 1))))
  (elem declare func $carry)
  ;; }

  ;; agents: bits, by PLACE; all of them have these buffers.
  (func $touch (param $agents i32) (param $inbox i32) (param $outbox i32) (result i64)
    (local $sum i64)
    ;; for each agent {
    (if (i32.and (local.get $agents) (i32.shl (i32.const 1) (i32.const PLACE)))
      (then
        (local.set $sum (i64.add (local.get $sum) (call $left)))
        (local.set $sum (i64.add (local.get $sum) (i64.load $agent (local.get $inbox))))
        (local.set $sum (i64.add (local.get $sum) (i64.load $agent (local.get $outbox))))))
    ;; }
    (local.get $sum))
  (elem declare func $touch)

  (func $all
    (drop (table.grow $couriers (ref.func $touch) (i32.const 1)))
    ;; for each agent {
    (call $enter)
    ;; }
  )
  (start $all))

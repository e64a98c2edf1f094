;; courier: the way of some agents to the hub and back. It alone knows their memories and the hub's.
;;
;; What stands between `for each agent {` and `}` is there once for each of them, or `from the last` to the first, with its
;; number behind the names of `agent`, `turn`, `start`, `enter` and `case`, and for SEAT: a million agents have 62,500
;; couriers of 16.
;;
;; `enter` starts an agent. `carry` writes the turn header and the frames of `letters` into its inbox, lets it take its
;; turn, and copies its outbox to `to`. A letter in the hub is: u32 address of the next one, u32 bytes, the frame.
;; `touch` reads what the turns of some agents begin with, in the instance, the inbox and the outbox of each: memory then
;; brings all of it at once.
;;
;; What an instance has of its imports lies in the order below, functions and memories apart, and every cache line of it is
;; one more to wait for in a turn. So starts stand behind all turns, and there is one `carry`: a function reference for each
;; agent would be half a line.
(module
  (import "hub" "memory" (memory $hub 65535 65535 shared))
  (import "hub" "table" (table $couriers 1 funcref))
  (import "hub" "worker" (global $worker i32))  ;; the address of hub.c's worker_t
  ;; for each agent {
  (import "agent" "memory" (memory $agent 0))
  (import "agent" "turn" (func $turn (param i32 i64) (result i32 i64)))
  ;; }
  ;; for each agent {
  (import "agent" "start" (func $start (param i64) (result i32 i64)))
  ;; }

  ;; What is longer is copied in bulk, which is a call into the engine.
  (global $SHORT i32 (i32.const 256))

  ;; A turn of the agent in a seat. mail: the first letter in the lower half, the number of frames in the upper one.
  ;; buffers: the inbox and the outbox.
  (func $carry
    (param $seat i32) (param $mail i64) (param $buffers i64) (param $budget i64) (param $entropy i64)
    (param $self i32) (param $most i32) (param $to i32) (result i32)
    (local $letter i32) (local $frames i32) (local $inbox i32) (local $outbox i32)
    (local $from i32) (local $at i32) (local $bytes i32) (local $end i32) (local $result i32) (local $rest i64)
    (local.set $inbox (i32.wrap_i64 (local.get $buffers)))
    (local.set $outbox (i32.wrap_i64 (i64.shr_u (local.get $buffers) (i64.const 32))))
    (local.set $letter (i32.wrap_i64 (local.get $mail)))
    (local.set $frames (i32.wrap_i64 (i64.shr_u (local.get $mail) (i64.const 32))))
    (local.set $at (i32.add (local.get $inbox) (i32.const 32)))
    ;; for each agent, from the last {
    (block $case
    ;; }
    (br_table
      ;; for each agent {
      $case
      ;; }
      (local.get $seat))
    ;; for each agent {
    )
    ;; The turn header, of 32 bytes: its first half is in the worker_t.
    (v128.store $agent (local.get $inbox) (v128.load $hub offset=40 (; wave, time ;) (global.get $worker)))
    (i64.store $agent offset=16 (local.get $inbox) (local.get $entropy))
    (i64.store $agent offset=24 (local.get $inbox)
      (i64.or (i64.extend_i32_u (local.get $self)) (i64.shl (i64.extend_i32_u (local.get $frames)) (i64.const 32))))

    ;; The frames: each ends at a multiple of 8 bytes.
    (block $delivered
      (loop $next
        (br_if $delivered (i32.eqz (local.get $frames)))
        (local.set $frames (i32.sub (local.get $frames) (i32.const 1)))
        (local.set $bytes (i32.load $hub offset=4 (local.get $letter)))
        (local.set $from (i32.add (local.get $letter) (i32.const 8)))
        (local.set $letter (i32.load $hub (local.get $letter)))
        (if (i32.gt_u (local.get $bytes) (global.get $SHORT))
          (then
            (memory.copy $agent $hub (local.get $at) (local.get $from) (local.get $bytes))
            (local.set $at (i32.add (local.get $at) (local.get $bytes)))
            (br $next)))
        (local.set $end (i32.add (local.get $at) (i32.and (local.get $bytes) (i32.const -16))))
        (loop $words  ;; a frame has 16 bytes or more
          (v128.store $agent align=8 (local.get $at) (v128.load $hub align=8 (local.get $from)))
          (local.set $at (i32.add (local.get $at) (i32.const 16)))
          (local.set $from (i32.add (local.get $from) (i32.const 16)))
          (br_if $words (i32.ne (local.get $at) (local.get $end))))  ;; an inbox may end with the memory, at 2^32
        (br_if $next (i32.eqz (i32.and (local.get $bytes) (i32.const 8))))
        (i64.store $agent (local.get $at) (i64.load $hub (local.get $from)))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br $next)))

    (call $turn (i32.sub (local.get $at) (local.get $inbox)) (local.get $budget))
    (local.set $rest)
    (local.set $result)
    (i64.store $hub offset=32 (; left ;) (global.get $worker) (local.get $rest))

    ;; The outbox: none where the agent answered a code, or more than there may be.
    (if (i32.gt_u (local.get $result) (local.get $most)) (then (return (local.get $result))))
    ;; Of more than 256 bytes, or of any number, which is malformed: rotated, those that are no multiple of 8 are large.
    (if (i32.gt_u (i32.rotr (local.get $result) (i32.const 3)) (i32.const 32))
      (then
        (memory.copy $hub $agent (local.get $to) (local.get $outbox) (local.get $result))
        (return (local.get $result))))
    ;; By 4 bytes: what was just stored, in fields of 4 bytes and more, processors hand on to loads that are no wider. Wider
    ;; ones wait until it is in the cache, and with it all that was stored before.
    (local.set $end (i32.add (local.get $to) (i32.and (local.get $result) (i32.const -16))))
    (block $taken
      (loop $words
        (br_if $taken (i32.ge_u (local.get $to) (local.get $end)))
        (i32.store $hub (local.get $to) (i32.load $agent (local.get $outbox)))
        (i32.store $hub offset=4 (local.get $to) (i32.load $agent offset=4 (local.get $outbox)))
        (i32.store $hub offset=8 (local.get $to) (i32.load $agent offset=8 (local.get $outbox)))
        (i32.store $hub offset=12 (local.get $to) (i32.load $agent offset=12 (local.get $outbox)))
        (local.set $to (i32.add (local.get $to) (i32.const 16)))
        (local.set $outbox (i32.add (local.get $outbox) (i32.const 16)))
        (br $words)))
    (if (i32.and (local.get $result) (i32.const 8))
      (then
        (i32.store $hub (local.get $to) (i32.load $agent (local.get $outbox)))
        (i32.store $hub offset=4 (local.get $to) (i32.load $agent offset=4 (local.get $outbox)))))
    (return (local.get $result))
    ;; }
    (unreachable))

  (elem declare func $carry)

  ;; for each agent {
  ;; Starts the agent, where the worker says so, and tells what came of it.
  (func $enter
    (local $record i32) (local $rest i64) (local $word i32)
    (if (i32.and (i32.load $hub offset=28 (; starts ;) (global.get $worker)) (i32.shl (i32.const 1) (i32.const SEAT)))
      (then
        (call $start (i64.load $hub offset=56 (; budget ;) (global.get $worker)))
        (local.set $rest)
        (local.set $record)
        (local.set $word (i32.add (global.get $worker) (i32.shl (i32.const SEAT) (i32.const 5))))
        (i64.store $hub offset=128 (; of, left ;) (local.get $word) (local.get $rest))
        (i32.store $hub offset=156 (; of, pages ;) (local.get $word) (memory.size $agent))
        (if (i64.le_u
              (i64.add (i64.extend_i32_u (local.get $record)) (i64.const 20))
              (i64.shl (i64.extend_i32_u (memory.size $agent)) (i64.const 16)))
          (then
            (memory.copy $hub $agent
              (i32.add (local.get $word) (i32.const 136 (; of, record ;))) (local.get $record) (i32.const 20)))
          (else
            (memory.fill $hub (i32.add (local.get $word) (i32.const 136)) (i32.const 0) (i32.const 20))))
        (i32.store $hub offset=64 (; started ;) (global.get $worker)
          (i32.add (i32.load $hub offset=64 (global.get $worker)) (i32.const 1))))))
  ;; }

  ;; agents: bits, by SEAT; all of them have these buffers.
  (func $touch (param $agents i32) (param $inbox i32) (param $outbox i32) (result i64)
    (local $sum i64)
    ;; for each agent {
    (if (i32.and (local.get $agents) (i32.shl (i32.const 1) (i32.const SEAT)))
      (then
        (call $turn (i32.const 0) (i64.const -1) (; no turn, but what one begins with ;))
        (drop)
        (drop)
        (local.set $sum (i64.add (local.get $sum) (i64.load $agent (local.get $inbox))))
        (local.set $sum (i64.add (local.get $sum) (i64.load $agent (local.get $outbox))))))
    ;; }
    (local.get $sum))
  (elem declare func $touch)

  ;; Puts `carry` and `touch` behind all others of the store, where hub.c finds them, and starts the agents.
  (func $all
    (drop (table.grow $couriers (ref.func $carry) (i32.const 1)))
    (drop (table.grow $couriers (ref.func $touch) (i32.const 1)))
    ;; for each agent {
    (call $enter)
    ;; }
  )
  (start $all))

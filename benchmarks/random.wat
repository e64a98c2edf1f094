;; Passes every message on to an agent picked by the turn's entropy. The first turn learns how many there are and sends
;; a message of its own.
;; All that it touches lies in 4 KiB: inbox at 0x40, outbox at 0x800.
(module
  (memory (export "memory") 1)
  (global $agents (mut i32) (i32.const 0))
  (data (i32.const 0) "\01\00\00\00" "\40\00\00\00" "\c0\07\00\00" "\00\08\00\00" "\00\08\00\00")
  (func (export "wavelock_abi") (result i32) (i32.const 0))
  ;; one frame of 16 bytes to an agent like any other; the payload's first word is `value`
  (func $send (param $at i32) (param $self i32) (param $value i64)
    (i64.store (local.get $at) (i64.const 0x100000010))
    (i32.store offset=8 (local.get $at)
      (i32.wrap_i64 (i64.rem_u
        (i64.shr_u (i64.mul (i64.add (i64.load (i32.const 0x50)) (i64.extend_i32_u (local.get $at)))
          (i64.const 0x9E3779B97F4A7C15)) (i64.const 20))
        (i64.extend_i32_u (global.get $agents)))))
    (i32.store offset=12 (local.get $at) (i32.const 0))
    (i64.store offset=16 (local.get $at) (local.get $value))
    (i64.store offset=24 (local.get $at) (i64.const 0)))
  (func (export "wavelock_turn") (param $length i32) (result i32)
    (local $read i32) (local $end i32) (local $write i32) (local $self i32)
    (local.set $read (i32.const 0x60))
    (local.set $end (i32.add (i32.const 0x40) (local.get $length)))
    (local.set $write (i32.const 0x800))
    (local.set $self (i32.load (i32.const 0x58)))
    (loop $frames
      (if (i32.lt_u (local.get $read) (local.get $end))
        (then
          (if (i32.eq (i32.load16_u offset=4 (local.get $read)) (i32.const 8)) ;; directory: the ring is its first group
            (then (global.set $agents (i32.load offset=24 (local.get $read)))))
          (if (i32.ne (i32.load16_u offset=4 (local.get $read)) (i32.const 1)) ;; directory or message, not the start
            (then
              (call $send (local.get $write) (local.get $self) (i64.load offset=16 (local.get $read)))
              (local.set $write (i32.add (local.get $write) (i32.const 32)))))
          (local.set $read (i32.add (local.get $read)
            (i32.add (i32.const 16)
              (i32.and (i32.add (i32.load (local.get $read)) (i32.const 7)) (i32.const -8)))))
          (br $frames))))
    (i32.sub (local.get $write) (i32.const 0x800))))

;; sender: a message to the same sink in every turn, and a yield. The first turn learns how many sinks there are.
;; What stands between two at signs is filled in by works.py, which also says what lies where.
(module
  (memory (export "memory") @pages@)
  (global $sink (mut i64) (i64.const -1))
  (data (i32.const 0) "@record@")
  (func (export "wavelock_abi") (result i32) (i32.const 0))
  (func $learn (param $length i32)
    (local $read i32) (local $end i32)
    (local.set $read (i32.const @frames@))
    (local.set $end (i32.add (i32.const @inbox@) (local.get $length)))
    (loop $each
      (if (i32.lt_u (local.get $read) (local.get $end))
        (then
          (if (i32.eq (i32.load16_u offset=4 (local.get $read)) (i32.const 8)) ;; the directory: first row, the sinks
            (then
              (global.set $sink (i64.extend_i32_u
                (i32.rem_u (i32.load (i32.const @self@)) (i32.load offset=24 (local.get $read)))))))
          (local.set $read (i32.add (local.get $read)
            (i32.add (i32.const 16) (i32.and (i32.add (i32.load (local.get $read)) (i32.const 7)) (i32.const -8)))))
          (br $each)))))
  (func (export "wavelock_turn") (param $length i32) (result i32)
    (if (i64.eq (global.get $sink) (i64.const -1)) (then (call $learn (local.get $length))))
    (i64.store (i32.const @outbox@) (i64.const @send@))
    (i64.store offset=8 (i32.const @outbox@) (global.get $sink))
    (i64.store offset=16 (i32.const @outbox@)
      (i64.add (i64.extend_i32_u (i32.load (i32.const @self@))) (i64.const 1)))
    (i64.store offset=@frame@ (i32.const @outbox@) (i64.const 0xA00000000)) ;; a yield
    (i64.store offset=@yield_peer@ (i32.const @outbox@) (i64.const 0))
    (i32.const @both@)))

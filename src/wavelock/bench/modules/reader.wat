;; reader: reads the first word of every message, and does nothing else: a sink, or one of a topic's listeners.
;; What stands between two at signs is filled in by works.py, which also says what lies where.
(module
  (memory (export "memory") @pages@)
  (data (i32.const 0) "@record@")
  (func (export "wavelock_abi") (result i32) (i32.const 0))
  (func (export "wavelock_turn") (param $length i32) (result i32)
    (local $read i32) (local $end i32) (local $seen i64)
    (local.set $read (i32.const @frames@))
    (local.set $end (i32.add (i32.const @inbox@) (local.get $length)))
    (local.set $seen (i64.load (i32.const @seen@)))
    (loop $each
      (if (i32.lt_u (local.get $read) (local.get $end))
        (then
          (if (i32.eq (i32.load16_u offset=4 (local.get $read)) (i32.const 2)) ;; a message
            (then (local.set $seen (i64.add (local.get $seen) (i64.load offset=16 (local.get $read))))))
          (local.set $read (i32.add (local.get $read)
            (i32.add (i32.const 16) (i32.and (i32.add (i32.load (local.get $read)) (i32.const 7)) (i32.const -8)))))
          (br $each))))
    (i64.store (i32.const @seen@) (local.get $seen))
    (i32.const 0)))

;; ring: every message goes on, as it is, to the next agent. The first turn learns how many there are and sends one.
;; What stands between two at signs is filled in by works.py, which also says what lies where.
(module
  (memory (export "memory") @pages@)
  (global $next (mut i64) (i64.const 0))
  (data (i32.const 0) "@record@")
  (func (export "wavelock_abi") (result i32) (i32.const 0))
  (func (export "wavelock_turn") (param $length i32) (result i32)
    (local $read i32) (local $end i32) (local $write i32) (local $kind i32) (local $self i32)
    (local.set $read (i32.const @frames@))
    (local.set $end (i32.add (i32.const @inbox@) (local.get $length)))
    (local.set $write (i32.const @outbox@))
    (loop $each
      (if (i32.lt_u (local.get $read) (local.get $end))
        (then
          (local.set $kind (i32.load16_u offset=4 (local.get $read)))
          (if (i32.eq (local.get $kind) (i32.const 2)) ;; a message
            (then
              (i64.store (i32.const @seen@)
                (i64.add (i64.load (i32.const @seen@)) (i64.load offset=16 (local.get $read))))
              @copy@))
          (if (i32.eq (local.get $kind) (i32.const 8)) ;; the directory, whose first row is the ring
            (then
              (local.set $self (i32.add (i32.load (i32.const @self@)) (i32.const 1)))
              (global.set $next
                (i64.extend_i32_u (i32.rem_u (local.get $self) (i32.load offset=24 (local.get $read)))))
              (i64.store offset=16 (local.get $write) (i64.extend_i32_u (local.get $self)))))
          (if (i32.ne (local.get $kind) (i32.const 1)) ;; not the start
            (then
              (i64.store (local.get $write) (i64.const @send@))
              (i64.store offset=8 (local.get $write) (global.get $next))
              (local.set $write (i32.add (local.get $write) (i32.const @frame@)))))
          (local.set $read (i32.add (local.get $read)
            (i32.add (i32.const 16) (i32.and (i32.add (i32.load (local.get $read)) (i32.const 7)) (i32.const -8)))))
          (br $each))))
    (i32.sub (local.get $write) (i32.const @outbox@))))

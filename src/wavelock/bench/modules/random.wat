;; random: every message goes on, as it is, to an agent picked by the turn's entropy. The first turn learns how many
;; there are and sends one.
;; What stands between two at signs is filled in by works.py, which also says what lies where.
(module
  (memory (export "memory") @pages@)
  (global $agents (mut i64) (i64.const 0))
  (data (i32.const 0) "@record@")
  (func (export "wavelock_abi") (result i32) (i32.const 0))
  (func (export "wavelock_turn") (param $length i32) (result i32)
    (local $read i32) (local $end i32) (local $write i32) (local $kind i32)
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
          (if (i32.eq (local.get $kind) (i32.const 8)) ;; the directory, whose first row is all agents
            (then
              (global.set $agents (i64.extend_i32_u (i32.load offset=24 (local.get $read))))
              (i64.store offset=16 (local.get $write)
                (i64.add (i64.extend_i32_u (i32.load (i32.const @self@))) (i64.const 1)))))
          (if (i32.ne (local.get $kind) (i32.const 1)) ;; not the start
            (then
              (i64.store (local.get $write) (i64.const @send@))
              (i64.store offset=8 (local.get $write) ;; the frame's own address tells several of one turn apart
                (i64.rem_u
                  (i64.shr_u
                    (i64.mul
                      (i64.add (i64.load (i32.const @entropy@)) (i64.extend_i32_u (local.get $write)))
                      (i64.const 0x9E3779B97F4A7C15))
                    (i64.const 20))
                  (global.get $agents)))
              (local.set $write (i32.add (local.get $write) (i32.const @frame@)))))
          (local.set $read (i32.add (local.get $read)
            (i32.add (i32.const 16) (i32.and (i32.add (i32.load (local.get $read)) (i32.const 7)) (i32.const -8)))))
          (br $each))))
    (i32.sub (local.get $write) (i32.const @outbox@))))

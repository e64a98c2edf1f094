;; Stands between Extism and an agent's module, which it imports as it is: a call's input becomes the inbox, the outbox
;; the call's output. Extism's own memory is reached word by word, through its functions.
(module
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (import "extism:host/env" "input_load_u64" (func $input (param i64) (result i64)))
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u64" (func $store (param i64 i64)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (import "agent" "memory" (memory 1))
  (import "agent" "wavelock_abi" (func $abi (result i32)))
  (import "agent" "wavelock_turn" (func $turn (param i32) (result i32)))
  ;; answers `bytes` of the agent's memory, from an address on
  (func $answer (param $from i32) (param $bytes i32)
    (local $to i64) (local $at i32)
    (local.set $to (call $alloc (i64.extend_i32_u (local.get $bytes))))
    (block $done
      (loop $word
        (br_if $done (i32.ge_u (local.get $at) (local.get $bytes)))
        (call $store (i64.add (local.get $to) (i64.extend_i32_u (local.get $at)))
          (i64.load (i32.add (local.get $from) (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br $word)))
    (call $output_set (local.get $to) (i64.extend_i32_u (local.get $bytes))))
  (func (export "turn") (result i32)
    (local $length i32) (local $at i32) (local $inbox i32) (local $outbox i32)
    (local.set $inbox (i32.load offset=4 (call $abi)))
    (local.set $outbox (i32.load offset=12 (call $abi)))
    (local.set $length (i32.wrap_i64 (call $input_length)))
    (block $done
      (loop $word
        (br_if $done (i32.ge_u (local.get $at) (local.get $length)))
        (i64.store (i32.add (local.get $inbox) (local.get $at))
          (call $input (i64.extend_i32_u (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br $word)))
    (call $answer (local.get $outbox) (call $turn (local.get $length)))
    (i32.const 0))
  (func (export "seen") (result i32)
    (call $answer (i32.const 24) (i32.const 8))
    (i32.const 0)))

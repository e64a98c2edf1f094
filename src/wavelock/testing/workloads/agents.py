"""Agents of the workloads, as WebAssembly text around one prelude.

The prelude reads frames, writes effects and folds what it sees into a running hash, so that an agent that met anything
else than in another run says so from then on. Everything that an agent hears should be folded, and the hash sent.
"""

from __future__ import annotations

import struct
from typing import Final

from wavelock.core.abi import ABI_RECORD, ABI_VERSION, WORLD, Inbound, Outbound

RECORD: Final = 1024
DATA: Final = 2048
"""Where a workload may put data segments, up to INBOX."""
INBOX: Final = 8192
INBOX_BYTES: Final = 16384
OUTBOX: Final = 32768
OUTBOX_BYTES: Final = 16384
SCRATCH: Final = 49152
"""Where a workload may write, up to the end of the first page."""
FRAMES: Final = INBOX + 32
"""The first frame, behind the turn header."""
PAGE: Final = 1 << 16

PRELUDE: Final = f"""
  (global $at (mut i32) (i32.const 0))    ;; the next frame
  (global $end (mut i32) (i32.const 0))   ;; where frames end
  (global $out (mut i32) (i32.const 0))   ;; where the next effect goes
  (global $hash (mut i64) (i64.const 0))  ;; over all that was folded, for as long as the agent lives
  (global $turns (mut i32) (i32.const 0)) ;; before this one

  (func $wave (result i32) (i32.wrap_i64 (i64.load (i32.const {INBOX}))))
  (func $entropy (result i64) (i64.load offset=16 (i32.const {INBOX})))
  (func $self (result i32) (i32.load offset=24 (i32.const {INBOX})))

  (func $begin (param $len i32)
    (global.set $at (i32.const {FRAMES}))
    (global.set $end (i32.add (i32.const {INBOX}) (local.get $len)))
    (global.set $out (i32.const {OUTBOX})))

  (func $finish (result i32)
    (global.set $turns (i32.add (global.get $turns) (i32.const 1)))
    (i32.sub (global.get $out) (i32.const {OUTBOX})))

  (func $size (param $frame i32) (result i32) ;; of a frame, padding included
    (i32.add (i32.const 16) (i32.and (i32.add (i32.load (local.get $frame)) (i32.const 7)) (i32.const -8))))

  (func $next (result i32) (local $frame i32) ;; the next frame's address, or 0
    (if (i32.ge_u (global.get $at) (global.get $end)) (then (return (i32.const 0))))
    (local.set $frame (global.get $at))
    (global.set $at (i32.add (local.get $frame) (call $size (local.get $frame))))
    (local.get $frame))

  (func $kind (param $frame i32) (result i32) (i32.load16_u offset=4 (local.get $frame)))
  (func $flags (param $frame i32) (result i32) (i32.load16_u offset=6 (local.get $frame)))
  (func $peer (param $frame i32) (result i32) (i32.load offset=8 (local.get $frame)))
  (func $tag (param $frame i32) (result i32) (i32.load offset=12 (local.get $frame)))

  (func $fold (param $value i64)
    (global.set $hash
      (i64.rotl
        (i64.mul (i64.xor (global.get $hash) (local.get $value)) (i64.const 0x9E3779B97F4A7C15))
        (i64.const 29))))

  (func $fold_bytes (param $from i32) (param $to i32) ;; whole words of 8 bytes
    (block $done
      (loop $more
        (br_if $done (i32.ge_u (local.get $from) (local.get $to)))
        (call $fold (i64.load (local.get $from)))
        (local.set $from (i32.add (local.get $from) (i32.const 8)))
        (br $more))))

  (func $fold_frame (param $frame i32)
    (call $fold_bytes (local.get $frame) (i32.add (local.get $frame) (call $size (local.get $frame)))))

  (func $hear (local $frame i32) ;; folds all frames that are left, and the turn's entropy
    (call $fold (call $entropy))
    (block $done
      (loop $more
        (br_if $done (i32.eqz (local.tee $frame (call $next))))
        (call $fold_frame (local.get $frame))
        (br $more))))

  ;; writes an effect's header and answers where its payload goes; padding is zero
  (func $emit (param $kind i32) (param $peer i32) (param $tag i32) (param $len i32) (result i32) (local $frame i32)
    (local.set $frame (global.get $out))
    (i32.store (local.get $frame) (local.get $len))
    (i32.store offset=4 (local.get $frame) (local.get $kind))
    (i32.store offset=8 (local.get $frame) (local.get $peer))
    (i32.store offset=12 (local.get $frame) (local.get $tag))
    (global.set $out (i32.add (local.get $frame) (call $size (local.get $frame))))
    (if (i32.and (local.get $len) (i32.const 7))
      (then (i64.store (i32.sub (global.get $out) (i32.const 8)) (i64.const 0))))
    (i32.add (local.get $frame) (i32.const 16)))

  (func $send (param $peer i32) (param $tag i32) (param $value i64)
    (i64.store
      (call $emit (i32.const {Outbound.SEND.value}) (local.get $peer) (local.get $tag) (i32.const 8))
      (local.get $value)))

  (func $say (param $tag i32) (param $value i64) ;; to the world outside
    (call $send (i32.const {WORLD}) (local.get $tag) (local.get $value)))

  (func $say_hash (call $say (call $wave) (global.get $hash)))

  (func $bare (param $kind i32) (drop (call $emit (local.get $kind) (i32.const 0) (i32.const 0) (i32.const 0))))
  (func $yield (call $bare (i32.const {Outbound.YIELD.value})))
  (func $yield_until (param $turns i32) ;; as long as fewer turns than these have begun
    (if (i32.lt_u (i32.add (global.get $turns) (i32.const 1)) (local.get $turns)) (then (call $yield))))

  (func $exit (param $code i32)
    (i32.store
      (call $emit (i32.const {Outbound.EXIT.value}) (i32.const 0) (i32.const 0) (i32.const 4))
      (local.get $code)))

  (func $timer (param $tag i32) (param $waves i64)
    (i64.store
      (call $emit (i32.const {Outbound.TIMER.value}) (i32.const 0) (local.get $tag) (i32.const 8))
      (local.get $waves)))
"""


def escaped(data: bytes) -> str:
    """Bytes as the inside of a string in WebAssembly text."""
    return "".join(f"\\{byte:02x}" for byte in data)


def data(address: int, content: bytes) -> str:
    """A data segment."""
    return f'(data (i32.const {address}) "{escaped(content)}")\n'


def record(inbox_bytes: int = INBOX_BYTES, outbox: int = OUTBOX) -> str:
    """The data segment of an ABI record."""
    return data(RECORD, ABI_RECORD.pack(ABI_VERSION, INBOX, inbox_bytes, outbox, OUTBOX_BYTES))


def agent(
    turn: str, *, rest: str = "", locals_: str = "", memory: str = "1", abi: str = "", inbox_bytes: int = INBOX_BYTES
) -> str:
    """A module around the body of its turn, between `$begin` and `$finish`.

    rest: more fields of the module. locals_: the turn's own locals. memory: its limits in pages. abi: what stands for
    the data segment of the usual record.
    """
    return f"""(module
  (memory (export "memory") {memory})
  {abi or record(inbox_bytes)}{PRELUDE}{rest}
  (func (export "wavelock_abi") (result i32) (i32.const {RECORD}))
  (func (export "wavelock_turn") (param $len i32) (result i32) (local $frame i32) {locals_}
    (call $begin (local.get $len))
    {turn}
    (call $finish)))
"""


def frames(*cases: tuple[Inbound, str], after: str = "") -> str:
    """Walks over all frames, folds each, and does what its kind asks for. `$frame` is the frame.

    after: what else is done for every frame.
    """
    branches = "".join(
        f"(if (i32.eq (call $kind (local.get $frame)) (i32.const {kind.value})) (then {body}))\n"
        for kind, body in cases
    )
    return f"""(block $heard
      (loop $more
        (br_if $heard (i32.eqz (local.tee $frame (call $next))))
        (call $fold_frame (local.get $frame))
        {branches}{after}
        (br $more)))"""


def choose(index: str, cases: list[str], otherwise: str = "unreachable") -> str:
    """A br_table: the code of one case, each of which goes on behind all of them."""
    labels = [f"$case{number}" for number in range(len(cases))]
    text = f"(br_table {' '.join(labels)} $otherwise {index})"
    for label, code in zip(["$otherwise", *labels], [otherwise, *cases], strict=True):
        text = f"(block {label} {text}) {code} (br $chosen)"
    return f"(block $chosen {text})"


def binary32(*patterns: int) -> bytes:
    """f32 values by their bits."""
    return struct.pack(f"<{len(patterns)}I", *patterns)


def binary64(*patterns: int) -> bytes:
    """f64 values by their bits."""
    return struct.pack(f"<{len(patterns)}Q", *patterns)

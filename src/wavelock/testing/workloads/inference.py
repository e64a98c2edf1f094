"""Inference: requests of one and of several rows to two models, answers by latency, every reason to refuse one.

The model is a linear layer over small whole numbers: its products and sums are exact, in whatever order they are
taken, so that every backend and device must answer with the same bits.
"""

from __future__ import annotations

from pathlib import Path

from wavelock.core.abi import Inbound, Outbound
from wavelock.testing.workloads.agents import agent, frames
from wavelock.testing.workloads.workload import Workload, group, row

MODEL_FILE = Path(__file__).parent / "linear.onnx"
"""x[rows, 4] to x·W + b[rows, 3], f32. W and b are in `tests/testing/test_model.py`, which holds the file to them."""
_F32, _F64 = 1, 2
_FEATURES = 4
_QUICK, _SLOW, _NO_MODEL = 0, 1, 9
_NAN = 0x7FC00000

_TENSOR = f"""
  ;; a tensor of f32: (features) where rows are 0, else (rows, features); answers where its elements begin
  (func $tensor (param $model i32) (param $tag i32) (param $dtype i32) (param $rows i32) (param $features i32)
    (result i32) (local $payload i32) (local $count i32)
    (local.set $count (i32.mul
      (select (local.get $rows) (i32.const 1) (local.get $rows)) (local.get $features)))
    (local.set $payload
      (call $emit (i32.const {Outbound.INFER.value}) (local.get $model) (local.get $tag)
        (i32.add (i32.const 16) (i32.shl (local.get $count) (i32.add (local.get $dtype) (i32.const 1))))))
    (i32.store (local.get $payload)
      (i32.or (local.get $dtype)
        (i32.shl (select (i32.const 2) (i32.const 1) (local.get $rows)) (i32.const 8))))
    (i32.store offset=4 (local.get $payload) (i32.const 0))
    (i64.store offset=8 (local.get $payload) (i64.extend_i32_u (local.get $features)))
    (if (local.get $rows) (then
      (i32.store offset=8 (local.get $payload) (local.get $rows))
      (i32.store offset=12 (local.get $payload) (local.get $features))))
    (i32.add (local.get $payload) (i32.const 16)))

  (func $ask (param $model i32) (param $tag i32) (param $rows i32) ;; whole numbers, -15 to 16, as elements
    (local $at i32) (local $left i32)
    (local.set $left (i32.mul (select (local.get $rows) (i32.const 1) (local.get $rows)) (i32.const {_FEATURES})))
    (local.set $at (call $tensor (local.get $model) (local.get $tag) (i32.const {_F32}) (local.get $rows)
      (i32.const {_FEATURES})))
    (loop $more
      (call $fold (i64.extend_i32_u (local.get $left)))
      (f32.store (local.get $at)
        (f32.convert_i32_s
          (i32.sub (i32.const 16) (i32.and (i32.wrap_i64 (global.get $hash)) (i32.const 31)))))
      (local.set $at (i32.add (local.get $at) (i32.const 4)))
      (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1))))))
"""
_ASKS = agent(
    frames((Inbound.INFERENCE, "(call $say (call $tag (local.get $frame)) (i64.load offset=32 (local.get $frame)))"))
    + f"""
    (call $fold (call $entropy))
    (if (i32.lt_u (global.get $turns) (i32.const 5)) (then
      (call $ask (i32.const {_QUICK}) (i32.const 1) (i32.const 0))
      (call $ask (i32.const {_SLOW}) (i32.const 2) (i32.add (global.get $turns) (call $self)))))
    (if (i32.eq (global.get $turns) (i32.const 2)) (then
      (drop (call $emit (i32.const {Outbound.INFER.value}) (i32.const {_QUICK}) (i32.const 3) (i32.const 9)))
      (drop (call $tensor (i32.const {_QUICK}) (i32.const 4) (i32.const {_F64}) (i32.const 1) (i32.const 4)))
      (drop (call $tensor (i32.const {_SLOW}) (i32.const 5) (i32.const {_F32}) (i32.const 2) (i32.const 3)))
      (i32.store
        (call $tensor (i32.const {_SLOW}) (i32.const 6) (i32.const {_F32}) (i32.const 0) (i32.const {_FEATURES}))
        (i32.const {_NAN}))
      (call $ask (i32.const {_NO_MODEL}) (i32.const 7) (i32.const 1))))
    (call $yield_until (i32.const 5))
    (call $say_hash)""",
    rest=_TENSOR,
)

WORKLOAD = Workload(
    name="inference",
    summary="answers of a model by latency, batches, refused requests",
    profile=row("models", name="quick", repository="models", model="linear", latency=1)
    + row("models", name="slow", repository="models", model="linear", latency=3, max_batch_rows=4)
    + group("asker", "asker.wat", 3, grants={"models": ["quick", "slow"]})
    + group("poor", "asker.wat", 1, grants={"models": ["quick"]}, after=["asker"]),
    files={"asker.wat": _ASKS, "models/linear/1/model.onnx": MODEL_FILE.read_bytes()},
    models=True,
    quick=True,
)

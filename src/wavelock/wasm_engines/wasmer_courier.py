"""Couriers: modules that bring inboxes to agents, take their turns and bring outboxes back, without Python in between.

A module of wasmer's has one memory. So a courier has its agent's, and reaches the one where all inboxes and outboxes of
a shard lie, the post office's, by calls from instance to instance, which cost a few nanoseconds.

Rules:
- An entry of the post office is one turn: what it begins with is written by Python, what comes of it by the batch.
- Before each turn a batch notes at which entry it is, and how far it has read and written: after a trap it goes on
  behind that entry.
- An outbox is copied as it is answered, to the byte, and only where it lies within the agent's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import wasmer

from wavelock.core.abi import EXPORT_MEMORY
from wavelock.core.form import reserved
from wavelock.core.form.limits import PAGE_BYTES
from wavelock.wasm_engines.loop import Buffers
from wavelock.wasm_engines.wasmer_instance import WasmerInstance

BATCH: Final = 64
"""Agents that one call runs at most."""
LARGEST_BYTES: Final = 256 << 10
"""The largest inbox or outbox that couriers carry: a batch has room for so much of each of its agents."""
ENTRIES: Final = 1 << 16
"""Turns that the post office has room for at a time."""
ENTRY: Final = np.dtype([("slot", "<u4"), ("inbox", "<u4"), ("fuel", "<i8"), ("result", "<i4"), ("most", "<u4")])
"""slot: of the batch; inbox: its bytes; fuel: the budget, then what is left; result: the turn's; most: outbox bytes."""
_ENTRIES_AT: Final = PAGE_BYTES
INBOXES_AT: Final = _ENTRIES_AT + ENTRIES * ENTRY.itemsize
OUTBOXES_AT: Final = INBOXES_AT + BATCH * LARGEST_BYTES
_OUTBOX_BATCHES: Final = 2
OUTBOXES_LAST: Final = OUTBOXES_AT + (_OUTBOX_BATCHES - 1) * BATCH * LARGEST_BYTES
"""Where outboxes of a batch may begin at last."""
_PAGES: Final = -(-(OUTBOXES_AT + _OUTBOX_BATCHES * BATCH * LARGEST_BYTES) // PAGE_BYTES)

_COPIES: Final = ("load4", "store4", "load", "store", "load8", "store8")
_WORDS: Final = ("$a", "$b", "$c", "$d")
"""Words of 8 bytes that a courier reads or writes with one call, where so many are left."""


def _word(instruction: str, base: str, at: int, value: str = "") -> str:
    """A load or store of the word with this number."""
    return f"(i64.{instruction} offset={8 * at} {base} {value})"


_OFFICE: Final = f"""(module
  (memory (export "{EXPORT_MEMORY}") {_PAGES} {_PAGES})
  (func (export "load4") (param $at i32) (result i64 i64 i64 i64)
    {" ".join(_word("load", "(local.get $at)", at) for at in range(len(_WORDS)))})
  (func (export "store4") (param $at i32) {" ".join(f"(param {word} i64)" for word in _WORDS)}
    {" ".join(_word("store", "(local.get $at)", at, f"(local.get {word})") for at, word in enumerate(_WORDS))})
  (func (export "load") (param i32) (result i64) (i64.load (local.get 0)))
  (func (export "store") (param i32 i64) (i64.store (local.get 0) (local.get 1)))
  (func (export "load8") (param i32) (result i32) (i32.load8_u (local.get 0)))
  (func (export "store8") (param i32 i32) (i32.store8 (local.get 0) (local.get 1))))"""


def _copy(size: str, steps: dict[int, str]) -> str:
    """Copies so many bytes, by the largest step that fits. steps: by bytes, each copies what lies at the local `at`."""
    loops = [
        f"""
    (local.set $end (i32.and {size} (i32.const {-step})))
    (block $copied (loop $more
      (br_if $copied (i32.ge_u (local.get $at) (local.get $end)))
      {text}
      (local.set $at (i32.add (local.get $at) (i32.const {step})))
      (br $more)))"""
        for step, text in steps.items()
    ]
    return f"(local.set $at (i32.const 0)){''.join(loops)}"


def _plus_at(base: str) -> str:
    return f"(i32.add ({base}) (local.get $at))"


_FROM, _TO = _plus_at("local.get $from"), _plus_at("local.get $to")
_INBOX, _OUTBOX = _plus_at("global.get $inbox"), _plus_at("global.get $outbox")
_LOADED: Final = " ".join(f"(local.set {word})" for word in reversed(_WORDS))
_INTO_INBOX: Final = {
    8 * len(_WORDS): f"(call $load4 {_FROM}) {_LOADED} "
    + " ".join(_word("store", _INBOX, at, f"(local.get {word})") for at, word in enumerate(_WORDS)),
    8: f"(i64.store {_INBOX} (call $load {_FROM}))",
    1: f"(i32.store8 {_INBOX} (call $load8 {_FROM}))",
}
_OUT_OF_OUTBOX: Final = {
    8 * len(_WORDS): f"(call $store4 {_TO} {' '.join(_word('load', _OUTBOX, at) for at in range(len(_WORDS)))})",
    8: f"(call $store {_TO} (i64.load {_OUTBOX}))",
    1: f"(call $store8 {_TO} (i32.load8_u {_OUTBOX}))",
}
_COURIER: Final = f"""(module
  (import "agent" "memory" (memory 0))
  (import "agent" "turn" (func $turn (param i32 i64) (result i32 i64)))
  (import "office" "load4" (func $load4 (param i32) (result i64 i64 i64 i64)))
  (import "office" "store4" (func $store4 (param i32 i64 i64 i64 i64)))
  (import "office" "load" (func $load (param i32) (result i64)))
  (import "office" "store" (func $store (param i32 i64)))
  (import "office" "load8" (func $load8 (param i32) (result i32)))
  (import "office" "store8" (func $store8 (param i32 i32)))
  (global $inbox (mut i32) (i32.const 0))
  (global $outbox (mut i32) (i32.const 0))
  (func (export "bind") (param i32 i32) (global.set $inbox (local.get 0)) (global.set $outbox (local.get 1)))
  (func (export "carry") (param $from i32) (param $length i32) (param $fuel i64) (param $to i32) (param $most i32)
    (result i32 i64)
    (local $at i32) (local $end i32) (local $result i32) (local $left i64)
    {" ".join(f"(local {word} i64)" for word in _WORDS)}
    {_copy("(local.get $length)", _INTO_INBOX)}
    (call $turn (local.get $length) (local.get $fuel))
    (local.set $left)
    (local.set $result)
    (if (i32.le_u (local.get $result) (local.get $most)) (then
    {_copy("(local.get $result)", _OUT_OF_OUTBOX)}))
    (local.get $result)
    (local.get $left)))"""


def _batch_text() -> str:
    """A batch: the couriers of so many agents, each under the number of its slot."""
    slots = range(BATCH)
    imports = "".join(f'\n  (import "couriers" "{slot}" (func $carry{slot} (type $carry)))' for slot in slots)
    carried = "".join(
        f""")
      (call $carry{slot} (local.get $in) (i32.load offset=4 (local.get $entry)) (i64.load offset=8 (local.get $entry))
        (local.get $out) (i32.load offset=20 (local.get $entry)))
      (br $taken)"""
        for slot in slots
    )
    return f"""(module
  (type $carry (func (param i32 i32 i64 i32 i32) (result i32 i64)))
  (import "office" "memory" (memory 0)){imports}
  (func (export "run") (param $at i32) (param $end i32) (param $in i32) (param $out i32)
    (local $entry i32) (local $result i32) (local $left i64)
    (block $done (loop $more
      (i32.store (i32.const 0) (local.get $at))
      (i32.store (i32.const 4) (local.get $in))
      (i32.store (i32.const 8) (local.get $out))
      (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
      (local.set $entry (i32.add (i32.const {_ENTRIES_AT}) (i32.mul (local.get $at) (i32.const {ENTRY.itemsize}))))
      (block $taken (result i32 i64)
      {"".join(f"(block $slot{slot} " for slot in reversed(slots))}
      (br_table {" ".join(f"$slot{slot}" for slot in slots)} (i32.load (local.get $entry))){carried})
      (local.set $left)
      (local.set $result)
      (i64.store offset=8 (local.get $entry) (local.get $left))
      (i32.store offset=16 (local.get $entry) (local.get $result))
      (local.set $in (i32.add (local.get $in) (i32.load offset=4 (local.get $entry))))
      (if (i32.le_u (local.get $result) (i32.load offset=20 (local.get $entry)))
        (then (local.set $out (i32.add (local.get $out) (local.get $result)))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $more)))))"""


_BATCH: Final = _batch_text()
Batch = Callable[[int, int, int, int], object]
"""Takes the turns of the entries from the first number to before the second. Inboxes lie from the third on, outboxes go
to the fourth. Raises RuntimeError where one traps."""


class Progress(NamedTuple):
    """Where a batch is: the entry, where its inbox lies, where its outbox goes."""

    entry: int
    inbox: int
    outbox: int


class PostOffice:
    """The memory of a shard's inboxes and outboxes, and what runs between it and the agents."""

    def __init__(self, compile_text: Callable[[str], wasmer.Module]) -> None:
        office = WasmerInstance(compile_text(_OFFICE), "couriers")
        self.memory = office.memory()
        self.entries = np.frombuffer(self.memory, ENTRY, ENTRIES, _ENTRIES_AT)
        self._progress = self.memory[: 4 * len(Progress._fields)].cast("I")
        self._memory = {"memory": office.export(EXPORT_MEMORY)}
        self._functions = {name: office.export(name) for name in _COPIES}
        self._courier, self._batch = compile_text(_COURIER), compile_text(_BATCH)

    @property
    def progress(self) -> Progress:
        """How far the batch came that ran last."""
        return Progress(*self._progress)

    def courier(self, agent: WasmerInstance, buffers: Buffers) -> Any:
        """The courier of an agent with these buffers: a function for `batch`, which keeps agent and courier."""
        imports = wasmer.ImportObject()
        imports.register("agent", {"memory": agent.export(EXPORT_MEMORY), "turn": agent.export(reserved.TURN)})
        imports.register("office", self._functions)
        exports = wasmer.Instance(self._courier, imports).exports
        inbox, _, outbox, _ = buffers
        exports.bind(_signed(inbox), _signed(outbox))
        return exports.carry

    def batch(self, couriers: Sequence[Any]) -> Batch:
        """A batch of couriers, whose slots are their places. At least one, `BATCH` at most."""
        imports = wasmer.ImportObject()
        spare = [couriers[0]] * (BATCH - len(couriers))  # never called: no entry has their slots
        imports.register("couriers", {str(slot): courier for slot, courier in enumerate([*couriers, *spare])})
        imports.register("office", self._memory)
        run: Batch = wasmer.Instance(self._batch, imports).exports.run
        return run


def _signed(address: int) -> int:
    """An address as wasmer takes an i32."""
    return address - (1 << 32) if address >> 31 else address

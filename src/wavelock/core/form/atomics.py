"""Atomic operators of modules that were compiled for threads, as plain operators.

An agent is one thread, so an atomic operation is a plain one; what is left of it is the trap for an address that is not
aligned. A wait can never be woken: it answers as one that timed out.
"""

from __future__ import annotations

import re

from wavelock.core.form.emit import BY_NAME
from wavelock.core.form.helper import Helper
from wavelock.core.form.steps import LETTERS, STEPS

_CHECKED = """
local.get 0 local.get OFFSET i32.add i32.const {mask} i32.and
if void call misaligned unreachable end
local.get 0 i64.extend_i32_u local.get OFFSET i64.extend_i32_u i64.add i64.const 4294967295 i64.gt_u
if void i32.const -1 i32.load 0 4294967295 drop end ;; past every memory: the engine's own trap
local.get 0 local.get OFFSET i32.add local.set 0
"""


def atomic_helper(name: str) -> Helper:
    """The function that stands for an operator: its operands, then the offset of its memarg."""
    step = STEPS[BY_NAME[name].code]
    operands, _, results = step.operator.signature.partition(":")
    size = 1 << step.alignment
    text = _CHECKED.format(mask=size - 1) + _body(name, size)
    offset, old = len(operands), len(operands) + 1
    text = re.sub(r"\bOFFSET\b", str(offset), re.sub(r"\bOLD\b", str(old), text))
    kept = bytes((LETTERS[results],)) if results else b"\x7f"
    return Helper(step.pops + b"\x7f", step.pushes, kept, text)


def _body(name: str, size: int) -> str:
    """What follows the checks: local 0 is the address, the other operands follow it."""
    kind, _, operation = name.partition(".atomic.")
    if operation == "notify":
        return "local.get 0 i32.load 0 0 drop i32.const 0"
    if operation.startswith("wait"):
        whole = f"i{size * 8}"
        return f"local.get 0 {whole}.load 0 0 local.get 1 {whole}.ne if void i32.const 1 return end i32.const 2"
    width = "" if kind == f"i{size * 8}" else str(size * 8)
    load, store = f"{kind}.load{width}{'_u' if width else ''} 0 0", f"{kind}.store{width} 0 0"
    if operation.startswith("load"):
        return f"local.get 0 {load}"
    if operation.startswith("store"):
        return f"local.get 0 local.get 1 {store}"
    update = operation.split(".")[1].removesuffix("_u")
    changed = _update(update, kind, store, wrap=(1 << size * 8) - 1 if width else 0)
    return f"local.get 0 {load} local.set OLD {changed} local.get OLD"


def _update(update: str, kind: str, store: str, wrap: int) -> str:
    if update == "xchg":
        return f"local.get 0 local.get 1 {store}"
    if update == "cmpxchg":
        # A narrow one compares with the low bits of what was expected.
        expected = f"local.get 1 {kind}.const {wrap} {kind}.and" if wrap else "local.get 1"
        return f"local.get OLD {expected} {kind}.eq if void local.get 0 local.get 2 {store} end"
    return f"local.get 0 local.get OLD local.get 1 {kind}.{update} {store}"

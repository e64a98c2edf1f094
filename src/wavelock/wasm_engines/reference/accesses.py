"""Loads, stores and atomic operations, as data: how many bytes, and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from wavelock.wasm_engines.reference.integers import Operation, extension, operations
from wavelock.wasm_engines.reference.vectors import extend, splat


class Load(NamedTuple):
    """A load: bytes read, and what makes the value of them, read as an unsigned integer."""

    length: int
    value: Operation


class AtomicUpdate(NamedTuple):
    """A read-modify-write operation: the new bytes from the old ones and the operand (only its lowest bytes count)."""

    length: int
    update: Operation


_LENGTHS: Final = {"i32": 4, "i64": 8, "f32": 4, "f64": 8, "v128": 16}
_NARROW: Final = {"i32": (8, 16), "i64": (8, 16, 32)}


def _unsigned(value: int) -> int:
    return value


def _loads() -> Iterator[tuple[str, Load]]:
    for kind, length in _LENGTHS.items():
        yield f"{kind}.load", Load(length, _unsigned)
    for kind, widths in _NARROW.items():
        for bits in widths:
            yield f"{kind}.load{bits}_s", Load(bits // 8, extension(bits, 8 * _LENGTHS[kind]))
            yield f"{kind}.load{bits}_u", Load(bits // 8, _unsigned)
    for bits in (8, 16, 32):
        yield f"v128.load{bits}x{64 // bits}_s", Load(8, extend(bits, True))
        yield f"v128.load{bits}x{64 // bits}_u", Load(8, extend(bits, False))
    for bits in (8, 16, 32, 64):
        yield f"v128.load{bits}_splat", Load(bits // 8, splat(bits))
    for bits in (32, 64):
        yield f"v128.load{bits}_zero", Load(bits // 8, _unsigned)


def _stores() -> Iterator[tuple[str, int]]:
    for kind, length in _LENGTHS.items():
        yield f"{kind}.store", length
    for kind, widths in _NARROW.items():
        for bits in widths:
            yield f"{kind}.store{bits}", bits // 8


def _atomic_names(action: str) -> Iterator[tuple[str, int]]:
    """Names of an atomic operation at its seven widths, and the bytes of each; `{}` stands for the bits in memory."""
    for kind, widths in _NARROW.items():
        yield f"{kind}.atomic.{action.format('')}", _LENGTHS[kind]
        for bits in widths:
            suffix = "" if action.startswith("store") else "_u"
            yield f"{kind}.atomic.{action.format(bits)}{suffix}", bits // 8


def _updates() -> Iterator[tuple[str, AtomicUpdate]]:
    arithmetic = operations(64)  # what is above the bytes that are stored does not count
    for action in ("add", "sub", "and", "or", "xor"):
        for name, length in _atomic_names(f"rmw{{}}.{action}"):
            yield name, AtomicUpdate(length, arithmetic[action])
    for name, length in _atomic_names("rmw{}.xchg"):
        yield name, AtomicUpdate(length, lambda _, operand: operand)


LOADS: Final[Mapping[str, Load]] = dict(_loads())
STORES: Final[Mapping[str, int]] = dict(_stores())
"""The bytes stored: the value's lowest."""
LOAD_LANES: Final[Mapping[str, int]] = {f"v128.load{bits}_lane": bits for bits in (8, 16, 32, 64)}
STORE_LANES: Final[Mapping[str, int]] = {f"v128.store{bits}_lane": bits for bits in (8, 16, 32, 64)}
"""Both: the lane's bits."""
ATOMIC_LOADS: Final[Mapping[str, int]] = dict(_atomic_names("load{}"))
ATOMIC_STORES: Final[Mapping[str, int]] = dict(_atomic_names("store{}"))
ATOMIC_UPDATES: Final[Mapping[str, AtomicUpdate]] = dict(_updates())
ATOMIC_EXCHANGES: Final[Mapping[str, int]] = dict(_atomic_names("rmw{}.cmpxchg"))
ATOMIC_WAITS: Final[Mapping[str, int]] = {"memory.atomic.wait32": 4, "memory.atomic.wait64": 8}
"""All: the bytes accessed, which the address must be a multiple of."""

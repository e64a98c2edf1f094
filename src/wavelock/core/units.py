"""Sizes and durations as people write them in a profile."""

from __future__ import annotations

import re
from typing import Final

_SIZES: Final = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "kB": 10**3, "MB": 10**6, "GB": 10**9}
_DURATIONS: Final = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "min": 60 * 10**9, "h": 3600 * 10**9}
_QUANTITY: Final = re.compile(r"(\d+(?:_\d+)*)(?:\.(\d+))?\s*([A-Za-zµ]+)", re.ASCII)
MAX_U64: Final = 2**64 - 1


class ByteSize(int):
    """A number of bytes; in TOML a whole number or text such as "64 KiB"."""


class Duration(int):
    """A number of nanoseconds; in TOML a whole number or text such as "5 ms"."""


def _quantity(text: str, units: dict[str, int], example: str) -> int:
    match = _QUANTITY.fullmatch(text.strip())
    if match is None or match[3] not in units:
        raise ValueError(f'"{text}" is not a quantity; expected one such as "{example}" (units: {", ".join(units)})')
    scale = units[match[3]]
    value = int(match[1]) * scale
    if match[2]:
        fraction, rest = divmod(int(match[2]) * scale, 10 ** len(match[2]))
        if rest:
            raise ValueError(f'"{text}" is not a whole number of the smallest unit')
        value += fraction
    return value


def parse_unit(kind: type, value: object) -> ByteSize | Duration:
    """Turn a TOML value into a ByteSize or a Duration. Raises ValueError with what was expected."""
    units, example = (_SIZES, "64 KiB") if kind is ByteSize else (_DURATIONS, "5 ms")
    if isinstance(value, str):
        value = _quantity(value, units, example)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f'expected a whole number or text such as "{example}", found {_kind_name(value)}')
    if not 0 <= value <= MAX_U64:
        raise ValueError("expected 0 to 2^64 - 1")
    made: ByteSize | Duration = kind(value)
    return made


def _kind_name(value: object) -> str:
    return {bool: "true or false", float: "a float", list: "an array", dict: "a table"}.get(
        type(value), "a date or time"
    )


def format_bytes(count: int) -> str:
    """A size for people: `64 KiB`, `1.5 MiB`."""
    for unit in ("GiB", "MiB", "KiB"):
        scale = _SIZES[unit]
        if count >= scale:
            return f"{count / scale:.4g} {unit}"
    return f"{count} B"

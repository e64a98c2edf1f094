"""A function that the pass adds to a module."""

from __future__ import annotations

from typing import NamedTuple


class Helper(NamedTuple):
    """params, results, locals: codes of value types. code: text for `emit.assemble`, or bytes, without its `end`."""

    params: bytes
    results: bytes
    locals: bytes
    code: str | bytes
    export: str | None = None

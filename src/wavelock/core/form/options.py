"""What the deterministic form of a module depends on besides the module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from wavelock.core.form import features

OPTIONAL: Final = (features.TAIL_CALL,)
"""Features that a profile may ask for where its one engine has them."""


@dataclass(frozen=True)
class FormOptions:
    """The limits that are written into the module, and the features it may use beyond the portable ones.

    memory_pages: pages of 64 KiB that the memory may grow to. stack_bytes: the depth limit, in the bytes that
    `costs.py` gives a call. features: of `OPTIONAL`.
    """

    memory_pages: int = 65_536
    stack_bytes: int = 128 << 10
    features: tuple[str, ...] = ()

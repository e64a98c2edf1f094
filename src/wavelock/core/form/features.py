"""The features of WebAssembly by name, and why the form refuses some of them.

A feature is accepted only where every engine runs it alike; wasmer 1.1 (core 2.1) is the one that has fewest.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from wavelock.core.form.binary import FormError

MVP: Final = "mvp"
BULK_MEMORY: Final = "bulk-memory"
MULTI_VALUE: Final = "multi-value"
MUTABLE_GLOBAL: Final = "mutable-global"
REFERENCE_TYPES: Final = "reference-types"
SATURATING_CONVERSION: Final = "saturating-conversion"
SIGN_EXTENSION: Final = "sign-extension"
SIMD: Final = "simd"

CUSTOM_PAGE_SIZES: Final = "custom-page-sizes"
EXCEPTIONS: Final = "exceptions"
EXTENDED_CONST: Final = "extended-const"
EXTERNREF: Final = "externref"
FUNCTION_REFERENCES: Final = "function-references"
GC: Final = "gc"
MEMORY64: Final = "memory64"
MEMORY_CONTROL: Final = "memory-control"
MULTI_MEMORY: Final = "multi-memory"
RELAXED_SIMD: Final = "relaxed-simd"
STACK_SWITCHING: Final = "stack-switching"
TAIL_CALL: Final = "tail-call"
THREADS: Final = "threads"
WIDE_ARITHMETIC: Final = "wide-arithmetic"

_NOT_EVERYWHERE: Final = "not every engine has it"

REFUSED: Final[Mapping[str, str]] = MappingProxyType(
    {
        CUSTOM_PAGE_SIZES: f"{_NOT_EVERYWHERE}; use pages of 64 KiB",
        EXCEPTIONS: f"{_NOT_EVERYWHERE}; compile with -fno-exceptions or panic=abort",
        EXTENDED_CONST: f"{_NOT_EVERYWHERE}; compile without -mextended-const and without -fPIC",
        EXTERNREF: "no host object is given to an agent, and none could be in a snapshot; remove it",
        FUNCTION_REFERENCES: f"{_NOT_EVERYWHERE}; use funcref and call_indirect",
        GC: f"{_NOT_EVERYWHERE}, and its heap would not be in a snapshot; compile for linear memory",
        MEMORY64: f"{_NOT_EVERYWHERE}; compile for wasm32",
        MEMORY_CONTROL: f"{_NOT_EVERYWHERE}; compile without it",
        MULTI_MEMORY: f"{_NOT_EVERYWHERE}, and an agent is one linear memory; link with one",
        RELAXED_SIMD: "its results differ between processors; compile with -msimd128 alone",
        STACK_SWITCHING: f"{_NOT_EVERYWHERE}, and its stacks would not be in a snapshot; compile without it",
        TAIL_CALL: f"{_NOT_EVERYWHERE}; compile without -mtail-call",
        WIDE_ARITHMETIC: f"{_NOT_EVERYWHERE}; compile without -mwide-arithmetic",
    }
)
"""Feature to the reason why an agent cannot use it, and the way out."""


def refusal(feature: str, offset: int, subject: str) -> FormError:
    """The error for `subject` (an operator, a type) at `offset`, which needs a refused feature."""
    return FormError(offset, f"{subject} needs {feature}, which an agent cannot use: {REFUSED[feature]}")

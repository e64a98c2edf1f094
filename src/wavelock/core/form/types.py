"""Value types and function types, and the types that the form refuses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from wavelock.core.form import features
from wavelock.core.form.binary import FormError

FUNCREF: Final = 0x70
V128: Final = 0x7B
VALUE_TYPES: Final = {0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64", V128: "v128", FUNCREF: "funcref"}
"""The value types of accepted modules: code to name."""

_REFUSED: Final = {
    0x6F: (features.EXTERNREF, "externref"),
    0x62: (features.GC, "an exact reference"),
    0x63: (features.FUNCTION_REFERENCES, "(ref null ...)"),
    0x64: (features.FUNCTION_REFERENCES, "(ref ...)"),
    0x65: (features.GC, "a shared reference"),
    0x68: (features.STACK_SWITCHING, "contref"),
    0x69: (features.EXCEPTIONS, "exnref"),
    0x6A: (features.GC, "arrayref"),
    0x6B: (features.GC, "structref"),
    0x6C: (features.GC, "i31ref"),
    0x6D: (features.GC, "eqref"),
    0x6E: (features.GC, "anyref"),
    0x71: (features.GC, "nullref"),
    0x72: (features.GC, "nullexternref"),
    0x73: (features.GC, "nullfuncref"),
    0x74: (features.EXCEPTIONS, "nullexnref"),
    0x75: (features.STACK_SWITCHING, "nullcontref"),
    0x77: (features.GC, "i16"),
    0x78: (features.GC, "i8"),
}


@dataclass(frozen=True)
class FunctionType:
    """A function's type; `params` and `results` hold the codes of value types."""

    params: bytes
    results: bytes

    def __str__(self) -> str:
        results = _listed(self.results)
        return f"({_listed(self.params)}) -> {results if len(self.results) == 1 else f'({results})'}"


def _listed(codes: bytes) -> str:
    return ", ".join(VALUE_TYPES[code] for code in codes)


def bad_type(code: int, offset: int) -> FormError:
    """The error for a code that is no accepted value type: a refused one, or none at all."""
    if code in _REFUSED:
        feature, name = _REFUSED[code]
        return features.refusal(feature, offset, f"the type {name}")
    return FormError(offset, f"found type {code:#04x}, expected one of {', '.join(VALUE_TYPES.values())}")


def check_value_type(code: int, offset: int) -> int:
    """The code, if it is an accepted value type's."""
    if code not in VALUE_TYPES:
        raise bad_type(code, offset)
    return code


def check_reference_type(code: int, offset: int) -> int:
    """The code, if it is that of funcref, the one reference type that the form accepts."""
    if code == FUNCREF:
        return code
    if code in VALUE_TYPES:
        raise FormError(offset, f"found type {VALUE_TYPES[code]}, expected funcref")
    raise bad_type(code, offset)

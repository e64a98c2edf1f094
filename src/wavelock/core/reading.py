"""From plain TOML values to frozen msgspec structs, collecting every problem instead of stopping at the first.

msgspec checks the leaves; this module walks structs and arrays so that each problem has its key path, and an unknown
key the nearest known one.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from wavelock.core.errors import Problem
from wavelock.core.units import ByteSize, Duration, parse_unit

StructT = TypeVar("StructT", bound=msgspec.Struct)


def nearest(found: str, allowed: Iterable[str]) -> str:
    """`; did you mean "seed"?` where something allowed is close, else the list of what is allowed."""
    names = sorted(allowed)
    close = difflib.get_close_matches(found, names, n=1, cutoff=0.6)
    if close:
        return f'; did you mean "{close[0]}"?'
    return f"; allowed: {', '.join(names)}" if names else "; none is defined"


def decode_unit(kind: type, value: object) -> object:
    """msgspec's hook for the unit types."""
    if kind in (ByteSize, Duration):
        return parse_unit(kind, value)
    raise NotImplementedError(kind)


def build_struct(kind: type[StructT], values: object, where: str, problems: list[Problem]) -> StructT | None:
    """Build a struct from a TOML table; None when it has problems, which are appended with their key paths."""
    if not isinstance(values, Mapping):
        problems.append(Problem(where, f"expected a table, found {_kind_name(values)}"))
        return None
    before = len(problems)
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for key in values:
        if key not in fields:
            problems.append(Problem(join(where, key), f"unknown key{nearest(key, fields)}"))
    built: dict[str, Any] = {}
    for key, field in fields.items():
        if key in values:
            built[field.name] = _build(hints[field.name], values[key], join(where, key), problems)
        elif field.required:
            problems.append(Problem(join(where, key), "is required and missing"))
    return kind(**built) if len(problems) == before else None


def _build(kind: Any, value: object, where: str, problems: list[Problem]) -> Any:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return build_struct(kind, value, where, problems)
    item = _struct_items(kind)
    if item is not None:
        return _build_structs(item, value, where, problems)
    try:
        return msgspec.convert(value, kind, dec_hook=decode_unit)
    except (msgspec.ValidationError, ValueError) as error:
        problems.append(Problem(where, _in_plain_words(error)))
        return None


def _struct_items(kind: Any) -> type[msgspec.Struct] | None:
    """The struct S of `tuple[S, ...]`, else None."""
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is tuple and arguments and isinstance(arguments[0], type):
        return arguments[0] if issubclass(arguments[0], msgspec.Struct) else None
    return None


def _build_structs(kind: type[msgspec.Struct], value: object, where: str, problems: list[Problem]) -> Any:
    if not isinstance(value, list):
        problems.append(Problem(where, f"expected an array of tables ([[{where}]]), found {_kind_name(value)}"))
        return None
    return tuple(build_struct(kind, item, f"{where}[{index}]", problems) for index, item in enumerate(value))


def _in_plain_words(error: Exception) -> str:
    """msgspec's message without its own path and back-quotes: the path stands before it already."""
    text = str(error).split(" - at `$")
    inner = text[1].rstrip("`") if len(text) > 1 else ""
    message = text[0].replace("`", "")
    message = message[0].lower() + message[1:] if message[:8] in ("Expected", "Invalid ") else message
    return f"{message} (at {inner})" if inner else message


def _kind_name(value: object) -> str:
    names = {dict: "a table", list: "an array", str: "text", bool: "a boolean", int: "a whole number", float: "a float"}
    return names.get(type(value), type(value).__name__)


def join(where: str, key: str) -> str:
    """A key path one step further: `limits` and `memory` give `limits.memory`."""
    return f"{where}.{key}" if where else key

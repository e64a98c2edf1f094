"""From plain TOML values to frozen msgspec structs, collecting every problem instead of stopping at the first.

msgspec checks the leaves; this module walks structs and arrays so that each problem has its key path, and an unknown
key the nearest known one.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec

from wavelock.core.errors import Problem
from wavelock.core.units import ByteSize, Duration, parse_unit

StructT = TypeVar("StructT", bound=msgspec.Struct)
_TOML_WORDS: Final = {
    "str": "text",
    "int": "a whole number",
    "float": "a float",
    "bool": "true or false",
    "array": "an array",
    "object": "a table",
}
"""msgspec's names of types, as TOML's readers know them."""
_SHOWN_CHARS: Final = 60


def nearest(found: str, allowed: Iterable[str]) -> str:
    """`; did you mean "seed"?` where something allowed is close, else the list of what is allowed."""
    import difflib

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


@cache
def _fields_of(kind: type[msgspec.Struct]) -> tuple[Mapping[str, Any], Mapping[str, msgspec.structs.FieldInfo]]:
    """A struct's type hints by field name, and its fields by key: both cost more than what is done with them."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    return typing.get_type_hints(kind, include_extras=True), fields


def build_struct(kind: type[StructT], values: object, where: str, problems: list[Problem]) -> StructT | None:
    """Build a struct from a TOML table; None when it has problems, which are appended with their key paths."""
    if not isinstance(values, Mapping):
        problems.append(Problem(where, f"expected a table, found {kind_name(values)}"))
        return None
    before = len(problems)
    hints, fields = _fields_of(kind)
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
    bare = typing.get_args(kind)[0] if typing.get_origin(kind) is Annotated else kind
    if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
        return build_struct(bare, value, where, problems)
    item = _struct_items(kind)
    if item is not None:
        return _build_structs(item, value, where, problems)
    try:
        return msgspec.convert(value, kind, dec_hook=decode_unit)
    except (msgspec.ValidationError, ValueError) as error:
        problems.append(_problem(error, kind, value, where))
    return None


def _struct_items(kind: Any) -> type[msgspec.Struct] | None:
    """The struct S of `tuple[S, ...]`, else None."""
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is tuple and arguments and isinstance(arguments[0], type):
        return arguments[0] if issubclass(arguments[0], msgspec.Struct) else None
    return None


def _build_structs(kind: type[msgspec.Struct], value: object, where: str, problems: list[Problem]) -> Any:
    if not isinstance(value, list):
        problems.append(Problem(where, f"expected an array of tables ([[{where}]]), found {kind_name(value)}"))
        return None
    return tuple(build_struct(kind, item, f"{where}[{index}]", problems) for index, item in enumerate(value))


def _problem(error: Exception, kind: Any, value: object, where: str) -> Problem:
    """msgspec's message in TOML's words; its path, which begins at this key, is joined to the key's own."""
    message, _, inner = str(error).partition(" - at `$")
    inner = inner.rstrip("`")
    where += "" if inner == "[...]" else inner
    allowed = [text for text in _literals(kind) if isinstance(text, str)]
    if message.startswith("Invalid enum value") and isinstance(value, str):
        expected = " or ".join(f'"{text}"' for text in allowed)
        close = nearest(value, allowed)
        return Problem(where, f'expected {expected}, found "{shown(value)}"{close if "mean" in close else ""}')
    message = re.sub(r"`([^`]*)`", lambda match: _in_toml_words(match[1]), message)
    message = message.replace("Expected", "expected", 1).replace(", got", ", found")
    if message.startswith("expected") and "found" not in message and not inner:
        message += f", found {shown(value)}"
    return Problem(where, message)


def _literals(kind: Any) -> tuple[Any, ...]:
    """The values of every `Literal` in a type."""
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is Literal:
        return arguments
    return tuple(found for argument in arguments for found in _literals(argument))


def _in_toml_words(kinds: str) -> str:
    return " or ".join(_TOML_WORDS.get(kind, kind) for kind in kinds.split(" | ") if kind != "null")


def shown(value: object) -> str:
    """A value for an error: its first characters."""
    try:
        text = str(value)
    except ValueError:  # a whole number of more digits than Python writes
        return "a very large number"
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."


def kind_name(value: object) -> str:
    """What a TOML value is, in words."""
    names = {
        dict: "a table",
        list: "an array",
        str: "text",
        bool: "true or false",
        int: "a whole number",
        float: "a float",
    }
    return names.get(type(value), "a date or time")


def join(where: str, key: str) -> str:
    """A key path one step further: `limits` and `memory` give `limits.memory`."""
    return f"{where}.{key}" if where else key

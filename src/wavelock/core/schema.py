"""The JSON schema of profiles, generated from the structs that check them."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from wavelock.core.form.options import OPTIONAL
from wavelock.core.profile_reader import ARRAYS, DEFAULTS, TABLES
from wavelock.core.units import ByteSize, Duration

SCHEMA_URI: Final = "https://json-schema.org/draft/2020-12/schema"
_NUMBER: Final = r"^\s*[0-9]+(_[0-9]+)*(\.[0-9]+)?\s*"


def profile_schema(members: Mapping[str, Sequence[tuple[str, type[msgspec.Struct]]]]) -> dict[str, Any]:
    """The schema of a profile. members: for each family, the names and settings of its members."""
    structs = [*TABLES.values(), *ARRAYS.values(), *(kind for named in members.values() for _, kind in named)]
    plain = {kind: _with_plain_defaults(kind) for kind in structs}
    references, definitions = msgspec.json.schema_components(
        plain.values(), schema_hook=_unit_schema, ref_template="#/$defs/{name}"
    )
    by_struct = dict(zip(plain, references, strict=True))
    properties: dict[str, Any] = {key: by_struct[kind] for key, kind in TABLES.items()}
    properties |= {key: {"type": "array", "items": by_struct[kind]} for key, kind in ARRAYS.items()}
    for family in DEFAULTS:
        own = [(name, definitions[_definition(by_struct[kind])]) for name, kind in members.get(family, ())]
        properties[family] = _choice(family, own)
    settings = {_definition(by_struct[kind]) for named in members.values() for _, kind in named}
    used = {name: value for name, value in definitions.items() if name not in settings}
    schema: dict[str, Any] = _without_null(
        {
            "$schema": SCHEMA_URI,
            "title": "Wavelock profile",
            "type": "object",
            "properties": properties,
            "required": ["agents"],
            "additionalProperties": False,
            "$defs": used,
        }
    )
    return schema


def _without_null(schema: Any) -> Any:
    """The schema without what stands for an absent key: TOML has no null."""
    if isinstance(schema, list):
        return [_without_null(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: _without_null(value) for key, value in schema.items() if value is not None}
    choices = [choice for choice in kept.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) == 1:
        return {key: value for key, value in kept.items() if key != "anyOf"} | choices[0]
    return kept | {"anyOf": choices} if choices else kept


def _with_plain_defaults(kind: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """The same struct with unit defaults as plain numbers: msgspec writes no others into a schema."""
    hints = typing.get_type_hints(kind, include_extras=True)
    fields: list[tuple[str, Any, Any]] = []
    for field in msgspec.structs.fields(kind):
        default = int(field.default) if isinstance(field.default, (ByteSize, Duration)) else field.default
        made: Any = msgspec.field(name=field.encode_name, default=default)
        if field.default_factory is not msgspec.NODEFAULT:
            made = msgspec.field(name=field.encode_name, default_factory=field.default_factory)
        fields.append((field.name, hints[field.name], made))
    return msgspec.defstruct(
        kind.__name__,
        fields,
        module=kind.__module__,
        namespace={"__doc__": kind.__doc__},
        kw_only=True,
        forbid_unknown_fields=True,
    )


def _definition(reference: dict[str, Any]) -> str:
    """The name that a reference into `$defs` ends with."""
    return str(reference["$ref"]).rpartition("/")[2]


def _unit_schema(kind: type) -> dict[str, Any]:
    if kind is ByteSize:
        text = {"type": "string", "pattern": rf"{_NUMBER}(B|KiB|MiB|GiB|kB|MB|GB)\s*$"}
    elif kind is Duration:
        text = {"type": "string", "pattern": rf"{_NUMBER}(ns|us|µs|ms|s|min|h)\s*$"}
    else:
        raise NotImplementedError(kind)
    return {"anyOf": [{"type": "integer", "minimum": 0}, text]}


def _choice(family: str, named: Sequence[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """One alternative a member: its name after `use`, and its own settings."""
    alternatives = []
    for name, settings in named:
        own = dict(settings["properties"])
        use = {"use": {"const": name, "description": "The member's name."}}
        if family == "workers":
            own["count"] = {"type": "integer", "minimum": 1, "maximum": 4096, "description": "Number of workers."}
        if family == "engine":
            about = "Features of WebAssembly beyond the portable ones, for modules that need one engine."
            own["features"] = {"type": "array", "items": {"enum": list(OPTIONAL)}, "default": [], "description": about}
        required = [] if name == DEFAULTS[family] else ["use"]
        required += settings.get("required", [])
        alternatives.append(
            {"type": "object", "properties": use | own, "required": required, "additionalProperties": False}
        )
    return {"oneOf": alternatives, "default": {"use": DEFAULTS[family]}}

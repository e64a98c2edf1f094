"""The JSON schema of profiles, generated from the structs that check them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from wavelock.core.profile_reader import ARRAYS, DEFAULTS, TABLES
from wavelock.core.units import ByteSize, Duration

SCHEMA_URI = "https://json-schema.org/draft/2020-12/schema"


def profile_schema(members: Mapping[str, Sequence[tuple[str, type[msgspec.Struct]]]]) -> dict[str, Any]:
    """The schema of a profile. members: for each family, the names and settings of its members."""
    structs = [*TABLES.values(), *ARRAYS.values(), *(kind for named in members.values() for _, kind in named)]
    references, definitions = msgspec.json.schema_components(
        structs, schema_hook=_unit_schema, ref_template="#/$defs/{name}"
    )
    by_struct = dict(zip(structs, references, strict=True))
    properties: dict[str, Any] = {key: by_struct[kind] for key, kind in TABLES.items()}
    properties |= {key: {"type": "array", "items": by_struct[kind]} for key, kind in ARRAYS.items()}
    for family in DEFAULTS:
        properties[family] = _choice(family, members.get(family, ()), definitions)
    used = {name: value for name, value in definitions.items() if not name.endswith("Settings")}
    return {
        "$schema": SCHEMA_URI,
        "title": "Wavelock profile",
        "type": "object",
        "properties": properties,
        "required": ["agents"],
        "additionalProperties": False,
        "$defs": used,
    }


def _unit_schema(kind: type) -> dict[str, Any]:
    if kind is ByteSize:
        text = {"type": "string", "pattern": r"^\d[\d_]*(\.\d+)?\s*(B|KiB|MiB|GiB|kB|MB|GB)$"}
    elif kind is Duration:
        text = {"type": "string", "pattern": r"^\d[\d_]*(\.\d+)?\s*(ns|us|µs|ms|s|min|h)$"}
    else:
        raise NotImplementedError(kind)
    return {"anyOf": [{"type": "integer", "minimum": 0}, text]}


def _choice(
    family: str, named: Sequence[tuple[str, type[msgspec.Struct]]], definitions: dict[str, Any]
) -> dict[str, Any]:
    """One alternative a member: its name after `use`, and its own settings."""
    alternatives = []
    for name, kind in named:
        own = dict(definitions[kind.__name__].get("properties", {}))
        use = {"use": {"const": name}}
        if family == "workers":
            own["count"] = {"type": "integer", "minimum": 1, "maximum": 4096, "description": "Number of workers."}
        required = [] if name == DEFAULTS[family] else ["use"]
        alternatives.append(
            {"type": "object", "properties": use | own, "required": required, "additionalProperties": False}
        )
    return {"oneOf": alternatives, "default": {"use": DEFAULTS[family]}}

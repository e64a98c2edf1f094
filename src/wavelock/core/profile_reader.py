"""TOML text to a checked `Profile`, with every problem in one go."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from wavelock.core import profile
from wavelock.core.errors import Problem, ProfileError
from wavelock.core.profile import ModelSection, Profile
from wavelock.core.profile_rules import Sections, check_files, check_rules
from wavelock.core.reading import build_struct, kind_name, nearest
from wavelock.core.units import format_bytes

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_BYTES: Final = 16 << 20
DEFAULTS: Final = {
    "engine": "wasmtime",
    "scheduler": "round-robin",
    "transport": "shared-memory",
    "workers": "inline",
}
CHOICES: Final[Mapping[str, tuple[type[msgspec.Struct], str]]] = {
    "engine": (profile.EngineSection, "features"),
    "workers": (profile.WorkersSection, "count"),
}
"""Families whose table has a key of the profile's own beside `use` and the member's settings."""
TABLES: Final[Mapping[str, type[msgspec.Struct]]] = {
    "run": profile.RunSection,
    "limits": profile.LimitsSection,
    "record": profile.RecordSection,
}
ARRAYS: Final[Mapping[str, type[msgspec.Struct]]] = {
    "models": profile.ModelSection,
    "topics": profile.TopicSection,
    "agents": profile.AgentSection,
    "inputs": profile.InputSection,
}
Settings = Callable[[str, str], "type[msgspec.Struct] | Problem"]
"""(family, member name) to the member's settings struct, or why there is none."""


def read_toml(text: str, source: str) -> dict[str, Any]:
    """Parse TOML. Raises ProfileError with line and column."""
    try:
        tables: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what, _, where = str(error).rpartition(" (at ")
        where = where.rstrip(")").replace("end of document", f"line {text.count(chr(10)) + 1}, at the end")
        raise ProfileError(source, [Problem(where, f"not TOML: {what or error}")]) from None
    except RecursionError:
        raise ProfileError(source, [Problem("", "not TOML: arrays or tables nested too deep")]) from None
    except ValueError as error:  # a whole number of thousands of digits
        raise ProfileError(source, [Problem("", f"not TOML: {error}")]) from None
    return tables


def read_file(path: Path) -> str:
    """A profile's text. Raises ProfileError for a file that is missing, unreadable or not UTF-8."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) <= MAX_BYTES:
            return data.decode("utf-8-sig").replace("\r\n", "\n")
        problem = Problem("", f"is larger than a profile can be: {format_bytes(MAX_BYTES)}")
    except UnicodeDecodeError as error:
        problem = Problem(f"byte {error.start}", "not UTF-8 text, so not TOML")
    except IsADirectoryError:
        problem = Problem("", "is a folder; expected a profile file such as profile.toml in it")
    except FileNotFoundError:
        problem = Problem("", "no such file")
    except OSError as error:
        problem = Problem("", f"cannot be read: {error.strerror}")
    raise ProfileError(str(path), [problem])


def override(raw: dict[str, Any], settings: Iterable[str], source: str) -> None:
    """Apply `key.path=value` settings to the raw tables. An array's item is picked by index or by its name."""
    problems = [problem for setting in settings if (problem := _override_one(raw, setting)) is not None]
    if problems:
        raise ProfileError(source, problems)


def _override_one(raw: dict[str, Any], setting: str) -> Problem | None:
    path, equals, text = setting.partition("=")
    keys = [key for key in re.split(r"[.\[\]]+", path.strip()) if key]
    if not equals or not keys:
        return Problem(f"--set {setting}", "expected key.path=value")
    table: Any = raw
    for key in keys[:-1]:
        table = _step(table, key)
        if table is None:
            return Problem(f"--set {path}", f'there is no "{key}" to set this in')
    if isinstance(table, list):
        return Problem(f"--set {path}", "an array's item cannot be replaced whole; name a key in it")
    if not _is_unicode(setting):
        return Problem(f"--set {path}", "is not UTF-8 text")
    table[keys[-1]] = _toml_value(text)
    return None


def _step(table: Any, key: str) -> Any:
    if isinstance(table, dict):
        found = table.setdefault(key, {})
        return found if isinstance(found, (dict, list)) else None
    for index, item in enumerate(table):
        if isinstance(item, dict) and (item.get("name") == key or str(index) == key):
            return item
    return None


def _toml_value(text: str) -> Any:
    """`4`, `true`, `[1, 2]` and quoted text as TOML reads them; anything else is text as it stands."""
    try:
        tables = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return tables["value"] if len(tables) == 1 else text


def _is_unicode(text: str) -> bool:
    """Whether this can be written as UTF-8; an argument of other bytes cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def build_profile(raw: dict[str, Any], source: str, base: Path, settings: Settings, *, files: bool = True) -> Profile:
    """Check raw tables and build the profile.

    settings: looks up a plugin's settings struct. files: also check that the files it names exist (not on a replay).
    Raises ProfileError with every problem found.
    """
    problems: list[Problem] = []
    known = {*DEFAULTS, *TABLES, *ARRAYS}
    problems += [Problem(key, f"unknown section{nearest(key, known)}") for key in raw if key not in known]
    tables: dict[str, Any] = {key: build_struct(kind, raw.get(key, {}), key, problems) for key, kind in TABLES.items()}
    arrays = {key: _build_array(kind, raw.get(key, []), key, problems) for key, kind in ARRAYS.items()}
    choices: dict[str, Any] = {
        family: _build_choice(family, raw.get(family, {}), settings, problems) for family in DEFAULTS
    }
    sections = Sections(tables, arrays, {key: _names(raw.get(key, [])) for key in ARRAYS})
    check_rules(sections, problems)
    if files:
        problems += _check_backends(arrays["models"], settings)
        check_files(sections, base, problems)
    if problems:
        raise ProfileError(source, problems)
    built = tables | arrays | choices
    return Profile(source=source, base=base, raw=raw, **built)


def _build_array(kind: type[msgspec.Struct], value: object, key: str, problems: list[Problem]) -> tuple[Any, ...]:
    """The items in their places, None for each that has problems."""
    if not isinstance(value, list):
        problems.append(Problem(key, f"expected an array of tables, written [[{key}]], found {kind_name(value)}"))
        return (None,)
    return tuple(build_struct(kind, item, f"{key}[{index}]", problems) for index, item in enumerate(value))


def _names(items: object) -> tuple[str, ...] | None:
    """The names that an array's items give themselves, whatever else is wrong with them."""
    if not isinstance(items, list):
        return None
    names = (item.get("name") for item in items if isinstance(item, dict))
    return tuple(name for name in names if isinstance(name, str))


def _check_backends(models: Iterable[ModelSection | None], settings: Settings) -> Iterable[Problem]:
    for index, model in enumerate(models):
        found = settings("model_backend", model.backend) if model is not None else None
        if isinstance(found, Problem):
            yield Problem(f"models[{index}].backend", found.what)


def _build_choice(family: str, table: object, settings: Settings, problems: list[Problem]) -> msgspec.Struct | None:
    if not isinstance(table, dict):
        problems.append(Problem(family, f"expected a table, written [{family}], found {kind_name(table)}"))
        return None
    own = dict(table)
    chosen: dict[str, Any] = {"use": own.pop("use", DEFAULTS[family])}
    kind, key = CHOICES.get(family, (profile.Choice, ""))
    if key in own:
        chosen[key] = own.pop(key)
    choice = build_struct(kind, chosen, family, problems)
    if choice is None:
        return None
    struct = settings(family, chosen["use"])
    if isinstance(struct, Problem):
        problems.append(struct)
        return None
    made = build_struct(struct, own, family, problems)
    return msgspec.structs.replace(choice, settings=made)

"""The wasmer engine as a plugin: a description that imports nothing of wasmer."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import ExtensionFileLoader, ModuleSpec, PathFinder
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from wavelock.plugins import hookimpl
from wavelock.plugins.members import Member, Unavailable
from wavelock.wasm_engines.interface import Engine

PACKAGES: Final = ("wasmer", "wasmer_compiler_cranelift")
NEWEST_PYTHON: Final = (3, 10)
"""The last release of wasmer has wheels up to this one."""
_INSTALL: Final = "pip install 'wavelock[wasmer]'"
_OTHER: Final = 'engine.use = "wasmtime"'


class WasmerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[engine]` with `use = "wasmer"`."""

    cache: Annotated[bool, Meta(description="Keep compiled modules on disk.")] = True


def unavailable(
    find_spec: Callable[[str], ModuleSpec | None] = importlib.util.find_spec,
    python: tuple[int, ...] = sys.version_info[:2],
) -> Unavailable | None:
    """Why wasmer cannot be used here. Without a wheel for a system, pip installs a package that cannot be imported.

    find_spec: finds a package without importing it; python: the interpreter's version. Tests give others.
    """
    specs = [find_spec(package) for package in PACKAGES]
    if all(spec and _has_extension(package, spec) for package, spec in zip(PACKAGES, specs, strict=True)):
        return None
    if python > NEWEST_PYTHON:
        return Unavailable(
            f"wasmer's last release is for CPython 3.7 to 3.10, this is Python {'.'.join(map(str, python))}",
            f"use Python 3.10 ({_INSTALL}) or another engine ({_OTHER})",
        )
    missing = [package for package, spec in zip(PACKAGES, specs, strict=True) if spec is None]
    if missing:
        return Unavailable(f"the package {' and '.join(missing)} is not installed", _INSTALL)
    return Unavailable(
        "wasmer has no wheel for this system, what is installed is empty", f"use another engine: {_OTHER}"
    )


def _has_extension(package: str, spec: ModuleSpec) -> bool:
    """The extension module lies in the package under the package's own name."""
    found = PathFinder.find_spec(package, spec.submodule_search_locations)
    return found is not None and isinstance(found.loader, ExtensionFileLoader)


def _create(settings: WasmerSettings) -> Engine:
    from wavelock.wasm_engines.wasmer_engine import WasmerEngine

    return WasmerEngine(cache=settings.cache)


@hookimpl
def wavelock_engine() -> Member[Engine]:
    """Offer wasmer."""
    return Member(
        name="wasmer",
        summary="Wasmer with the Cranelift compiler, as a Python extension; CPython up to 3.10",
        create=_create,
        settings=WasmerSettings,
        unavailable=unavailable,
    )

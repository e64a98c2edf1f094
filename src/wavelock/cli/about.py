"""`wavelock plugins`, `doctor` and `schema`: what is installed, and what profiles look like."""

from __future__ import annotations

import json
import platform
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import click

from wavelock._version import VERSION
from wavelock.cli.report import emit
from wavelock.core.cache import cache_folder
from wavelock.core.errors import EXIT_DONE, UserError
from wavelock.core.profile_reader import DEFAULTS
from wavelock.core.schema import profile_schema
from wavelock.plugins.manager import Listed, Registry

_PACKAGES: Final = ("wasmtime", "numpy", "msgspec", "pluggy", "blake3", "anyio", "onnxruntime", "wasmer")


def _row(item: Listed) -> dict[str, Any]:
    return {
        "family": item.family,
        "name": item.name,
        "summary": item.summary,
        "distribution": item.distribution,
        "available": item.unavailable is None,
        "reason": item.unavailable.reason if item.unavailable else None,
        "remedy": item.unavailable.remedy if item.unavailable else None,
    }


def plugins(as_json: bool) -> int:
    """List plugins."""
    listed = Registry().listed()

    def show() -> None:
        for item in listed:
            state = f"NOT AVAILABLE: {item.unavailable}" if item.unavailable else item.summary
            click.echo(f"{item.family:<14} {item.name:<14} {state}  [{item.distribution}]")

    emit({"plugins": [_row(item) for item in listed]}, as_json, show)
    return EXIT_DONE


def doctor(as_json: bool) -> int:
    """Say what this machine has and lacks."""
    listed = Registry().listed()
    versions = {name: _version(name) for name in _PACKAGES}
    cache, providers = cache_folder(), _providers()
    values = {
        "wavelock": VERSION,
        "python": platform.python_version(),
        "executable": sys.executable,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": versions,
        "cache": str(cache),
        "providers": providers,
        "plugins": [_row(item) for item in listed],
    }

    def show() -> None:
        for key in ("wavelock", "python", "executable", "system", "cache"):
            click.echo(f"{key:<12} {values[key]}")
        for name, version in versions.items():
            click.echo(f"{name:<12} {version or 'not installed'}")
        click.echo(f"{'providers':<12} {', '.join(providers) or 'none: no inference backend is available'}")
        missing = [item for item in listed if item.unavailable is not None]
        for item in missing:
            click.echo(f"missing      {item.family} {item.name}: {item.unavailable}")
        if not missing:
            click.echo("all plugins are available")

    emit(values, as_json, show)
    return EXIT_DONE


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _providers() -> list[str]:
    """The devices that ONNX Runtime's build knows: what a profile may list as providers."""
    if _version("onnxruntime") is None and _version("onnxruntime-gpu") is None:
        return []
    from wavelock.models.onnx_providers import compiled_providers

    with suppress(Exception):  # a broken build raises what it likes; the plugin's own row says what is wrong
        return compiled_providers()
    return []


def schema(output: Path | None, as_json: bool) -> int:
    """Print or write the JSON schema."""
    text = schema_text(indent=None if as_json else 2)
    if output is None:
        click.echo(text)
        return EXIT_DONE
    try:
        output.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{output}: cannot be written: {error.strerror}") from None
    emit({"written": str(output)}, as_json, lambda: click.echo(f"wrote {output}"))
    return EXIT_DONE


def schema_text(indent: int | None = 2, registry: Registry | None = None) -> str:
    """The schema for the members that are installed."""
    members: dict[str, list[tuple[str, Any]]] = {family: [] for family in DEFAULTS}
    for item in (registry or Registry()).listed():
        if item.family in members and item.member is not None:
            members[item.family].append((item.name, item.member.settings))
    return json.dumps(profile_schema(members), indent=indent, ensure_ascii=False)

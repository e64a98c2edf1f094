"""`wavelock module`: what a module has and needs, and its deterministic form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from wavelock.cli.report import emit
from wavelock.core.digest import hash_bytes
from wavelock.core.errors import EXIT_DONE, EXIT_USER, ModuleError, UserError
from wavelock.core.form import FORM_VERSION, FormOptions, ModuleInfo, rewrite_module, survey_module
from wavelock.core.form.limits import PAGE_BYTES
from wavelock.core.form.options import OPTIONAL
from wavelock.core.modules import Source, load_source
from wavelock.core.profile_rules import MAX_STACK, MIN_STACK
from wavelock.core.units import ByteSize, format_bytes, parse_unit
from wavelock.plugins.manager import Registry


def _options(memory: str, stack: str, feature: Sequence[str]) -> FormOptions:
    unknown = [name for name in feature if name not in OPTIONAL]
    if unknown:
        raise UserError(f"--feature {unknown[0]}: no such feature, expected one of {', '.join(OPTIONAL)}")
    depth = _size("--stack", stack)
    if not MIN_STACK <= depth <= MAX_STACK:
        raise UserError(f"--stack {stack}: expected {format_bytes(MIN_STACK)} to {format_bytes(MAX_STACK)}")
    return FormOptions(_size("--memory", memory) // PAGE_BYTES, depth, tuple(sorted(feature)))


def _size(option: str, text: str) -> int:
    try:
        return int(parse_unit(ByteSize, text))
    except ValueError as error:
        raise UserError(f"{option} {text}: {error}") from None


def inspect(module: Path, memory: str, stack: str, feature: Sequence[str], as_json: bool) -> int:
    """Say what a module has, needs, and would be refused for."""
    options = _options(memory, stack, feature)
    source = load_source(module, Registry())
    refused = survey_module(source.data, source.name, options)
    try:
        info: ModuleInfo | None = rewrite_module(source.data, source.name, options, abi=False).info
    except ModuleError:
        info = None

    def show() -> None:
        for line in _lines(source, info):
            click.echo(line)
        for text in refused:
            click.echo(f"refused: {text}")
        if not refused:
            click.echo("can be an agent")

    emit({"module": _values(source, info), "refused": refused}, as_json, show)
    return EXIT_USER if refused else EXIT_DONE


def _values(source: Source, info: ModuleInfo | None) -> dict[str, Any]:
    values: dict[str, Any] = {"path": source.name, "digest": source.digest, "size_bytes": len(source.data)}
    if info is not None:
        values |= {
            "imports": [],
            "exports": [{"name": name, "type": kind} for name, kind in info.exports],
            "features": list(info.features),
            "functions": info.functions,
            "memory_minimum_pages": info.memory_minimum_pages,
            "memory_maximum_pages": info.memory_maximum_pages,
            "has_start": info.has_start,
        }
    return values


def _lines(source: Source, info: ModuleInfo | None) -> Iterator[str]:
    yield f"{source.name}: {format_bytes(len(source.data))}, BLAKE3 {source.digest}"
    if info is None:
        return
    most = "" if info.memory_maximum_pages is None else f", at most {info.memory_maximum_pages}"
    yield f"functions: {info.functions}{', one of them the start function' if info.has_start else ''}"
    yield f"memory: {info.memory_minimum_pages} pages{most}"
    yield f"features: {', '.join(info.features) or 'none beyond the first version'}"
    yield "imports: none"
    yield from (f"export: {ascii(name)[1:-1]} ({kind})" for name, kind in info.exports)


def rewrite(
    module: Path, output: Path, any_exports: bool, memory: str, stack: str, feature: Sequence[str], as_json: bool
) -> int:
    """Write a module's deterministic form."""
    source = load_source(module, Registry())
    form = rewrite_module(source.data, source.name, _options(memory, stack, feature), abi=not any_exports)
    try:
        output.write_bytes(form.module)
    except OSError as error:
        raise UserError(f"{output}: cannot be written: {error.strerror}") from None
    values = {
        "form": FORM_VERSION,
        "original": {"path": source.name, "digest": source.digest, "size_bytes": len(source.data)},
        "rewritten": {"path": str(output), "digest": hash_bytes(form.module), "size_bytes": len(form.module)},
        "functions": form.info.functions,
        "blocks_metered": form.segments,
    }

    def show() -> None:
        click.echo(f"{output}: {len(form.module)} bytes from {len(source.data)}, form {FORM_VERSION}")
        click.echo(f"{form.info.functions} functions, {form.segments} metered blocks")

    emit(values, as_json, show)
    return EXIT_DONE

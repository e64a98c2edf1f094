"""The wasmtime engine as a plugin: a description that imports nothing of wasmtime."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from wavelock.plugins import hookimpl
from wavelock.plugins.members import Member, needs_package
from wavelock.wasm_engines.interface import Engine


class WasmtimeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[engine]` with `use = "wasmtime"`."""

    memory_layout: Annotated[
        Literal["auto", "guarded", "dense"],
        Meta(
            description="guarded: 4 GiB of address space an agent and guard pages, fastest code, some 10,000 agents; "
            "dense: one pool, more agents; auto: guarded up to 4,096 agents."
        ),
    ] = "auto"
    cache: Annotated[bool, Meta(description="Keep compiled modules on disk.")] = True


def _create(settings: WasmtimeSettings) -> Engine:
    from wavelock.wasm_engines.wasmtime_engine import WasmtimeEngine

    return WasmtimeEngine(cache=settings.cache, memory_layout=settings.memory_layout)


@hookimpl
def wavelock_engine() -> Member[Engine]:
    """Offer wasmtime."""
    return Member(
        name="wasmtime",
        summary="Bytecode Alliance's wasmtime, through its C interface",
        create=_create,
        settings=WasmtimeSettings,
        unavailable=needs_package("wasmtime", "pip install wasmtime"),
    )

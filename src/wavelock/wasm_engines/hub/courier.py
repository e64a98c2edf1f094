"""Couriers, written out of courier.wat for so many agents and compiled."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import wasmtime
from blake3 import blake3

from wavelock.core.cache import ModuleCache
from wavelock.wasm_engines.wasmtime_modules import Compiler, compiled

_OF_AGENT: Final = re.compile(r"\$(agent|turn|start|enter|case)\b")
_REPEATED: Final = {";; for each agent {": 1, ";; for each agent, from the last {": -1}


def courier_module(
    engine: wasmtime.Engine, cache: ModuleCache | None, key: str, agents: int, compiler: Compiler
) -> wasmtime.Module:
    """A courier for so many agents, compiled. key: what tells the engine's configuration from others."""
    source = Path(__file__).with_name("courier.wat").read_text(encoding="utf-8")
    text = courier_text(source, agents)
    return compiled(engine, cache, f"{key} trusted {blake3(text.encode()).hexdigest()}", text, compiler)


def courier_text(source: str, agents: int) -> str:
    """courier.wat with what stands there for each agent once for each of so many."""
    lines: list[str] = []
    repeated: list[str] | None = None
    order = 1
    for line in source.splitlines():
        if line.strip() in _REPEATED:
            repeated, order = [], _REPEATED[line.strip()]
        elif line.strip() == ";; }":
            for seat in range(agents)[::order]:
                numbered = (_OF_AGENT.sub(rf"$\g<1>{seat}", each) for each in repeated or ())
                lines += [each.replace("SEAT", str(seat)) for each in numbered]
            repeated = None
        else:
            (lines if repeated is None else repeated).append(line)
    return "\n".join(lines)

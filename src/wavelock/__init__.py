"""Wavelock: many sandboxed WebAssembly agents in deterministic waves. `docs/python.md` is the tour."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from wavelock._version import VERSION as __version__  # noqa: N811 - the name that packages have for it

if TYPE_CHECKING:
    from wavelock.core.diff import diff
    from wavelock.core.divergence import ReplayReport
    from wavelock.core.errors import EnvironmentFailure, ProfileError, UserError, WavelockError
    from wavelock.core.events import AgentFault, LogLine, Output, RunEnded, RunStarted, WaveCommitted
    from wavelock.core.profile import Profile
    from wavelock.core.replay import replay
    from wavelock.plugins import hookimpl
    from wavelock.plugins.manager import Registry
    from wavelock.runtime import AsyncRuntime, Runtime, load_profile, parse_profile

_HOMES: Final = {
    "AgentFault": "wavelock.core.events",
    "AsyncRuntime": "wavelock.runtime",
    "EnvironmentFailure": "wavelock.core.errors",
    "LogLine": "wavelock.core.events",
    "Output": "wavelock.core.events",
    "Profile": "wavelock.core.profile",
    "ProfileError": "wavelock.core.errors",
    "Registry": "wavelock.plugins.manager",
    "ReplayReport": "wavelock.core.divergence",
    "RunEnded": "wavelock.core.events",
    "RunStarted": "wavelock.core.events",
    "Runtime": "wavelock.runtime",
    "UserError": "wavelock.core.errors",
    "WaveCommitted": "wavelock.core.events",
    "WavelockError": "wavelock.core.errors",
    "diff": "wavelock.core.diff",
    "hookimpl": "wavelock.plugins.markers",
    "load_profile": "wavelock.runtime",
    "parse_profile": "wavelock.runtime",
    "replay": "wavelock.core.replay",
}
"""Where each public name lives; imported when it is first used, so that `import wavelock` costs nothing."""


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'wavelock' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


__all__ = [
    "AgentFault",
    "AsyncRuntime",
    "EnvironmentFailure",
    "LogLine",
    "Output",
    "Profile",
    "ProfileError",
    "Registry",
    "ReplayReport",
    "RunEnded",
    "RunStarted",
    "Runtime",
    "UserError",
    "WaveCommitted",
    "WavelockError",
    "__version__",
    "diff",
    "hookimpl",
    "load_profile",
    "parse_profile",
    "replay",
]

"""The two pluggy markers. A plugin author needs `hookimpl` alone."""

from __future__ import annotations

from typing import Final

import pluggy

PROJECT: Final = "wavelock"
"""The pluggy project and the entry-point group."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

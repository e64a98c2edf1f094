"""Threads with a native stack that is large enough for turns."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

_PYTHON_STACK_BYTES: Final = 1 << 20
"""What Python needs beside a turn."""
_GRANULE_BYTES: Final = 1 << 16
"""Stacks are a multiple of this on every system."""


def needed_stack_bytes(turn_bytes: int) -> int:
    """The stack of a thread that executes turns of this native depth.

    Address space only: a system gives a stack memory as it is touched.
    """
    return -(-(turn_bytes + _PYTHON_STACK_BYTES) // _GRANULE_BYTES) * _GRANULE_BYTES


def start_thread(name: str, stack_bytes: int, target: Callable[..., None], *arguments: Any) -> threading.Thread:
    """Start a thread with a stack of this size; macOS gives half a MiB unless asked."""
    before = threading.stack_size(stack_bytes)
    try:
        thread = threading.Thread(target=target, args=arguments, name=name, daemon=True)
        thread.start()
    finally:
        threading.stack_size(before)
    return thread

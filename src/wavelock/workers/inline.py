"""The calling thread as the only worker: a request is served at the moment its reply is asked for."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Sequence
from typing import Final

from wavelock.core.errors import EnvironmentFailure, UserError
from wavelock.core.shard import Message, ShardService
from wavelock.plugins import hookimpl
from wavelock.plugins.members import Member, NoSettings
from wavelock.transports.interface import Endpoint, Received, Transport
from wavelock.workers.interface import MakeService, Workers

NEEDED_STACK_BYTES: Final = 3 << 19
"""What a turn may use at most (1 MiB), and as much again as Python needs beside it."""


def stack_bytes() -> int | None:
    """The native stack of this thread, whole, as the system tells; None where it does not.

    Not `threading.stack_size()`: that is what new threads get, and asking for it sets it back to the default.
    """
    if sys.platform == "win32":
        return None  # Python's threads there have 2 MiB or more
    libc = ctypes.CDLL(None)
    libc.pthread_self.restype = ctypes.c_void_p
    thread = ctypes.c_void_p(libc.pthread_self())
    if hasattr(libc, "pthread_get_stacksize_np"):
        libc.pthread_get_stacksize_np.restype = ctypes.c_size_t
        return int(libc.pthread_get_stacksize_np(thread))
    attributes, size = ctypes.create_string_buffer(256), ctypes.c_size_t()
    if not hasattr(libc, "pthread_getattr_np") or libc.pthread_getattr_np(thread, attributes):
        return None
    libc.pthread_attr_getstacksize(attributes, ctypes.byref(size))
    libc.pthread_attr_destroy(attributes)
    return size.value


class _InlineEnd:
    """The orchestrator's end; receiving serves the request first."""

    def __init__(self, near: Endpoint, far: Endpoint, service: ShardService) -> None:
        self._near = near
        self._far = far
        self._service = service
        self._thread: int | None = None

    def send(self, message: Message) -> None:
        """See `transports.interface.Endpoint`."""
        self._near.send(message)

    def receive(self) -> Received | None:
        """See `transports.interface.Endpoint`."""
        if self._thread != threading.get_ident():
            self._check_stack()
        request = self._far.receive()
        if request is not None:
            self._far.send(self._service.handle(request.kind, request.agents, request.body))
        return self._near.receive()

    def _check_stack(self) -> None:
        """An engine that runs off the end of the native stack takes the process with it: better not to begin."""
        found = stack_bytes()
        if found is not None and found < NEEDED_STACK_BYTES:
            raise EnvironmentFailure(
                f'workers "inline": the stack of this thread has {found >> 10} KiB, and turns need '
                f'{NEEDED_STACK_BYTES >> 10} KiB; raise it (ulimit -s, threading.stack_size) or use = "threads"'
            )
        self._thread = threading.get_ident()

    def close(self) -> None:
        """See `transports.interface.Endpoint`."""
        self._near.close()


class InlineWorkers:
    """The member."""

    def __init__(self, _settings: NoSettings) -> None:
        self._ends: list[_InlineEnd] = []

    def start(self, count: int, transport: Transport, make_service: MakeService) -> Sequence[Endpoint]:
        """See `interface.Workers`. Raises UserError for more than one worker."""
        if count != 1:
            raise UserError(f'workers.count: "inline" is one worker, found {count}; use = "threads" takes more')
        near, far = transport.link()
        self._ends = [_InlineEnd(near, far, make_service())]
        return self._ends

    def close(self) -> None:
        """See `interface.Workers`."""
        for end in self._ends:
            end.close()


@hookimpl
def wavelock_workers() -> Member[Workers]:
    """Offer inline workers."""
    return Member(name="inline", summary="the calling thread", create=InlineWorkers)

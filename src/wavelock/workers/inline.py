"""The only worker is the calling thread: a request is served at the moment its reply is asked for.

Where the calling thread's native stack is too small for a turn, a thread with a large one serves in its place while the
caller waits; so it does for callers that are not the main thread, as an event loop may come from another one each time.
"""

from __future__ import annotations

import ctypes
import queue
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Final

from wavelock.core.errors import EnvironmentFailure, UserError
from wavelock.core.shard import Message, ShardService
from wavelock.plugins import hookimpl
from wavelock.plugins.members import Member, NoSettings
from wavelock.transports.interface import Endpoint, Received, Transport
from wavelock.workers.interface import MakeService, Workers
from wavelock.workers.stacks import needed_stack_bytes, start_thread

_NO_BODY: Final = memoryview(b"")


def stack_bytes() -> int | None:
    """The native stack of this thread, whole, as the system tells; None where it does not.

    Not `threading.stack_size()`: that is what new threads get, and asking for it sets it back to the default.
    """
    if sys.platform == "win32":
        low, high = ctypes.c_size_t(), ctypes.c_size_t()
        ctypes.windll.kernel32.GetCurrentThreadStackLimits(ctypes.byref(low), ctypes.byref(high))
        return high.value - low.value
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


class _Server:
    """A thread that serves requests one at a time, for a caller that waits."""

    def __init__(self, stack_bytes: int) -> None:
        self._asked: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._thread = start_thread("wavelock-inline", stack_bytes, self._work)

    def _work(self) -> None:
        while (serve := self._asked.get()) is not None:
            try:
                serve()
                self._done.put(None)
            except BaseException as error:
                self._done.put(error)

    def run(self, serve: Callable[[], None]) -> None:
        """Have this done there; what it raises rises here."""
        self._asked.put(serve)
        error = self._done.get()
        if error is not None:
            raise error

    def close(self) -> None:
        self._asked.put(None)
        self._thread.join()


class _InlineEnd:
    """The orchestrator's end; receiving serves the request first.

    A request without a body, and a reply without one, are handed over as they are: there is nothing to carry.
    """

    def __init__(self, near: Endpoint, far: Endpoint, make_service: MakeService, stack_bytes: int) -> None:
        self._near = near
        self._far = far
        self._make_service = make_service
        self._stack_bytes = needed_stack_bytes(stack_bytes)
        self._service: ShardService | None = None
        self._server: _Server | None = None
        self._checked: int | None = None
        self._request: Message | None = None
        self._reply: Message | None = None

    def send(self, message: Message) -> None:
        """See `transports.interface.Endpoint`."""
        if message.parts:
            self._near.send(message)
        else:
            self._request = message

    def receive(self) -> Received | None:
        """See `transports.interface.Endpoint`."""
        if self._service is None and self._server is None and not self._may_serve():
            self._server = _Server(self._stack_bytes)
        if self._server is not None:
            self._server.run(self._serve)
        elif self._checked == threading.get_ident() or self._may_serve():
            self._checked = threading.get_ident()  # asking costs more than a wave may
            self._serve()
        else:
            raise EnvironmentFailure(
                'workers "inline": the run was begun by the main thread and goes on in another, whose stack is too '
                f'small (turns need {self._stack_bytes >> 10} KiB); use = "threads"'
            )
        reply, self._reply = self._reply, None
        return self._near.receive() if reply is None else Received(reply.kind, reply.agents, _NO_BODY)

    def _may_serve(self) -> bool:
        """An engine that runs off the end of the native stack takes the process with it: better not to begin."""
        if threading.current_thread() is not threading.main_thread() and self._service is None:
            return False
        found = stack_bytes()
        return found is None or found >= self._stack_bytes

    def _serve(self) -> None:
        if self._service is None:
            self._service = self._make_service()
        asked, self._request = self._request, None
        request = self._far.receive() if asked is None else Received(asked.kind, asked.agents, _NO_BODY)
        if request is None:
            return
        reply = self._service.handle(*request)
        if reply.parts:
            self._far.send(reply)
        else:
            self._reply = reply

    def close(self) -> None:
        """See `transports.interface.Endpoint`."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._near.close()


class InlineWorkers:
    """The member."""

    in_process = True

    def __init__(self, _settings: NoSettings) -> None:
        self._ends: list[_InlineEnd] = []

    def start(
        self, count: int, transport: Transport, make_service: MakeService, stack_bytes: int
    ) -> Sequence[Endpoint]:
        """See `interface.Workers`. Raises UserError for more than one worker."""
        if count != 1:
            raise UserError(f'workers.count: "inline" is one worker, found {count}; use = "threads" takes more')
        near, far = transport.link()
        self._ends = [_InlineEnd(near, far, make_service, stack_bytes)]
        return self._ends

    def close(self) -> None:
        """See `interface.Workers`."""
        for end in self._ends:
            end.close()


@hookimpl
def wavelock_workers() -> Member[Workers]:
    """Offer inline workers."""
    return Member(name="inline", summary="the calling thread", create=InlineWorkers)

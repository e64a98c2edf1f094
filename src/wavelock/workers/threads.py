"""Threads of this process as workers. Engines let other threads run while a module executes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from wavelock.plugins import hookimpl
from wavelock.plugins.members import Member, NoSettings
from wavelock.transports.interface import Endpoint, Transport
from wavelock.workers.interface import MakeService, Workers
from wavelock.workers.stacks import needed_stack_bytes, start_thread

_log = logging.getLogger("wavelock.worker")


class ThreadWorkers:
    """The member."""

    in_process = concurrent = True

    def __init__(self, _settings: NoSettings) -> None:
        self._threads: list[threading.Thread] = []
        self._ends: list[Endpoint] = []

    def start(
        self, count: int, transport: Transport, make_service: MakeService, stack_bytes: int
    ) -> Sequence[Endpoint]:
        """See `interface.Workers`."""
        for number in range(count):
            near, far = transport.link()
            name = f"wavelock-worker-{number}"
            self._threads.append(start_thread(name, needed_stack_bytes(stack_bytes), _serve, far, make_service))
            self._ends.append(near)
        return self._ends

    def close(self) -> None:
        """See `interface.Workers`."""
        for end in self._ends:
            end.close()
        for thread in self._threads:
            thread.join()
        self._threads.clear()


def _serve(far: Endpoint, make_service: MakeService) -> None:
    try:
        service = make_service()
        while (request := far.receive()) is not None:
            far.send(service.handle(request.kind, request.agents, request.body))
    except Exception:
        # A reply that cannot be sent (no memory for its arena, a link that is gone): nothing can be told over the link.
        _log.exception("worker failed outside a request")
    finally:
        far.close()  # the orchestrator's receive then says that this worker is gone, instead of waiting for ever


@hookimpl
def wavelock_workers() -> Member[Workers]:
    """Offer thread workers."""
    return Member(name="threads", summary="threads of this process", create=ThreadWorkers)

"""The calling thread as the only worker: a request is served at the moment its reply is asked for."""

from __future__ import annotations

from collections.abc import Sequence

from wavelock.core.errors import UserError
from wavelock.core.shard import Message, ShardService
from wavelock.plugins import hookimpl
from wavelock.plugins.members import Member, NoSettings
from wavelock.transports.interface import Endpoint, Received, Transport
from wavelock.workers.interface import MakeService, Workers


class _InlineEnd:
    """The orchestrator's end; receiving serves the request first."""

    def __init__(self, near: Endpoint, far: Endpoint, service: ShardService) -> None:
        self._near = near
        self._far = far
        self._service = service

    def send(self, message: Message) -> None:
        """See `transports.interface.Endpoint`."""
        self._near.send(message)

    def receive(self) -> Received | None:
        """See `transports.interface.Endpoint`."""
        request = self._far.receive()
        if request is not None:
            self._far.send(self._service.handle(request.kind, request.agents, request.body))
        return self._near.receive()

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

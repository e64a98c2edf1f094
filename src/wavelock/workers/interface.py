"""The workers family: who executes turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from wavelock.core.shard import ShardService
from wavelock.transports.interface import Endpoint, Transport

MakeService = Callable[[], ShardService]


class Workers(Protocol):
    """A member of the family: starts workers and hands out the orchestrator's end of each link.

    One whose workers are all threads of this process says so with an attribute `in_process = True`, and with
    `concurrent = True` where each of them may wait, while the caller does something else.
    """

    def start(
        self, count: int, transport: Transport, make_service: MakeService, stack_bytes: int
    ) -> Sequence[Endpoint]:
        """Start `count` workers. make_service is called once by each, on the thread that will serve.

        stack_bytes: native stack that a turn may need, beside what Python itself does.
        """

    def close(self) -> None:
        """Stop all workers and wait for them. Safe to call twice."""

"""The transport family: what carries requests and replies between the orchestrator and a worker."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from wavelock.core.shard import Message


class Received(NamedTuple):
    """A request or a reply as it arrived. body: valid until the next send or receive on this endpoint."""

    kind: int
    agents: int
    body: memoryview


class Endpoint(Protocol):
    """One end of a link. Used by one thread at a time."""

    def send(self, message: Message) -> None:
        """Write a message into the arena and ring the other end. Raises EnvironmentFailure for a link that is gone."""

    def receive(self) -> Received | None:
        """Wait for the other end's next message; None when the link was closed."""

    def close(self) -> None:
        """Close the link: the other end's receive answers None. Safe to call twice."""


class Transport(Protocol):
    """A member of the family."""

    @property
    def crosses_processes(self) -> bool:
        """Whether the two ends of a link may lie in different processes."""

    def link(self) -> tuple[Endpoint, Endpoint]:
        """A new link: the orchestrator's end and the worker's."""

    def close(self) -> None:
        """Close all links. Safe to call twice."""

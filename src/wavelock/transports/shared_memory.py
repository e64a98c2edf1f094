"""Shared memory within one process: arenas in anonymous mappings, a semaphore as the doorbell.

Each direction of a link has one arena, owned by the end that writes it. A message is a fixed header and a body; an
arena that is too small is replaced by one twice the size, and the reader looks at the new one.
"""

from __future__ import annotations

import mmap
import struct
import threading
from typing import Final

from wavelock.core.errors import EnvironmentFailure
from wavelock.core.shard import Message
from wavelock.plugins import hookimpl
from wavelock.plugins.members import Member, NoSettings
from wavelock.transports.interface import Endpoint, Received, Transport

_HEADER: Final = struct.Struct("<IIQ")
"""u32 kind, u32 count, u64 body bytes."""
FIRST_BYTES: Final = 64 << 10


class _Arena:
    """One direction: a mapping that grows, and the bell that says it holds a message."""

    def __init__(self) -> None:
        self.bell = threading.Semaphore(0)
        self.closed = False
        self._map(FIRST_BYTES)

    def _map(self, size: int) -> None:
        try:
            self.view = memoryview(mmap.mmap(-1, size))
        except (OSError, MemoryError, ValueError) as error:
            raise EnvironmentFailure(f"shared memory: no arena of {size} bytes: {error}") from None

    def write(self, message: Message) -> None:
        """Write a message whole. The reader has none at this moment: requests and replies alternate."""
        body = b"".join(message.parts)
        size = len(body)
        if _HEADER.size + size > len(self.view):
            self._map(max(2 * len(self.view), _HEADER.size + size))
        _HEADER.pack_into(self.view, 0, message.kind, message.agents, size)
        self.view[_HEADER.size : _HEADER.size + size] = body

    def read(self) -> Received:
        """The message that was written last."""
        kind, count, size = _HEADER.unpack_from(self.view)
        return Received(kind, count, self.view[_HEADER.size : _HEADER.size + size])


class _End:
    """One end of a link: writes one arena, reads the other."""

    def __init__(self, outgoing: _Arena, incoming: _Arena) -> None:
        self._outgoing = outgoing
        self._incoming = incoming

    def send(self, message: Message) -> None:
        """See `interface.Endpoint`."""
        if self._outgoing.closed or self._incoming.closed:
            raise EnvironmentFailure("shared memory: the link is closed")
        self._outgoing.write(message)
        self._outgoing.bell.release()

    def receive(self) -> Received | None:
        """See `interface.Endpoint`."""
        self._incoming.bell.acquire()
        return None if self._incoming.closed else self._incoming.read()

    def close(self) -> None:
        """See `interface.Endpoint`."""
        for arena in (self._outgoing, self._incoming):
            arena.closed = True
            arena.bell.release()


class SharedMemory:
    """The transport."""

    crosses_processes = False

    def __init__(self, _settings: NoSettings) -> None:
        self._ends: list[_End] = []

    def link(self) -> tuple[Endpoint, Endpoint]:
        """See `interface.Transport`."""
        there, back = _Arena(), _Arena()
        ends = _End(there, back), _End(back, there)
        self._ends += ends
        return ends

    def close(self) -> None:
        """See `interface.Transport`."""
        for end in self._ends:
            end.close()
        self._ends.clear()


@hookimpl
def wavelock_transport() -> Member[Transport]:
    """Offer shared memory."""
    return Member(name="shared-memory", summary="arenas in memory that both ends map", create=SharedMemory)

"""What the built-in schedulers share: a value for each agent by id, and the frame around a captured state."""

from __future__ import annotations

import struct
import zlib
from typing import Final, Generic, TypeVar

import numpy as np
import numpy.typing as npt

ScalarT = TypeVar("ScalarT", bound=np.generic)

FIRST_CAPACITY: Final = 64
HEADER: Final = struct.Struct("<16sHHI")
"""Little-endian: the member's name padded with zeros, its payload's version, zero, the payload's CRC-32."""


class ById(Generic[ScalarT]):
    """One value for each agent, by id. Grows by doubling, so that adding agents one by one stays linear.

    values: shape (agents,), the values of the agents that exist: a view of the store, new after each `add`.
    An id that was never added is out of its bounds; one that was skipped over holds `absent`.
    """

    def __init__(self, dtype: type[ScalarT], absent: int = 0) -> None:
        self._absent = absent
        self._store: npt.NDArray[ScalarT] = np.full(FIRST_CAPACITY, absent, dtype)
        self.values = self._store[:0]

    def add(self, first: int, values: npt.NDArray[ScalarT]) -> None:
        """Set the values of the ids `first`, `first + 1`, ... Raises ValueError where one of them exists."""
        count = len(self.values)
        if first < count:
            raise ValueError(f"agents are added from id {first}, but the ids below {count} exist: ids only grow")
        end = first + len(values)
        if end > len(self._store):
            self._grow(end)
        self._store[first:end] = values
        self.values = self._store[:end]

    def _grow(self, needed: int) -> None:
        grown = np.full(max(needed, 2 * len(self._store)), self._absent, self._store.dtype)
        grown[: len(self.values)] = self.values
        self._store = grown


def frame_state(member: str, version: int, payload: bytes) -> bytes:
    """The bytes of a captured state: a header that tells whose they are, and the member's own payload."""
    return HEADER.pack(member.encode(), version, 0, zlib.crc32(payload)) + payload


def unframe_state(member: str, version: int, state: bytes) -> bytes:
    """The payload in what `frame_state` made for this member and version. Raises ValueError for others."""
    if len(state) < HEADER.size:
        raise ValueError(f"a captured {member} state has at least {HEADER.size} bytes; these are {len(state)}")
    name, found, zero, checksum = HEADER.unpack_from(state)
    if name != member.encode().ljust(16, b"\0") or zero != 0:
        raise ValueError(f"these bytes are not a captured {member} state: they begin with {name!r}")
    if found != version:
        raise ValueError(f"captured {member} state of version {found}; this {member} reads version {version}")
    payload = state[HEADER.size :]
    if zlib.crc32(payload) != checksum:
        raise ValueError(f"a captured {member} state was cut or changed: its checksum does not match")
    return payload

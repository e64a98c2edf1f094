"""Agent ABI 1 as numbers: frame layouts, kinds, flags, reasons and fault kinds.

`docs/abi.md` is the same in prose, `guests/c/wavelock.h` the same for C. All integers are little-endian.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

ABI_VERSION: Final = 1
WORLD: Final = 0xFFFFFFFF
"""The peer that stands for the world outside: outputs go to it, outside inputs come from it."""

FRAME_HEADER: Final = struct.Struct("<IHHII")
"""u32 payload bytes, u16 kind, u16 flags, u32 peer, u32 tag."""
TURN_HEADER: Final = struct.Struct("<QQQII")
"""u64 wave, u64 virtual time in ns, u64 entropy, u32 self, u32 frames."""
ABI_RECORD: Final = struct.Struct("<IIIII")
"""u32 version, u32 inbox_ptr, u32 inbox_cap, u32 outbox_ptr, u32 outbox_cap."""
ALIGNMENT: Final = 8
PADDING: Final = tuple(bytes(n) for n in range(ALIGNMENT))
U16: Final = struct.Struct("<H")
U32: Final = struct.Struct("<I")
I32: Final = struct.Struct("<i")
U64: Final = struct.Struct("<Q")
DIRECTORY_ROW: Final = struct.Struct("<BBHII")

EXPORT_MEMORY: Final = "memory"
EXPORT_ABI: Final = "wavelock_abi"
EXPORT_TURN: Final = "wavelock_turn"
EXPORT_INITIALIZE: Final = "_initialize"


class Inbound(IntEnum):
    """Kinds of frame that an agent receives."""

    START = 1
    MESSAGE = 2
    TIMER = 3
    INFERENCE = 4
    STATE = 5
    UNDELIVERABLE = 6
    CHILD_ENDED = 7
    DIRECTORY = 8


class Outbound(IntEnum):
    """Kinds of frame that an agent writes: its effects."""

    SEND = 1
    PUBLISH = 2
    INFER = 3
    PUT = 4
    GET = 5
    SPAWN = 6
    STOP = 7
    TIMER = 8
    LOG = 9
    YIELD = 10
    EXIT = 11
    WATCH = 12


class Flag(IntEnum):
    """Bits in the flags of inbound frames.

    A MESSAGE that was published carries its topic's id plus one instead, an UNDELIVERABLE the kind of the effect.
    """

    ERROR = 1
    """INFERENCE: the payload is a u32 `Reason`."""
    ABSENT = 1
    """STATE: the key has no value."""
    WATCHED = 2
    """STATE: a watched key changed; the payload is u16 key_len, key, value."""


class Reason(IntEnum):
    """Why an effect could not be done (UNDELIVERABLE, INFERENCE with Flag.ERROR)."""

    NO_SUCH_AGENT = 1
    AGENT_ENDED = 2
    MAILBOX_FULL = 3
    TOO_LARGE = 4
    DENIED = 5
    LIMIT = 6
    NO_SUCH_ID = 7
    BAD_TENSOR = 16
    BAD_DTYPE = 17
    BAD_SHAPE = 18
    NOT_FINITE = 19
    MODEL_FAILED = 20


class EndReason(IntEnum):
    """Why an agent ended (CHILD_ENDED, and the run file)."""

    EXITED = 1
    FAULTED = 2
    STOPPED = 3


class DirectoryKind(IntEnum):
    """What a row of a DIRECTORY frame names."""

    GROUP = 1
    TOPIC = 2
    MODEL = 3
    MODULE = 4
    AGENT = 5


class Fault(IntEnum):
    """How a turn can fail. Deterministic: part of the run and its digest. 0 is no fault."""

    NONE = 0
    UNREACHABLE = 1
    MEMORY_BOUNDS = 2
    TABLE_BOUNDS = 3
    INTEGER_OVERFLOW = 4
    DIVISION_BY_ZERO = 5
    BAD_CONVERSION = 6
    INDIRECT_CALL = 7
    MISALIGNED_ATOMIC = 8
    FUEL = 16
    DEPTH = 17
    MEMORY = 18
    MALFORMED_OUTBOX = 32
    AGENT_CODE = 33
    BAD_ABI = 34
    DENIED = 35

    @property
    def label(self) -> str:
        """The name used in run files, tables and JSON: `malformed outbox`."""
        return self.name.lower().replace("_", " ")


LOG_LEVELS: Final = ("error", "warning", "info", "debug", "trace")
"""Names of the levels 0 to 4 of a LOG effect's peer."""


def padded(length: int) -> int:
    """The bytes that a payload of `length` takes in an arena: the next multiple of 8."""
    return (length + 7) & ~7


def frame_bytes(payload: int) -> int:
    """The bytes of a frame with a payload of this size."""
    return FRAME_HEADER.size + padded(payload)


def frame(kind: int, peer: int, tag: int, payload: bytes, flags: int = 0) -> bytes:
    """One frame: header, payload, zeros up to a multiple of 8."""
    length = len(payload)
    return FRAME_HEADER.pack(length, kind, flags, peer, tag) + payload + PADDING[-length & 7]


def directory_row(what: DirectoryKind, number: int, count: int, name: str) -> bytes:
    """One row of a DIRECTORY payload, padded to a multiple of 4."""
    raw = name.encode()
    return DIRECTORY_ROW.pack(what, 0, len(raw), number, count) + raw + PADDING[-len(raw) & 3]

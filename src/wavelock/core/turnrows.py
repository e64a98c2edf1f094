"""The turns of a wave as rows that a run file keeps: who, how it ended, what it used, and a hash of its outbox.

The hash tells outboxes of the same length apart; what a run is held to is the wave's digest. It is the high half of
the sum of the outbox's 64-bit words, each times a key of its own (multilinear hashing modulo 2^64),
so that a wave's hashes are a few operations on arrays.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import zstandard

from wavelock.core.mailboxes import GOLDEN, mix
from wavelock.core.shard import U32Array, U64Array
from wavelock.core.wave import WaveRecord

TURN: Final = np.dtype(
    [("agent", "<u4"), ("fault", "<i4"), ("fuel", "<u8"), ("outbox_bytes", "<u4"), ("outbox_hash", "<u4")]
)
"""One turn. On disk each column is whole, one after the other, as a frame of Zstandard."""
MOST_TURNS: Final = 1 << 26
"""What is read of one wave at most."""
TurnRows = npt.NDArray[np.void]


def turn_rows(record: WaveRecord) -> TurnRows:
    """A wave's turns, in plan order, as rows of dtype TURN."""
    rows = np.zeros(len(record.plan), TURN)
    for name, column in zip(TURN.names or (), _columns(record), strict=True):
        rows[name] = column
    return rows


def _columns(record: WaveRecord) -> tuple[npt.NDArray[Any], ...]:
    """A wave's turns as columns, in the order of TURN."""
    hashes = record.outbox_hashes
    if hashes is None:
        hashes = outbox_hashes(record.outbox_data, record.outbox_bytes)
    return record.plan, record.fault_codes, record.fuel, record.outbox_bytes, hashes


def outbox_hashes(outboxes: bytes, lengths: U32Array) -> U32Array:
    """A hash of each outbox; they lie one after the other, and each is taken as padded with zeros to whole words."""
    counts = (lengths.astype(np.int64) + 7) // 8
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    hashes = np.zeros(len(lengths), np.uint32)
    if not total:
        return hashes
    begins = ends - counts
    words = _words(outboxes, lengths, total)
    place = np.arange(total) - np.repeat(begins, counts)
    keys = mix((np.arange(int(counts.max()), dtype=np.uint64) + np.uint64(1)) * GOLDEN)
    some = counts > 0
    sums = np.add.reduceat(words * keys[place], begins[some])
    hashes[some] = sums >> np.uint64(32)
    return hashes


def _words(outboxes: bytes, lengths: U32Array, total: int) -> U64Array:
    """The outboxes' words, each outbox padded to whole ones: those that agents write well need none."""
    if not (lengths & 7).any():
        return np.frombuffer(outboxes, "<u8", total)
    padded, at = [], 0
    for length in lengths.tolist():
        padded.append(outboxes[at : at + length] + bytes(-length & 7))
        at += length
    return np.frombuffer(b"".join(padded), "<u8", total)


def pack_turns(rows: TurnRows) -> bytes:
    """Rows as a run file keeps them."""
    return _packed(rows[name] for name in TURN.names or ())


def pack_record(record: WaveRecord) -> bytes:
    """A wave's turns as a run file keeps them, without a detour over rows."""
    return _packed(_columns(record))


def _packed(columns: Iterable[npt.NDArray[Any]]) -> bytes:
    dtypes = (dtype for dtype, *_ in (TURN.fields or {}).values())
    data = b"".join(
        np.ascontiguousarray(column, dtype).view(np.uint8).data for column, dtype in zip(columns, dtypes, strict=True)
    )
    return bytes(zstandard.ZstdCompressor(level=1).compress(data))


def read_turns(blob: bytes) -> TurnRows:
    """The rows that `pack_turns` wrote. Raises ValueError for a damaged blob."""
    try:
        if zstandard.frame_content_size(blob) > MOST_TURNS * TURN.itemsize:
            raise ValueError(f"more than {MOST_TURNS} turns")
        data = zstandard.ZstdDecompressor().decompress(blob, max_output_size=MOST_TURNS * TURN.itemsize)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from None
    count, over = divmod(len(data), TURN.itemsize)
    if over:
        raise ValueError(f"{len(data)} bytes are no whole turns of {TURN.itemsize}")
    rows, at = np.zeros(count, TURN), 0
    fields: dict[str, Any] = dict(TURN.fields or {})
    for name, (dtype, *_) in fields.items():
        rows[name] = np.frombuffer(data, dtype, count, at)
        at += count * dtype.itemsize
    return rows

"""The digest of a wave: what it is over, however many threads take it."""

from __future__ import annotations

import numpy as np
import pytest
from blake3 import blake3

from wavelock.core import digest
from wavelock.core.digest import hashed_bytes, wave_digest
from wavelock.core.wave import WaveRecord

TURNS = 3000
OUTBOX = 104


def large_wave(pieces: int) -> WaveRecord:
    """Turns that each wrote as much as the others; the outboxes in so many pieces."""
    columns = {name: np.arange(TURNS, dtype=np.uint32) for name in ("plan", "fault_codes", "fault_details")}
    data = np.random.default_rng(5).bytes(TURNS * OUTBOX)
    step = len(data) // pieces
    return WaveRecord(
        7,
        plan=columns["plan"],
        fuel=np.arange(TURNS, dtype=np.uint64),
        fault_codes=columns["fault_codes"].view(np.int32),
        fault_details=columns["fault_details"].view(np.int32),
        outbox_bytes=np.full(TURNS, OUTBOX, np.uint32),
        outboxes=[data[at : at + step] for at in range(0, len(data), step)],
    )


def test_what_is_hashed_is_counted() -> None:
    assert hashed_bytes(large_wave(2)) == TURNS * (24 + OUTBOX)
    assert hashed_bytes(WaveRecord(1)) == 0


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("threads", [2, 5])
def test_threads_take_the_digest_that_one_takes(threads: int, pieces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = wave_digest(b"before", large_wave(1))
    seen: list[int] = []

    def noting(data: bytes, max_threads: int) -> object:
        seen.append(max_threads)
        return blake3(data, max_threads=max_threads)

    monkeypatch.setattr(digest, "blake3", noting)
    assert wave_digest(b"before", large_wave(pieces), threads) == alone
    monkeypatch.setattr(digest, "_SHARED_BYTES", TURNS * OUTBOX)
    assert wave_digest(b"before", large_wave(pieces), threads) == alone
    assert seen == [1, threads]

"""The digest: BLAKE3 over canonical bytes, one a wave, chained.

Rules:
- Every variable part is preceded by its length, so that no two records give the same bytes.
- Only what agents can notice goes in: never engine, transport, workers, a path, a clock, a recording option.
- Values are little-endian whatever the machine's own order.
- The first link is the header: versions, the noticed part of the profile, and the modules' hashes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from blake3 import blake3

from wavelock.core.abi import ABI_VERSION, U64
from wavelock.core.form import FORM_VERSION
from wavelock.core.profile import Profile
from wavelock.core.shard import Bytes
from wavelock.core.wave import WaveRecord

DIGEST_VERSION: Final = 1
_JOINED_BYTES: Final = 64 << 10
_SHARED_BYTES: Final = 8 << 20
"""From so many bytes on several threads hash: with fewer, handing out takes longer than it saves."""
_COLUMNS: Final[Mapping[str, np.dtype[Any]]] = {
    "plan": np.dtype("<u4"),
    "fuel": np.dtype("<u8"),
    "fault_codes": np.dtype("<i4"),
    "fault_details": np.dtype("<i4"),
    "outbox_bytes": np.dtype("<u4"),
}
"""What a record has of each turn beside its outbox, and how it is hashed."""
_TURN_BYTES: Final = sum(dtype.itemsize for dtype in _COLUMNS.values())
_INPUT: Final = struct.Struct("<III")
_ANSWER: Final = struct.Struct("<QIIIIII")
_COUNTS: Final = struct.Struct("<QIII")


def hash_bytes(data: bytes) -> str:
    """BLAKE3 of data, hex: how modules and models are named by content."""
    return blake3(data).hexdigest()


def header_digest(profile: Profile, modules: Sequence[str]) -> bytes:
    """The first link of the chain. modules: the hash of each group's module, in profile order."""
    header: dict[str, Any] = {
        "abi": ABI_VERSION,
        "digest": DIGEST_VERSION,
        "form": FORM_VERSION,
        "modules": list(modules),
        "profile": noticed(profile),
    }
    if profile.engine.features:
        header["features"] = sorted(profile.engine.features)
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return blake3(text.encode()).digest()


def noticed(profile: Profile) -> dict[str, Any]:
    """The part of a profile that agents can notice, as plain values."""
    limits = msgspec.structs.asdict(profile.limits)
    for recording in ("journal", "outputs"):
        del limits[recording]
    return {
        "seed": profile.run.seed,
        "wave_ns": int(profile.run.wave_ns),
        "scheduler": _plain({"use": profile.scheduler.use, "settings": profile.scheduler.settings}),
        "limits": _plain(limits),
        "models": [{"name": model.name, "latency": model.latency} for model in profile.models],
        "topics": _plain(profile.topics),
        "agents": [_noticed_group(group) for group in profile.agents],
    }


def _noticed_group(group: msgspec.Struct) -> Mapping[str, Any]:
    values: dict[str, Any] = _plain(group)
    del values["module"]
    return values


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value, enc_hook=int)


def hashed_bytes(record: WaveRecord) -> int:
    """How much of a wave's turns the digest is over."""
    return _TURN_BYTES * len(record.plan) + sum(map(len, record.outboxes))


def wave_digest(before: bytes, record: WaveRecord, threads: int = 1) -> bytes:
    """The next link: over the digest before, and a wave's outside inputs, plan, fuel, faults and outboxes.

    threads: that hash at most.
    """
    size = sum(map(len, record.outboxes))
    pieces: list[Bytes] = [_COUNTS.pack(record.wave, len(record.inputs), len(record.answers), len(record.plan))]
    for row in record.inputs:
        pieces += _INPUT.pack(row.agent, row.tag, len(row.payload)), row.payload
    for answer in record.answers:
        head = _ANSWER.pack(
            answer.request_wave, answer.position, answer.model, answer.agent, answer.tag, answer.reason,
            len(answer.payload),
        )  # fmt: skip
        pieces += head, answer.payload
    for name, dtype in _COLUMNS.items():
        pieces.append(np.ascontiguousarray(getattr(record, name), dtype).view(np.uint8).data)
    pieces += U64.pack(size), *record.outboxes
    hasher = blake3(before, max_threads=threads if sum(map(len, pieces)) >= _SHARED_BYTES else 1)
    if size <= _JOINED_BYTES:
        pieces = [b"".join(pieces)]  # a call for each is dear where there is little
    for piece in pieces:
        hasher.update(piece)
    return hasher.digest()

"""What lies where in the hub's memory, and the numbers that hub.c and the package have in common.

The names of `CONTROL`, `BOX`, `GROUP` and the rest are those of the structs in layout.h, in their order.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

CONTROL: Final = (
    "agents", "boxes", "ready", "homes", "was_ready", "groups", "topics", "grants", "lists", "members", "logs",
    "rows", "workers", "plan", "turns", "lengths", "faults", "details", "fuel", "marks", "hashes", "outs", "inboxes",
    "scratch", "hashing", "sorting", "turn", "stage", "at", "end", "frame", "member", "filled", "taken", "exiting",
    "stale", "receiver", "reason", "messages", "full", "ends", "least_message", "least_bytes", "least_frames", "timers",
    "timers_limit", "timers_end", "looked",
)  # fmt: skip
"""The u32 words of `control_t`."""
WIDE: Final = ("wave", "time_ns", "entropy")
"""Its u64 words, behind those."""
BOX_WORDS: Final = (
    "first", "frames", "bytes", "room", "last", "group", "ended", "seat", "inbox", "outbox", "outbox_bytes",
    "courier",
)  # fmt: skip
"""The u32 words of `box_t` at its beginning."""
BOX: Final = np.dtype([*((name, "<u4") for name in BOX_WORDS), ("spent", "<u8"), ("timers", "<u4"), ("work", "<u4")])
ERRANDS: Final = np.dtype([(name, "<u4") for name in ("begin", "count", "done", "unused")])
ERRAND_BYTES: Final = 8
GROUP: Final = np.dtype(
    [
        *((name, "<u4") for name in ("message", "mailbox_bytes", "mailbox_frames", "flags")),
        ("fuel", "<u8"),
        ("timers", "<u4"),
        ("unused", "<u4"),
    ]
)
LOG: Final = np.dtype([*((name, "<u4") for name in ("begin", "limit", "end", "live")), ("unused", "V48")])
MOST_AGENTS: Final = 16
"""Agents of one courier."""
_WORKER: Final[list[tuple[Any, ...]]] = [
    *((name, "<u4") for name in ("places", "place", "turns", "turn", "out", "out_bytes", "at", "starts")),
    ("left", "<u8"),
    ("wave", "<u8"),
    ("time_ns", "<u8"),
    ("budget", "<u8"),
    *((name, "<u4") for name in ("started", "number", "doing", "seen", "marks", "errands", "sender")),
    *((name, "<u4") for name in ("member", "messages", "refused", "failed", "timers", "timers_limit", "timers_end")),
    *((name, "<u4") for name in ("looked", "examined")),
    ("of", "V32", MOST_AGENTS),
]
WORKER_BYTES: Final = np.dtype(_WORKER).itemsize
WORKER: Final = np.dtype([*_WORKER, ("apart", f"V{-WORKER_BYTES % 64 + 64}")])
"""`worker_t`, and as much behind it as keeps workers out of each other's cache lines."""
ROW: Final = {name: field[1] // 4 for name, field in (WORKER.fields or {}).items()}
"""Where the words of a row are: quicker to reach than by name."""
LETTER_BYTES: Final = 8
DROPS_OLDEST, DENIED_IS_FAULT = 1, 2
FOR_KERNEL, MALFORMED, WITH_GRANTS, PUBLISHES, FAILED, SPILLED = 1, 2, 4, 8, 16, 32
"""Marks. FAILED: a turn that failed; set by shards."""
NEEDS_ONE: Final = FOR_KERNEL | MALFORMED | FAILED | SPILLED
"""Marks of a wave that workers cannot commit by themselves."""
TURNS, DELIVER, LEAVE = 1, 2, 3
"""Commands."""
CONTROL_AT: Final = 1024
CONTROL_BYTES: Final = 4 * len(CONTROL) + 8 * len(WIDE)
GROW: Final = 1
BOUNCE: Final = 2
"""Stops that no commit shows: a part is full; a frame is larger than its receiver's inbox."""
GROW_TIMERS: Final = 12
NO_LOG: Final = 0xFFFFFFFF
FUNCTIONS: Final = {
    "layout": 0, "put": 4, "ring": 2, "greet": 4, "drop_oldest": 2, "take_first": 1, "clear": 1, "move_log": 3,
    "inbox_bytes": 0, "pack": 0, "survey_all": 1, "commit": 0, "withdraw": 1, "tell": 2, "wait": 1,
}  # fmt: skip
"""The functions of hub.c that the orchestrator calls, and how many arguments they take."""
WORD: Final = {name: at for at, name in enumerate(CONTROL)}
PARTS: Final[dict[str, Any]] = {
    "boxes": BOX,
    "groups": GROUP,
    "logs": LOG,
    "rows": WORKER,
    "homes": np.uint16,
    "fuel": np.uint64,
    **dict.fromkeys(
        ("lists", "members", "plan", "lengths", "faults", "details", "hashes", "outs", "places"), np.uint32
    ),
    **dict.fromkeys(("ready", "was_ready", "grants", "marks", "inboxes", "outboxes", "scratch"), np.uint8),
}
"""The parts of the memory, and what their entries are."""
